import Bytes
import JSONWire

/// Topic `audit_events`, key: the subject, or nothing: who has done what to what, or was not let. Never a token.
public struct AuditRecord: Sendable, Equatable {
    /// Where its records are.
    public static let topic = "audit_events"

    /// What came of it.
    public enum Outcome: String, Sendable, CaseIterable {
        case done
        /// Whoever asked may not.
        case denied
        /// It can't be, as things are: a conflict, something that is not there, a body that is wrong.
        case rejected
        /// Something is broken or away. It may have been done all the same.
        case failed
    }

    public var eventID: String
    /// Unix milliseconds.
    public var at: Int64
    /// Where it was recorded: `gateway`, or the service that was called past it.
    public var service: String
    /// Who; nil: they did not say.
    public var subject: String?
    /// Their roles, in order.
    public var roles: [String]
    /// Where they come from, without a port.
    public var address: String?
    /// What, as the table of who may do what names it: a route's name, or a method's path.
    public var operation: String
    /// On what: an id.
    public var target: String?
    public var outcome: Outcome
    /// Why not: the problem's code, or the status of gRPC; nil: it was done.
    public var code: String?
    /// nil: the caller did not say.
    public var requestID: String?
    /// The trace that the request belongs to; nil: none.
    public var traceID: String?

    public init(
        eventID: String, at: Int64, service: String, subject: String?, roles: [String], address: String?,
        operation: String, target: String?, outcome: Outcome, code: String?, requestID: String?,
        traceID: String? = nil
    ) {
        self.eventID = eventID
        self.at = at
        self.service = service
        self.subject = subject
        self.roles = roles
        self.address = address
        self.operation = operation
        self.target = target
        self.outcome = outcome
        self.code = code
        self.requestID = requestID
        self.traceID = traceID
    }

    /// The record's key: what one subject did is in order.
    public var key: String { subject ?? "" }

    /// Appends the value.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.append("{\"type\":\"Audit\",\"event_id\":")
        buffer.appendJSON(string: eventID)
        buffer.appendJSON("at", instant: at)
        buffer.appendJSON("service", string: service)
        if let subject { buffer.appendJSON("subject", string: subject) }
        buffer.appendJSON(name: "roles")
        buffer.beginJSONArray()
        for role in roles {
            buffer.appendJSONSeparator()
            buffer.appendJSON(string: role)
        }
        buffer.endJSONArray()
        if let address { buffer.appendJSON("address", string: address) }
        buffer.appendJSON("operation", string: operation)
        if let target { buffer.appendJSON("target", string: target) }
        buffer.appendJSON("outcome", string: outcome.rawValue)
        if let code { buffer.appendJSON("code", string: code) }
        if let requestID { buffer.appendJSON("request_id", string: requestID) }
        if let traceID { buffer.appendJSON("trace_id", string: traceID) }
        buffer.endJSONObject()
    }
}
