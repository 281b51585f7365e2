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
    /// - Throws: `AccessSettingError`, which names both.
    public static func keys(_ paths: [String], named setting: String) throws(AccessSettingError) -> [SigningKey] {
        var keys: [SigningKey] = []
        for path in paths {
            let pem = try SmallFile.read(path)
            guard let key = SigningKey(pem: pem.span) else {
                throw AccessSettingError(
                    description:
                        "\(setting): \(path) is no private key of Ed25519 or P-256 in PEM without a passphrase; "
                        + "openssl genpkey -algorithm ed25519 makes one.")
            }
            keys.append(key)
        }
        return keys
    }

    /// Reads public keys of files: private ones have theirs in them. A service verifies, and needs no more.
    ///
    /// - Parameter setting: the variable that names them.
    /// - Throws: `AccessSettingError`, which names both.
    static func publicKeys(_ paths: [String], named setting: String) throws(AccessSettingError) -> [VerificationKey] {
        var keys: [VerificationKey] = []
        for path in paths {
            let pem = try SmallFile.read(path)
            guard let key = VerificationKey(pem: pem.span) ?? SigningKey(pem: pem.span)?.publicKey else {
                throw AccessSettingError(
                    description:
                        "\(setting): \(path) is no key of Ed25519 or P-256 in PEM; openssl pkey -in key.pem -pubout writes "
                        + "the public half of one.")
            }
            keys.append(key)
        }
        return keys
    }
}

/// Why a program can't tell who somebody is, with the setting that helps.
public struct AccessSettingError: Error, CustomStringConvertible {
    public let description: String
}

/// What of access is configured: the same for all loops of a program.
public struct AccessConfiguration: Sendable {
    public var verifier: TokenVerifier
    /// The issuer whose subjects are riders and drivers by their own names.
    public var firstIssuer: String
    /// Lists of available drivers are for everybody.
    public var publicLists: Bool
    /// Makes this installation's own tokens; nil: it has no key for that.
    public var signer: TokenSigner?
    /// The public keys of this installation's own tokens, as a JSON Web Key Set; nil: it makes none.
    public var keySet: String?
    /// Those of the issuers that publish their keys (`IssuerKeys`).
    public var published: [PublishedIssuer] = []
    /// Where people sign in; nil: they are guests here.
    public var signIn: IdentityProviderSettings?
    /// What other services' tokens are verified with; nil: they have none.
    public var secret: ServiceSecret?

    public init(
        verifier: TokenVerifier, firstIssuer: String, publicLists: Bool, signer: TokenSigner? = nil,
        keySet: String? = nil
    ) {
        self.verifier = verifier
        self.firstIssuer = firstIssuer
        self.publicLists = publicLists
        self.signer = signer
        self.keySet = keySet
    }

    /// What the settings say of access; nil: everybody may do everything.
    ///
    /// - Throws: `AccessSettingError` for what would let nobody in, with the setting that helps.
    public static func of(_ settings: ProgramSettings) throws(AccessSettingError) -> Self? {
        let signIn = try IdentityProviderSettings.of(settings)
        guard settings.auth == "required" else { return nil }
        let keys = try OwnIssuer.keys(settings.authKey, named: settings.variable(\.authKey))
        let issuers = try issuers(settings, own: keys.map(\.publicKey), "private key")
        var access = Self(
            verifier: TokenVerifier(issuers.trusted), firstIssuer: issuers.trusted[0].name,
            publicLists: settings.publicLists == "on",
            signer: keys.first.map { TokenSigner(key: $0, audience: settings.authAudience) },
            keySet: keys.isEmpty ? nil : "{\"keys\":[\(keys.map(\.json).joined(separator: ","))]}")
        access.published = issuers.published
        access.signIn = signIn
        if signIn != nil && access.signer == nil {
            throw AccessSettingError(
                description:
                    "\(settings.variable(\.signInIssuer)) is given, and no key for the sessions of who signs in: give "
                    + "\(settings.variable(\.authKey)) a private key (openssl genpkey -algorithm ed25519 -out key.pem)."
            )
        }
        return access
    }

    /// What the settings of a service behind the gateway say; nil: everybody may do everything.
    ///
    /// - Throws: `AccessSettingError` for what would let nobody in, or no other service, with the setting that helps.
    public static func ofService(_ settings: ProgramSettings) throws(AccessSettingError) -> Self? {
        guard settings.auth == "required" else { return nil }
        let keys = try OwnIssuer.publicKeys(settings.authKey, named: settings.variable(\.authKey))
        let issuers = try issuers(settings, own: keys, "public key")
        var access = Self(
            verifier: TokenVerifier(issuers.trusted), firstIssuer: issuers.trusted[0].name, publicLists: false)
        access.published = issuers.published
        access.secret = try ServiceSecret.of(settings)
        guard access.secret != nil || !settings.tlsCA.isEmpty else {
            throw AccessSettingError(
                description:
                    "\(settings.variable(\.auth)) is required, and no other service could prove who it is: give "
                    + "\(settings.variable(\.serviceSecret)) a file that all have (openssl rand -hex 32), or all of them "
                    + "certificates and \(settings.variable(\.tlsCA)).")
        }
        return access
    }

    /// The files that the settings of a gateway name.
    public static func filesOfGateway(_ settings: ProgramSettings) -> [String] {
        files(settings) + IdentityProviderSettings.files(settings)
    }

    /// The files of keys that the settings name.
    public static func files(_ settings: ProgramSettings) -> [String] {
        settings.auth == "required"
            ? settings.authKey + settings.authIssuers.map(\.value).filter { $0 != published } : []
    }

    /// Reads what the settings name again, blocking; what can't be used is named in the log, and what was read before stays in force.
    public static func reload(
        _ read: () throws(AccessSettingError) -> Self?, use: (Self) -> Void
    ) {
        let logger = Logger(label: "access")
        do throws(AccessSettingError) {
            guard let access = try read() else { return }
            use(access)
            logger.notice("the keys of tokens were read again")
        } catch {
            logger.error(
                "the keys of tokens can't be read again; those before stay in force", metadata: ["error": "\(error)"])
        }
    }

    /// Whose tokens are taken, the first first.
    private static func issuers(
        _ settings: ProgramSettings, own keys: [VerificationKey], _ kind: String
    ) throws(AccessSettingError) -> (trusted: [TrustedIssuer], published: [PublishedIssuer]) {
        var issuers: [TrustedIssuer] = []
        var askable: [PublishedIssuer] = []
        if !keys.isEmpty {
            issuers.append(
                TrustedIssuer(name: OwnIssuer.name, audience: settings.authAudience, keys: JSONWebKeySet(keys)))
        }
        for entry in settings.authIssuers {
            if entry.value == published {
                guard IssuerKeys.isSafe(entry.key) else {
                    throw AccessSettingError(
                        description: "\(settings.variable(\.authIssuers)): \(entry.key) publishes its keys nowhere; "
                            + "an issuer that can be asked has an address of https.")
                }
                issuers.append(
                    TrustedIssuer(name: entry.key, audience: settings.authAudience, keys: JSONWebKeySet([])))
                askable.append(PublishedIssuer(entry.key))
                continue
            }
            let set = try keySet(entry.value, named: settings.variable(\.authIssuers))
            issuers.append(TrustedIssuer(name: entry.key, audience: settings.authAudience, keys: set))
        }
        guard !issuers.isEmpty else {
            let (key, others) = (settings.variable(\.authKey), settings.variable(\.authIssuers))
            throw AccessSettingError(
                description:
                    "\(settings.variable(\.auth)) is required, and nobody's tokens could be verified: give \(key) a "
                    + "\(kind) (openssl genpkey -algorithm ed25519 -out key.pem), or \(others) an issuer with its keys."
            )
        }
        return (issuers, askable)
    }

    /// What stands for an issuer's keys in the settings if it publishes them itself.
    private static let published = "discover"

    /// The keys of a file.
    private static func keySet(_ path: String, named setting: String) throws(AccessSettingError) -> JSONWebKeySet {
        let text = try SmallFile.read(path)
        let set: JSONWebKeySet
        do throws(JSONWebKeySetError) {
            set = try JSONWebKeySet(text.span)
        } catch {
            throw AccessSettingError(description: "\(setting): \(path) is \(error).")
        }
        let logger = Logger(label: "access")
        for line in set.refused { logger.warning("a key can't be used", metadata: ["file": path, "why": line]) }
        guard !set.keys.isEmpty else {
            throw AccessSettingError(description: "\(setting): \(path) has no key that tokens can be verified with.")
        }
        return set
    }
}
