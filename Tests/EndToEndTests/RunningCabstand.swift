import Glibc
import TestSupport

/// `cabstand` did not come up.
struct NotReady: Error, CustomStringConvertible {
    let description: String
}

/// The all-in-one program with simulated drivers, on free ports, with data of its own.
///
/// It is killed and its data removed when the object goes.
final class RunningCabstand {
    let port = freePort()
    let driverPort = freePort()
    let tripPort = freePort()
    private let folder = TemporaryFolder()
    private let simulatedDrivers: Int
    private let extra: [String: String]
    private var process: ChildProcess

    /// The running program.
    var child: ChildProcess { process }

    /// Starts it and waits until it is ready.
    ///
    /// - Parameter extra: more environment variables; `ownURL` in them stands for its address.
    /// - Throws: `NotReady`, with what it wrote, if it is not ready within a minute.
    init(simulatedDrivers: Int = 0, extra: [String: String] = [:]) throws {
        self.simulatedDrivers = simulatedDrivers
        let port = port
        let extra = extra.mapValues { $0.replacing(Self.ownURL, with: "http://127.0.0.1:\(port)") }
        self.extra = extra
        process = try Self.launch(port, driverPort, tripPort, folder, simulatedDrivers, extra)
        try waitUntilReady()
    }

    /// What stands for its address in settings.
    static let ownURL = "OWN-URL"

    var url: String { "http\(extra["CABSTAND_TLS_CERT"] == nil ? "" : "s")://127.0.0.1:\(port)" }

    /// Where the services keep their data.
    var dataFolder: String { folder.file("data") }

    /// Where one of them does.
    func database(_ service: String) -> String { folder.file("data/\(service).db") }

    /// An operator's token, of an hour.
    var operatorToken: String {
        let made = try? ChildProcess.run(
            Tool.program("cabstand"), ["token", "--role", "operator", "--subject", "olga", "--ttl", "1h"],
            environment: ["CABSTAND_DATABASE_URL": "sqlite:" + dataFolder])
        return made?.output.split(separator: "\n").first.map(String.init) ?? ""
    }

    /// What it wrote so far.
    var words: String { process.output + process.errors }

    /// The embedded broker's address, as it printed it.
    var kafka: String {
        for line in words.split(separator: "\n") where line.contains("broker") {
            if let start = line.firstRange(of: "127.0.0.1:")?.lowerBound {
                return String(line[start...].prefix { $0.isNumber || $0 == "." || $0 == ":" })
            }
        }
        return ""
    }

    func kill() { process.kill() }

    @discardableResult
    func terminate() -> Int32 { process.terminate() }

    /// Starts it again after `kill()` or `terminate()`, on the same ports and with the same data.
    func restart() throws {
        process = try Self.launch(port, driverPort, tripPort, folder, simulatedDrivers, extra)
        try waitUntilReady()
    }

    private static func launch(
        _ port: UInt16, _ driverPort: UInt16, _ tripPort: UInt16, _ folder: TemporaryFolder, _ simulatedDrivers: Int,
        _ extra: [String: String]
    ) throws -> ChildProcess {
        try ChildProcess(
            Tool.program("cabstand"),
            environment: [
                "CABSTAND_HTTP_PORT": String(port), "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(driverPort)",
                "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(tripPort)",
                "CABSTAND_DATABASE_URL": "sqlite:" + folder.file("data"),
                "CABSTAND_PUBLIC_DIR": Tool.repository + "/public",
                "CABSTAND_SIMULATED_DRIVERS": String(simulatedDrivers),
            ].merging(extra) { $1 }, directory: folder.path)
    }

    private func waitUntilReady() throws {
        var answer = ""
        let ready = waitUntil(60) {
            guard process.isRunning else { return true }
            let result = try? ChildProcess.run(
                "curl", ["-s", "-k", "-o", "/dev/null", "-w", "%{http_code}", url + "/readyz"], timeout: 10)
            answer = result?.output ?? ""
            return answer == "200"
        }
        guard ready, process.isRunning else {
            throw NotReady(description: "cabstand did not get ready (\(answer)):\n" + words.suffix(4000))
        }
    }
}
