/// Which requests and calls get a line in the log, and the line.
///
/// One that failed here (a 500, an INTERNAL) is an `error`; one that failed because something else is away, or that was slow,
/// a `warning`; both at a bounded rate, with the number of those that were held back. Every other one is a `debug` line: the
/// metrics count them at no cost, and a line each would be most of what a server does. Belongs to one loop.
public struct RequestLog {
    /// Nanoseconds from which a request is slow enough to be worth a line.
    public static let slow: UInt64 = 1_000_000_000
    /// Lines of one loop in ten seconds; an outage must not become a flood.
    static let linesPerWindow = 100

    /// Nanoseconds from which a request that went well is noted: 0 when every one is, and the longest time when there is
    /// no logger. One comparison on a request's path.
    public let noteFrom: UInt64
    private let logger: Logger?
    private var limit = LogRateLimit(count: Self.linesPerWindow)

    /// - Parameter logger: nil if nothing is logged. Its level is asked once, here.
    public init(_ logger: Logger?) {
        self.logger = logger
        noteFrom = logger.map { $0.isEnabled(.debug) ? 0 : Self.slow } ?? .max
    }

    /// Writes the line, if there is to be one.
    ///
    /// - Parameters:
    ///   - level: nil when it went well: then slowness decides.
    ///   - message: what it was: "request", "call".
    ///   - nanoseconds: how long it took.
    ///   - canBeSlow: false for a stream, which takes as long as it takes.
    ///   - now: monotonic nanoseconds.
    ///   - origin: who asked for it.
    ///   - details: method, status and so on.
    public mutating func note(
        _ level: LogLevel?, _ message: String, nanoseconds: UInt64, canBeSlow: Bool = true, now: UInt64,
        _ origin: RequestOrigin, _ details: [(String, LogValue)]
    ) {
        guard let logger else { return }
        let isSlow = canBeSlow && nanoseconds >= Self.slow
        let words = level != nil ? "failed \(message)" : isSlow ? "slow \(message)" : message
        let level = level ?? (isSlow ? .warning : .debug)
        guard logger.isEnabled(level) else { return }
        var line = details
        line.append(("duration_ms", .decimal(Double(nanoseconds) * 1e-6)))
        if !origin.requestID.isEmpty { line.append(("request_id", .text(origin.requestID))) }
        if !origin.trace.isNone {
            line.append(("trace_id", .text(origin.trace.traceID)))
            line.append(("span_id", .text(origin.trace.spanID)))
        }
        if level > .debug {
            guard let heldBack = limit.admit(now: now) else { return }
            if heldBack > 0 { line.append(("held_back", .integer(heldBack))) }
        }
        logger.log(level, words, values: line)
    }
}

/// Who asked for something, as log lines say it. Calls that are made for a request carry it on.
public struct RequestOrigin: Sendable, Equatable {
    /// Of no request.
    public static let none = RequestOrigin(requestID: "", trace: .none)

    /// `x-request-id`; empty if there is none.
    public let requestID: String
    /// What its `traceparent` says.
    public let trace: TraceContext

    /// A request's identifier and its trace.
    public init(requestID: String, trace: TraceContext) {
        self.requestID = requestID
        self.trace = trace
    }
}
