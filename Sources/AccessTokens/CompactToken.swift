import Bytes
import JSONWire

/// A JWT in its compact form (RFC 7515 §7.1), taken apart. Nothing of it is believed yet.
struct CompactToken {
    /// Longer ones are refused before anything is read: an access token has some hundred bytes, and header fields in all some
    /// thousand.
    static let limit = 8_192

    /// How many bytes of it are signed: header and claims as they were sent, with the dot between them.
    let signedCount: Int
    let header: TokenHeader
    let claims: [UInt8]
    let signature: [UInt8]

    init(_ text: Span<UInt8>) throws(TokenRefusal) {
        guard text.count <= Self.limit else { throw .malformed(.size) }
        var dots: [Int] = []
        for index in text.indices where text[index] == UInt8(ascii: ".") { dots.append(index) }
        // The compact form of an encrypted token has five parts (RFC 7516 §3.1).
        if dots.count == 4 { throw .encrypted }
        guard dots.count == 2,
            let header = Base64URL.decode(text.extracting(..<dots[0])),
            let claims = Base64URL.decode(text.extracting((dots[0] + 1)..<dots[1])),
            let signature = Base64URL.decode(text.extracting((dots[1] + 1)...))
        else { throw .malformed(.form) }
        signedCount = dots[1]
        self.header = try TokenHeader(header.span)
        self.claims = claims
        self.signature = signature
    }
}

/// What of a header matters. Members that bring a key along, or say where to fetch one (`jwk`, `jku`, `x5c`, `x5u`), are read
/// over: a key is believed because its issuer's set has it, never because a token shows it.
struct TokenHeader: Equatable {
    /// As it stands there: a name that is no algorithm here fits no key.
    var algorithm: SignatureAlgorithm?
    var key: String?
    var type: String?

    init(_ json: Span<UInt8>) throws(TokenRefusal) {
        var algorithmIsThere = false
        var isCritical = false
        do throws(JSONError) {
            var reader = JSONReader(json)
            try reader.beginObject()
            while let name = try reader.nextMember() {
                if reader.isEqual(name, "alg") {
                    algorithm = SignatureAlgorithm(name: try reader.readString())
                    algorithmIsThere = true
                } else if reader.isEqual(name, "kid") {
                    key = try reader.readString()
                } else if reader.isEqual(name, "typ") {
                    type = try reader.readString()
                } else {
                    // `b64` turns off the encoding of what is signed (RFC 7797), which only `crit` may do.
                    isCritical = isCritical || reader.isEqual(name, "crit") || reader.isEqual(name, "b64")
                    try reader.skipValue()
                }
            }
            try reader.finish()
        } catch {
            throw .malformed(.header)
        }
        guard algorithmIsThere, key.map(KeyRecord.isName) != false else { throw .malformed(.header) }
        // What is longer is none of those that are looked for, and nobody has signed it yet.
        type = type?.clippedVisibly(to: 40)
        if isCritical { throw .criticalHeader }
    }

    /// RFC 9068 §2.1, of which the part before the slash may be left out (RFC 7515 §4.1.9).
    var isAccessToken: Bool { type.map { ["at+jwt", "application/at+jwt"].contains($0.lowercased()) } ?? false }

    /// What issuers write that do not follow RFC 9068, and Open ID providers into ID tokens, too.
    var isPlain: Bool { type.map { $0.lowercased() == "jwt" } ?? true }
}

/// The claims of a token, as far as they matter; nil: not there.
///
/// Nobody has signed them yet: their texts are kept as they are. To hash, split or compare one takes a time that grows with the square
/// of what somebody can put between two letters.
struct TokenClaims {
    var issuer: String?
    var subject: String?
    var audience: [String]?
    var expires: Int64?
    var notBefore: Int64?
    var issuedAt: Int64?
    var identifier: String?
    var client: String?
    private var scopeTexts: [String] = []
    private var roles: [String] = []
    /// It has a claim that only ID tokens have (OpenID Connect Core 1.0 §2, §3.3.2.11).
    var isOfIdentity = false

    init(_ json: Span<UInt8>) throws(TokenRefusal) {
        var current: TokenRefusal.Claim?
        do throws(JSONError) {
            var reader = JSONReader(json)
            try reader.beginObject()
            while let name = try reader.nextMember() {
                // What is longer is none of those that are looked for.
                let member = name.end - name.start <= Self.longestName ? reader.string(of: name) : ""
                current = TokenRefusal.Claim(rawValue: member)
                switch current {
                case .iss: issuer = try reader.readString()
                case .sub: subject = try reader.readString()
                case .aud: audience = try Self.readTexts(&reader)
                // A fraction, an exponent or a number beyond 64 bits is none: RFC 7519 allows them, and nobody needs them.
                case .exp: expires = try reader.readInt64()
                case .nbf: notBefore = try reader.readInt64()
                case .iat: issuedAt = try reader.readInt64()
                case .jti: identifier = try reader.readString()
                case .clientID: client = try reader.readString()
                case .scope: scopeTexts.append(try reader.readString())
                case .roles: roles += try Self.readTexts(&reader)
                case nil:
                    isOfIdentity = isOfIdentity || ["nonce", "at_hash", "c_hash", "s_hash"].contains(member)
                    try reader.skipValue()
                }
            }
            current = nil
            try reader.finish()
        } catch {
            throw TokenRefusal(error, reading: current)
        }
    }

    /// Bytes of the longest name that matters, `client_id`, all of it escaped.
    private static let longestName = 6 * 9

    /// The words of `scope`, and `roles`. Once the signature is verified.
    var scopes: Set<String> {
        Set(roles).union(scopeTexts.flatMap { $0.split(separator: " ").map(String.init) })
    }

    /// A string, or an array of strings.
    static func readTexts(_ reader: inout JSONReader) throws(JSONError) -> [String] {
        guard try reader.peek() == .array else { return [try reader.readString()] }
        var texts: [String] = []
        try reader.beginArray()
        while try reader.nextElement() { texts.append(try reader.readString()) }
        return texts
    }
}

extension TokenRefusal {
    /// What is wrong with claims that can't be read: a value of another type is the claim's fault, anything else the whole text's.
    ///
    /// - Parameter claim: whose value was read; nil: of none that matters.
    init(_ error: JSONError, reading claim: Claim?) {
        let isValue = error.isTypeMismatch || error.reason == .notAnInteger || error.reason == .numberOutOfRange
        if isValue, let claim { self = .badClaim(claim) } else { self = .malformed(.claims) }
    }
}
