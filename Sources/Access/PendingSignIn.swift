import AccessTokens
import Bytes
import Reactor

/// A sign-in at a provider that one browser has begun. All that has to be remembered of it is one random value, which a cookie of
/// that browser keeps: what the provider is told follows from it, and tells nothing of it.
///
///     cookie = SEED.RETURN     state = HMAC(SEED, "state")     nonce = HMAC(SEED, "nonce")     verifier = HMAC(SEED, "verifier")
///
/// So an answer counts in the browser alone that asked for it (RFC 6749 §10.12), an ID token for this sign-in alone, and a code
/// is of no use to whoever has intercepted it (RFC 7636).
public struct PendingSignIn: Sendable, Equatable {
    /// Seconds that a person has for it. Reason: a second factor may have to be looked for; a forgotten window is none.
    public static let life: Int64 = 600
    /// Bytes of the longest path to return to.
    public static let longestPath = 1024

    private let seed: [UInt8]
    /// The path of this gateway's to which the browser goes in the end.
    public let returnPath: String
    /// What the provider is to send back, RFC 6749 §4.1.1.
    public let state: String
    /// What the ID token has to say.
    public let nonce: String
    /// What is told to the provider when the code is exchanged, RFC 7636 §4.1: 43 characters.
    let verifier: String

    /// A new one; nil: out of memory, or no path to return to (`isReturnPath`).
    ///
    /// - Parameter loop: whose random source is taken.
    public init?(returnPath: String, from loop: EventLoop) {
        let seed = (0..<4).flatMap { _ in
            let word = loop.randomNumber()
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
        self.init(seed, returnPath)
    }

    /// What a cookie keeps; nil: it is none of ours.
    public init?(cookie: [UInt8]) {
        let parts = cookie.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map(Array.init)
        guard parts.count == 2 else { return nil }
        let (first, second) = (parts[0], parts[1])
        guard let seed = Base64URL.decode(first.span), seed.count == 32, let bytes = Base64URL.decode(second.span),
            let path = String(validating: bytes, as: UTF8.self)
        else { return nil }
        self.init(seed, path)
    }

    private init?(_ seed: [UInt8], _ returnPath: String) {
        func derived(_ use: String) -> String? {
            HMACSHA256.code(of: Array(use.utf8).span, key: seed).map { Base64URL.encode($0.span) }
        }
        guard Self.isReturnPath(returnPath), let state = derived("state"), let nonce = derived("nonce"),
            let verifier = derived("verifier")
        else { return nil }
        self.seed = seed
        self.returnPath = returnPath
        self.state = state
        self.nonce = nonce
        self.verifier = verifier
    }

    /// For the cookie.
    public var cookie: String {
        "\(Base64URL.encode(seed.span)).\(Base64URL.encode(Array(returnPath.utf8).span))"
    }

    /// Whether a browser can be sent there behind this gateway's own origin: never to another host, and not to signing in again.
    public static func isReturnPath(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard bytes.first == UInt8(ascii: "/"), bytes.count <= longestPath,
            bytes.allSatisfy({ 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "\\") })
        else { return false }
        return !text.hasPrefix("//") && !text.hasPrefix("/auth/") && !text.hasPrefix("/v1/")
    }

    /// What is told to the provider before that, §4.2.
    var challenge: String { Base64URL.encode(SHA256.digest(Array(verifier.utf8).span).span) }

    /// Whether an answer is to this sign-in, in a time that does not tell how much of it is right.
    public func isAnswered(by state: String) -> Bool {
        guard let code = Base64URL.decode(Array(state.utf8).span) else { return false }
        return HMACSHA256.verifies(code.span, of: Array("state".utf8).span, key: seed)
    }
}
