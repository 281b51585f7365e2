/// Every setting of Cabstand's programs. Each has the variable `CABSTAND_…` and a flag of the same name.
public enum CabstandSettings {
    public static let bind = Setting.ipAddress(
        "BIND", default: "0.0.0.0", allowed: "an IP address of this machine",
        help: "Address to listen on; 0.0.0.0 is every IPv4 address.")
    public static let httpPort = Setting.integer(
        "HTTP_PORT", default: 8080, 0...65535,
        help: "Port of the gateway: page, REST and WebSocket. 0 takes a free one.")
    public static let adminPort = Setting.optionalInteger(
        "ADMIN_PORT", 0...65535,
        help: "Port for /metrics, /healthz and /readyz; the gateway then serves /metrics there alone.")
    public static let grpcPort = Setting.integer(
        "GRPC_PORT", default: 50051, 0...65535, help: "Port of the service's gRPC. 0 takes a free one.")
    public static let driverService = Setting.hostPort(
        "DRIVER_SERVICE", default: "localhost:50051", help: "Where the driver service is.")
    public static let tripService = Setting.hostPort(
        "TRIP_SERVICE", default: "localhost:50052", help: "Where the trip service is.")
    public static let publicDir = Setting.text(
        "PUBLIC_DIR", default: "public", allowed: "a folder",
        help: "The folder with the map page and the street data.")
    public static let kafkaBootstrapServers = Setting.text(
        "KAFKA_BOOTSTRAP_SERVERS", default: "localhost:9092", allowed: "host:port,host:port",
        help: "Where Kafka is.")
    public static let kafkaConfig = Setting.keyValues(
        "KAFKA_CONFIG", help: "More options for librdkafka, such as SASL and TLS.", isSecret: true)
    public static let kafkaPartitions = Setting.integer(
        "KAFKA_PARTITIONS", default: 8, 1...1000, help: "Partitions of a topic that is made at start.")
    public static let kafkaReplicationFactor = Setting.integer(
        "KAFKA_REPLICATION_FACTOR", default: 1, 1...10, help: "Replicas of a topic that is made at start.")
    public static let kafkaRetentionMs = Setting.integer(
        "KAFKA_RETENTION_MS", default: 604_800_000, -1...Int.max / 2, unit: "milliseconds (-1 keeps everything)",
        help: "How long a topic that is made at start keeps its records.")
    public static let databaseURL = Setting<String>(
        "DATABASE_URL", default: "sqlite:cabstand.db", allowed: "sqlite:path",
        help: "Where the service keeps its data; for the all-in-one program a folder.", isSecret: true
    ) { text in
        text.hasPrefix("sqlite:") && text.count > "sqlite:".count ? text : nil
    }
    public static let eventLoops = Setting.integer(
        "EVENT_LOOPS", default: 0, 0...1024,
        help: "Event loops of the gateway, one thread each; 0: as many as CPUs. The services have one.")
    public static let graceSeconds = Setting.integer(
        "GRACE_S", default: 20, 0...3600, unit: "seconds",
        help: "Time to finish after SIGTERM and CABSTAND_DRAIN_DELAY_S.")
    public static let drainDelaySeconds = Setting.integer(
        "DRAIN_DELAY_S", default: 0, 0...600, unit: "seconds",
        help: "After SIGTERM, how long to go on accepting while load balancers take notice.")
    public static let simulatedDrivers = Setting.integer(
        "SIMULATED_DRIVERS", default: 0, 0...9999, help: "How many simulated drivers the driver service has.")
    public static let driverTTLSeconds = Setting.integer(
        "DRIVER_TTL_S", default: 60, 1...86_400, unit: "seconds",
        help: "A driver whose app streamed positions leaves every list after so long a silence.")
    public static let listIntervalMs = Setting.integer(
        "LIST_INTERVAL_MS", default: 100, 50...60_000, unit: "milliseconds",
        help: "At most one live list in this time, unless a subscriber asks for another interval.")
    public static let pollIntervalMs = Setting.integer(
        "POLL_INTERVAL_MS", default: 5_000, 100...600_000, unit: "milliseconds",
        help: "How often live lists are fetched when nothing has changed.")
    public static let requestTimeoutMs = Setting.integer(
        "REQUEST_TIMEOUT_MS", default: 5_000, 10...600_000, unit: "milliseconds", help: "How long a request may take.")
    public static let allowedOrigins = Setting.list(
        "ALLOWED_ORIGINS", allowed: "origins between commas, such as https://example.org, or *",
        help: "Whose pages may use REST and WebSocket; empty: the same host only.")
    public static let logLevel = Setting.choice(
        "LOG_LEVEL", default: "info", ["trace", "debug", "info", "notice", "warning", "error", "critical"],
        help: "What is logged, to standard error.")
    public static let logFormat = Setting.choice(
        "LOG_FORMAT", default: "text", ["text", "json"], help: "The form of log lines.")
    public static let tlsCert = Setting.text(
        "TLS_CERT", default: "", allowed: "a PEM file", help: "Certificate chain of the gateway; empty: plain HTTP.")
    public static let tlsKey = Setting.text(
        "TLS_KEY", default: "", allowed: "a PEM file", help: "Private key of the certificate.")

    /// Descriptions of all of them, in the order of the table in deploy/README.md.
    public static let all: [SettingDescription] = [
        bind.description, httpPort.description, adminPort.description, grpcPort.description,
        driverService.description, tripService.description, publicDir.description,
        kafkaBootstrapServers.description, kafkaConfig.description, kafkaPartitions.description,
        kafkaReplicationFactor.description, kafkaRetentionMs.description, databaseURL.description,
        eventLoops.description, graceSeconds.description, drainDelaySeconds.description,
        simulatedDrivers.description, driverTTLSeconds.description, listIntervalMs.description,
        pollIntervalMs.description, requestTimeoutMs.description, allowedOrigins.description, logLevel.description,
        logFormat.description, tlsCert.description,
        tlsKey.description,
    ]

    /// Variables with the prefix that the build and the tests use: no warning for them.
    static let buildVariables: Set<String> = [
        "CABSTAND_WARNINGS_AS_ERRORS", "CABSTAND_ROOMS", "CABSTAND_TOOLS", "CABSTAND_TOOLS_FOLDER",
    ]
}
