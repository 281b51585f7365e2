import Bytes

/// How a token is signed. A key has one of these, by what is known of the key; a token only repeats it.
///
/// There is no `none`, and there are no codes of a shared secret (`HS256`): they would make a signature of whatever is known to
/// everybody.
public enum SignatureAlgorithm: Sendable, Hashable, CaseIterable {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    case rs256
    /// RSASSA-PSS with SHA-256 and a salt of 32 bytes (RFC 7518 §3.5).
    case ps256
    /// ECDSA on the curve P-256 with SHA-256 (RFC 7518 §3.4).
    case es256
    /// Ed25519 (RFC 8032, RFC 8037).
    case ed25519

    /// The algorithm of an `alg` member, to the letter: `RS256`, `PS256`, `ES256`, `EdDSA` and its newer name `Ed25519` (RFC 9864).
    init?(name: String) {
        // A longer one is none of these. Bytes first: nobody has signed what is compared here.
        switch name.clippedVisibly(to: 10) {
        case "RS256": self = .rs256
        case "PS256": self = .ps256
        case "ES256": self = .es256
        case "EdDSA", "Ed25519": self = .ed25519
        default: return nil
        }
    }

    /// What `alg` members say that are made here.
    public var name: String {
        switch self {
        case .rs256: "RS256"
        case .ps256: "PS256"
        case .es256: "ES256"
        case .ed25519: "EdDSA"
        }
    }
}
