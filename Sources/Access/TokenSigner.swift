import AccessTokens

/// Makes this installation's own access tokens. Thread-safe.
public struct TokenSigner: Sendable {
    private let key: SigningKey
    private let audience: String

    /// - Parameter audience: what `aud` says.
    public init(key: SigningKey, audience: String) {
        self.key = key
        self.audience = audience
    }

    /// A token in its compact form; nil: OpenSSL is out of memory.
    ///
    /// - Parameters:
    ///   - seconds: how long it is valid.
    ///   - now: Unix seconds.
    ///   - id: its own name, which no other token has.
    ///   - client: the program that it is made for.
    public func token(
        for subject: String, _ roles: Roles, seconds: Int64, at now: Int64, id: String, client: String
    ) -> String? {
        key.sign(
            AccessToken(
                issuer: OwnIssuer.name, subject: subject, audience: [audience], expires: now + seconds, issuedAt: now,
                identifier: id, client: client, scopes: Set(roles.words)))
    }
}
