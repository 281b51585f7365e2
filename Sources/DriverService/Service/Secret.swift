import AccessTokens
import Bytes
import Reactor

/// 32 random bytes that open something. They are handed out once, as text; what is stored is their digest.
struct Secret: Equatable {
    private static let size = 32
    private let bytes: [UInt8]

    /// - Parameter loop: whose random source they come from, which is the kernel's, and a simulated loop's own.
    init(from loop: EventLoop) {
        bytes = (0..<Self.size / 8).flatMap { _ in
            let word = loop.randomNumber()
            return (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
    }

    /// From its text; nil: it is none.
    init?(_ text: Substring) {
        guard let bytes = Base64URL.decode(Array(text.utf8).span), bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }

    /// Base64url, 43 characters.
    var text: String { Base64URL.encode(bytes.span) }

    /// SHA-256: no salt is needed where nobody can guess what was hashed, and comparing two tells nothing of either.
    var digest: [UInt8] { SHA256.digest(bytes.span) }
}

/// What a session is refreshed with: `FAMILY.SECRET`. The first half names the session and stays; the second is good once.
///
/// So a token that was used before is told from one that never was: whoever has the first half had a token of this session. Nobody
/// else can end it.
struct RefreshToken: Equatable {
    let family: Secret
    let secret: Secret

    /// A new session's first token, or with `family` the next one of a session.
    init(family: Secret? = nil, from loop: EventLoop) {
        self.family = family ?? Secret(from: loop)
        secret = Secret(from: loop)
    }

    /// From its text; nil: it is none.
    init?(_ text: String) {
        let halves = text.split(separator: ".", omittingEmptySubsequences: false)
        guard halves.count == 2, let family = Secret(halves[0]), let secret = Secret(halves[1]) else { return nil }
        self.family = family
        self.secret = secret
    }

    var text: String { "\(family.text).\(secret.text)" }
}
