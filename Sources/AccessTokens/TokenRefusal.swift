/// Why a token is refused. The words are for its client (`error_description` of RFC 6750 §3): they say nothing that the token
/// did not, and nothing that only its maker could have known.
public enum TokenRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// It is no JWT in its compact form (RFC 7519 §3).
    case malformed(Part)
    /// It is encrypted (JWE): nobody here has a key for that.
    case encrypted
    /// `typ` is not that of an access token (RFC 9068 §2.1).
    case wrongType
    /// It has a `crit` header: no extension is understood here (RFC 7515 §4.1.11).
    case criticalHeader
    /// No issuer of that name is trusted.
    case unknownIssuer
    /// The issuer has no such key, or has several and the token names none.
    case unknownKey
    /// `alg` is not what the key is for.
    case wrongAlgorithm
    /// The signature is not one of the issuer's key.
    case badSignature
    /// `aud` does not name this service.
    case wrongAudience
    /// `exp` is past.
    case expired
    /// `nbf`, or `iat`, is in the future.
    case notYetValid
    /// It is an ID token, which tells a client who somebody is and opens nothing (RFC 9068 §5).
    case identityToken
    /// A claim that an access token must have is not there, or is none of its kind (RFC 9068 §2.2).
    case badClaim(Claim)
    /// It, or its subject, was revoked.
    case revoked
    /// It was made before what is known of revocations begins.
    case tooOld

    /// A part of a token.
    public enum Part: String, Sendable {
        case size = "too long"
        case form = "not three parts of base64url"
        case header = "its header is not what a header has to be"
        case claims = "its claims are not a JSON object"
    }

    /// A claim that is looked at.
    public enum Claim: String, Sendable {
        case iss, sub, aud, exp, nbf, iat, jti, scope, roles
        case clientID = "client_id"
    }

    /// A word for a metric's label; there are as many as cases.
    public var label: String {
        switch self {
        case .malformed: "malformed"
        case .encrypted: "encrypted"
        case .wrongType: "wrong_type"
        case .criticalHeader: "critical_header"
        case .unknownIssuer: "unknown_issuer"
        case .unknownKey: "unknown_key"
        case .wrongAlgorithm: "wrong_algorithm"
        case .badSignature: "bad_signature"
        case .wrongAudience: "wrong_audience"
        case .expired: "expired"
        case .notYetValid: "not_yet_valid"
        case .identityToken: "identity_token"
        case .badClaim: "bad_claim"
        case .revoked: "revoked"
        case .tooOld: "too_old"
        }
    }

    /// In words, without a quotation mark or a backslash.
    public var description: String {
        switch self {
        case .malformed(let part): "The token is no JWT: \(part.rawValue)."
        case .encrypted: "The token is encrypted; signed ones are taken."
        case .wrongType: "The token is not of the type at+jwt."
        case .criticalHeader: "The token has a crit header, and no extension is known here."
        case .unknownIssuer: "The token's issuer is not trusted here."
        case .unknownKey: "The token's issuer has no key of that kid."
        case .wrongAlgorithm: "The token's alg is not that of its key."
        case .badSignature: "The token's signature is not its issuer's."
        case .wrongAudience: "The token is for another audience."
        case .expired: "The token has expired."
        case .notYetValid: "The token is not valid yet."
        case .identityToken: "This is an ID token; an access token is needed."
        case .badClaim(let claim): "The token's claim \(claim.rawValue) is not there, or not as it has to be."
        case .revoked: "The token was revoked."
        case .tooOld: "The token is too old for it to be known whether it was revoked; get a new one."
        }
    }
}
