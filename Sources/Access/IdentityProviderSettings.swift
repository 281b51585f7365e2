import HTTPClient
import Operations

/// Where people sign in to this installation, and as which client it asks there.
public struct IdentityProviderSettings: Sendable {
    /// What `iss` says, and where the provider's metadata is found.
    public let issuer: String
    /// What this installation is called there.
    public let client: String
    /// By which it proves to be that client; nil: it is a public one (RFC 6749 §2.1), for which PKCE alone has to do.
    public internal(set) var secret: String?
    /// Under which origin browsers see the gateway: `https://rides.example`.
    public let externalURL: String
    /// Whether browsers come over TLS.
    public var isSecure: Bool { externalURL.hasPrefix("https:") }

    /// Where the provider sends browsers back to.
    public var redirectURL: String { externalURL + "/auth/callback" }

    init(issuer: String, client: String, secret: String?, externalURL: String) {
        self.issuer = issuer
        self.client = client
        self.secret = secret
        self.externalURL = externalURL
    }

    /// What the settings say; nil: people are guests here.
    ///
    /// - Throws: `AccessSettingError`, with the setting that helps, where one is of no use without another.
    static func of(_ settings: ProgramSettings) throws(AccessSettingError) -> Self? {
        let issuer = settings.signInIssuer
        let external = try origin(settings.externalURL, named: settings.variable(\.externalURL))
        guard !issuer.isEmpty else {
            let orphans = [
                (settings.signInClientID, settings.variable(\.signInClientID)),
                (settings.signInClientSecret, settings.variable(\.signInClientSecret)),
            ]
            if let orphan = orphans.first(where: { !$0.0.isEmpty }) {
                throw AccessSettingError(
                    description: "\(orphan.1) is given, and nowhere to sign in: give "
                        + "\(settings.variable(\.signInIssuer)) the address of an OpenID provider.")
            }
            return nil
        }
        let setting = settings.variable(\.signInIssuer)
        guard IssuerKeys.isSafe(issuer) else {
            throw AccessSettingError(description: "\(setting): \(issuer) is no address of https.")
        }
        guard settings.auth == "required" else {
            throw AccessSettingError(
                description: "\(setting) is given, and nobody is asked who they are: set "
                    + "\(settings.variable(\.auth)) to required.")
        }
        guard !settings.signInClientID.isEmpty else {
            throw AccessSettingError(
                description: "\(setting) is given, and as which client to ask there is not: give "
                    + "\(settings.variable(\.signInClientID)) what the provider calls this installation.")
        }
        guard let external else {
            throw AccessSettingError(
                description: "\(setting) is given, and where it sends browsers back to is not: give "
                    + "\(settings.variable(\.externalURL)) the address under which they see the gateway, such as "
                    + "https://rides.example.")
        }
        return Self(
            issuer: issuer, client: settings.signInClientID, secret: try secret(settings), externalURL: external)
    }

    /// The file that the settings name, if any.
    static func files(_ settings: ProgramSettings) -> [String] {
        settings.signInClientSecret.isEmpty ? [] : [settings.signInClientSecret]
    }

    /// The origin of an address that has nothing else; nil: none is given.
    private static func origin(_ text: String, named setting: String) throws(AccessSettingError) -> String? {
        if text.isEmpty { return nil }
        guard let url = try? HTTPURL(text), url.target == "/", !text.utf8.contains(UInt8(ascii: "#")),
            !text.utf8.contains(UInt8(ascii: "?")), IssuerKeys.isSafe(text)
        else {
            throw AccessSettingError(
                description: "\(setting): \(text) is no address of https without a path, such as https://rides.example "
                    + "(http is for localhost).")
        }
        return "\(url.origin)"
    }

    private static func secret(_ settings: ProgramSettings) throws(AccessSettingError) -> String? {
        let path = settings.signInClientSecret
        if path.isEmpty { return nil }
        let setting = settings.variable(\.signInClientSecret)
        let text: [UInt8]
        do throws(AccessSettingError) { text = try SmallFile.read(path) } catch {
            throw AccessSettingError(description: "\(setting): \(error)")
        }
        let lines = text.split(separator: 0x0A, omittingEmptySubsequences: false)
        var bytes = lines.first.map(Array.init) ?? []
        if bytes.last == 0x0D { bytes.removeLast() }
        guard !bytes.isEmpty, lines.dropFirst().allSatisfy(\.isEmpty), bytes.allSatisfy({ 0x20...0x7E ~= $0 }) else {
            throw AccessSettingError(
                description:
                    "\(setting): \(path) has to have one line, the client's secret.")
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
