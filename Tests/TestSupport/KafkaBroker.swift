import Glibc

/// A real Apache Kafka broker (the test material's `kafka` script) on a free port, with a folder of its own.
///
/// Call `stop()` in a `defer`: a callback of a loop may keep the object for ever, and the broker with it. Its data go with
/// the object. Starting takes about 4 seconds and 350 MB.
public final class KafkaBroker: Sendable {
    public let port: Int
    private let script: String
    private let folder = TemporaryFolder()
    private let partitions: Int
    private let options: String

    /// nil: the material or Java is not on this machine. Say so as a named skip.
    public static let isAvailable = Tool.shared("kafka/kafka") != nil && Tool.find("java") != nil

    /// - Parameter options: lines of `server.properties`, separated by spaces.
    public init(partitions: Int = 4, options: String = "") throws {
        guard let script = Tool.shared("kafka/kafka") else {
            throw ChildProcessError(description: "no Kafka beside the repository")
        }
        self.script = script
        self.partitions = partitions
        self.options = options
        // The port above it is the controller's.
        port = Int(restartablePort(neighbours: 1))
        try start()
    }

    deinit { stop() }

    /// Ends it for good.
    public func stop() { _ = try? run("kill") }

    public var bootstrapServers: String { "127.0.0.1:\(port)" }

    /// Starts it, with the data that it had.
    public func start() throws { try run("start") }

    /// kill −9. The data stays.
    public func kill() throws { try run("kill") }

    /// SIGSTOP: the broker hangs.
    public func pause() throws { try run("pause") }

    public func resume() throws { try run("resume") }

    /// Arguments of kafka-topics.sh.
    @discardableResult
    public func topics(_ arguments: String...) throws -> String { try run("topics", arguments) }

    /// Arguments of kafka-consumer-groups.sh.
    @discardableResult
    public func groups(_ arguments: String...) throws -> String { try run("groups", arguments) }

    @discardableResult
    private func run(_ command: String, _ arguments: [String] = []) throws -> String {
        let result = try ChildProcess.run(
            script, [command] + arguments,
            environment: [
                "KAFKA_PORT": String(port), "KAFKA_DIR": folder.path, "KAFKA_PARTITIONS": String(partitions),
                "KAFKA_HEAP": "256m", "KAFKA_OPTIONS": options,
            ], timeout: 60)
        guard result.status == 0 else {
            throw ChildProcessError(description: "kafka \(command): \(result.output)\(result.errors)")
        }
        return result.output
    }
}
