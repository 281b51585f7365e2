/// How urgent a log line is, from the chattiest to the gravest. The words and their order are swift-log's.
public enum LogLevel: String, CaseIterable, Comparable, Sendable {
    /// A level, in this order.
    case trace, debug, info, notice, warning, error, critical

    var rank: UInt8 {
        switch self {
        case .trace: 0
        case .debug: 1
        case .info: 2
        case .notice: 3
        case .warning: 4
        case .error: 5
        case .critical: 6
        }
    }

    public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rank < right.rank }
}

/// Names and values that stand beside a message, in the order given.
public typealias LogMetadata = KeyValuePairs<String, String>

/// Writes log lines under one label. A value: copy it freely, use it on any thread.
///
/// A message below the level that is in force costs one load and a comparison; neither it nor its metadata is evaluated.
/// Lines are handed to `LogSink`, which writes them on a thread of its own: logging never blocks a loop.
public struct Logger: Sendable {
    /// Which part of the program speaks.
    public let label: String
    private let sink: LogSink
    private let context: [(name: String, value: String)]

    /// A logger whose lines carry `label`, to `sink`.
    public init(label: String, sink: LogSink = .standard) {
        self.label = label
        self.sink = sink
        context = []
    }

    private init(label: String, sink: LogSink, context: [(name: String, value: String)]) {
        self.label = label
        self.sink = sink
        self.context = context
    }

    /// A logger that writes `value` under `name` on each line as well.
    public func with(_ name: String, _ value: String) -> Logger {
        Logger(label: label, sink: sink, context: context + [(name, value)])
    }

    /// Whether a message of this level would be written.
    public func isEnabled(_ level: LogLevel) -> Bool { sink.isEnabled(level) }

    /// Writes a line, if its level is written; else nothing is put together. Thread-safe.
    public func log(
        _ level: LogLevel, _ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]
    ) {
        guard sink.isEnabled(level) else { return }
        sink.write(
            level: level, label: label, message: message(), context: context,
            values: metadata().map { ($0, .text($1)) })
    }

    /// The same with values that are no texts.
    public func log(_ level: LogLevel, _ message: String, values: @autoclosure () -> [(String, LogValue)]) {
        guard sink.isEnabled(level) else { return }
        sink.write(level: level, label: label, message: message, context: context, values: values())
    }

    /// Writes a line for whoever follows each step.
    public func trace(_ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]) {
        log(.trace, message(), metadata: metadata())
    }

    /// Writes a line for whoever looks for a fault.
    public func debug(_ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]) {
        log(.debug, message(), metadata: metadata())
    }

    /// Writes a line of what happens in the usual course.
    public func info(_ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]) {
        log(.info, message(), metadata: metadata())
    }

    /// Writes a line of what happens seldom and is in order.
    public func notice(_ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]) {
        log(.notice, message(), metadata: metadata())
    }

    /// Writes a line of what is not in order, and does no harm yet.
    public func warning(_ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]) {
        log(.warning, message(), metadata: metadata())
    }

    /// Writes a line of what has failed.
    public func error(_ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]) {
        log(.error, message(), metadata: metadata())
    }

    /// Writes a line of what ends the program.
    public func critical(_ message: @autoclosure () -> String, metadata: @autoclosure () -> LogMetadata = [:]) {
        log(.critical, message(), metadata: metadata())
    }
}

/// Lets at most `count` events pass per window and says how many it held back: a flood of bad input must not become a
/// flood of log lines. Belongs to one thread; time is a parameter.
public struct LogRateLimit {
    private let count: Int
    private let window: UInt64
    private var windowStart: UInt64?
    private var passed = 0
    private var suppressed = 0

    /// - Parameters:
    ///   - count: lines per window.
    ///   - window: nanoseconds.
    public init(count: Int = 10, window: UInt64 = 10_000_000_000) {
        self.count = count
        self.window = window
    }

    /// nil: hold this one back. Otherwise how many were held back since the last one that passed.
    public mutating func admit(now: UInt64) -> Int? {
        if windowStart.map({ now &- $0 >= window }) ?? true {
            windowStart = now
            passed = 0
        }
        guard passed < count else {
            suppressed += 1
            return nil
        }
        passed += 1
        defer { suppressed = 0 }
        return suppressed
    }
}
