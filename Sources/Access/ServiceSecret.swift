import AccessTokens
import Bytes

/// What the programs of an installation know and nobody else does: with it they make the tokens by which they know each other.
///
///     cabstand1.gateway.1764373500.MAC       who, until when (Unix seconds), and HMAC-SHA256 of all before its dot, in base64url
///
/// A token is sent as `authorization: Bearer`, and holds for any RPC that the table has for its service, as often as it is
/// shown: whoever can read the connection can be that service until it expires. Where that is to be feared there is mutual TLS.
public struct ServiceSecret: Sendable, Equatable {
    /// Reasons are with each.
    public enum Limits {
        /// Seconds that a token is good for. Reason: somebody who has seen one has little of it, and clocks may differ.
        public static let life: Int64 = 300
        /// Seconds before its end at which a token is replaced.
        public static let margin: Int64 = 60
        /// Bytes of a secret at least: as many as the code has, so that guessing it is no shorter way.
        public static let shortest = 32
    }

    private static let version: StaticString = "cabstand1."
    /// The first makes tokens, all verify.
    private let keys: [[UInt8]]

    /// Reads a file of secrets, a line each: a new one is put behind the old, then before it, then the old one goes, each time
    /// in all programs, and no call fails.
    ///
    /// - Parameter setting: the variable that names the file.
    /// - Throws: `AccessSettingError`, which names both.
    public init(path: String, named setting: String) throws(AccessSettingError) {
        let lines = try SmallFile.read(path).split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }).map(Array.init)
        guard !lines.isEmpty, lines.allSatisfy({ $0.count >= Limits.shortest }) else {
            throw AccessSettingError(
                description:
                    "\(setting): \(path) has to have a secret of at least \(Limits.shortest) characters on each line; "
                    + "openssl rand -hex 32 makes one.")
        }
        keys = lines
    }

    init(_ keys: [[UInt8]]) { self.keys = keys }

    /// Makes a file with a secret if there is none: for a program that has a folder of its own.
    ///
    /// - Throws: `AccessSettingError`, which names the file.
    public static func makeIfNeeded(_ path: String) throws(AccessSettingError) {
        if SmallFile.exists(path) { return }
        guard let random = HMACSHA256.randomKey else {
            throw AccessSettingError(description: "OpenSSL has no random numbers for \(path).")
        }
        try SmallFile.makePrivate(path, Array(Base64URL.encode(random.span).utf8) + [0x0A])
    }

    /// A service's own token.
    ///
    /// - Parameter now: Unix seconds.
    /// - Returns: the token, and the second from which on it is not taken; nil: out of memory.
    func token(for service: ServiceName, at now: Int64) -> (text: String, expires: Int64)? {
        let expires = now + Limits.life
        let signed = "\(Self.version)\(service.rawValue).\(expires)"
        guard let code = HMACSHA256.code(of: Array(signed.utf8).span, key: keys[0]) else { return nil }
        return ("\(signed).\(Base64URL.encode(code.span))", expires)
    }

    /// Whether a token says that it is a service's.
    static func isServiceToken(_ text: Span<UInt8>) -> Bool {
        text.count > version.utf8CodeUnitCount
            && ASCII.equals(text.extracting(..<version.utf8CodeUnitCount), version)
    }

    /// The service that a token is from.
    ///
    /// - Parameter now: Unix seconds.
    func principal(of text: Span<UInt8>, at now: Int64) throws(TokenRefusal) -> Principal {
        // The longest: version, `simulator`, a time, a code.
        guard text.count <= 128 else { throw .malformed(.size) }
        let parts = String(utf8: text).split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, let service = ServiceName(rawValue: String(parts[1])),
            let expires = Int64(parts[2]), String(expires) == parts[2],
            let code = Base64URL.decode(Array(parts[3].utf8).span)
        else { throw .malformed(.form) }
        let signed = text.extracting(..<(text.count - parts[3].utf8.count - 1))
        guard keys.contains(where: { HMACSHA256.verifies(code.span, of: signed, key: $0) }) else {
            throw .badSignature
        }
        // This first: a number that is within these bounds can be calculated with.
        guard expires <= now + Limits.life + TokenVerifier.skew else { throw .notYetValid }
        guard expires > now - TokenVerifier.skew else { throw .expired }
        return Principal(service, expires: expires + TokenVerifier.skew)
    }
}

extension Principal {
    /// Another service.
    convenience init(_ service: ServiceName, expires: Int64) {
        self.init(
            subject: service.rawValue, roles: [.service], expires: expires,
            issuedAt: expires - ServiceSecret.Limits.life,
            tokenID: "")
    }
}
