/// What an access token says (RFC 9068 §2.2), once it is verified.
public struct AccessToken: Sendable, Hashable {
    /// Who made it, `iss`.
    public var issuer: String
    /// Whom it stands for, `sub`.
    public var subject: String
    /// Whom it is for, `aud`.
    public var audience: [String]
    /// Unix seconds from which on it is not valid any more, `exp`.
    public var expires: Int64
    /// Unix seconds before which it is not valid, `nbf`.
    public var notBefore: Int64?
    /// Unix seconds when it was made, `iat`.
    public var issuedAt: Int64
    /// Its own name, `jti`, by which it can be revoked.
    public var identifier: String
    /// The program that it was made for, `client_id`.
    public var client: String
    /// What it allows: the words of `scope`, and of `roles` (RFC 9068 §2.2.3.1).
    public var scopes: Set<String>

    /// A token that is to be signed.
    public init(
        issuer: String, subject: String, audience: [String], expires: Int64, notBefore: Int64? = nil, issuedAt: Int64,
        identifier: String, client: String, scopes: Set<String>
    ) {
        self.issuer = issuer
        self.subject = subject
        self.audience = audience
        self.expires = expires
        self.notBefore = notBefore
        self.issuedAt = issuedAt
        self.identifier = identifier
        self.client = client
        self.scopes = scopes
    }
}
