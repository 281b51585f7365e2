import HTTP2
import Memory
import Telemetry

/// What the gRPC server of one loop counts.
@safe final class ServerMetrics {
    private let connections: Gauge
    private let open: Gauge
    private let held: Gauge
    private let session: Gauge
    private let queued: Gauge
    private let rejected: Counter
    private let inflated: Counter
    private let saved: Counter
    private let expiredCalls: Counter
    private let expiredConnections: [ServerConnections.Debt: Counter]
    private let paths: [String]
    /// By method; nil for streams, which take as long as they take. Not retained at each use: the registry, which lives as
    /// long as the process, keeps them.
    private let durations: [Unmanaged<Histogram>?]
    /// By method and status code, made when they are first needed.
    private let ended: Cell<[Counter?]>
    private var failures: [HTTP2Failure.Reason: Counter] = [:]
    private static let codes = 17

    init(_ methods: [MethodRecord]) {
        let registry = MetricRegistry.shared
        connections = registry.gauge(
            name: .own("grpc_server_connections"), help: "HTTP/2 connections of clients that are open.")
        open = registry.gauge(name: .own("grpc_server_calls"), help: "Calls that have not ended.")
        held = registry.gauge(
            name: .own("grpc_server_held_bytes"),
            help: "Bytes of requests that are kept: bodies that are not whole or not taken, and metadata.")
        session = registry.gauge(
            name: .own("grpc_server_session_bytes"),
            help: "Bytes that HTTP/2 keeps of clients: header blocks, HPACK tables, streams.")
        queued = registry.gauge(
            name: .own("grpc_server_queued_bytes"),
            help: "Bytes of answers that wait for a client's window or for its socket.")
        expiredCalls = registry.counter(
            name: .own("grpc_server_calls_expired_total"),
            help: "Calls that were ended because the client sent or read too slowly.")
        rejected = registry.counter(
            name: .own("grpc_server_rejected_total"), help: "Requests that did not become a call of a method.")
        inflated = registry.counter(
            name: .own("grpc_server_inflated_bytes_total"), help: "Bytes that compressed requests have become.")
        saved = registry.counter(
            name: .own("grpc_server_compression_saved_bytes_total"),
            help: "Bytes of answers that were not sent because the answers were compressed.")
        paths = methods.map(\.path)
        // They are on the page from the beginning: an alert on an increase sees the first one.
        expiredConnections = Dictionary(
            uniqueKeysWithValues: ServerConnections.Debt.allCases.map { debt in
                let counter = registry.counter(
                    name: .own("grpc_server_connections_expired_total"),
                    help: "Connections that were closed because of what the client had not done in time.",
                    labels: ["owed": "\(debt)"])
                return (debt, counter)
            })
        unsafe durations = methods.map { method in
            guard method.isUnary else { return nil }
            let histogram = registry.histogram(
                name: .own("grpc_server_call_seconds"), help: "Unary calls, from their headers to their answer.",
                labels: ["method": method.path])
            return unsafe Unmanaged.passUnretained(histogram)
        }
        ended = Cell(Array(repeating: nil, count: paths.count * Self.codes))
    }

    func connected() { connections.add(1) }
    func disconnected() { connections.add(-1) }
    func rejectedRequest() { rejected.increment() }
    func inflated(_ bytes: Int) { inflated.increment(by: UInt64(clamping: bytes)) }
    func saved(_ bytes: Int) { saved.increment(by: UInt64(clamping: bytes)) }

    /// The number of open calls is set and not counted: a call that is answered at once costs nothing here.
    func setOpen(_ count: Int) { open.set(count) }
    func setHeld(_ bytes: Int) { held.set(bytes) }
    func setSession(_ bytes: Int) { session.set(bytes) }
    func setQueued(_ bytes: Int) { queued.set(bytes) }
    func callExpired() { expiredCalls.increment() }

    @inline(__always)
    func callEnded(method: Int, code: StatusCode, nanoseconds: UInt64) {
        if let histogram = unsafe durations[method] {
            unsafe histogram._withUnsafeGuaranteedRef { $0.observe(nanoseconds: nanoseconds) }
        }
        let known = code.rawValue >= 0 && code.rawValue < Self.codes ? code.rawValue : StatusCode.unknown.rawValue
        let place = method &* Self.codes &+ known
        if let counter = ended.value[place] { return counter.increment() }
        let counter = MetricRegistry.shared.counter(
            name: .own("grpc_server_calls_total"), help: "Calls that have ended.",
            labels: ["method": paths[method], "code": StatusCode(rawValue: known).description])
        ended.value[place] = counter
        counter.increment()
    }

    /// A connection was closed because of what its client had not done in time.
    func connectionExpired(_ debt: ServerConnections.Debt) { expiredConnections[debt]?.increment() }

    func connectionFailed(_ reason: HTTP2Failure.Reason) {
        let counter =
            failures[reason]
            ?? MetricRegistry.shared.counter(
                name: .own("grpc_server_connection_failures_total"),
                help: "Connections that ended because the client broke the rules of HTTP/2 or a limit.",
                labels: ["reason": "\(reason)"])
        failures[reason] = counter
        counter.increment()
    }
}

/// What one channel counts.
final class ChannelMetrics {
    private let target: String
    private let queued: Gauge
    private let queuedBytes: Gauge
    private let held: Gauge
    private let session: Gauge
    private let unsent: Gauge
    private let retried: Counter
    private let lost: Counter
    /// By status code, made when they are first needed; codes that are not known count as UNKNOWN.
    private let ended = Cell([Counter?](repeating: nil, count: 17))

    init(target: String) {
        self.target = target
        let registry = MetricRegistry.shared
        queued = registry.gauge(
            name: .own("grpc_client_calls_queued"), help: "Calls that wait for a connection or for a stream.",
            labels: ["target": target])
        queuedBytes = registry.gauge(
            name: .own("grpc_client_queued_bytes"), help: "Bytes of the requests of calls that wait.",
            labels: ["target": target])
        held = registry.gauge(
            name: .own("grpc_client_held_bytes"),
            help: "Bytes of answers that are kept: messages that are not whole or not taken.",
            labels: ["target": target])
        session = registry.gauge(
            name: .own("grpc_client_session_bytes"),
            help: "Bytes that HTTP/2 keeps of servers: header blocks, HPACK tables, streams.",
            labels: ["target": target])
        unsent = registry.gauge(
            name: .own("grpc_client_unsent_bytes"), help: "Bytes of requests that wait for a server's windows.",
            labels: ["target": target])
        retried = registry.counter(
            name: .own("grpc_client_calls_retried_total"),
            help: "Calls that were sent again because the server had not processed them.", labels: ["target": target])
        lost = registry.counter(
            name: .own("grpc_client_connections_lost_total"), help: "Connections and attempts that failed.",
            labels: ["target": target])
    }

    func setQueued(_ count: Int) { queued.set(count) }
    func setQueuedBytes(_ bytes: Int) { queuedBytes.set(bytes) }
    func addHeld(_ bytes: Int) { held.add(Double(bytes)) }
    func addSession(_ bytes: Int) { if bytes != 0 { session.add(Double(bytes)) } }
    func addUnsent(_ bytes: Int) { if bytes != 0 { unsent.add(Double(bytes)) } }
    func callRetried() { retried.increment() }
    func connectionLost() { lost.increment() }

    func callEnded(_ code: StatusCode) {
        let known = ended.value.indices.contains(code.rawValue) ? code.rawValue : StatusCode.unknown.rawValue
        if let counter = ended.value[known] { return counter.increment() }
        let counter = MetricRegistry.shared.counter(
            name: .own("grpc_client_calls_total"), help: "Calls that have ended.",
            labels: ["target": target, "code": StatusCode(rawValue: known).description])
        ended.value[known] = counter
        counter.increment()
    }
}
