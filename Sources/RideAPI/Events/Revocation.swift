import Bytes
import JSONWire
import RideDomain

/// Topic `auth_revocations`, key `subject/…` or `token/…`: from an instant on somebody's tokens, or one token, are refused.
///
/// The topic is compacted: whoever reads it from its beginning knows all that is revoked. A record may come again.
public struct Revocation: Sendable, Hashable {
    /// Where its records are.
    public static let topic = "auth_revocations"
    /// Milliseconds that one is remembered. Reason: no access token lives longer (`cabstand token` gives 30 days at most, and an
    /// older one is not taken), with a day more for clocks that differ.
    public static let life: Int64 = 31 * 86_400_000

    /// Milliseconds that the end of a session is remembered. Reason: its access tokens live 15 minutes, and two clocks differ by 30
    /// seconds each.
    public static let sessionLife: Int64 = 16 * 60_000

    /// Whose tokens, or which one.
    public enum Target: Sendable, Hashable {
        /// All tokens of this subject that were made until then.
        case subject(String)
        /// The token of this name (`jti`), or those of the session of this name: theirs begins with it and a dot.
        case token(String)

        /// The record's key: a subject and a token may have the same name.
        public var key: String {
            switch self {
            case .subject(let id): "subject/" + id
            case .token(let id): "token/" + id
            }
        }

        /// From a key; nil: it is none.
        public init?(key: String) {
            let parts = key.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[1].isEmpty else { return nil }
            switch parts[0] {
            case "subject": self = .subject(String(parts[1]))
            case "token": self = .token(String(parts[1]))
            default: return nil
            }
        }
    }

    public var target: Target
    /// Unix milliseconds. A token counts as made until then if its `iat` is not of a later second.
    public let at: Int64
    /// For the record, in the operator's words.
    public var reason: String
    /// Unix milliseconds from which on nothing is left that it could refuse.
    public let expiresAt: Int64
    /// Whether a session has ended, whose last tokens soon expire by themselves.
    public var endsSession: Bool { expiresAt - at <= Self.sessionLife }

    /// - Parameter life: milliseconds until nothing is left that it could refuse.
    public init(target: Target, at: Int64, reason: String, life: Int64 = Self.life) {
        self.target = target
        let at = min(max(at, 0), Moment.walls.upperBound - Self.life)
        self.at = at
        self.reason = reason
        expiresAt = at + min(max(life, 0), Self.life)
    }

    /// Appends the value.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.append("{\"type\":\"Revoked\"")
        switch target {
        case .subject(let id): buffer.appendJSON("subject", string: id)
        case .token(let id): buffer.appendJSON("token_id", string: id)
        }
        buffer.appendJSON("at", instant: at)
        buffer.appendJSON("expires_at", instant: expiresAt)
        buffer.appendJSON("reason", string: reason)
        buffer.endJSONObject()
    }

    /// The revocation in a record's value; nil: a record of another type, which is skipped.
    public init?(decoding value: Span<UInt8>) throws(EventError) {
        var (isRevoked, subject, token): (Bool?, String?, String?)
        var (at, expiresAt, reason): (Int64?, Int64?, String?)
        do throws(JSONError) {
            var json = JSONReader(value)
            try json.beginObject()
            while let name = try json.nextMember() {
                if try json.readNullIfPresent() { continue }
                if json.isEqual(name, "type") {
                    isRevoked = json.isEqual(try json.readText(), "Revoked")
                } else if json.isEqual(name, "subject") {
                    subject = try json.readString()
                } else if json.isEqual(name, "token_id") {
                    token = try json.readString()
                } else if json.isEqual(name, "at") {
                    at = try json.readInstant()
                } else if json.isEqual(name, "expires_at") {
                    expiresAt = try json.readInstant()
                } else if json.isEqual(name, "reason") {
                    reason = try json.readString()
                } else {
                    try json.skipValue()
                }
            }
            try json.finish()
        } catch {
            throw .notJSON(error)
        }
        guard let isRevoked else { throw .missing("type") }
        guard isRevoked else { return nil }
        guard let target = subject.map(Target.subject) ?? token.map(Target.token) else { throw .missing("subject") }
        guard subject == nil || token == nil else { throw .invalid("subject, token_id") }
        guard let at else { throw .missing("at") }
        self.init(target: target, at: at, reason: reason ?? "", life: expiresAt.map { $0 - at } ?? Self.life)
    }
}
