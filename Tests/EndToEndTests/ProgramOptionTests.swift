import TestSupport
import Testing

/// What each program does with its options, and the status that it exits with.
@Suite struct ProgramOptionTests {
    static let programs = ["cabstand", "gateway", "driver", "trip"]

    private func run(_ program: String, _ arguments: [String], _ environment: [String: String] = [:]) throws
        -> ChildProcess.Result
    {
        let folder = TemporaryFolder()
        return try ChildProcess.run(
            Tool.program(program), arguments, environment: environment, directory: folder.path, timeout: 20)
    }

    @Test(arguments: programs) func helpNamesEveryOptionAndExitStatus(program: String) throws {
        let result = try run(program, ["--help"])
        #expect(result.status == 0 && result.errors.isEmpty)
        #expect(result.output.hasPrefix("Usage: \(program) [options]\n"))
        for part in ["--bind VALUE", "--check ", "--print-config ", "Default: ", "Exits with 0", "64"] {
            #expect(result.output.contains(part), "\(part)")
        }
        #expect(result.output.split(separator: "\n").allSatisfy { $0.count <= 160 })
    }

    @Test(arguments: programs) func theConfigurationReadsBack(program: String) throws {
        let environment = ["CABSTAND_KAFKA_CONFIG": "sasl.password=hunter2", "CABSTAND_LOG_LEVEL": "debug"]
        let result = try run(program, ["--print-config", "--grace-s", "3"], environment)
        #expect(result.status == 0 && result.errors.isEmpty)
        #expect(!result.output.contains("hunter2"))
        #expect(result.output.contains("CABSTAND_LOG_LEVEL=debug  # environment\n"))
        #expect(result.output.contains("CABSTAND_GRACE_S=3  # --grace-s\n"))
        let variables = try run(program, ["--help"]).output.matches(of: /VALUE    (CABSTAND_\w+)/).map { $0.1 }
        #expect(variables.count > 10)
        #expect(result.output.split(separator: "\n").map { $0.prefix { $0 != "=" } } == variables)
        // The shell reads it, and the program takes the same again.
        let script = "set -a; \(result.output)\nexec \"$0\" --print-config"
        let again = try ChildProcess.run(
            "/bin/sh", ["-c", script.replacing(/CABSTAND_KAFKA_CONFIG=.*/, with: ""), Tool.program(program)],
            environment: environment)
        #expect(again.status == 0, "\(again.errors)")
        func values(_ text: String) -> [String] {
            text.split(separator: "\n").map { String($0.prefix { $0 != "#" }) }
        }
        #expect(values(again.output) == values(result.output))
    }

    @Test(arguments: programs) func whatIsNotAllowedExitsWith64AndSaysWhatIs(program: String) throws {
        for (arguments, words) in [
            (["--grace-s", "soon"], "it takes a number from 0 to 3600 seconds"), (["--graces", "1"], "--grace-s"),
            (["--bind", "localhost", "--check"], "an IP address"),
        ] {
            let result = try run(program, arguments)
            #expect(result.status == 64)
            #expect(result.output.isEmpty && result.errors.contains(words), "\(result)")
        }
    }

    @Test(arguments: [
        ("gateway", "CABSTAND_HTTP_PORT"), ("gateway", "CABSTAND_ADMIN_PORT"), ("driver", "CABSTAND_GRPC_PORT"),
        ("driver", "CABSTAND_ADMIN_PORT"), ("trip", "CABSTAND_GRPC_PORT"), ("trip", "CABSTAND_ADMIN_PORT"),
    ]) func aPortThatIsTakenExitsWith1AndNamesTheSetting(program: String, setting: String) throws {
        let taken = try SilentListener()
        var environment = [
            "CABSTAND_BIND": "127.0.0.1", "CABSTAND_HTTP_PORT": "0", "CABSTAND_GRPC_PORT": "0",
            "CABSTAND_PUBLIC_DIR": Tool.repository + "/public",
        ]
        environment[setting] = "\(taken.port)"
        let result = try run(program, [], environment)
        #expect(result.status == 1)
        #expect(result.errors.contains("\(setting) chooses another port"), "\(result.errors)")
    }

    @Test(arguments: [
        ("gateway", "CABSTAND_PUBLIC_DIR", "/nowhere", "/nowhere"),
        ("gateway", "CABSTAND_KAFKA_CONFIG", "no.such=1", "no.such"),
        ("driver", "CABSTAND_KAFKA_CONFIG", "no.such=1", "no.such"),
        ("trip", "CABSTAND_KAFKA_CONFIG", "no.such=1", "no.such"),
        ("trip", "CABSTAND_KAFKA_CONFIG", "message.timeout.ms=5", "message.timeout.ms"),
        ("trip", "CABSTAND_DATABASE_URL", "sqlite:/nowhere/a.db", "/nowhere/a.db"),
        ("driver", "CABSTAND_DATABASE_URL", "sqlite:/nowhere/a.db", "/nowhere/a.db"),
        ("gateway", "CABSTAND_TLS_CERT", "/nowhere/cert.pem", "/nowhere/cert.pem"),
        ("gateway", "CABSTAND_ALLOWED_ORIGINS", "cars.example", "cars.example"),
        ("gateway", "CABSTAND_TRUSTED_PROXIES", "proxy", "proxy"),
    ]) func whatAStartFailsForIsNamedWithItsSetting(program: String, setting: String, value: String, named: String)
        throws
    {
        let folder = TemporaryFolder()
        var environment = [
            "CABSTAND_BIND": "127.0.0.1", "CABSTAND_HTTP_PORT": "0", "CABSTAND_GRPC_PORT": "0",
            "CABSTAND_PUBLIC_DIR": Tool.repository + "/public",
            "CABSTAND_DATABASE_URL": "sqlite:\(folder.file("a.db"))",
        ]
        environment[setting] = value
        if setting == "CABSTAND_TLS_CERT" { environment["CABSTAND_TLS_KEY"] = "/nowhere/key.pem" }
        let result = try run(program, [], environment)
        #expect(result.status == 1)
        #expect(result.errors.contains(setting) && result.errors.contains(named), "\(result.errors)")
    }

    @Test func aKeyWithoutACertificateIsNotPlainHTTP() throws {
        let result = try run(
            "gateway", ["--tls-key", "key.pem", "--http-port", "0", "--public-dir", Tool.repository + "/public"])
        #expect(result.status == 1)
        #expect(result.errors.contains("CABSTAND_TLS_CERT and CABSTAND_TLS_KEY belong together"))
    }
}
