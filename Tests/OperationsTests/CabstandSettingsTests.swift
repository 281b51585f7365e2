import Operations
import Testing

@testable import Settings

@Suite struct CabstandSettingsTests {
    private func values(
        _ declaration: SettingsDeclaration<CabstandSettings> = .cabstand, _ arguments: [String] = [],
        _ environment: [String: String] = [:]
    ) throws -> ProgramSettings {
        guard case .run(let values) = try declaration.read(arguments: arguments, environment: environment) else {
            throw SettingsError(lines: ["nothing to run"])
        }
        return values
    }

    private func error(_ arguments: [String], _ environment: [String: String] = [:]) -> String {
        do {
            _ = try SettingsDeclaration.cabstand.read(arguments: arguments, environment: environment)
            return ""
        } catch {
            return error.description
        }
    }

    @Test func everyDefaultIsAllowedByItsOwnSetting() throws {
        for declaration in [SettingsDeclaration.gateway, .driver, .trip, .simulator, .cabstand] {
            let values = try values(declaration)
            #expect(values.requestTimeoutMs == 5000)
            #expect(values.tripService.description == "localhost:50052")
        }
    }

    @Test func aFlagBeatsTheEnvironmentWhichBeatsTheDefault() throws {
        let environment = ["CABSTAND_HTTP_PORT": "9000"]
        #expect(try values().httpPort == 8080)
        #expect(try values(.cabstand, [], environment).httpPort == 9000)
        #expect(try values(.cabstand, ["--http-port", "9001"], environment).httpPort == 9001)
        #expect(try values(.cabstand, ["--http-port=9002"], environment).httpPort == 9002)
    }

    @Test func programsDifferInTheirDefaults() throws {
        #expect(try values(.cabstand).bind == "127.0.0.1")
        #expect(try values(.gateway).bind == "0.0.0.0")
        #expect(try values(.trip).grpcPort == 50052)
        #expect(try values(.driver).gateway == "http://127.0.0.1:8080" && values(.cabstand).gateway == "")
    }

    @Test func aBadValueSaysWhatIsAllowed() {
        #expect(
            error([], ["CABSTAND_HTTP_PORT": "http"])
                == "CABSTAND_HTTP_PORT: \"http\" is not allowed; it takes a number from 0 to 65535.")
        #expect(error(["--grace-s"]) == "--grace-s needs a value: a number from 0 to 3600 seconds.")
        #expect(error(["--trip-service", "nowhere"]).contains("it takes host:port"))
    }

    @Test func anUnknownFlagIsAnErrorWithTheNearestName() {
        #expect(error(["--htp-port", "1"]).hasPrefix("--htp-port is not an option; the nearest one is --http-port."))
    }

    @Test func anUnknownVariableIsAWarningWithTheNearestName() throws {
        let warnings = try values(.cabstand, [], ["CABSTAND_GRACE": "x", "OTHER": "y", "CABSTAND_ROOMS": ""]).warnings
        #expect(warnings == ["CABSTAND_GRACE is not a setting; the nearest one is CABSTAND_GRACE_S."])
    }

    @Test func aSecretIsHiddenInTheOutcomeAndInErrors() throws {
        let outcome = try SettingsDeclaration.cabstand.read(
            arguments: ["--print-config"], environment: ["CABSTAND_KAFKA_CONFIG": "sasl.password=secret"])
        guard case .print(let text) = outcome else {
            Issue.record("nothing was printed")
            return
        }
        #expect(text.contains("CABSTAND_KAFKA_CONFIG='(hidden)'  # environment\n"))
        #expect(!text.contains("secret"))
        #expect(!error([], ["CABSTAND_KAFKA_CONFIG": "secret"]).contains("secret"))
    }

    /// The all-in-one program writes the pairs out and reads them again, with its own behind them: that must not end it.
    @Test func whatIsTakenForPairsCanBeWrittenAndReadAgain() throws {
        for text in [" =x", "=x", "a=1, =2", "  ", "a", "a=1,b", "a=\u{301}"] {
            #expect(error([], ["CABSTAND_KAFKA_CONFIG": text]).hasPrefix("CABSTAND_KAFKA_CONFIG: "))
        }
        for text in ["", ",", "a=1", " a = 1 , b = ", "a=b=c,d==", "\u{301}=1", #"a=1\,2,b=\\"#, #"a\,b=\c\"#] {
            let values = try values(.cabstand, [], ["CABSTAND_KAFKA_CONFIG": text])
            let pairs = values.kafkaConfig
            let written = KeyValue.text(of: pairs)
            #expect(
                values.replacing(\.kafkaConfig, with: written).kafkaConfig == pairs)
        }
    }

    @Test func aCommaInsideOfAValueIsEscaped() throws {
        for (text, pairs) in [
            (
                #"debug=broker\,topic,acks=1"#,
                [KeyValue(key: "debug", value: "broker,topic"), .init(key: "acks", value: "1")]
            ),
            (#"password=a\\\,b\n\"#, [KeyValue(key: "password", value: #"a\,b\n\"#)]),
            (#"a=\,"#, [KeyValue(key: "a", value: ",")]),
            (#"a=\\,b=1"#, [.init(key: "a", value: #"\"#), .init(key: "b", value: "1")]),
        ] as [(String, [KeyValue])] {
            #expect(try values(.cabstand, [], ["CABSTAND_KAFKA_CONFIG": text]).kafkaConfig == pairs, "\(text)")
        }
        #expect(error([], ["CABSTAND_KAFKA_CONFIG": "debug=broker,topic"]).contains(#"as \,"#))
    }

    /// A number is multiplied into nanoseconds later: none that could overflow there gets in.
    @Test(arguments: CabstandSettings.all.map(\.name))
    func noTextEndsTheProgram(name: String) throws {
        let texts = [
            "", " ", "0", "-1", "70000", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
            "99999999999999999999999", "1e3", "nan", "inf", "0x10", "１", "+5", "5 ", "=", "[", "[]:1", ":1", "a:0",
            "a:65536",
            "sqlite:", "\u{301}", String(repeating: "9", count: 10_000),
        ]
        for text in texts {
            guard let values = try? values(.cabstand, [], ["CABSTAND_" + name: text]) else { continue }
            for seconds in [values.graceSeconds, values.drainDelaySeconds, values.driverTTLSeconds] {
                #expect((0...86_400).contains(seconds))
            }
            for milliseconds in [values.listIntervalMs, values.pollIntervalMs, values.requestTimeoutMs] {
                #expect((0...600_000).contains(milliseconds))
            }
            #expect((0...65_535).contains(values.httpPort))
            #expect((0...65_535).contains(values.adminPort ?? 0))
        }
    }

    @Test func theConfigurationSaysWhereEachValueCameFromAndAShellReadsItBack() throws {
        let outcome = try SettingsDeclaration.gateway.read(
            arguments: ["--http-port", "9001", "--print-config"],
            environment: [
                "CABSTAND_HTTP_PORT": "9000", "CABSTAND_GRACE_S": "7", "CABSTAND_GRACE": "8",
                "CABSTAND_PUBLIC_DIR": "my page's #1",
            ])
        guard case .print(let text) = outcome else {
            Issue.record("nothing was printed")
            return
        }
        let lines = text.split(separator: "\n")
        #expect(lines[0] == "# CABSTAND_GRACE is not a setting; the nearest one is CABSTAND_GRACE_S.")
        #expect(lines.contains("CABSTAND_HTTP_PORT=9001  # --http-port"))
        #expect(lines.contains("CABSTAND_GRACE_S=7  # environment"))
        #expect(lines.contains("CABSTAND_BIND=0.0.0.0  # default"))
        #expect(lines.contains("CABSTAND_PUBLIC_DIR='my page'\\''s #1'  # environment"))
    }

    @Test(arguments: ["localhost", "1.2.3", "::1::", ""]) func whatIsNoAddressCannotBeListenedOn(text: String) {
        #expect(error([], ["CABSTAND_BIND": text]).contains("it takes an IP address of this machine"))
    }

    @Test func aCheckReadsTheSameSettingsAsTheServer() throws {
        let outcome = try SettingsDeclaration.gateway.read(
            arguments: ["--check", "--http-port", "9001"], environment: ["CABSTAND_BIND": "::1"])
        guard case .check(let values) = outcome else {
            Issue.record("nothing is checked")
            return
        }
        #expect(values.program == "gateway")
        #expect(values.httpPort == 9001)
        #expect(values.bind == "::1")
    }

    @Test func helpNamesEverySettingOfTheProgram() {
        let help = SettingsDeclaration.gateway.help
        #expect(help.contains("--http-port VALUE    CABSTAND_HTTP_PORT"))
        #expect(!help.contains("CABSTAND_DATABASE_URL"))
    }

    @Test(arguments: ["a:1", "[::1]:2", "10.0.0.1:65535"]) func hostsAndPortsReadBack(text: String) {
        #expect(HostPort(text)?.description == text)
    }

    @Test(arguments: ["a", "a:", ":1", "a:0", "a:65536", "::1:2", "a b:1"]) func badAddressesAreRefused(text: String) {
        #expect(HostPort(text) == nil)
    }
}
