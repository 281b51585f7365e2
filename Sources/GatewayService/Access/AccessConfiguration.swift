import AccessTokens
import Operations
import Settings
import Telemetry

/// The issuer that needs nothing beside a private key: `cabstand token` makes its tokens.
public enum OwnIssuer {
    /// What `iss` says.
    public static let name = "urn:cabstand:issuer"

    /// Reads the private keys of files: the first one signs, all verify, so that a new key can be put in front of an old one whose
    /// tokens are still in use.
    ///
    /// - Parameter setting: the variable that names them.
    /// - Throws: `GatewayStartError`, which names both.
    public static func keys(_ paths: [String], named setting: String) throws(GatewayStartError) -> [SigningKey] {
        var keys: [SigningKey] = []
        for path in paths {
            let pem = try SmallFile.read(path)
            guard let key = SigningKey(pem: pem.span) else {
                throw GatewayStartError(
                    description:
                        "\(setting): \(path) is no private key of Ed25519 or P-256 in PEM without a passphrase; "
                        + "openssl genpkey -algorithm ed25519 makes one.")
            }
            keys.append(key)
        }
        return keys
    }
}

extension AccessControl.Configuration {
    /// What the settings say of access; nil: everybody may do everything.
    ///
    /// - Throws: `GatewayStartError` for what would let nobody in, with the setting that helps.
    static func of(_ settings: ProgramSettings) throws(GatewayStartError) -> Self? {
        guard settings.auth == "required" else { return nil }
        var issuers: [TrustedIssuer] = []
        let keys = try OwnIssuer.keys(settings.authKey, named: settings.variable(\.authKey))
        if !keys.isEmpty {
            let set = JSONWebKeySet(keys.map(\.publicKey))
            issuers.append(TrustedIssuer(name: OwnIssuer.name, audience: settings.authAudience, keys: set))
        }
        for entry in settings.authIssuers {
            let set = try keySet(entry.value, named: settings.variable(\.authIssuers))
            issuers.append(TrustedIssuer(name: entry.key, audience: settings.authAudience, keys: set))
        }
        guard let first = issuers.first else {
            let (key, others) = (settings.variable(\.authKey), settings.variable(\.authIssuers))
            throw GatewayStartError(
                description:
                    "\(settings.variable(\.auth)) is required, and nobody's tokens could be verified: give \(key) a "
                    + "private key (openssl genpkey -algorithm ed25519 -out key.pem), or \(others) an issuer with its keys."
            )
        }
        return Self(
            verifier: TokenVerifier(issuers), firstIssuer: first.name, publicLists: settings.publicLists == "on",
            keySet: keys.isEmpty ? nil : "{\"keys\":[\(keys.map(\.json).joined(separator: ","))]}")
    }

    /// The keys of a file.
    private static func keySet(_ path: String, named setting: String) throws(GatewayStartError) -> JSONWebKeySet {
        let text = try SmallFile.read(path)
        let set: JSONWebKeySet
        do throws(JSONWebKeySetError) {
            set = try JSONWebKeySet(text.span)
        } catch {
            throw GatewayStartError(description: "\(setting): \(path) is \(error).")
        }
        let logger = Logger(label: "access")
        for line in set.refused { logger.warning("a key can't be used", metadata: ["file": path, "why": line]) }
        guard !set.keys.isEmpty else {
            throw GatewayStartError(description: "\(setting): \(path) has no key that tokens can be verified with.")
        }
        return set
    }
}
