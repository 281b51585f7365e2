import AccessTokens
import Operations
import Settings
import TestSupport
import Testing

@testable import Access

/// Settings of signing in at a provider: what is of no use ends the start, and says which setting helps.
@Suite struct IdentityProviderSettingsTests {
    private let folder = TemporaryFolder()

    private func read(_ environment: [String: String], key: Bool = true) throws -> AccessConfiguration? {
        folder.write("key.pem", House.privateKey)
        var all = key ? ["CABSTAND_AUTH_KEY": folder.file("key.pem")] : [:]
        all.merge(environment) { $1 }
        guard
            case .run(let values) = try SettingsDeclaration<CabstandSettings>.gateway.read(
                arguments: [], environment: all)
        else { return nil }
        return try AccessConfiguration.of(values)
    }

    /// Empty: it starts.
    private func refusal(_ environment: [String: String], key: Bool = true) -> String {
        do {
            _ = try read(environment, key: key)
            return ""
        } catch {
            return "\(error)"
        }
    }

    private static let good = [
        "CABSTAND_SIGN_IN_ISSUER": "https://id.example/realms/a", "CABSTAND_SIGN_IN_CLIENT_ID": "cabstand",
        "CABSTAND_EXTERNAL_URL": "https://rides.example",
    ]

    private func with(_ name: String, _ value: String?) -> [String: String] {
        var settings = Self.good
        settings[name] = value
        return settings
    }

    @Test func aProviderIsFourSettings() throws {
        let plain = try #require(try read(Self.good)?.signIn)
        #expect(plain.secret == nil && plain.isSecure)
        #expect(plain.redirectURL == "https://rides.example/auth/callback")
        folder.write("secret", "s3cret\n")
        let secret = try read(with("CABSTAND_SIGN_IN_CLIENT_SECRET", folder.file("secret")))?.signIn
        #expect(secret?.secret == "s3cret")
        #expect(try read([:])?.signIn == nil)
        for url in [
            "https://rides.example/", "https://rides.example:8443", "http://localhost:8080", "http://127.0.0.1",
        ] {
            let read = try read(with("CABSTAND_EXTERNAL_URL", url))?.signIn
            #expect(read?.externalURL == (url.hasSuffix("/") ? String(url.dropLast()) : url))
        }
    }

    @Test func whatIsOfNoUseIsNamed() {
        func names(_ setting: String, _ environment: [String: String], key: Bool = true) {
            let text = refusal(environment, key: key)
            #expect(text.contains(setting), "\(setting): \(text)")
        }
        names("CABSTAND_SIGN_IN_ISSUER", ["CABSTAND_SIGN_IN_CLIENT_ID": "x"])
        names("CABSTAND_SIGN_IN_ISSUER", ["CABSTAND_SIGN_IN_CLIENT_SECRET": "x"])
        names("CABSTAND_SIGN_IN_ISSUER", with("CABSTAND_SIGN_IN_ISSUER", "http://id.example"))
        names("CABSTAND_SIGN_IN_CLIENT_ID", with("CABSTAND_SIGN_IN_CLIENT_ID", nil))
        names("CABSTAND_EXTERNAL_URL", with("CABSTAND_EXTERNAL_URL", nil))
        names("CABSTAND_AUTH ", with("CABSTAND_AUTH", "off"))
        names("CABSTAND_AUTH_KEY", Self.good, key: false)
        names("CABSTAND_SIGN_IN_CLIENT_SECRET", with("CABSTAND_SIGN_IN_CLIENT_SECRET", folder.file("none")))
        for bad in ["", "\n", "a\nb", "a\u{1}b"] {
            folder.write("bad", bad)
            names("CABSTAND_SIGN_IN_CLIENT_SECRET", with("CABSTAND_SIGN_IN_CLIENT_SECRET", folder.file("bad")))
        }
        for bad in [
            "http://rides.example", "rides.example", "https://rides.example/x", "https://a@b", "https://a?b",
            "https://a#",
        ] {
            names("CABSTAND_EXTERNAL_URL", with("CABSTAND_EXTERNAL_URL", bad))
        }
    }

    /// A key of another issuer's tokens makes no sessions.
    @Test func sessionsNeedAKey() {
        folder.write("keys.json", "{\"keys\":[\(SigningKey()?.json ?? "")]}")
        var settings = Self.good
        settings["CABSTAND_AUTH_ISSUERS"] = "https://other.example=\(folder.file("keys.json"))"
        #expect(refusal(settings, key: false).contains("CABSTAND_AUTH_KEY"))
    }

    @Test func theSecretIsWatched() throws {
        folder.write("secret", "s3cret")
        var all = with("CABSTAND_SIGN_IN_CLIENT_SECRET", folder.file("secret"))
        all["CABSTAND_AUTH_KEY"] = folder.file("key.pem")
        guard
            case .run(let values) = try SettingsDeclaration<CabstandSettings>.gateway.read(
                arguments: [], environment: all)
        else { return }
        #expect(AccessConfiguration.filesOfGateway(values) == [folder.file("key.pem"), folder.file("secret")])
    }
}
