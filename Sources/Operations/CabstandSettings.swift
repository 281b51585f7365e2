import Settings

/// Every setting of Cabstand's programs, in the order of the table in deploy/README.md. Each has the variable `CABSTAND_…`
/// and a flag of the same name.
public struct CabstandSettings: SettingsCatalogue {
    public static let prefix = "CABSTAND_"

    /// Variables that the build and the tests use.
    public static let otherVariables: Set<String> = [
        "CABSTAND_WARNINGS_AS_ERRORS", "CABSTAND_ROOMS", "CABSTAND_TOOLS", "CABSTAND_TOOLS_FOLDER",
    ]

    public let bind = Setting.ipAddress(
        "BIND", default: "0.0.0.0", allowed: "an IP address of this machine",
        help: "Address to listen on; 0.0.0.0 is every IPv4 address."
    )
    .withDefault("127.0.0.1", in: "cabstand")
    .withDefault("127.0.0.1", in: "simulator")
    public let httpPort = Setting.integer(
        "HTTP_PORT", default: 8080, 0...65535,
        help: "Port of the gateway: page, REST and WebSocket. 0 takes a free one."
    )
    .of("gateway", "cabstand")
    public let adminPort = Setting.optionalInteger(
        "ADMIN_PORT", 0...65535,
        help: "Port for /metrics, /healthz and /readyz; the gateway then serves /metrics there alone.")
    public let grpcPort = Setting.integer(
        "GRPC_PORT", default: 50051, 0...65535, help: "Port of the service's gRPC. 0 takes a free one."
    )
    .of("driver", "trip")
    .withDefault("50052", in: "trip")
    public let driverService = Setting.hostPort(
        "DRIVER_SERVICE", default: "localhost:50051", help: "Where the driver service is."
    )
    .of("gateway", "trip", "cabstand", "simulator")
    public let tripService = Setting.hostPort(
        "TRIP_SERVICE", default: "localhost:50052", help: "Where the trip service is."
    )
    .of("gateway", "driver", "cabstand", "simulator")
    public let publicDir = Setting.text(
        "PUBLIC_DIR", default: "public", allowed: "a folder",
        help: "The folder with the map page and the street data."
    )
    .of("gateway", "driver", "cabstand", "simulator")
    public let kafkaBootstrapServers = Setting.text(
        "KAFKA_BOOTSTRAP_SERVERS", default: "localhost:9092", allowed: "host:port,host:port",
        help: "Where Kafka is."
    )
    .of("gateway", "driver", "trip", "cabstand")
    .withDefault("", in: "cabstand")
    public let kafkaConfig = Setting.keyValues(
        "KAFKA_CONFIG", help: "More options for librdkafka, such as SASL and TLS.", isSecret: true
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let kafkaPartitions = Setting.integer(
        "KAFKA_PARTITIONS", default: 8, 1...1000, help: "Partitions of a topic that is made at start."
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let kafkaReplicationFactor = Setting.integer(
        "KAFKA_REPLICATION_FACTOR", default: 1, 1...10, help: "Replicas of a topic that is made at start."
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let kafkaRetentionMs = Setting.integer(
        "KAFKA_RETENTION_MS", default: 604_800_000, -1...Int.max / 2, unit: "milliseconds (-1 keeps everything)",
        help: "How long a topic that is made at start keeps its records; auth_revocations keeps them for 31 days."
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let databaseURL = Setting<DatabaseURL>(
        "DATABASE_URL", default: "sqlite:cabstand.db", allowed: "sqlite:path",
        help: "Where the service keeps its data; for the all-in-one program a folder.", isSecret: true,
        parse: DatabaseURL.init
    )
    .of("driver", "trip", "cabstand")
    .withDefault("sqlite:driver.db", in: "driver")
    .withDefault("sqlite:trip.db", in: "trip")
    .withDefault("sqlite:cabstand-data", in: "cabstand")
    .redacted(DatabaseURL.redacted)
    public let eventLoops = Setting.integer(
        "EVENT_LOOPS", default: 0, 0...1024,
        help: "Event loops of the gateway, one thread each; 0: as many as CPUs. The services have one."
    )
    .of("gateway", "cabstand")
    public let graceSeconds = Setting.integer(
        "GRACE_S", default: 20, 0...3600, unit: "seconds",
        help: "Time to finish after SIGTERM and CABSTAND_DRAIN_DELAY_S.")
    public let drainDelaySeconds = Setting.integer(
        "DRAIN_DELAY_S", default: 0, 0...600, unit: "seconds",
        help: "After SIGTERM, how long to go on accepting while load balancers take notice.")
    public let simulatedDrivers = Setting.integer(
        "SIMULATED_DRIVERS", default: 0, 0...9999,
        help: "How many simulated drivers there are; the driver service brings their apps along."
    )
    .of("driver", "cabstand", "simulator")
    .withDefault("200", in: "simulator")
    public let gateway = Setting.text(
        "GATEWAY", default: "http://127.0.0.1:8080", allowed: "an address of http or https without a path",
        help:
            "Where simulated drivers sign in, as drivers' apps do; empty: at the program's own gateway, which only the all-in-one program has."
    )
    .of("driver", "cabstand", "simulator")
    .withDefault("", in: "cabstand")
    public let driverTTLSeconds = Setting.integer(
        "DRIVER_TTL_S", default: 60, 1...86_400, unit: "seconds",
        help: "A driver whose app streamed positions leaves every list after so long a silence."
    )
    .of("driver", "cabstand")
    public let maxPickupMetres = Setting.integer(
        "MAX_PICKUP_M", default: 50_000, 100...20_100_000, unit: "metres",
        help: "How far a driver may be from the pickup; a selected one who is farther away is refused."
    )
    .of("trip", "cabstand")
    public let listIntervalMs = Setting.integer(
        "LIST_INTERVAL_MS", default: 100, 50...60_000, unit: "milliseconds",
        help: "At most one live list in this time, unless a subscriber asks for another interval."
    )
    .of("gateway", "cabstand")
    public let websocketCompression = Setting.choice(
        "WEBSOCKET_COMPRESSION", default: "shared", ["shared", "off"],
        help: "What is compressed for WebSockets that offer it: lists that several look at, or nothing."
    )
    .of("gateway", "cabstand")
    public let pollIntervalMs = Setting.integer(
        "POLL_INTERVAL_MS", default: 5_000, 100...600_000, unit: "milliseconds",
        help: "How often live lists are fetched when nothing has changed."
    )
    .of("gateway", "cabstand")
    public let requestTimeoutMs = Setting.integer(
        "REQUEST_TIMEOUT_MS", default: 5_000, 10...600_000, unit: "milliseconds", help: "How long a request may take."
    )
    .of("gateway", "cabstand")
    public let keepAliveSeconds = Setting.integer(
        "KEEP_ALIVE_S", default: 75, 1...86_400, unit: "seconds",
        help: "How long an HTTP connection may be quiet; longer than a load balancer in front keeps it."
    )
    .of("gateway", "cabstand")
    public let allowedOrigins = Setting.list(
        "ALLOWED_ORIGINS", allowed: "origins between commas, such as https://example.org, or *",
        help: "Whose pages may use REST and WebSocket; empty: the same host only."
    )
    .of("gateway", "cabstand")
    public let trustedProxies = Setting.list(
        "TRUSTED_PROXIES", allowed: "addresses between commas, such as 10.0.0.0/8,fd00::/8",
        help:
            "Proxies whose word counts on how and from whom a request came (Forwarded, X-Forwarded-Proto, X-Forwarded-For)."
    )
    .of("gateway", "cabstand")
    public let proxyProtocol = Setting.choice(
        "PROXY_PROTOCOL", default: "off", ["off", "required"],
        help:
            "Whether trusted proxies say whom each connection is from by a PROXY header of version 2, in front of TLS."
    )
    .of("gateway", "cabstand")
    public let auth = Setting.choice(
        "AUTH", default: "required", ["off", "required"],
        help: "Whether the program asks who somebody is: with off, everybody may do everything."
    )
    .of("gateway", "driver", "trip", "cabstand", "simulator")
    public let authKey = Setting.list(
        "AUTH_KEY", allowed: "PEM files between commas",
        help:
            "Keys (Ed25519, P-256) of this installation's own tokens: private ones, of which the first signs; services need the public halves."
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let authIssuers = Setting.keyValues(
        "AUTH_ISSUERS",
        help:
            "Other issuers of access tokens, each with the file of its keys (JWKS), or with discover if it publishes them.",
        isSecret: false
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let authAudience = Setting.text(
        "AUTH_AUDIENCE", default: "cabstand", allowed: "a word or an address",
        help: "What a token's aud has to name."
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let serviceSecret = Setting.text(
        "SERVICE_SECRET", default: "", allowed: "a file",
        help:
            "A file with what all services know, by which they prove to each other who they are; empty: by certificates."
    )
    .of("gateway", "driver", "trip", "simulator", "cabstand")
    public let signInIssuer = Setting.text(
        "SIGN_IN_ISSUER", default: "", allowed: "an address of https",
        help: "The OpenID provider where people sign in to the page; empty: they are guests."
    )
    .of("gateway", "cabstand")
    public let signInClientID = Setting.text(
        "SIGN_IN_CLIENT_ID", default: "", allowed: "a word", help: "What the provider calls this installation."
    )
    .of("gateway", "cabstand")
    public let signInClientSecret = Setting.text(
        "SIGN_IN_CLIENT_SECRET", default: "", allowed: "a file",
        help: "A file with the secret that the provider gave this installation; empty: it is a public client."
    )
    .of("gateway", "cabstand")
    public let externalURL = Setting.text(
        "EXTERNAL_URL", default: "", allowed: "an address of https without a path",
        help: "Where browsers see the gateway, such as https://rides.example: the provider sends them back there."
    )
    .of("gateway", "cabstand")
    public let publicLists = Setting.choice(
        "PUBLIC_LISTS", default: "on", ["on", "off"],
        help: "Whether lists of available drivers are for everybody when the gateway asks who somebody is."
    )
    .of("gateway", "cabstand")
    public let rateLimit = Setting<RateLimits>(
        "RATE_LIMIT", default: "", allowed: RateLimits.allowed,
        help:
            "How much each client may ask; empty: what is generous to people, where CABSTAND_AUTH is required. For each program by itself.",
        parse: RateLimits.init
    )
    .of("gateway", "driver", "trip", "cabstand")
    public let connectionLimit = Setting<ConnectionLimits>(
        "CONNECTION_LIMIT", default: "", allowed: ConnectionLimits.allowed,
        help: "How many connections there may be, and WebSockets of a principal; empty: as with CABSTAND_RATE_LIMIT.",
        parse: ConnectionLimits.init
    )
    .of("gateway", "cabstand")
    public let logLevel = Setting.choice(
        "LOG_LEVEL", default: "info", ["trace", "debug", "info", "notice", "warning", "error", "critical"],
        help: "What is logged, to standard error.")
    public let logFormat = Setting.choice(
        "LOG_FORMAT", default: "text", ["text", "json"], help: "The form of log lines.")
    public let tlsCert = Setting.text(
        "TLS_CERT", default: "", allowed: "a PEM file",
        help: "The program's certificate, and the chain behind it; empty: plain HTTP and gRPC."
    )
    .of("gateway", "driver", "trip", "simulator", "cabstand")
    public let tlsKey = Setting.text(
        "TLS_KEY", default: "", allowed: "a PEM file", help: "Private key of the certificate."
    )
    .of("gateway", "driver", "trip", "simulator", "cabstand")
    public let tlsCA = Setting.text(
        "TLS_CA", default: "", allowed: "a PEM file",
        help:
            "Authorities of the services' certificates; with them services are called over TLS, and each shows its own."
    )
    .of("gateway", "driver", "trip", "simulator")
    public let tlsClientCert = Setting.text(
        "TLS_CLIENT_CERT", default: "", allowed: "a PEM file",
        help: "The certificate that the gateway shows to the services; empty: CABSTAND_TLS_CERT."
    )
    .of("gateway")
    public let tlsClientKey = Setting.text(
        "TLS_CLIENT_KEY", default: "", allowed: "a PEM file", help: "Private key of that certificate."
    )
    .of("gateway")

    public init() {}
}

/// The settings of a program of Cabstand, as they are in force.
public typealias ProgramSettings = SettingsValues<CabstandSettings>

/// The programs.
extension SettingsDeclaration<CabstandSettings> {
    public static var gateway: Self {
        Self(program: "gateway", summary: "The gateway: map page, REST, WebSocket and live lists.")
    }

    public static var driver: Self {
        Self(
            program: "driver", summary: "The driver service: who the drivers are, where they are, and who is free.")
    }

    public static var trip: Self {
        Self(program: "trip", summary: "The trip service: bookings and what became of them.")
    }

    public static var simulator: Self {
        Self(
            program: "simulator",
            summary: "Simulated drivers: each signs in and speaks gRPC with the services, as a driver's app does.")
    }

    public static var cabstand: Self {
        Self(
            program: "cabstand",
            summary: "The whole of Cabstand in one process, with an embedded broker unless Kafka's address is given.")
    }
}
