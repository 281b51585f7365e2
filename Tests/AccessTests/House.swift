import AccessTokens
import DriverService
import GRPCRuntime
import KafkaClient
import Operations
import Reactor
import RideAPI
import Settings
import Synchronization
import TestSupport
import Testing
import TripService

@testable import Access

#if canImport(Glibc)
    import Glibc
#endif

/// The driver and the trip service in one process, with a broker of their own, as an installation runs them. Callers turn a loop
/// of the test's.
final class House {
    let loop: EventLoop
    let folder = TemporaryFolder()
    let driver: DriverServer
    let trip: TripServer
    let key: SigningKey
    private let broker: EmbeddedBroker?
    /// Where Kafka is.
    let bootstrapServers: String

    /// Made by `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`, for tests alone.
    static let privateKey = """
        -----BEGIN PRIVATE KEY-----
        MC4CAQAwBQYDK2VwBCIEIJrodEApgcXuPMAW74mDJ3CC3Rue9zZYsnbbxkc1I8eR
        -----END PRIVATE KEY-----
        """
    static let publicKey = """
        -----BEGIN PUBLIC KEY-----
        MCowBQYDK2VwAyEAaxDH/k+SLGsk7VqxD2NsrlycKV1DkECf3i6/BmCRHLc=
        -----END PUBLIC KEY-----
        """
    private var channels: [GRPCChannel] = []

    /// - Parameters:
    ///   - required: whether services ask who somebody is.
    ///   - kafka: where a broker is; nil: it has one of its own.
    ///   - settings: of both services.
    ///   - more: of one of them.
    init(
        required: Bool = true, kafka: String? = nil, settings: [String: String] = [:],
        _ more: (ServiceName) -> [String: String] = { _ in [:] }
    ) throws {
        loop = try EventLoop()
        broker =
            try kafka == nil
            ? EmbeddedBroker(
                topics: ["driver_locations", "trip_events", AuditRecord.topic].map {
                    TopicSpecification(name: $0, partitions: 2, replicationFactor: 1)
                }) : nil
        bootstrapServers = kafka ?? broker?.bootstrapServers ?? ""
        guard let key = SigningKey(pem: Array(Self.privateKey.utf8).span) else { preconditionFailure("no key") }
        self.key = key
        // Services have no more than the public half.
        folder.write("key.pem", Self.publicKey)
        try ServiceSecret.makeIfNeeded(folder.file("secret"))
        let port = restartablePort(neighbours: 1)
        let ports = (port, port + 1)
        var shared = [
            "CABSTAND_BIND": "127.0.0.1", "CABSTAND_DRIVER_SERVICE": "127.0.0.1:\(ports.0)",
            "CABSTAND_TRIP_SERVICE": "127.0.0.1:\(ports.1)", "CABSTAND_GRACE_S": "4",
            "CABSTAND_KAFKA_BOOTSTRAP_SERVERS": bootstrapServers,
            "CABSTAND_KAFKA_CONFIG": "fetch.wait.max.ms=10",
        ]
        if required {
            shared.merge(
                [
                    "CABSTAND_AUTH": "required", "CABSTAND_AUTH_KEY": folder.file("key.pem"),
                    "CABSTAND_SERVICE_SECRET": folder.file("secret"),
                ]
            ) { $1 }
        }
        if !required { shared["CABSTAND_AUTH"] = "off" }
        shared.merge(settings) { $1 }
        let folder = folder
        let environment = shared
        func values(
            _ declaration: SettingsDeclaration<CabstandSettings>, _ name: ServiceName, _ port: UInt16
        ) throws -> ProgramSettings {
            let own = ["CABSTAND_GRPC_PORT": "\(port)", "CABSTAND_DATABASE_URL": "sqlite:\(folder.file("\(name).db"))"]
                .merging(more(name)) { $1 }
            guard
                case .run(let values) = try declaration.read(
                    arguments: [], environment: environment.merging(own) { $1 })
            else { preconditionFailure("a help text was not asked for") }
            return values
        }
        driver = try DriverServer(settings: values(.driver, .driver, ports.0))
        trip = try TripServer(settings: values(.trip, .trip, ports.1))
        try driver.start()
        try trip.start()
    }

    /// Ends both services in order.
    func close() {
        for channel in channels { channel.close() }
        let ended = Atomic(0)
        for server in [trip, driver] as [any ServerProcess] {
            server.drain { ended.add(1, ordering: .releasing) }
        }
        turn { ended.load(ordering: .acquiring) == 2 }
        broker?.stop()
    }

    /// Turns the loop until `isDone`, at most 20 s.
    func turn(until isDone: () -> Bool) {
        let limit = ContinuousClock.now + .seconds(20)
        while !isDone() {
            guard ContinuousClock.now < limit else {
                Issue.record("no answer within 20 s")
                return
            }
            let timer = loop.schedule(after: 50_000_000) {}
            loop.turn()
            loop.cancel(timer)
        }
    }

    /// A token of the installation's own.
    func token(_ subject: String, _ roles: Role..., seconds: Int64 = 3600) -> String {
        TokenSigner(key: key, audience: "cabstand").token(
            for: subject, Roles(roles), seconds: seconds, at: loop.wallClockMilliseconds / 1000,
            id: "\(subject)-\(seconds)",
            client: "test") ?? ""
    }

    /// A service's own token.
    func token(_ service: ServiceName) throws -> String {
        let secret = try ServiceSecret(path: folder.file("secret"), named: "the secret")
        return try #require(secret.token(for: service, at: loop.wallClockMilliseconds / 1000)).text
    }

    /// Somebody who calls the services with a token, or without one.
    func caller(_ token: String?, options: ChannelOptions = ChannelOptions()) -> Caller {
        var options = options
        if let token { options.interceptors = [Bearer(token: token)] }
        let (drivers, trips) = (
            GRPCChannel(loop: loop, target: "\(driver.grpcAddress)", options: options),
            GRPCChannel(loop: loop, target: "\(trip.grpcAddress)", options: options)
        )
        channels += [drivers, trips]
        return Caller(
            house: self, drivers: Driver_V1_DriverServiceClient(channel: drivers),
            trips: Trip_V1_TripServiceClient(channel: trips))
    }

    private struct Bearer: ClientInterceptor {
        let token: String

        func intercept(_ path: StaticString, _ options: inout CallOptions) throws(RPCError) {
            options.metadata.add("authorization", "Bearer \(token)")
        }
    }
}

/// Somebody's way to both services.
struct Caller {
    let house: House
    let drivers: Driver_V1_DriverServiceClient
    let trips: Trip_V1_TripServiceClient
    var auth: Auth_V1_AuthServiceClient { Auth_V1_AuthServiceClient(channel: drivers.channel) }

    func answer<Value>(
        _ ask: (Self, @escaping (Result<Value, RPCError>) -> Void) -> Void
    ) -> Result<Value, RPCError> {
        var value: Result<Value, RPCError>?
        ask(self) { value = $0 }
        house.turn { value != nil }
        return value ?? .failure(RPCError(code: .unknown, message: "no answer"))
    }

    /// Status and problem code of a refusal; `OK` for an answer.
    func refusal<Value>(_ ask: (Self, @escaping (Result<Value, RPCError>) -> Void) -> Void) -> String {
        switch answer(ask) {
        case .success: "OK"
        case .failure(let error): "\(error.code) \(error.problem?.code ?? error.message)"
        }
    }
}

extension CallOptions {
    /// Somebody's call that another program passes on, which proves who it is by a token of its own.
    static func relayed(_ token: String, by proof: String) -> CallOptions {
        var options = CallOptions()
        options.metadata.add("authorization", "Bearer \(token)")
        options.metadata.add("\(RelayedCall.key)", "Bearer \(proof)")
        return options
    }
}
