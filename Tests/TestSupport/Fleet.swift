import Glibc

/// The programs on free ports, with data folders of their own: gateway, driver and trip against a Kafka,
/// or the all-in-one program. What it started, it ends.
public final class Fleet {
    public enum Service: String, CaseIterable { case driver, trip, gateway }

    public let httpPort = restartablePort()
    public let driverPort = restartablePort()
    public let tripPort = restartablePort()
    public let folder = TemporaryFolder()
    private let bootstrapServers: String
    private let extra: [String: String]
    private let adminPorts = [Service.driver: restartablePort(), .trip: restartablePort()]
    private var processes: [Service: ChildProcess] = [:]

    /// The three programs are built beside the tests.
    public static var isBuilt: Bool {
        Service.allCases.allSatisfy { Tool.exists(Tool.program($0.rawValue)) }
    }

    /// Starts all three and waits until the gateway is ready.
    ///
    /// - Parameter extra: more environment variables, for all of them.
    public init(bootstrapServers: String, extra: [String: String] = [:]) throws {
        self.bootstrapServers = bootstrapServers
        self.extra = extra
        for service in Service.allCases { try start(service) }
        try waitUntilReady()
    }

    deinit {
        for process in processes.values { process.kill() }
    }

    /// Where a service's /metrics is.
    public func metricsPort(_ service: Service) -> UInt16 { adminPorts[service] ?? httpPort }

    public func process(_ service: Service) -> ChildProcess? { processes[service] }

    /// Starts a service, with the data that it had, on the port that it had.
    public func start(_ service: Service) throws {
        processes[service] = try ChildProcess(Tool.program(service.rawValue), environment: environment(service))
    }

    private func environment(_ service: Service) -> [String: String] {
        var environment = [
            "CABSTAND_BIND": "127.0.0.1", "CABSTAND_HTTP_PORT": "\(httpPort)",
            "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(driverPort)", "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(tripPort)",
            "CABSTAND_GATEWAY": "http://127.0.0.1:\(httpPort)", "CABSTAND_KAFKA_BOOTSTRAP_SERVERS": bootstrapServers,
            "CABSTAND_KAFKA_PARTITIONS": "4",
            "CABSTAND_PUBLIC_DIR": Tool.repository + "/public", "CABSTAND_EVENT_LOOPS": "1", "CABSTAND_GRACE_S": "10",
            "CABSTAND_DATABASE_URL": "sqlite:\(folder.file(service.rawValue)).db",
        ]
        if let port = adminPorts[service] { environment["CABSTAND_ADMIN_PORT"] = "\(port)" }
        switch service {
        case .driver: environment["CABSTAND_GRPC_PORT"] = "\(driverPort)"
        case .trip: environment["CABSTAND_GRPC_PORT"] = "\(tripPort)"
        case .gateway: break
        }
        return environment.merging(extra) { $1 }
    }

    /// A second gateway beside the fleet's, ready, on a port of its own. Whoever asks for it ends it.
    ///
    /// - Parameter more: environment variables of its own.
    public func anotherGateway(_ more: [String: String] = [:]) throws -> (process: ChildProcess, port: UInt16) {
        let port = restartablePort()
        let own = ["CABSTAND_HTTP_PORT": "\(port)"].merging(more) { $1 }
        let process = try ChildProcess(Tool.program("gateway"), environment: environment(.gateway).merging(own) { $1 })
        let probe = HTTPConnection(port: port)
        guard waitUntil(30, { probe.request("GET", "/readyz")?.status == 200 }) else {
            process.kill()
            throw ChildProcessError(description: "the second gateway is not ready:\n\(process.errors)")
        }
        return (process, port)
    }

    /// kill −9.
    public func kill(_ service: Service) {
        processes[service]?.kill()
        processes[service] = nil
    }

    /// SIGTERM; the exit status.
    public func terminate(_ service: Service) -> Int32 {
        defer { processes[service] = nil }
        return processes[service]?.terminate() ?? -1
    }

    public func connection() -> HTTPConnection { HTTPConnection(port: httpPort) }

    /// Waits until every `/readyz` is 200 and, unless `degraded` will do, says that everything answers.
    ///
    /// - Throws: `ChildProcessError` with the programs' last lines.
    public func waitUntilReady(seconds: Double = 40, degraded: Bool = false) throws {
        let connections = [connection()] + adminPorts.values.map { HTTPConnection(port: $0) }
        let ready = waitUntil(seconds) {
            connections.allSatisfy { connection in
                guard let response = connection.request("GET", "/readyz"), response.status == 200 else { return false }
                return degraded || response.text("status") == "ok"
            }
        }
        if ready { return }
        throw ChildProcessError(description: "the fleet is not ready:\n\(logs)")
    }

    /// The last lines of each program.
    public var logs: String {
        processes.map { "--- \($0.key)\n\($0.value.errors.suffix(3000))" }.joined(separator: "\n")
    }
}
