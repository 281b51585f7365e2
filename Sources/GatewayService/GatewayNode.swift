import Access
import AccessTokens
import HTTP1
import HTTPServer
import KafkaClient
import Operations
import Reactor
import RideAPI
import Settings
import Telemetry
import WebSocketServer

/// What the gateway is on one loop: the routes, and the ways to the services.
final class GatewayNode {
    let server: HTTPServer
    private let router = Router()
    private let backends: Backends
    private let live: LiveEndpoints
    /// Who may connect; nil: everybody.
    let door: LoopDoor?
    /// Who may do what; nil: everybody everything.
    private let access: AccessControl?
    /// Seconds over which WebSockets are closed at the end, and for which quiet connections may still ask for something.
    private let closingTime: Duration
    /// Nanoseconds after which whoever is still connected at the end is cut off.
    private let patience: UInt64

    /// On the thread that made the loop, before it runs.
    init(
        backends: Backends, link: FeedLink, settings: ProgramSettings, doors: Doors,
        access: AccessConfiguration?, issuers: IssuerKeysLink?, provider: IdentityProviderLink?,
        readiness: ServiceReadiness, files: StaticFiles, publishAudit: @escaping (AuditRecord) -> Void
    ) {
        self.backends = backends
        let loop = backends.loop
        let grace = settings.graceSeconds
        closingTime = .seconds(min(10, grace / 4))
        patience = UInt64(grace) * 750_000_000
        let metrics = AccessMetrics()
        let limitMetrics = LimitMetrics()
        let signInMetrics = SignInMetrics()
        let limits = doors.limits.map { LoopLimits($0, loop: loop, metrics: limitMetrics) }
        self.access = access.map {
            AccessControl(
                backends: backends, configuration: $0, origins: doors.origins,
                revocations: Revocations(began: loop.wallClockMilliseconds / 1000), metrics: metrics, limits: limits,
                audit: Audit(loop: loop, metrics: metrics, publish: publishAudit),
                refetch: issuers.map { issuers in { await issuers.refetch($0.name) } })
        }
        let api = GuardedRoutes(router.group(["", "/v1"]), access: self.access, limits: limits)
        if let access = self.access {
            WellKnownRoutes(access: access, externalURL: provider?.settings.externalURL).register(on: router)
            let signIn = SignIn(backends: backends, access: access)
            SignInRoutes(signIn, provider: provider?.settings).register(on: api)
            ProviderRoutes(signIn, provider: provider, metrics: signInMetrics).register(on: api)
        } else {
            SignInRoutes.registerOpenSession(on: api)
        }
        DriverRoutes(backends: backends).register(on: api)
        TripRoutes(backends: backends).register(on: api)
        let doorMetrics = DoorMetrics()
        door = doors.door(on: loop, limits, doorMetrics)
        live = LiveEndpoints(
            link: link, drivers: backends.drivers, trips: backends.trips,
            configuration: .init(
                interval: settings.listIntervalMs,
                deflate: settings.websocketCompression == "shared" ? DeflateOptions() : nil),
            limits: limits, door: door)
        live.register(on: api)
        router.addHealth(readiness, loop: loop)
        if settings.adminPort == nil { router.addMetrics() }
        var httpLimits = HTTPLimits()
        httpLimits.idleTime = .seconds(settings.keepAliveSeconds)
        server = HTTPServer(
            loop: loop, router: router, limits: httpLimits, cors: .gateway(doors.origins),
            proxies: doors.proxies, hosts: doors.hosts, problemTypes: Product.problemTypes,
            metrics: .shared,
            logger: Logger(label: "http"))
        serve(files)
    }

    /// Serves these files from now on.
    func serve(_ files: StaticFiles) {
        router.fallback(files.respond)
    }

    /// Who may do what from now on, if that is asked at all.
    func use(_ access: AccessConfiguration) { self.access?.use(access) }

    /// An issuer's tokens are verified with these keys from now on.
    func use(_ keys: JSONWebKeySet, of issuer: String) { access?.use(keys, of: issuer) }

    /// Refuses what is revoked, and closes the WebSockets that came with it. Returns how many revocations hold.
    func revoke(_ batch: [Revocation]) -> Int {
        access?.authenticator.revoke(batch)
        live.expiry.revoke(batch)
        return access?.authenticator.revocationCount ?? 0
    }

    /// All that was revoked before this gateway began has been told.
    func revocationsAreComplete() { access?.authenticator.revocationsAreComplete() }

    /// Asks clients to go on elsewhere: answers are the last of their connection, new WebSockets are refused.
    func announceEnd() {
        live.refuseNew()
        server.announceEnd()
    }

    /// Ends in order; `completion` is called on the loop when nobody is connected any more.
    func drain(_ completion: @escaping () -> Void) {
        var left = 2
        let partDone = {
            left -= 1
            if left == 0 { completion() }
        }
        server.drain(keepingQuietFor: closingTime, partDone)
        live.drain(over: closingTime, partDone)
        server.loop.schedule(after: patience) { [weak self] in
            self?.server.closeAll()
            self?.live.closeAll()
        }
    }

    func close() { backends.close() }
}

/// Who may come in: whose pages, through which proxies, by which names, and how often.
struct Doors: Sendable {
    let origins: OriginPolicy
    let proxies: TrustedProxies
    let hosts: HostNames
    /// nil: as often as they like.
    let limits: ClientLimits?
    /// nil: as many as there is room for.
    let connections: ConnectionCounts?
    /// Whether connections begin with a PROXY header.
    let proxyProtocol: Bool

    /// - Throws: `GatewayStartError`, which names the setting, for what could match nobody.
    init(_ settings: ProgramSettings) throws {
        do {
            origins = try OriginPolicy(settings.allowedOrigins)
        } catch {
            throw GatewayStartError(description: "\(settings.variable(\.allowedOrigins)): \(error).")
        }
        do {
            proxies = try TrustedProxies(settings.trustedProxies)
        } catch {
            throw GatewayStartError(description: "\(settings.variable(\.trustedProxies)): \(error).")
        }
        let policies = settings.rateLimit.policies(isGuarded: settings.auth == "required")
        limits = policies.map(ClientLimits.init)
        let counts = settings.connectionLimit.counts(isGuarded: settings.auth == "required")
        connections = counts.map(ConnectionCounts.init)
        proxyProtocol = settings.proxyProtocol == "required"
        if proxyProtocol {
            guard !settings.trustedProxies.isEmpty, settings.adminPort != nil else {
                throw GatewayStartError(
                    description:
                        "\(settings.variable(\.proxyProtocol)) is required: give \(settings.variable(\.trustedProxies)) the "
                        + "addresses of the proxies, and \(settings.variable(\.adminPort)) a port for questions after health, "
                        + "which come without a header.")
            }
        }
        let isLocal = try settings.listenAddress(port: 0).isLoopback
        hosts = isLocal && !origins.allowsEveryone ? .local(and: origins.listedHosts) : .all
    }

    /// Who may connect to a loop; nil: everybody.
    func door(on loop: EventLoop, _ limits: LoopLimits?, _ metrics: DoorMetrics) -> LoopDoor? {
        if limits == nil && connections == nil && !proxyProtocol { return nil }
        return LoopDoor(loop: loop, counts: connections, limits: limits, proxies: proxies, metrics: metrics)
    }
}

/// What the gateway has once, on its first loop: the feed, the Kafka consumer that triggers it, and the operators' port.
final class GatewayHome {
    /// Where the driver service says what has changed.
    let feed: DriverFeed
    private let loop: EventLoop
    private let consumer: KafkaConsumer
    /// nil: nobody is asked who they are.
    let revocations: RevocationReader?
    /// nil: nothing is recorded.
    private let audit: KafkaAudit?
    private var operations: AdminPort?
    private var folder: LiveFolder?

    /// - Parameter readsRevocations: tokens are verified here, and what is done with them is recorded.
    init(
        loop: EventLoop, backends: Backends, settings: ProgramSettings, readiness: ServiceReadiness,
        readsRevocations: Bool
    ) throws {
        self.loop = loop
        let areas = DriverServiceAreas(client: backends.drivers, timeout: backends.timeout)
        feed = DriverFeed(
            loop: loop, source: areas,
            cars: DriverServiceCars(client: backends.drivers, timeout: backends.timeout),
            configuration: .init(
                pollInterval: settings.pollIntervalMs,
                anxiousPollInterval: min(1000, settings.pollIntervalMs)))
        let kafka = KafkaConfiguration(settings, clientID: "cabstand-gateway", group: "cabstand-gateway")
        consumer = try KafkaConsumer(
            loop: loop, configuration: kafka, topic: DriverLocationUpdate.topic, start: .end)
        let metrics = RevocationMetrics(loop: loop, role: "gateway")
        revocations = try readsRevocations ? RevocationReader(loop: loop, configuration: kafka, metrics: metrics) : nil
        let auditMetrics = AuditMetrics(.gateway)
        audit = try readsRevocations ? KafkaAudit(loop: loop, configuration: kafka, metrics: auditMetrics) : nil
        watch(backends, readiness)
    }

    /// Writes a record to Kafka.
    func publish(_ record: AuditRecord) { audit?.publish(record) }

    /// Lets the feed hear of Kafka, and readiness of everybody.
    private func watch(_ backends: Backends, _ readiness: ServiceReadiness) {
        consumer.onRecord = { [feed] record in feed.receive(record.value, timestamp: record.timestampMilliseconds) }
        consumer.onPositioned = { [feed] in feed.positioned() }
        consumer.onUnpositioned = { [feed] in feed.positionLost() }
        consumer.onPositionLost = { [feed] _ in feed.positionLost() }
        let kafka = KafkaHealth { readiness.set("kafka", $0.map { .failing($0) } ?? .ok) }
        consumer.onState = kafka.member()
        revocations?.onState = kafka.member()
        for (name, channel) in [("driver_service", backends.driverChannel), ("trip_service", backends.tripChannel)] {
            channel.onStateChange = { state in
                switch state {
                case .ready: readiness.set(name, .ok)
                case .transientFailure: readiness.set(name, .failing("It can't be reached."))
                case .idle, .connecting, .shutdown: break
                }
            }
            channel.connect()
        }
    }

    /// Calls `onChange` when files of the page's folder change.
    func serve(_ folder: LiveFolder, onChange: @escaping (StaticFiles) -> Void) {
        self.folder = folder
        folder.watch(on: loop, onChange: onChange)
    }

    /// Health and metrics on a port of their own, if one is configured. Returns where it listens.
    ///
    /// - Throws: `ListenError`
    func listenForOperations(_ settings: ProgramSettings, _ readiness: ServiceReadiness) throws -> SocketAddress? {
        operations = try AdminPort(loop: loop, settings: settings, readiness: readiness)
        return operations?.address
    }

    func close(_ completion: @escaping () -> Void) {
        folder?.close()
        feed.close()
        revocations?.close()
        guard let audit else { return consumer.close(completion) }
        consumer.close { audit.close(within: .seconds(2), completion) }
    }
}

extension CORSPolicy {
    /// What pages of `origins` may send to the gateway and read of its answers.
    static func gateway(_ origins: OriginPolicy) -> CORSPolicy {
        CORSPolicy(
            origins: origins,
            allowedFields: [
                "authorization", "content-type", "idempotency-key", "x-request-id", "traceparent", "tracestate",
            ],
            exposedFields: [
                "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate", "X-Request-Id",
            ])
    }
}

extension Backends {
    convenience init(loop: EventLoop, settings: ProgramSettings, identity: ServiceIdentity) {
        self.init(
            loop: loop, driverService: settings.driverService.description,
            tripService: settings.tripService.description,
            timeout: UInt64(settings.requestTimeoutMs) * 1_000_000, options: identity.channelOptions(on: loop))
    }
}
