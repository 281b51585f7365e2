import Bytes

/// An issuer whose tokens are believed, and how far.
public struct TrustedIssuer: Sendable {
    /// Its name, to the letter what `iss` has to say: an HTTPS address.
    public var name: String
    /// What `aud` has to contain.
    public var audience: String
    /// Its keys.
    public var keys: JSONWebKeySet
    /// Words of `scope` and `roles` that it may grant; nil: all. Others in its tokens are not there.
    public var scopes: Set<String>?
    /// Takes tokens of the type `JWT`, or of none, too, if they have nothing of an ID token: of issuers that do not follow
    /// RFC 9068. They need no `client_id`, and no `jti`.
    public var acceptsPlainType: Bool

    /// An issuer that follows RFC 9068.
    public init(
        name: String, audience: String, keys: JSONWebKeySet, scopes: Set<String>? = nil, acceptsPlainType: Bool = false
    ) {
        self.name = name
        self.audience = audience
        self.keys = keys
        self.scopes = scopes
        self.acceptsPlainType = acceptsPlainType
    }
}

/// Verifies access tokens (RFC 9068 §4, RFC 8725): of which issuer, by which key, and whether it is for this service now.
///
///     let verifier = TokenVerifier([TrustedIssuer(name: "https://id.example", audience: "rides", keys: set)])
///     let token = try verifier.verify(bytes, at: unixSeconds)
///
/// A verification is some 50 µs of work and keeps nothing: `VerifiedTokens` remembers outcomes. Thread-safe.
public struct TokenVerifier: Sendable {
    /// How far clocks may go apart, in seconds.
    public static let skew: Int64 = 30

    private let issuers: [String: TrustedIssuer]
    /// Bytes of the longest name.
    private let longestName: Int

    /// The names of the issuers whose tokens are believed.
    public var issuerNames: [String] { issuers.keys.sorted() }

    /// Verifies tokens of these issuers, whose names are different.
    public init(_ issuers: [TrustedIssuer]) {
        self.issuers = Dictionary(issuers.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        longestName = issuers.map(\.name.utf8.count).max() ?? 0
    }

    /// The same with other keys of one issuer, if that is among those who are believed.
    public func replacing(keys: JSONWebKeySet, of issuer: String) -> TokenVerifier {
        TokenVerifier(
            issuers.values.map { known in
                guard known.name == issuer else { return known }
                var changed = known
                changed.keys = keys
                return changed
            })
    }

    /// Who made a token by its own words, if that is one who is believed. Nothing is verified.
    public func claimedIssuer(of text: Span<UInt8>) -> String? {
        guard let token = try? CompactToken(text), let name = (try? TokenClaims(token.claims.span))?.issuer else {
            return nil
        }
        return issuer(named: name) == nil ? nil : name
    }

    /// What a token says, if all of it is as it should be.
    ///
    /// What a token claims is looked at once its signature is verified, but for the issuer's name and the key's, by which the
    /// key is found: of (issuer, `kid`), never of `kid` alone.
    ///
    /// - Parameters:
    ///   - text: the token in its compact form.
    ///   - now: Unix seconds.
    public func verify(_ text: Span<UInt8>, at now: Int64) throws(TokenRefusal) -> AccessToken {
        let token = try CompactToken(text)
        let claims = try TokenClaims(token.claims.span)
        guard let name = claims.issuer else { throw .badClaim(.iss) }
        guard let issuer = issuer(named: name) else { throw .unknownIssuer }
        guard token.header.isAccessToken || (issuer.acceptsPlainType && token.header.isPlain) else { throw .wrongType }
        guard let algorithm = token.header.algorithm else { throw .wrongAlgorithm }
        guard let key = issuer.keys.key(named: token.header.key) else { throw .unknownKey }
        guard key.algorithm == algorithm else { throw .wrongAlgorithm }
        guard key.verifies(token.signature.span, of: text.extracting(..<token.signedCount)) else { throw .badSignature }
        return try check(claims, of: issuer, isPlain: !token.header.isAccessToken, at: now)
    }

    /// A name that nobody has signed yet is not hashed beyond the longest one.
    private func issuer(named name: String) -> TrustedIssuer? {
        name.utf8.count <= longestName ? issuers[name] : nil
    }

    private func check(
        _ claims: TokenClaims, of issuer: TrustedIssuer, isPlain: Bool, at now: Int64
    ) throws(TokenRefusal) -> AccessToken {
        if claims.isOfIdentity { throw .identityToken }
        guard let audience = claims.audience, !audience.isEmpty else { throw .badClaim(.aud) }
        guard audience.contains(issuer.audience) else { throw .wrongAudience }
        guard let expires = claims.expires else { throw .badClaim(.exp) }
        guard let issuedAt = claims.issuedAt else { throw .badClaim(.iat) }
        guard now < Self.sum(expires, Self.skew) else { throw .expired }
        guard max(issuedAt, claims.notBefore ?? issuedAt) <= Self.sum(now, Self.skew) else { throw .notYetValid }
        guard let subject = claims.subject, KeyRecord.isName(subject) else { throw .badClaim(.sub) }
        let (identifier, client) = (claims.identifier ?? (isPlain ? "" : nil), claims.client ?? (isPlain ? "" : nil))
        guard let identifier, KeyRecord.isName(identifier) || isPlain && identifier.isEmpty else {
            throw .badClaim(.jti)
        }
        guard let client, KeyRecord.isName(client) || isPlain && client.isEmpty else { throw .badClaim(.clientID) }
        return AccessToken(
            issuer: issuer.name, subject: subject, audience: audience, expires: expires, notBefore: claims.notBefore,
            issuedAt: issuedAt, identifier: identifier, client: client,
            scopes: issuer.scopes.map(claims.scopes.intersection) ?? claims.scopes)
    }

    /// The claims may say any number.
    static func sum(_ left: Int64, _ right: Int64) -> Int64 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? (right > 0 ? .max : .min) : sum
    }
}
