import Glibc
import Synchronization

/// A real Apache Kafka broker (KRaft, one node) on a free port of 127.0.0.1, with a folder of its own.
///
/// Call `stop()` in a `defer`: a callback of a loop may keep the object for ever, and the broker with it. Its data go with
/// the object. Starting takes about 4 seconds and 350 MB.
public final class KafkaBroker: Sendable {
    public let port: Int
    private let folder = TemporaryFolder()
    private let process = Mutex<ChildProcess?>(nil)

    /// A Kafka of version 4 or newer, unpacked: `KAFKA_HOME`, the one whose `kafka-server-start.sh` is on the PATH,
    /// `.build/kafka`, or the test material beside the repository. nil: there is none on this machine.
    private static let libraries: String? = {
        var homes = [Tool.variable("KAFKA_HOME")]
        homes.append(Tool.find("kafka-server-start.sh").map { Tool.folder(of: Tool.folder(of: Tool.resolved($0))) })
        homes += [Tool.repository + "/.build/kafka", Tool.shared("kafka")]
        return homes.lazy.compactMap { $0 }.map { $0 + "/libs" }.first(where: Tool.exists)
    }()

    public static let isAvailable = libraries != nil && Tool.find("java") != nil

    /// What ends the skip of a test that needs a broker.
    public static let isMissing =
        "no Kafka: set KAFKA_HOME to an unpacked Apache Kafka 4 (Tests/README.md), and apt-get install openjdk-17-jre-headless"

    /// - Parameter options: lines of `server.properties`, separated by spaces.
    public init(partitions: Int = 4, options: String = "") throws {
        // The port above it is the controller's.
        port = Int(restartablePort(neighbours: 1))
        let lines = [
            "process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@127.0.0.1:\(port + 1)",
            "listeners=PLAINTEXT://127.0.0.1:\(port),CONTROLLER://127.0.0.1:\(port + 1)",
            "advertised.listeners=PLAINTEXT://127.0.0.1:\(port)", "controller.listener.names=CONTROLLER",
            "inter.broker.listener.name=PLAINTEXT", "log.dirs=\(folder.file("data"))",
            "num.partitions=\(partitions)", "num.network.threads=2", "num.io.threads=4",
            "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
            "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
            "transaction.state.log.num.partitions=4", "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1", "group.initial.rebalance.delay.ms=0",
            "auto.create.topics.enable=true",
        ]
        folder.write(
            "server.properties", (lines + options.split(separator: " ").map(String.init)).joined(separator: "\n"))
        // Warnings, and the one line that says that the server runs.
        folder.write(
            "log4j2.properties",
            """
            status = error
            appender.out.type = Console
            appender.out.name = out
            rootLogger.level = warn
            rootLogger.appenderRef.out.ref = out
            logger.server.name = kafka.server.KafkaRaftServer
            logger.server.level = info
            """)
        // Any 16 bytes in Base64 name a cluster.
        try run(
            "kafka.tools.StorageTool",
            ["format", "-t", "Q2Fic3RhbmRDYWJzdGFuZA", "-c", folder.file("server.properties")])
        try start()
    }

    deinit { stop() }

    /// Ends it for good.
    public func stop() { kill() }

    public var bootstrapServers: String { "127.0.0.1:\(port)" }

    /// Starts it, with the data that it had.
    public func start() throws {
        let child = try ChildProcess(
            "java",
            ["-Xms256m", "-Xmx256m", "-XX:+UseSerialGC"]
                + java("kafka.Kafka", [folder.file("server.properties")], folder.file("log4j2.properties")))
        process.withLock { $0 = child }
        try child.waitForOutput("Kafka Server started", seconds: 60)
    }

    /// kill −9. The data stays.
    public func kill() { process.withLock { $0.take() }?.kill() }

    /// SIGSTOP: the broker hangs.
    public func pause() { process.withLock { $0?.signal(SIGSTOP) } }

    public func resume() { process.withLock { $0?.signal(SIGCONT) } }

    /// Arguments of kafka-topics.sh.
    @discardableResult
    public func topics(_ arguments: String...) throws -> String {
        try run("org.apache.kafka.tools.TopicCommand", ["--bootstrap-server", bootstrapServers] + arguments)
    }

    /// Arguments of kafka-consumer-groups.sh.
    @discardableResult
    public func groups(_ arguments: String...) throws -> String {
        try run(
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            ["--bootstrap-server", bootstrapServers] + arguments)
    }

    /// A class of Kafka's with its arguments, as java takes them.
    private func java(_ name: String, _ arguments: [String], _ logging: String) -> [String] {
        [
            "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=\(logging)", "-Dkafka.logs.dir=\(folder.path)",
            "-cp",
            "\(Self.libraries ?? "")/*", name,
        ] + arguments
    }

    /// Runs one of Kafka's tools to its end.
    @discardableResult
    private func run(_ tool: String, _ arguments: [String]) throws -> String {
        guard Self.isAvailable else { throw ChildProcessError(description: Self.isMissing) }
        let result = try ChildProcess.run(
            "java", ["-Xmx256m"] + java(tool, arguments, folder.file("log4j2.properties")), timeout: 60)
        guard result.status == 0 else {
            throw ChildProcessError(description: "\(tool) \(arguments): \(result.output)\(result.errors)")
        }
        return result.output
    }
}
