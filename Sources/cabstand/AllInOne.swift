import Access
import DriverService
import DriverSimulator
import GatewayService
import Glibc
import KafkaClient
import Operations
import RideAPI
import Settings
import TripService

/// The whole of Cabstand in one process: the three services on their own loops, talking to each other by gRPC and Kafka
/// as they do apart, and a broker inside when no other is given.
struct AllInOne {
    /// Partitions of each topic of the embedded broker unless told otherwise: each may keep about 5 MB.
    private static let embeddedPartitions = 2

    /// In the order in which they end: what serves requests goes before what it asks.
    let servers: [any ServerProcess]
    /// What the terminal shows.
    let greeting: [String]
    private let driver: DriverServer
    private let trip: TripServer
    private let gateway: GatewayServer
    private let drivers: SimulatorServer?

    /// Opens and wires everything; requests wait until `start`.
    ///
    /// - Throws: what is wrong with a port, the data folder or Kafka's properties.
    init(settings: ProgramSettings) throws {
        let (shared, broker) = try Self.withKafka(settings)
        let folder = settings.databaseURL.path
        try Self.makeFolder(folder)
        let keys = Self.keys(settings)
        var secret = settings.serviceSecret
        if settings.auth == "required" {
            if settings.authKey.isEmpty { try OwnIssuer.makeKeyIfNeeded(keys[0]) }
            if secret.isEmpty {
                secret = "\(folder)/service-secret"
                try ServiceSecret.makeIfNeeded(secret)
            }
        }
        // They end one after the other, in a third of the time each; only the gateway has clients that must be warned.
        let grace = settings.graceSeconds / 3
        let inTurn = shared.replacing(\.graceSeconds, with: "\(grace)")
            .replacing(\.authKey, with: keys.joined(separator: ","))
            .replacing(\.serviceSecret, with: secret)
        // A service listens where the others look for it. The certificate is for who comes from outside, to the gateway.
        func service(_ name: String, port: UInt16) -> ProgramSettings {
            inTurn.replacing(\.grpcPort, with: "\(port)")
                .replacing(\.databaseURL, with: "\(DatabaseURL.sqlite(path: "\(folder)/\(name).db"))")
                .replacing(\.adminPort, with: "")
                .replacing(\.tlsCert, with: "")
                .replacing(\.tlsKey, with: "")
                .replacing(\.drainDelaySeconds, with: "0")
        }
        driver = try DriverServer(settings: service("driver", port: settings.driverService.port))
        trip = try TripServer(settings: service("trip", port: settings.tripService.port))
        gateway = try GatewayServer(settings: inTurn)
        gateway.readiness.show("database", of: driver.readiness, as: "driver_database")
        gateway.readiness.show("database", of: trip.readiness, as: "trip_database")
        drivers =
            settings.simulatedDrivers > 0
            ? try SimulatorServer(settings: inTurn, driverService: driver.grpcAddress, gateway: gateway.address) : nil
        servers =
            [gateway] + (drivers.map { [$0] } ?? []) + [trip, driver]
            + (broker.map { [EmbeddedBrokerProcess($0)] } ?? [])

        var lines = [
            "the map is at http://\(gateway.address)/",
            "gRPC at \(driver.grpcAddress) (drivers) and \(trip.grpcAddress) (trips)",
        ]
        if let broker {
            lines.append(
                "embedded broker at \(broker.bootstrapServers); it keeps nothing: "
                    + "kcat -C -b \(broker.bootstrapServers) -t \(TripEvent.topic)")
        }
        if settings.auth == "required" {
            lines.append("a token: cabstand token --role operator --subject NAME --ttl 1h")
        }
        greeting = lines
    }

    func start() throws {
        try driver.start()
        try trip.start()
        try gateway.start()
        try drivers?.start()
    }

    /// The files of the keys that sign tokens: those that are given, or one in the folder, which is made when it is needed.
    static func keys(_ settings: ProgramSettings) -> [String] {
        settings.authKey.isEmpty ? ["\(settings.databaseURL.path)/auth-key.pem"] : settings.authKey
    }

    /// The settings with a Kafka in them: the one that is given, or a broker of our own.
    private static func withKafka(_ settings: ProgramSettings) throws -> (ProgramSettings, EmbeddedBroker?) {
        if !settings.kafkaBootstrapServers.isEmpty { return (settings, nil) }
        let partitions =
            settings.isGiven(\.kafkaPartitions)
            ? settings.kafkaPartitions : embeddedPartitions
        let broker = try EmbeddedBroker(
            topics: [DriverLocationUpdate.topic, TripEvent.topic, Revocation.topic, AuditRecord.topic].map {
                TopicSpecification(name: $0, partitions: Int32(partitions), replicationFactor: 1)
            })
        let properties =
            settings.kafkaConfig + EmbeddedBroker.properties.map { KeyValue(key: $0.key, value: $0.value) }
        let changed = settings.replacing(\.kafkaBootstrapServers, with: broker.bootstrapServers)
            .replacing(\.kafkaConfig, with: KeyValue.text(of: properties))
        return (changed, broker)
    }

    /// Makes the folder and those above it.
    private static func makeFolder(_ path: String) throws {
        var end = path.startIndex
        while end < path.endIndex {
            end = path[path.index(after: end)...].firstIndex(of: "/") ?? path.endIndex
            let result = unsafe mkdir(String(path[..<end]), 0o755)
            guard result == 0 || errno == EEXIST || errno == EISDIR else {
                throw DataFolderError(path: path, code: errno)
            }
        }
    }
}

/// The folder for the databases can't be made.
struct DataFolderError: Error, CustomStringConvertible {
    let path: String
    let code: Int32

    var description: String {
        unsafe "the data folder \(path) can't be made (\(String(cString: strerror(code)))); CABSTAND_DATABASE_URL names it."
    }
}

/// Keeps the broker for as long as anything may use it; it goes with the process.
private final class EmbeddedBrokerProcess: ServerProcess {
    private let broker: EmbeddedBroker

    init(_ broker: EmbeddedBroker) { self.broker = broker }

    func drain(_ completion: @escaping @Sendable () -> Void) { completion() }
}
