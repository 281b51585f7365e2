import Access
import GRPCRuntime
import KafkaClient
import Operations
import Reactor
import RideAPI
import Settings
import Storage
import Telemetry

/// Everything of the driver service that lives on its loop, wired together.
final class DriverNode {
    let grpcAddress: SocketAddress
    var adminAddress: SocketAddress? { admin?.address }

    private let loop: EventLoop
    private let logger = Logger(label: "driver")
    private let drainDelay: Duration
    /// How long the end waits for calls in flight.
    private let drainTimeout: Duration
    /// How long the end waits for Kafka to take the last events; readers learn of everything by their poll.
    private let flushTimeout: Duration
    private let repository: any DriverRepository
    private let health: DatabaseHealth
    private let book: DriverBook
    private let producer: KafkaProducer
    private let announcer: KafkaAnnouncer
    private let sessions: SessionBook
    private let reader: TripEventReader
    private let topics: KafkaAdmin
    private let channel: GRPCChannel
    private let reconciler: TripReconciler
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
            loops: [loop], dependencies: ["database", "kafka", "trip_service"], now: loop.preciseNow())

        let (stored, sessionRepository): (StoredDrivers, any SessionRepository)
        (repository, sessionRepository, stored) = try settings.databaseURL.openDrivers(loop)
        health = DatabaseHealth(loop: loop, logger: Logger(label: "driver")) {
            [weak repository] writing throws(StorageError) in
            try await repository?.probe(writing: writing)
        }

        let kafka = KafkaConfiguration(settings, clientID: "cabstand-driver", group: "cabstand-driver")
        producer = try KafkaProducer(loop: loop, configuration: kafka)
        announcer = KafkaAnnouncer(loop: loop, producer: producer)
        book = DriverBook(
            loop: loop, repository: repository, announcer: announcer, stored: stored,
            timeToLive: Int64(settings.driverTTLSeconds) * 1_000)
        sessions = SessionBook(
            loop: loop, repository: sessionRepository,
            announcer: KafkaRevocationAnnouncer(loop: loop, producer: producer))
        reader = try TripEventReader(
            loop: loop, book: book, repository: repository, configuration: kafka, cursor: stored.cursor)
        topics = try KafkaAdmin(
            loop: loop, configuration: kafka,
            topics: [
                TopicSpecification(DriverLocationUpdate.topic, settings), TopicSpecification(TripEvent.topic, settings),
                TopicSpecification.revocations(settings), TopicSpecification(AuditRecord.topic, settings),
            ])
        channel = GRPCChannel(
            loop: loop, target: settings.tripService.description, options: identity.channelOptions(on: loop))
        let directory = GRPCTripDirectory(channel: channel)
        reconciler = TripReconciler(loop: loop, book: book, directory: directory)

        let registry = ServiceRegistry()
        Driver_V1_DriverService.register(
            DriverHandler(
                loop: loop, book: book,
                removal: DriverRemoval(book: book, directory: directory) { [sessions] in
                    await sessions.publish($0, deadline: $1)
                }), in: registry)
        Auth_V1_AuthService.register(AuthHandler(book: sessions), in: registry)
        let server = GRPCServer(loop: loop, registry: registry, logger: Logger(label: "grpc"))
        self.server = server
        access = try RPCAccess.guarding(
            server, AccessConfiguration.ofService(settings), limits: settings.rateLimit.policies(isGuarded: true))
        revocations = try access?.followRevocations(kafka, role: "driver")
        _ = AuditMetrics(.driver)
        audit = try access?.keepAudit(kafka, of: .driver)
        if access == nil {
            logger.warning(
                "nobody is asked who they are: whoever reaches this port may do everything, and no audit is kept",
                metadata: ["setting": settings.variable(\.auth)])
        }
        grpcAddress = try settings.listening(\.grpcPort) { try server.listen($0, tls: identity.serverTLS) }
        admin = try AdminPort(loop: loop, settings: settings, readiness: readiness)
        connect()
        MetricRegistry.shared.addLoops([loop], role: "driver")
        readiness.install(role: "driver")
        logger.notice(
            "serving",
            metadata: [
                "grpc": "\(grpcAddress)", "admin": admin.map { "\($0.address)" } ?? "off",
                "database": settings.databaseURL.path,
                "database_id": stored.databaseID, "drivers": "\(book.registry.count)",
            ])
    }

    /// Lets the parts know each other, and asks each dependency for its first answer.
    private func connect() {
        readiness.set("database", .ok)
        health.onChange = { [readiness] failure in
            readiness.set("database", failure.map { .failing($0) } ?? .ok)
        }
        book.onStorageFailure = { [health] in health.failed($0) }
        sessions.onStorageFailure = { [health] in health.failed($0) }
        sessions.start()
        announcer.driver = { [weak book] in book?.driver($0) }
        let kafka = KafkaHealth { [readiness] in readiness.set("kafka", $0.map { .failing($0) } ?? .ok) }
        producer.onState = kafka.member()
        reader.onState = kafka.member()
        topics.onState = kafka.member()
        producer.onMissingTopic = { [weak topics] _ in topics?.missesTopic() }
        reader.onMissingTopic = { [weak topics] _ in topics?.missesTopic() }
        revocations?.onMissingTopic = { [weak topics] _ in topics?.missesTopic() }
        audit?.onMissingTopic = { [weak topics] _ in topics?.missesTopic() }
        revocations?.onLost = { [weak sessions] in sessions?.publishAgain() }
        topics.ensureTopics()
        reader.onGap = { [weak reconciler] in reconciler?.run() }
        reader.onPositioned = { [weak reconciler] in reconciler?.follows(events: $0) }
        channel.onStateChange = { [weak reconciler] state in
            // Whoever waits for an answer need not wait for the back-off, too.
            if state == .ready { reconciler?.channelIsReady() }
        }
        reconciler.onAnswer = { [readiness] failure in
            readiness.set("trip_service", failure.map { .failing($0) } ?? .ok)
        }
        reconciler.start()
        // A health check that watches must learn when the service has started: nobody asks for it.
        for service in Self.services { server.health.set(.notServing, for: service) }
        loop.schedule(every: 250_000_000) { [weak self] in self?.tellHealth() }
    }

    private func tellHealth() {
        let isReady = readiness.report(now: loop.now).isReady
        for service in Self.services { server.health.set(isReady ? .serving : .notServing, for: service) }
    }

    /// What health is told of; the empty name is the server as a whole.
    private static let services = [Driver_V1_DriverService.name, Auth_V1_AuthService.name, ""]

    /// What counts from now on of tokens and their keys.
    func use(_ configuration: AccessConfiguration) { access?.use(configuration) }

    // MARK: The end

    /// Readiness turns, then (after the configured delay) no new calls, calls in flight finish, what is in memory only is
    /// written, Kafka takes what it can, the database closes.
    func drain() async {
        readiness.drain()
        tellHealth()
        await loop.pause(drainDelay)
        reconciler.stop()
        await loop.wait(atMost: drainTimeout) { done in
            server.drain(done)
            // Behind it: a stream that ends because its server does is no failure in the log.
            book.watchers.endAll()
            book.locationStreams.endAll()
        }
        topics.cancel()
        revocations?.close()
        access?.close()
        channel.close()
        await loop.wait(atMost: flushTimeout) { done in
            loop.start { [reader] in
                await reader.close()
                done()
            }
        }
        await book.saveStates()
        await loop.wait { done in producer.close(timeout: flushTimeout) { _ in done() } }
        if let audit { await loop.wait { done in audit.close(within: flushTimeout, done) } }
        health.stop()
        await repository.close()
    }
}
