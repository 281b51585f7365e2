import Glibc

/// The programs on free ports, with data folders of their own: gateway, driver and trip against a Kafka. Unless a test says
/// otherwise they ask who somebody is, with keys that the gateway has made. What it started, it ends.
public final class Fleet {
    public enum Service: String, CaseIterable { case driver, trip, gateway }

    /// Whether the programs ask who somebody is.
    public enum Access { case off, required }

    public let httpPort = restartablePort()
    public let driverPort = restartablePort()
    public let tripPort = restartablePort()
    public let folder = TemporaryFolder()
    /// An operator's token, of an hour; nil where nobody is asked.
    public let operatorToken: String?
    private let access: Access
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
    public init(bootstrapServers: String, access: Access = .required, extra: [String: String] = [:]) throws {
        self.bootstrapServers = bootstrapServers
        self.access = access
        self.extra = extra
        switch access {
        case .off: operatorToken = nil
        case .required:
            try Self.run("make-keys", folder.path, folder.path)
            operatorToken = try Self.token("operator", "olga", keysIn: folder)
        }
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
        if access == .required {
            environment["CABSTAND_AUTH"] = "required"
            // Only the gateway can make tokens.
            environment["CABSTAND_AUTH_KEY"] = folder.file(service == .gateway ? "key.pem" : "key.pub.pem")
            environment["CABSTAND_SERVICE_SECRET"] = folder.file("service-secret")
        }
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

    /// To the gateway, as an operator.
    public func connection() -> HTTPConnection { HTTPConnection(port: httpPort, token: operatorToken) }

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

    // MARK: Who somebody is

    /// The token of a rider who has signed in as a guest just now.
    public func guest() throws -> String {
        try Self.accessToken(HTTPConnection(port: httpPort).request("POST", "/auth/guest"))
    }

    /// The token of a driver's app, which has changed an operator's enrolment code into it.
    public func enrol(driver: String) throws -> String {
        let enrolment = connection().request("POST", "/drivers/\(driver)/enrolment")
        guard let code = enrolment?.text("code") else {
            throw ChildProcessError(description: "no enrolment: \(enrolment?.body ?? "no answer")")
        }
        return try Self.accessToken(
            HTTPConnection(port: httpPort).request("POST", "/auth/driver", #"{"code":"\#(code)"}"#))
    }

    /// A token as the gateway's command prints it.
    public func token(_ role: String, _ subject: String) throws -> String {
        try Self.token(role, subject, keysIn: folder)
    }

    private static func token(_ role: String, _ subject: String, keysIn folder: TemporaryFolder) throws -> String {
        let lines = try run(
            "token", "--role", role, "--subject=\(subject)", "--ttl", "1h",
            environment: ["CABSTAND_AUTH_KEY": folder.file("key.pem")])
        return String(lines.prefix { $0 != "\n" })
    }

    private static func accessToken(_ answer: HTTPConnection.Response?) throws -> String {
        guard let token = answer?.text("access_token") else {
            throw ChildProcessError(description: "nobody is signed in: \(answer?.body ?? "no answer")")
        }
        return token
    }

    /// Runs one of the gateway's commands to its end; what it prints.
    @discardableResult
    private static func run(_ arguments: String..., environment: [String: String] = [:]) throws -> String {
        let result = try ChildProcess.run(Tool.program("gateway"), arguments, environment: environment)
        guard result.status == 0 else {
            throw ChildProcessError(description: "gateway \(arguments): \(result.status) \(result.errors)")
        }
        return result.output
    }
}
