import Access
import GRPCRuntime
import KafkaClient
import Operations
import Reactor
import RideAPI
import Settings
import Storage
import Telemetry

/// Everything of the trip service that lives on its loop, wired together.
final class TripNode {
    let grpcAddress: SocketAddress
    var adminAddress: SocketAddress? { admin?.address }

    private let loop: EventLoop
    private let logger = Logger(label: "trip")
    private let drainDelay: Duration
    /// How long the end waits for calls in flight.
    private let drainTimeout: Duration
    /// How long the end waits for Kafka to take what is in the outbox: the rest is sent after the next start.
    private let flushTimeout: Duration
    private let repository: any TripRepository
    private let health: DatabaseHealth
    private let channel: GRPCChannel
    private let book: TripBook
    private let producer: KafkaProducer
    private let relay: OutboxRelay
    private let topics: KafkaAdmin
    private let server: GRPCServer
    /// Who may call what; nil: everybody everything.
    private let access: RPCAccess?
    /// Whose tokens are refused; nil: nobody is asked for one.
    private let revocations: RevocationReader?
    /// What is done past the gateway; nil: nobody keeps it.
    private let audit: KafkaAudit?
    private let admin: AdminPort?
    let readiness: ServiceReadiness

    /// On the thread that made the loop, before it runs.
    init(loop: EventLoop, settings: ProgramSettings, identity: ServiceIdentity) throws {
        self.loop = loop
        drainDelay = .seconds(settings.drainDelaySeconds)
        let grace = Duration.seconds(settings.graceSeconds)
        drainTimeout = grace / 2
        flushTimeout = min(.seconds(3), grace / 8)
        readiness = ServiceReadiness(
            loops: [loop], dependencies: ["database", "kafka", "driver_service"], now: loop.preciseNow())

        repository = try settings.databaseURL.openTrips(loop)
        let start = repository.start()
        health = DatabaseHealth(loop: loop, logger: Logger(label: "trip")) {
            [weak repository] writing throws(StorageError) in
            try await repository?.probe(writing: writing)
        }
        channel = GRPCChannel(
            loop: loop, target: settings.driverService.description, options: identity.channelOptions(on: loop))
        let directory = GRPCDriverDirectory(channel: channel)
        book = TripBook(
            loop: loop, repository: repository, directory: directory, start: start,
            maximumPickup: Double(settings.maxPickupMetres))

        let kafka = KafkaConfiguration(settings, clientID: "cabstand-trip", group: "cabstand-trip")
        producer = try KafkaProducer(loop: loop, configuration: kafka, order: .strict)
        relay = OutboxRelay(loop: loop, repository: repository, producer: producer, start: start)
        topics = try KafkaAdmin(
            loop: loop, configuration: kafka, topics: [TopicSpecification(TripEvent.topic, settings)])

        let registry = ServiceRegistry()
        Trip_V1_TripService.register(TripHandler(loop: loop, book: book, start: start), in: registry)
        let server = GRPCServer(loop: loop, registry: registry, logger: Logger(label: "grpc"))
        self.server = server
        access = try RPCAccess.guarding(
            server, AccessConfiguration.ofService(settings), limits: settings.rateLimit.policies(isGuarded: true))
        revocations = try access?.followRevocations(kafka, role: "trip")
        _ = AuditMetrics(.trip)
        audit = try access?.keepAudit(kafka, of: .trip)
        if access == nil {
            logger.warning(
                "nobody is asked who they are: whoever reaches this port may do everything, and no audit is kept",
                metadata: ["setting": settings.variable(\.auth)])
        }
        grpcAddress = try settings.listening(\.grpcPort) { try server.listen($0, tls: identity.serverTLS) }
        admin = try AdminPort(loop: loop, settings: settings, readiness: readiness)
        connect()
        MetricRegistry.shared.addLoops([loop], role: "trip")
        readiness.install(role: "trip")
        logger.notice(
            "serving",
            metadata: [
                "grpc": "\(grpcAddress)", "admin": admin.map { "\($0.address)" } ?? "off",
                "database": settings.databaseURL.path,
                "database_id": start.databaseID, "epoch": "\(start.epochs.current)",
                "trips_in_progress": "\(start.active.count)", "outbox": "\(relay.pending)",
            ])
    }

    /// Lets the parts know each other, and asks each dependency for its first answer.
    private func connect() {
        readiness.set("database", .ok)
        health.onChange = { [readiness] failure in
            readiness.set("database", failure.map { .failing($0) } ?? .ok)
        }
        book.onStorageFailure = { [health] in health.failed($0) }
        relay.onStorageFailure = { [health] in health.failed($0) }
        book.onChange = { [relay] in relay.add($0) }
        let kafka = KafkaHealth { [readiness] in readiness.set("kafka", $0.map { .failing($0) } ?? .ok) }
        producer.onState = kafka.member()
        topics.onState = kafka.member()
        producer.onMissingTopic = { [weak topics] _ in topics?.missesTopic() }
        topics.ensureTopics { [relay] in relay.start() }
        channel.onStateChange = { [readiness] state in
            switch state {
            case .ready: readiness.set("driver_service", .ok)
            case .transientFailure: readiness.set("driver_service", .failing("The driver service can't be reached."))
            case .idle, .connecting, .shutdown: break
            }
        }
        channel.connect()
        loop.schedule(every: TripLimits.keySweepInterval) { [weak book, loop] in
            loop.start { await book?.forgetOldKeys() }
        }
        // A health check that watches must learn when the service has started: nobody asks for it.
        server.health.set(.notServing, for: Trip_V1_TripService.name)
        server.health.set(.notServing)
        loop.schedule(every: 250_000_000) { [weak self] in self?.tellHealth() }
    }

    private func tellHealth() {
        let isReady = readiness.report(now: loop.now).isReady
        server.health.set(isReady ? .serving : .notServing, for: Trip_V1_TripService.name)
        server.health.set(isReady ? .serving : .notServing)
    }

    /// What counts from now on of tokens and their keys.
    func use(_ configuration: AccessConfiguration) { access?.use(configuration) }

    // MARK: The end

    /// Readiness turns, then (after the configured delay) no new calls, calls in flight finish, Kafka takes what it can,
    /// the database closes.
    func drain() async {
        readiness.drain()
        tellHealth()
        await loop.pause(drainDelay)
        await loop.wait(atMost: drainTimeout) { done in
            server.drain(done)
            // Behind it: a stream that ends because its server does is no failure in the log.
            book.endWatches()
        }
        topics.cancel()
        revocations?.close()
        access?.close()
        await loop.wait(atMost: flushTimeout) { relay.whenIdle($0) }
        await loop.wait { done in producer.close(timeout: .zero) { _ in done() } }
        if let audit { await loop.wait { done in audit.close(within: flushTimeout, done) } }
        channel.close()
        if relay.pending > 0 {
            logger.notice("the outbox goes on at the next start", metadata: ["rows": "\(relay.pending)"])
        }
        health.stop()
        await repository.close()
    }
}
