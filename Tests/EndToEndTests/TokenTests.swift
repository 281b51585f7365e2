import TestSupport
import Testing

/// Access tokens as an operator and a rider meet them: the program makes its key, prints tokens, and asks for them.
@Suite struct TokenTests {
    private func curl(_ arguments: [String]) throws -> String {
        try ChildProcess.run("curl", ["-s", "-w", " %{http_code}"] + arguments, timeout: 30).output
    }

    @Test func aTokenFromTheCommandBooks() throws {
        let cabstand = try RunningCabstand(extra: ["CABSTAND_AUTH": "required"])
        #expect(cabstand.words.contains("cabstand token --role"))
        let key = "\(cabstand.dataFolder)/auth-key.pem"
        #expect(TemporaryFolder.read(key).hasPrefix("-----BEGIN PRIVATE KEY-----"))
        func token(_ role: String, _ subject: String) throws -> [String] {
            let result = try ChildProcess.run(
                Tool.program("cabstand"), ["token", "--role", role, "--subject=\(subject)", "--ttl", "5m"],
                environment: ["CABSTAND_DATABASE_URL": "sqlite:\(cabstand.dataFolder)"])
            #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
            return ["-H", "Authorization: Bearer \(result.output.split(separator: "\n")[0])"]
        }
        let json = ["-H", "Content-Type: application/json"]
        let (operators, rider) = (try token("operator", "olga"), try token("rider", "ada"))
        let driver =
            "{\"id\":\"car\",\"name\":\"C\",\"lat\":49.45,\"lon\":11.08,\"vehicle\":{\"make\":\"a\",\"model\":\"b\",\"color\":\"c\",\"plate\":\"d\",\"category\":\"e\"}}"
        let drivers = "\(cabstand.url)/drivers"
        #expect(try curl(json + ["-d", driver, drivers]).hasSuffix(" 401"))
        #expect(try curl(rider + json + ["-d", driver, drivers]).hasSuffix(" 403"))
        #expect(try curl(operators + json + ["-d", driver, drivers]).hasSuffix(" 201"))
        // A plate is for whom one rides with.
        let free = try curl(rider + ["\(cabstand.url)/drivers/available"])
        #expect(free.contains("\"id\":\"car\"") && !free.contains("plate"), "\(free)")
        #expect(try !curl(rider + ["\(cabstand.url)/drivers/car"]).contains("plate"))
        #expect(try curl(operators + ["\(cabstand.url)/drivers/car"]).contains("\"plate\":\"d\""))
        let trip = "{\"pickup\":{\"lat\":49.45,\"lon\":11.08},\"dropoff\":{\"lat\":49.46,\"lon\":11.09}}"
        let booked = try curl(rider + json + ["-d", trip, "\(cabstand.url)/trips"])
        #expect(booked.hasSuffix(" 201") && booked.contains("\"rider_id\":\"ada\""), "\(booked)")
        #expect(booked.contains("\"plate\":\"d\""), "\(booked)")
        #expect(try curl(try token("rider", "eve") + ["\(cabstand.url)/trips"]).contains("\"trips\":[]"))
        #expect(try curl(["\(cabstand.url)/drivers/available"]).hasSuffix(" 200"))
        #expect(try curl(["\(cabstand.url)/.well-known/jwks.json"]).contains("\"crv\":\"Ed25519\""))
        // The same key after a restart.
        cabstand.terminate()
        try cabstand.restart()
        #expect(try curl(rider + ["\(cabstand.url)/trips"]).contains("\"rider_id\":\"ada\""))
    }

    @Test func whatCouldLetNobodyInDoesNotStart() throws {
        let folder = TemporaryFolder()
        let text = folder.write("text.pem", "no key")
        let empty = folder.write("empty.json", "{\"keys\":[]}")
        for (extra, words) in [
            ([:], "CABSTAND_AUTH_KEY"), (["CABSTAND_AUTH_KEY": text], text),
            (["CABSTAND_AUTH_KEY": "\(folder.path)/none.pem"], "none.pem"),
            (["CABSTAND_AUTH_ISSUERS": "https://id.example=\(empty)"], empty),
            (["CABSTAND_AUTH_ISSUERS": "https://id.example=\(text)"], "JSON Web Key Set"),
        ] as [([String: String], String)] {
            let result = try ChildProcess.run(
                Tool.program("gateway"),
                environment: ["CABSTAND_AUTH": "required", "CABSTAND_HTTP_PORT": "0"].merging(extra) { $1 },
                directory: folder.path, timeout: 20)
            #expect(result.status == 1 && result.errors.contains(words), "\(result.errors)")
        }
    }

    @Test func theCommandSaysWhatItNeeds() throws {
        for (arguments, words) in [
            ([], "--role is one of rider, driver, operator"), (["--role", "rider"], "--subject"),
            (["--role", "king", "--subject", "a"], "--role"),
            (["--role", "operator", "--subject", "anna@example.org"], "--subject must be 1 to"),
            (["--role", "rider", "--subject", "a", "--ttl", "31d"], "30d"),
            (["--role", "rider", "--subject", "a", "--ttl", "-1h"], "--ttl"),
            (["--role", "rider", "--subject", "a"], "CABSTAND_AUTH_KEY"),
            (["--role", "rider", "--subject", "a", "--nonsense", "1"], "--nonsense"),
        ] {
            let result = try ChildProcess.run(Tool.program("gateway"), ["token"] + arguments)
            #expect(result.status == 64 && result.errors.contains(words), "\(arguments): \(result.errors)")
        }
    }
}
