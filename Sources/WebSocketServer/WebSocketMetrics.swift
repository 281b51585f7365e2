import Telemetry
import WebSockets

/// What the WebSockets of one loop count.
final class WebSocketMetrics {
    private let open: Gauge
    private let messages: Counter
    private let pings: Counter
    private let lists: Counter
    private let conflated: Counter
    private let assemblies: Gauge
    private let deflatedMessages: Counter
    private let deflatedFrom: Counter
    private let deflatedTo: Counter
    private let inflatedBytes: Counter
    private var closes: [UInt16: Counter] = [:]
    private var violations: [ProtocolViolation: Counter] = [:]

    private let prefix: String

    init(_ role: Role) {
        let registry = MetricRegistry.shared
        let prefix = role == .server ? "websocket" : "websocket_client"
        self.prefix = prefix
        open = registry.gauge(name: .own(prefix + "_connections"), help: "WebSockets that are open.")
        messages = registry.counter(
            name: .own(prefix + "_messages_received_total"), help: "Messages that clients have sent.")
        pings = registry.counter(name: .own(prefix + "_pings_total"), help: "Pings that were sent.")
        lists = registry.counter(
            name: .own(prefix + "_frames_shared_total"), help: "Shared frames that were given to subscribers.")
        conflated = registry.counter(
            name: .own(prefix + "_conflated_total"),
            help: "Times that a subscriber was not ready for a new list and waits for the newest instead.")
        assemblies = registry.gauge(
            name: .own(prefix + "_held_bytes"), help: "Memory of messages that are not complete, and of compression.")
        deflatedMessages = registry.counter(
            name: .own(prefix + "_deflated_total"),
            help: "Messages that were compressed; one for many subscribers counts once.")
        deflatedFrom = registry.counter(
            name: .own(prefix + "_deflated_from_bytes_total"), help: "What they were before.")
        deflatedTo = registry.counter(
            name: .own(prefix + "_deflated_to_bytes_total"), help: "What they have become.")
        inflatedBytes = registry.counter(
            name: .own(prefix + "_inflated_bytes_total"), help: "What compressed messages of clients have become.")
        // From the start: the rate of a series that begins with its first close misses that one.
        for code in [CloseCode.normal, .goingAway, .abnormal, .tooSlow, .noPong] {
            closes[Self.series(code)] = closeCounter(code)
        }
    }

    func opened() { open.add(1) }
    func received() { messages.increment() }
    func pinged() { pings.increment() }
    func sentShared(_ count: Int) { lists.increment(by: UInt64(count)) }
    func waited() { conflated.increment() }
    func inflated(_ count: Int) { inflatedBytes.increment(by: UInt64(clamping: count)) }
    func deflated(from before: Int, to after: Int) {
        deflatedMessages.increment()
        deflatedFrom.increment(by: UInt64(clamping: before))
        deflatedTo.increment(by: UInt64(clamping: after))
    }
    /// Messages that were compressed, and their bytes before and after.
    var deflateCounts: (deflated: UInt64, from: UInt64, to: UInt64) {
        (deflatedMessages.value, deflatedFrom.value, deflatedTo.value)
    }
    /// Bytes of memory of messages that are not complete, and of compression.
    var heldBytes: Int { Int(exactly: assemblies.value) ?? 0 }
    func held(_ change: Int) { if change != 0 { assemblies.add(Double(change)) } }

    func closed(_ code: CloseCode) {
        open.add(-1)
        let known = Self.series(code)
        let counter = closes[known] ?? closeCounter(code)
        closes[known] = counter
        counter.increment()
    }

    /// The codes of one series share a number. Those of RFC 6455 and two of this house have their own: clients may close with
    /// 2,000 others, and what they choose must not grow the page.
    private static func series(_ code: CloseCode) -> UInt16 {
        switch code {
        case .tooSlow, .noPong: code.rawValue
        default: code.rawValue < 3000 ? code.rawValue : code.rawValue / 1000 * 1000
        }
    }

    private func closeCounter(_ code: CloseCode) -> Counter {
        let series = Self.series(code)
        return MetricRegistry.shared.counter(
            name: .own(prefix + "_closed_total"), help: "WebSockets that have ended.",
            labels: ["code": series == 4000 ? "4xxx" : series == 3000 ? "3xxx" : "\(series)"])
    }

    func violated(_ violation: ProtocolViolation) {
        let counter =
            violations[violation]
            ?? MetricRegistry.shared.counter(
                name: .own(prefix + "_violations_total"), help: "Frames that broke RFC 6455 or a limit.",
                labels: ["rule": "\(violation)"])
        violations[violation] = counter
        counter.increment()
    }
}
