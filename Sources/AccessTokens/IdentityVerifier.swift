import Bytes
import JSONWire

/// What an ID token says (OpenID Connect Core 1.0 §2), once it is verified: who has signed in. It opens nothing.
public struct IdentityToken: Sendable, Hashable {
    /// Who says so, `iss`.
    public let issuer: String
    /// The person's name at that issuer, `sub`: it stays.
    public let subject: String
    /// What people call them: `name`, or `preferred_username`; nil: the issuer does not say.
    public let name: String?
}

/// Why nobody is believed to have signed in by an ID token.
public enum IdentityRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// What would be wrong with an access token, too.
    case token(TokenRefusal)
    /// Its type is another one's: an access token says what may be done, not who has signed in.
    case notIdentity
    /// `nonce` is not that of the request (§3.1.3.7, 11): the token answers somebody else's.
    case wrongNonce
    /// `azp` names another client, or none where the token is for several (§3.1.3.7, 4 and 5).
    case wrongParty

    /// A word for a log.
    public var label: String {
        switch self {
        case .token(let refusal): refusal.label
        case .notIdentity: "wrong_type"
        case .wrongNonce: "wrong_nonce"
        case .wrongParty: "wrong_party"
        }
    }

    public var description: String {
        switch self {
        case .token(let refusal): refusal.description
        case .notIdentity: "The token is of a type that is none of ID tokens."
        case .wrongNonce: "The token's nonce is not that of the request."
        case .wrongParty: "The token's azp names another client, or none."
        }
    }
}

/// Verifies the ID tokens that one issuer makes for one client (OpenID Connect Core 1.0 §3.1.3.7). They never pass for access
/// tokens, nor those for them: types and claims of each are refused by the other's verifier. Thread-safe.
public struct IdentityVerifier: Sendable {
    private let issuer: String
    private let client: String
    private let keys: JSONWebKeySet

    /// - Parameters:
    ///   - issuer: what `iss` has to say, to the letter.
    ///   - client: what `aud` has to contain.
    public init(issuer: String, client: String, keys: JSONWebKeySet) {
        self.issuer = issuer
        self.client = client
        self.keys = keys
    }

    /// Who has signed in.
    ///
    /// - Parameters:
    ///   - text: the token in its compact form.
    ///   - nonce: of the authorization request that it answers.
    ///   - now: Unix seconds.
    public func verify(
        _ text: Span<UInt8>, nonce: String, at now: Int64
    ) throws(IdentityRefusal) -> IdentityToken {
        let claims: IdentityClaims
        do throws(TokenRefusal) { claims = try signedClaims(of: text) } catch {
            throw error == .wrongType ? .notIdentity : .token(error)
        }
        guard let name = claims.issuer else { throw .token(.badClaim(.iss)) }
        guard name == issuer else { throw .token(.unknownIssuer) }
        guard let audience = claims.audience, !audience.isEmpty else { throw .token(.badClaim(.aud)) }
        guard audience.contains(client) else { throw .token(.wrongAudience) }
        guard claims.party.map({ $0 == client }) ?? (audience.count == 1) else { throw .wrongParty }
        guard let expires = claims.expires else { throw .token(.badClaim(.exp)) }
        guard let issuedAt = claims.issuedAt else { throw .token(.badClaim(.iat)) }
        guard now < TokenVerifier.sum(expires, TokenVerifier.skew) else { throw .token(.expired) }
        guard max(issuedAt, claims.notBefore ?? issuedAt) <= TokenVerifier.sum(now, TokenVerifier.skew) else {
            throw .token(.notYetValid)
        }
        guard claims.nonce == nonce else { throw .wrongNonce }
        guard let subject = claims.subject, KeyRecord.isName(subject) else { throw .token(.badClaim(.sub)) }
        return IdentityToken(issuer: issuer, subject: subject, name: claims.name ?? claims.userName)
    }

    /// The claims, if the signature is one of the issuer's keys. Its algorithm is that of the key.
    private func signedClaims(of text: Span<UInt8>) throws(TokenRefusal) -> IdentityClaims {
        let token = try CompactToken(text)
        guard token.header.isPlain else { throw .wrongType }
        guard let algorithm = token.header.algorithm else { throw .wrongAlgorithm }
        guard let key = keys.key(named: token.header.key) else { throw .unknownKey }
        guard key.algorithm == algorithm else { throw .wrongAlgorithm }
        guard key.verifies(token.signature.span, of: text.extracting(..<token.signedCount)) else { throw .badSignature }
        return try IdentityClaims(token.claims.span)
    }
}

/// The claims of an ID token, as far as they matter; nil: not there.
private struct IdentityClaims {
    var issuer: String?
    var subject: String?
    var audience: [String]?
    var party: String?
    var expires: Int64?
    var notBefore: Int64?
    var issuedAt: Int64?
    var nonce: String?
    var name: String?
    var userName: String?

    init(_ json: Span<UInt8>) throws(TokenRefusal) {
        var current: TokenRefusal.Claim?
        do throws(JSONError) {
            var reader = JSONReader(json)
            try reader.beginObject()
            while let name = try reader.nextMember() {
                let member = reader.string(of: name)
                current = TokenRefusal.Claim(rawValue: member)
                switch member {
                case "iss": issuer = try reader.readString()
                case "sub": subject = try reader.readString()
                case "aud": audience = try TokenClaims.readTexts(&reader)
                case "azp": party = try reader.readString()
                case "exp": expires = try reader.readInt64()
                case "nbf": notBefore = try reader.readInt64()
                case "iat": issuedAt = try reader.readInt64()
                case "nonce": nonce = try reader.readString()
                case "name": self.name = try Self.readName(&reader)
                case "preferred_username": userName = try Self.readName(&reader)
                default: try reader.skipValue()
                }
            }
            current = nil
            try reader.finish()
        } catch {
            throw TokenRefusal(error, reading: current)
        }
    }

    /// What is only shown to people is no reason to turn anybody away.
    private static func readName(_ reader: inout JSONReader) throws(JSONError) -> String? {
        guard try reader.peek() == .string else {
            try reader.skipValue()
            return nil
        }
        let text = try reader.readString()
        return text.isEmpty ? nil : text
    }
}
