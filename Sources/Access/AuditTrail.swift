import Basics
import Reactor
import RideAPI
import Telemetry

/// Writes down on one loop who does what: of each a line in the log, and a record for Kafka. Belongs to its loop.
public final class AuditTrail {
    private let loop: EventLoop
    private let service: String
    private let publish: (AuditRecord) -> Void
    private let logger = Logger(label: "audit")
    private var identifiers = UUIDv7Generator()

    /// - Parameters:
    ///   - service: where it is written down.
    ///   - publish: takes each record, on the loop.
    public init(loop: EventLoop, service: ServiceName, publish: @escaping (AuditRecord) -> Void) {
        self.loop = loop
        self.service = service.rawValue
        self.publish = publish
    }

    /// Writes down that somebody has done something, or has not been let.
    ///
    /// - Parameters:
    ///   - principal: nil: they did not say who they are.
    ///   - address: without a port.
    ///   - operation: a row of the table of who may do what.
    ///   - target: an id; nil: it is about none.
    ///   - code: why it was not done.
    ///   - origin: the request that it was asked by.
    public func record(
        _ principal: Principal?, address: String?, operation: String, target: String?, _ outcome: AuditRecord.Outcome,
        code: String?, origin: RequestOrigin
    ) {
        let now = loop.wallClockMilliseconds
        let random = (loop.randomNumber(), loop.randomNumber())
        let record = AuditRecord(
            eventID: identifiers.next(milliseconds: now, random: random).text, at: now, service: service,
            subject: principal?.subject, roles: principal?.roles.words ?? [], address: address,
            operation: operation, target: target, outcome: outcome, code: code,
            requestID: origin.requestID.isEmpty ? nil : origin.requestID,
            traceID: origin.trace.isNone ? nil : origin.trace.traceID)
        logger.log(.notice, outcome == .denied ? "denied" : "changed", values: Self.line(record))
        publish(record)
    }

    private static func line(_ record: AuditRecord) -> [(String, LogValue)] {
        var line: [(String, LogValue)] = [
            ("operation", .text(record.operation)), ("outcome", .text(record.outcome.rawValue)),
            ("subject", .text(record.subject ?? "")), ("roles", .text(record.roles.joined(separator: " "))),
        ]
        for (name, value) in [
            ("request_id", record.requestID), ("trace_id", record.traceID), ("event_id", record.eventID),
            ("address", record.address), ("target", record.target), ("code", record.code),
        ] {
            if let value { line.append((name, .text(value))) }
        }
        return line
    }
}
