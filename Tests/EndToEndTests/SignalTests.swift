import Glibc
import KafkaClient
import TestSupport
import Testing

/// Signals with real programs: who takes them, what each does, and that nothing keeps a program from its end.
@Suite(.serialized, .enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"))
struct SignalTests {
    /// The signals that end a process by default and that a supervisor, a shell or a terminal sends.
    private static let fatal = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM]

    /// Threads of a process, by number and name, for which one of those signals is not blocked.
    private func takers(_ process: ChildProcess) -> [String] {
        let folder = "/proc/\(process.pid)/task"
        return TemporaryFolder.names(folder).compactMap { thread in
            let status = TemporaryFolder.read("\(folder)/\(thread)/status")
            func field(_ name: String) -> String? {
                status.split(separator: "\n").first { $0.hasPrefix(name) }?.split(whereSeparator: \.isWhitespace).last
                    .map(String.init)
            }
            // A thread that has ended meanwhile takes nothing.
            guard let mask = field("SigBlk:").flatMap({ UInt64($0, radix: 16) }) else { return nil }
            let open = Self.fatal.filter { mask & (1 << UInt64($0 - 1)) == 0 }
            return open.isEmpty ? nil : "\(field("Name:") ?? "?") (\(thread)) takes \(open)"
        }
    }

    /// What Kubernetes makes of a service named cabstand: a variable that no program knows, so each warns at once.
    private static let serviceLink = ["CABSTAND_PORT": "tcp://10.0.0.1:80"]

    @Test func noThreadOfAnyServiceTakesASignalAndEachDrains() throws {
        let kafka = try RunningCabstand()
        let fleet = try Fleet(
            bootstrapServers: kafka.kafka, extra: Self.serviceLink.merging(Load.settings) { $1 })
        func check(_ when: String) {
            for service in Fleet.Service.allCases {
                guard let process = fleet.process(service) else { continue }
                #expect(takers(process) == [], "\(service) \(when)")
            }
        }
        check("at start")
        let drivers = try Load.register(4, on: fleet)
        let load = try Load(fleet, drivers: drivers, riders: 8, prefix: "s")
        for _ in 0..<10 { load.step() }
        check("under load")
        // An outage of everything that they talk to: reconnecting resolves names and makes clients anew.
        fleet.kill(.trip)
        kafka.kill()
        usleep(1_500_000)
        check("in an outage")
        try fleet.start(.trip)
        try kafka.restart()
        usleep(1_500_000)
        check("after an outage")
        for service in Fleet.Service.allCases {
            #expect(fleet.process(service)?.errors.contains("CABSTAND_PORT") == true, "no warning of \(service)")
            #expect(fleet.terminate(service) == 0, "\(service) did not drain")
        }
    }

    /// The broker inside makes threads of its own, which take whatever mask they are born with.
    @Test func noThreadOfTheAllInOneProgramTakesASignalAndItDrains() throws {
        let cabstand = try RunningCabstand(simulatedDrivers: 20, extra: Self.serviceLink)
        #expect(takers(cabstand.child) == [])
        let result = try ChildProcess.run("curl", ["-s", cabstand.url + "/drivers/available?lat=53.55&lon=13.26"])
        #expect(result.status == 0)
        #expect(takers(cabstand.child) == [])
        #expect(cabstand.words.contains("CABSTAND_PORT"))
        #expect(cabstand.terminate() == 0, "\(cabstand.words.suffix(2000))")
    }

    @Test func sighupAndSigusrNeverEndAProgram() throws {
        let cabstand = try RunningCabstand()
        for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM] { cabstand.child.signal(signal) }
        try cabstand.child.waitForOutput("reading certificates again")
        try cabstand.child.waitForOutput("this signal means nothing here")
        let result = try ChildProcess.run("curl", ["-s", cabstand.url + "/healthz"])
        #expect(result.output.contains("ok"))
        cabstand.child.signal(SIGINT)
        #expect(cabstand.child.waitForExit(30) == 0)
    }

    @Test func sigquitEndsAtOnceAndSaysSo() throws {
        let cabstand = try RunningCabstand()
        cabstand.child.signal(SIGQUIT)
        #expect(cabstand.child.waitForExit(20) == 128 + SIGQUIT)
        #expect(cabstand.words.contains("SIGQUIT"))
    }

    @Test(.enabled(if: Tool.find("openssl") != nil, "needs openssl"))
    func sighupShowsTheNewCertificateAndABadOneChangesNothing() throws {
        let folder = TemporaryFolder()
        func makeCertificate(_ name: String) throws {
            let result = try ChildProcess.run(
                "openssl",
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=\(name)", "-keyout", folder.file("key.pem"), "-out", folder.file("cert.pem"),
                ])
            #expect(result.status == 0, "\(result.errors)")
        }
        try makeCertificate("first")
        let cabstand = try RunningCabstand(
            extra: ["CABSTAND_TLS_CERT": folder.file("cert.pem"), "CABSTAND_TLS_KEY": folder.file("key.pem")])
        func subject() throws -> String {
            try ChildProcess.run(
                "/bin/sh",
                ["-c", "openssl s_client -connect 127.0.0.1:\(cabstand.port) </dev/null 2>/dev/null | grep subject"]
            ).output
        }
        #expect(try subject().contains("first"))
        try makeCertificate("second")
        cabstand.child.signal(SIGHUP)
        try cabstand.child.waitForOutput("the certificate was read again")
        #expect(try subject().contains("second"))
        folder.write("key.pem", "no key")
        cabstand.child.signal(SIGHUP)
        try cabstand.child.waitForOutput("the one before stays in force")
        #expect(cabstand.words.contains(folder.file("key.pem")))
        #expect(try subject().contains("second"))
        // Files that are whole again are noticed without a signal.
        try makeCertificate("third")
        let limit = ContinuousClock.now + .seconds(20)
        while try !subject().contains("third"), ContinuousClock.now < limit { usleep(200_000) }
        #expect(try subject().contains("third"))
        #expect(cabstand.words.contains("files were replaced"))
        #expect(cabstand.terminate() == 0)
    }

    // MARK: Lines that nobody reads

    /// A program whose standard output and error are a full pipe without a reader.
    private func stalled(_ arguments: [String] = []) throws -> (ChildProcess, UInt16, TemporaryFolder) {
        let folder = TemporaryFolder()
        let (port, driver, trip) = (freePort(), freePort(), freePort())
        // The program has both ends: it is never told that the reader is gone.
        let script = """
            mkfifo "$0/pipe"; exec 9<>"$0/pipe"
            head -c 65536 /dev/zero >&9 2>/dev/null
            exec "$@" >&9 2>&9 9>&-
            """
        let process = try ChildProcess(
            "/bin/sh", ["-c", script, folder.path, Tool.program("cabstand")] + arguments,
            environment: [
                "CABSTAND_HTTP_PORT": "\(port)", "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(driver)",
                "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(trip)", "CABSTAND_DATABASE_URL": "sqlite:" + folder.file("data"),
                "CABSTAND_PUBLIC_DIR": Tool.repository + "/public", "CABSTAND_LOG_LEVEL": "debug",
                "CABSTAND_GRACE_S": "12", "CABSTAND_PORT": "x",
            ], directory: folder.path)
        let probe = HTTPConnection(port: port)
        let isReady = waitUntil(40) { probe.request("GET", "/readyz")?.status == 200 }
        #expect(isReady)
        return (process, port, folder)
    }

    @Test func aStalledReaderOfTheLogHoldsUpNeitherRequestsNorTheEnd() throws {
        let (process, port, folder) = try stalled()
        defer { withExtendedLifetime(folder) {} }
        for _ in 0..<50 {
            let connection = HTTPConnection(port: port)
            #expect(connection.request("GET", "/drivers/available?lat=1&lon=2")?.status == 200)
        }
        process.signal(SIGTERM)
        #expect(process.waitForExit(20) == 0)
    }

    @Test func aSecondSignalEndsAProgramWhoseLogNobodyReads() throws {
        let (process, _, folder) = try stalled(["--drain-delay-s", "600"])
        defer { withExtendedLifetime(folder) {} }
        process.signal(SIGTERM)
        usleep(300_000)
        #expect(process.isRunning)
        process.signal(SIGTERM)
        #expect(process.waitForExit(5) == 1)
    }

    @Test(.enabled(if: Tool.exists("/dev/full"), "needs /dev/full"))
    func aFullDiskUnderTheLogHoldsUpNothing() throws {
        let process = try ChildProcess(
            "/bin/sh", ["-c", "exec \"$0\" 2>/dev/full", Tool.program("trip")],
            environment: [
                "CABSTAND_GRPC_PORT": "\(freePort())",
                "CABSTAND_DATABASE_URL": "sqlite:" + TemporaryFolder().file("t.db"),
                "CABSTAND_PORT": "x",
            ])
        defer { process.kill() }
        // The folder is gone: it can't start, says so to nobody, and ends.
        #expect(process.waitForExit(20) == 1)
    }

    // MARK: At start

    @Test func aStartThatFailsBesideRunningThreadsSaysWhyAndExitsWith1() throws {
        let cabstand = try RunningCabstand()
        let folder = TemporaryFolder()
        let result = try ChildProcess.run(
            Tool.program("cabstand"),
            environment: [
                // Both services are up when the gateway finds its port taken.
                "CABSTAND_HTTP_PORT": "\(cabstand.port)", "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(freePort())",
                "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(freePort())",
                "CABSTAND_DATABASE_URL": "sqlite:" + folder.file("data"),
                "CABSTAND_PUBLIC_DIR": Tool.repository + "/public",
            ], timeout: 30)
        #expect(result.status == 1)
        #expect(result.errors.contains("CABSTAND_HTTP_PORT chooses another port"), "\(result.errors)")
    }

    /// Whenever it comes after the program has begun, SIGTERM ends in order: 0, never 143.
    @Test func sigtermDuringTheStartEndsInOrder() throws {
        for delay in [0, 50_000, 150_000] {
            let folder = TemporaryFolder()
            let process = try ChildProcess(
                Tool.program("cabstand"),
                environment: [
                    "CABSTAND_HTTP_PORT": "\(freePort())", "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(freePort())",
                    "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(freePort())",
                    "CABSTAND_DATABASE_URL": "sqlite:" + folder.file("data"),
                    "CABSTAND_PUBLIC_DIR": Tool.repository + "/public", "CABSTAND_PORT": "x",
                ])
            // Not before it has begun: the loader is not the program.
            try process.waitForOutput("CABSTAND_PORT")
            usleep(UInt32(delay))
            process.signal(SIGTERM)
            #expect(process.waitForExit(30) == 0, "after \(delay) µs: \(process.errors)")
        }
    }
}
