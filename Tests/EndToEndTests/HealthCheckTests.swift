import Glibc
import TestSupport
import Testing

/// `--check` of the real programs against real servers.
@Suite struct HealthCheckTests {
    private func check(_ program: String, _ environment: [String: String]) throws -> ChildProcess.Result {
        try ChildProcess.run(Tool.program(program), ["--check"], environment: environment, timeout: 10)
    }

    /// The first check that finds it healthy; after half a minute the last one.
    private func healthy(_ program: String, _ environment: [String: String]) throws -> ChildProcess.Result {
        var last = try check(program, environment)
        _ = waitUntil(30) {
            if last.status != 0, let next = try? check(program, environment) { last = next }
            return last.status == 0
        }
        #expect(last.status == 0, "\(last.output)")
        return last
    }

    @Test func everyProgramFindsItsRunningServerHealthy() throws {
        let cabstand = try RunningCabstand()
        let whole = try check("cabstand", ["CABSTAND_HTTP_PORT": "\(cabstand.port)"])
        #expect(whole.status == 0)
        #expect(whole.output == "cabstand: healthy: ok (http://127.0.0.1:\(cabstand.port)/readyz)\n")
        #expect(whole.errors == "")

        // The gateway needs their ports only, so it may have been ready a moment before them.
        let driver = try healthy("driver", ["CABSTAND_GRPC_PORT": "\(cabstand.driverPort)"])
        #expect(driver.output == "driver: healthy: SERVING (grpc.health.v1 at 127.0.0.1:\(cabstand.driverPort))\n")
        let trip = try healthy("trip", ["CABSTAND_GRPC_PORT": "\(cabstand.tripPort)"])
        #expect(trip.output == "trip: healthy: SERVING (grpc.health.v1 at 127.0.0.1:\(cabstand.tripPort))\n")

        cabstand.kill()
        let gone = try check("cabstand", ["CABSTAND_HTTP_PORT": "\(cabstand.port)"])
        #expect(gone.status == 1)
        #expect(
            gone.output.hasPrefix("cabstand: not healthy: no answer from http://127.0.0.1:\(cabstand.port)/readyz:"))
        let driverGone = try check("driver", ["CABSTAND_GRPC_PORT": "\(cabstand.driverPort)"])
        #expect(driverGone.status == 1)
        #expect(driverGone.output.hasPrefix("driver: not healthy: no answer: "), "\(driverGone.output)")
    }

    /// The certificate is for another name and nobody has signed it: the server is known by its address.
    @Test(.enabled(if: Tool.find("openssl") != nil, "needs openssl"))
    func aSelfSignedCertificateIsNoObstacleAndTheAdminPortIsAskedFirst() throws {
        let folder = TemporaryFolder()
        let (certificate, key) = (folder.file("cert.pem"), folder.file("key.pem"))
        let made = try ChildProcess.run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                "/CN=cabstand.example", "-days", "2", "-keyout", key, "-out", certificate,
            ])
        try #require(made.status == 0, "\(made.errors)")
        let cabstand = try RunningCabstand()
        let (httpPort, adminPort) = (freePort(), freePort())
        var environment = [
            "CABSTAND_HTTP_PORT": "\(httpPort)", "CABSTAND_ADMIN_PORT": "\(adminPort)",
            "CABSTAND_TLS_CERT": certificate, "CABSTAND_TLS_KEY": key,
            "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(cabstand.driverPort)",
            "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(cabstand.tripPort)",
            "CABSTAND_KAFKA_BOOTSTRAP_SERVERS": cabstand.kafka,
            "CABSTAND_PUBLIC_DIR": Tool.repository + "/public", "CABSTAND_EVENT_LOOPS": "1",
        ]
        let gateway = try ChildProcess(Tool.program("gateway"), environment: environment)
        defer { gateway.kill() }
        let overHTTP = try healthy("gateway", environment)
        #expect(overHTTP.output == "gateway: healthy: ok (http://127.0.0.1:\(adminPort)/readyz)\n")
        environment["CABSTAND_ADMIN_PORT"] = ""
        let overTLS = try check("gateway", environment)
        #expect(overTLS.status == 0)
        #expect(overTLS.output == "gateway: healthy: ok (https://127.0.0.1:\(httpPort)/readyz)\n")

        // Its dependencies are away: degraded, and healthy all the same.
        cabstand.kill()
        var last = ""
        let noticed = waitUntil(30) {
            last = (try? check("gateway", environment))?.output ?? ""
            return last.contains("driver_service: ")
        }
        #expect(noticed, "\(last)")
        #expect(last.hasPrefix("gateway: healthy: degraded: "))
    }

    @Test func aServerThatStillStartsIsNotHealthyYet() throws {
        let nobody = "127.0.0.1:\(freePort())"
        let folder = TemporaryFolder()
        var own = [
            "CABSTAND_BIND": "127.0.0.1", "CABSTAND_ADMIN_PORT": "\(freePort())", "CABSTAND_GRPC_PORT": "\(freePort())",
            "CABSTAND_DRIVER_SERVICE": nobody, "CABSTAND_KAFKA_BOOTSTRAP_SERVERS": nobody,
            "CABSTAND_DATABASE_URL": "sqlite:" + folder.file("trip.db"),
        ]
        let trip = try ChildProcess(Tool.program("trip"), environment: own)
        defer { trip.kill() }
        try trip.waitForOutput("serving")
        let overHTTP = try check("trip", own)
        #expect(overHTTP.status == 1)
        #expect(overHTTP.output.hasPrefix("trip: not healthy: starting: "), "\(overHTTP.output)")
        own["CABSTAND_ADMIN_PORT"] = ""
        let overGRPC = try check("trip", own)
        #expect(overGRPC.status == 1)
        #expect(overGRPC.output.hasPrefix("trip: not healthy: NOT_SERVING"), "\(overGRPC.output)")
    }

    /// It accepts (the kernel does) and never says a word.
    @Test(arguments: ["gateway", "driver"]) func aServerThatDoesNotAnswerIsGivenUp(program: String) throws {
        let silent = try SilentListener()
        let result = try check(
            program, ["CABSTAND_HTTP_PORT": "\(silent.port)", "CABSTAND_GRPC_PORT": "\(silent.port)"])
        #expect(result.status == 1)
        #expect(result.output.hasPrefix("\(program): not healthy: no answer"), "\(result.output)")
    }

    @Test func aPortThatTheSystemChoseCannotBeAsked() throws {
        let result = try check("gateway", ["CABSTAND_HTTP_PORT": "0"])
        #expect(result.status == 1)
        #expect(result.output.contains("CABSTAND_HTTP_PORT is 0"))
    }
}

/// A port of this machine on which connections wait for ever.
final class SilentListener {
    let port = freePort()
    private let descriptor: Int32

    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let result = unsafe withLoopbackAddress(port) { unsafe bind(descriptor, $0, $1) }
        guard result == 0, listen(descriptor, 4) == 0 else { throw NotReady(description: "errno \(errno)") }
    }

    deinit { close(descriptor) }
}
