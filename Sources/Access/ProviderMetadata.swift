import JSONWire

/// What an OpenID provider says of itself (OpenID Connect Discovery 1.0 §3, RFC 8414 §2), as far as it matters. A member that is
/// needed and is of another type than it has to be spoils the document; one that may be left out counts as not there.
struct ProviderMetadata: Sendable {
    var issuer: String?
    /// `jwks_uri`
    var keys: String?
    /// `authorization_endpoint`
    var authorization: String?
    /// `token_endpoint`
    var token: String?
    private var responseTypes: [String]?
    private var challengeMethods: [String]?
    private var authenticationMethods: [String]?
    /// Every answer to an authorization request says whose it is, `iss` (RFC 9207 §3).
    private(set) var namesItself = false

    init(_ text: Span<UInt8>) throws(JSONError) {
        var limits = JSONLimits()
        limits.size = IssuerKeys.Limits.bytes
        var reader = JSONReader(text, limits: limits)
        try reader.beginObject()
        while let name = try reader.nextMember() {
            switch reader.string(of: name) {
            case "issuer": issuer = try reader.readString()
            case "jwks_uri": keys = try reader.readString()
            case "authorization_endpoint": authorization = try reader.readString()
            case "token_endpoint": token = try reader.readString()
            case "response_types_supported": responseTypes = try Self.readTexts(&reader)
            case "code_challenge_methods_supported": challengeMethods = try Self.readTexts(&reader)
            case "token_endpoint_auth_methods_supported": authenticationMethods = try Self.readTexts(&reader)
            case "authorization_response_iss_parameter_supported":
                if try reader.peek() == .boolean { namesItself = try reader.readBool() } else { try reader.skipValue() }
            default: try reader.skipValue()
            }
        }
        try reader.finish()
    }

    /// An array of strings; nil: something else.
    private static func readTexts(_ reader: inout JSONReader) throws(JSONError) -> [String]? {
        guard try reader.peek() == .array else {
            try reader.skipValue()
            return nil
        }
        var texts: [String]? = []
        try reader.beginArray()
        while try reader.nextElement() {
            if try reader.peek() == .string {
                texts?.append(try reader.readString())
            } else {
                try reader.skipValue()
                texts = nil
            }
        }
        return texts
    }

    /// Why nobody can be signed in there by authorization code and PKCE; nil: nothing speaks against it.
    var obstacle: String? {
        guard let authorization, IssuerKeys.isSafe(authorization), !authorization.utf8.contains(UInt8(ascii: "#"))
        else {
            return "its metadata has no authorization_endpoint of https without a fragment"
        }
        guard let token, IssuerKeys.isSafe(token) else { return "its metadata has no token_endpoint of https" }
        if let responseTypes, !responseTypes.contains("code") { return "it gives no codes (response_types_supported)" }
        // Many that know PKCE do not say so, and whoever does not know it reads over it (RFC 6749 §3.1).
        if let challengeMethods, !challengeMethods.contains("S256") {
            return "it takes no code challenge of S256 (code_challenge_methods_supported)"
        }
        return nil
    }

    /// Whether a client's secret goes into the body, since the field that is the rule (RFC 6749 §2.3.1) is not taken.
    var takesSecretInBody: Bool {
        guard let authenticationMethods else { return false }
        return !authenticationMethods.contains("client_secret_basic")
            && authenticationMethods.contains("client_secret_post")
    }
}
