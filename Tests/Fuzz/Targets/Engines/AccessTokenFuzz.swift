import AccessTokens
import Bytes

/// RFC 7515, 7517, 7519: no text that is no token of the key's own is accepted, and no set of keys traps.
///
/// The first byte chooses: the rest is a token, a set of keys, or what is put into the claims of a token that is signed.
func fuzzAccessToken(_ bytes: [UInt8]) throws {
    guard let first = bytes.first else { return }
    let rest = Array(bytes.dropFirst())
    switch first % 4 {
    case 0: try promise(!isAccepted(rest), "a token that nobody has signed")
    case 1:
        let dots = rest.map { $0 == UInt8(ascii: "|") ? UInt8(ascii: ".") : $0 }
        try promise(!isAccepted(dots), "a token that nobody has signed")
    case 2: _ = try? JSONWebKeySet(rest.span)
    default:
        // Whatever a subject is, what is read is what was signed, or it is refused.
        let subject = String(decoding: rest, as: UTF8.self)
        var token = AccessToken(
            issuer: "https://id.example", subject: subject, audience: ["rides"], expires: 1_000, issuedAt: 100,
            identifier: "1", client: "page", scopes: [])
        token.notBefore = Int64(rest.count)
        guard let text = signingKey.sign(token) else { return }
        if let read = try? verifier.verify(Array(text.utf8).span, at: 500) {
            try promise(read == token, "another token was read: \(read)")
        }
    }
}

private func isAccepted(_ token: [UInt8]) -> Bool { (try? verifier.verify(token.span, at: 500)) != nil }

/// The key of RFC 8037, appendix A.1: the same in each run.
private let signingKey: SigningKey = {
    let pem = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
        -----END PRIVATE KEY-----
        """
    guard let key = SigningKey(pem: Array(pem.utf8).span) else { fatalError("OpenSSL can't read a key") }
    return key
}()

private let verifier = TokenVerifier([
    TrustedIssuer(name: "https://id.example", audience: "rides", keys: JSONWebKeySet([signingKey.publicKey]))
])
