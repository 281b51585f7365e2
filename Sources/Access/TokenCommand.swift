import AccessTokens
import Basics
import Operations
import Reactor
import RideDomain
import Settings
import Telemetry

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// `cabstand token --role operator --subject NAME --ttl 1h`: prints an access token, on the machine that has the key.
public enum TokenCommand {
    /// The longest life that is given. Reason: nobody could end it but by changing the key.
    private static let longest = 30 * 86_400

    /// Does what the arguments ask for and exits, if the first of them is `token`; else returns.
    ///
    /// - Parameter keys: the files of private keys by the program's settings.
    public static func runIfAsked(
        _ declaration: SettingsDeclaration<CabstandSettings>, keys: (ProgramSettings) -> [String]
    ) {
        guard CommandLine.arguments.dropFirst().first == "token" else { return }
        var own: [String: String] = [:]
        var rest: [String] = []
        var arguments = CommandLine.arguments.dropFirst(2)
        while let argument = arguments.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
            if let name = parts.first, ["--role", "--subject", "--ttl"].contains(name) {
                own[name] = parts.count == 2 ? parts[1] : arguments.popFirst() ?? ""
            } else {
                rest.append(argument)
            }
        }
        let settings = declaration.readOrExit(arguments: rest, check: { _ in stop("--check is not for token.") })
        guard let role = Role.ofTokens.first(where: { $0.rawValue == own["--role"] }) else {
            stop("--role is one of \(Role.ofTokens.map(\.rawValue).joined(separator: ", ")).")
        }
        guard let subject = own["--subject"], !subject.isEmpty else { stop("--subject NAME says whom it stands for.") }
        // Anything else would be known by a digest, and could be named by nobody.
        if let violation = Identifier.violation(of: "--subject", subject) { stop(violation) }
        guard let seconds = seconds(own["--ttl"] ?? "1h") else {
            stop("--ttl is how long it is valid: 90s, 15m, 1h, 7d; 30d at most.")
        }
        do throws(AccessSettingError) {
            guard let key = try OwnIssuer.keys(keys(settings), named: settings.variable(\.authKey)).first else {
                stop("--auth-key FILE, or CABSTAND_AUTH_KEY, names the private key.")
            }
            let milliseconds = SystemClock.unixMilliseconds()
            var identifiers = UUIDv7Generator()
            var random = SystemRandomNumberGenerator()
            let signer = TokenSigner(key: key, audience: settings.authAudience)
            guard
                let text = signer.token(
                    for: subject, [role], seconds: seconds, at: milliseconds / 1000,
                    id: identifiers.next(milliseconds: milliseconds, using: &random).text, client: "cabstand token")
            else { stop("OpenSSL can't sign.") }
            LogSink.output.write(line: text)
            LogSink.output.flush(within: 1_000)
            exit(0)
        } catch {
            stop(error.description)
        }
    }

    /// Seconds of a time such as `15m`.
    static func seconds(_ text: String) -> Int64? {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int(text.dropLast()), number > 0,
            number <= longest / unit, text.first != "+"
        else { return nil }
        return Int64(number * unit)
    }

    private static func stop(_ line: String) -> Never {
        LogSink.standard.write(line: "cabstand token: \(line)")
        LogSink.standard.flush(within: 1_000)
        exit(64)
    }
}

extension OwnIssuer {
    /// The file's key, which is made if there is none: for a program that has a folder of its own.
    ///
    /// - Throws: `AccessSettingError`, which names the file.
    public static func makeKeyIfNeeded(_ path: String) throws(AccessSettingError) {
        if SmallFile.exists(path) { return }
        guard let pem = SigningKey()?.pem else { throw AccessSettingError(description: "OpenSSL can't make a key.") }
        try SmallFile.makePrivate(path, pem)
    }
}
