import Access
import HTTP1
import HTTPServer
import KafkaClient
import Operations
import Reactor
import RideAPI
import Settings
import Synchronization
import Telemetry

/// The gateway as a whole: loops with a thread each, and on every one of them REST, WebSockets and the page. The feed of
/// live lists and its Kafka consumer live on the first.
///
///     let server = try GatewayServer(settings: settings)
///     try server.start()
///
/// Thread-safe from `start` on.
public final class GatewayServer: ServerProcess {
    private let group: EventLoopGroup
    private let nodes: [LoopBound<GatewayNode>]
    private let home: LoopBound<GatewayHome>
    /// What `/readyz` says.
    public let readiness: ServiceReadiness
    /// The keys of issuers that publish them; nil: there are none.
    private let issuers: IssuerKeysLink?
    /// Where people sign in; nil: they are guests.
    private let provider: IdentityProviderLink?
    private let drainDelay: UInt64
    private let settings: ProgramSettings
    private let logger = Logger(label: "gateway")
    /// The certificate with the files that it comes from; nil: plain HTTP.
    private let tls: (context: TLSServerContext, certificate: String, key: String)?
    private let certificateExpiry = CertificateExpiry(service: "gateway", use: "http")
    /// What the services know the gateway by.
    private let identity: ServiceIdentity
    /// Where the page, REST and WebSocket are served.
    public let address: SocketAddress
    /// Where health and metrics are served, if a port is configured for it.
    public let adminAddress: SocketAddress?

    /// Reads the page's files and listens; requests wait until `start`. On the thread that will not run any of the loops.
    ///
    /// - Throws: what is wrong with an address, the folder, the certificate, or Kafka's properties.
    public init(settings: ProgramSettings) throws {
        self.settings = settings
        let configured = settings.eventLoops
        group = try EventLoopGroup(count: configured == 0 ? EventLoopGroup.defaultCount : configured)
        let loops = group.loops
        drainDelay = UInt64(settings.drainDelaySeconds) * 1_000_000_000
        let access = try AccessConfiguration.of(settings)
        let readiness = ServiceReadiness(
            loops: loops,
            dependencies: ["driver_service", "trip_service", "kafka", "page"] + (access == nil ? [] : ["revocations"]),
            required: ["page"], now: loops[0].preciseNow())
        self.readiness = readiness

        let doors = try Doors(settings)
        ClientLimits.tell(of: doors.limits)
        if access == nil {
            logger.warning(
                "nobody is asked who they are: whoever reaches this port may book as anybody and steer any car, and no audit is kept",
                metadata: ["setting": settings.variable(\.auth)])
        }
        let folder = try LiveFolder(settings.publicDir)
        let identity = try ServiceIdentity(.gateway, settings: settings)
        self.identity = identity
        let backends = loops.map { Backends(loop: $0, settings: settings, identity: identity) }
        let issuers = try access.flatMap { try IssuerKeysLink($0, loop: loops[0]) }
        let provider = try access?.signIn.map { try IdentityProviderLink($0, loop: loops[0]) }
        let home = try GatewayHome(
            loop: loops[0], backends: backends[0], settings: settings, readiness: readiness,
            readsRevocations: access != nil)
        let links = FeedLink.links(home.feed, loops: loops)
        let boundHome = LoopBound(home, loop: loops[0])
        let nodes = zip(backends, links).map { backends, link in
            GatewayNode(
                backends: backends, link: link.value, settings: settings, doors: doors, access: access,
                issuers: issuers, provider: provider, readiness: readiness, files: folder.files
            ) { record in boundHome.loop.submit { boundHome.value.publish(record) } }
        }
        self.home = boundHome
        self.issuers = issuers
        self.provider = provider
        let boundNodes = zip(nodes, loops).map { LoopBound($0, loop: $1) }
        self.nodes = boundNodes
        if let reader = home.revocations { Self.follow(reader, boundNodes, readiness) }
        readiness.setPage(folder.files)
        if !folder.files.serves(ServiceReadiness.page) {
            logger.warning(
                "not ready until there is a page", metadata: ["file": "\(settings.publicDir)\(ServiceReadiness.page)"])
        }
        home.serve(folder) { files in
            readiness.setPage(files)
            for node in boundNodes { node.loop.submit { node.value.serve(files) } }
        }

        issuers?.start { issuer, keys in
            for node in boundNodes { node.loop.submit { node.value.use(keys, of: issuer) } }
        }
        provider?.start()
        tls = try Self.certificate(settings)
        certificateExpiry.set(tls?.context.certificateExpiry)
        address = try Self.listen(nodes, settings, tls?.context, proxyProtocol: doors.proxyProtocol)
        adminAddress = try home.listenForOperations(settings, readiness)
        MetricRegistry.shared.addLoops(loops, role: "gateway")
        readiness.install(role: "gateway")
        logger.notice(
            "serving",
            metadata: [
                "http": "\(address)", "admin": adminAddress.map { "\($0)" } ?? "on the same port",
                "loops": "\(loops.count)", "files": "\(folder.files.paths.count)",
            ])
    }

    /// Tells every loop of what is revoked. Until all of it is there the gateway is not ready, for half a minute at most: by then
    /// it takes the tokens that were made since it began, with Kafka or without.
    private static func follow(
        _ reader: RevocationReader, _ nodes: [LoopBound<GatewayNode>], _ readiness: ServiceReadiness
    ) {
        reader.onRevocations = { [metrics = reader.metrics] batch in
            for node in nodes { node.loop.submit { metrics.set(node.value.revoke(batch)) } }
        }
        reader.onComplete = {
            for node in nodes { node.loop.submit { node.value.revocationsAreComplete() } }
            readiness.set("revocations", .ok)
        }
    }

    /// Starts the loops' threads.
    /// - Throws: `SystemError` if there are not that many to be had.
    public func start() throws(SystemError) { try group.start { _ in } }

    // MARK: Listening

    private static func certificate(
        _ settings: ProgramSettings
    ) throws -> (context: TLSServerContext, certificate: String, key: String)? {
        let (certificate, key) = (settings.tlsCert, settings.tlsKey)
        // That both are there, or none, the identity has seen.
        if certificate.isEmpty { return nil }
        let context = try TLSServerContext(
            certificatePath: certificate, keyPath: key, alpn: HTTPServer.applicationProtocols)
        return (context, certificate, key)
    }

    /// Handshakes that begin from now on show the certificate that the files hold now, and tokens are verified with the keys that
    /// the files hold now.
    public func reload() {
        identity.reload()
        AccessConfiguration.reload { () throws(AccessSettingError) in
            try .of(settings)
        } use: { access in
            for node in nodes { node.loop.submit { node.value.use(access) } }
            issuers?.tellAgain()
            provider?.use(secret: access.signIn?.secret)
        }
        guard let tls else { return }
        do {
            try tls.context.reload(certificatePath: tls.certificate, keyPath: tls.key)
            certificateExpiry.set(tls.context.certificateExpiry)
            logger.notice("the certificate was read again", metadata: ["certificate": tls.certificate])
        } catch {
            logger.error(
                "the certificate can't be read again; the one before stays in force", metadata: ["error": "\(error)"])
        }
    }

    public var files: [String] { identity.files + AccessConfiguration.filesOfGateway(settings) }

    /// Every loop listens on the same port; a port of 0 is chosen by the first.
    private static func listen(
        _ nodes: [GatewayNode], _ settings: ProgramSettings, _ tls: TLSServerContext?, proxyProtocol: Bool
    ) throws -> SocketAddress {
        let port = settings.httpPort
        var address = try settings.listenAddress(port: port)
        do {
            if nodes.count > 1 && port != 0 {
                // With SO_REUSEPORT a second gateway would share the port in silence: ask for it alone first.
                try nodes[0].server.loop.listen(address, handler: nodes[0].server).close()
            }
            // The kernel takes no more than this ahead of what the peer takes: a slow reader's next list is then the newest
            // one, and not one of many that were hoarded.
            let options = ListenOptions(reusePort: nodes.count > 1, notSentLowAt: 128 << 10)
            for node in nodes {
                address = try node.server.listen(
                    address, options: options, tls: tls, gate: node.door, proxyProtocol: proxyProtocol
                ).localAddress
            }
            return address
        } catch let error as SystemError {
            throw GatewayStartError(description: "\(error); CABSTAND_HTTP_PORT chooses another port.")
        }
    }

    // MARK: The end

    /// Readiness turns, and every answer asks its client to go on elsewhere; after the configured delay no new connections
    /// are accepted, WebSockets are closed 1001 one after the other, requests in flight are answered.
    public func drain(_ completion: @escaping @Sendable () -> Void) {
        readiness.drain()
        for node in nodes { node.loop.submit { node.value.announceEnd() } }
        let first = home.loop
        first.submit { [self] in
            first.schedule(after: drainDelay) { [self] in
                let counter = Countdown(nodes.count) { [self] in end(completion) }
                for node in nodes {
                    node.loop.submit { node.value.drain { counter.countDown() } }
                }
            }
        }
    }

    /// Nobody is connected any more.
    private func end(_ completion: @escaping @Sendable () -> Void) {
        let group = group
        home.loop.submit { [self] in
            issuers?.close()
            provider?.close()
            home.value.close {
                let counter = Countdown(self.nodes.count) {
                    group.stop()
                    completion()
                }
                for node in self.nodes {
                    node.loop.submit {
                        node.value.close()
                        counter.countDown()
                    }
                }
            }
        }
    }
}

extension ServiceReadiness {
    /// The page's own file.
    fileprivate static let page = "/index.html"

    /// Without the page a gateway is not ready: a folder that is mounted may be filled later. Once it was there, its going is
    /// no reason to take every replica out of service.
    fileprivate func setPage(_ files: StaticFiles) {
        set("page", files.serves(Self.page) ? .ok : .failing("There is no index.html in the page's folder."))
    }
}

/// Why the gateway did not start, with the setting that helps.
public struct GatewayStartError: Error, CustomStringConvertible {
    public let description: String
}

/// Calls back when several loops are done. Thread-safe.
private final class Countdown: Sendable {
    private let left: Atomic<Int>
    private let done: @Sendable () -> Void

    init(_ count: Int, _ done: @escaping @Sendable () -> Void) {
        left = Atomic(count)
        self.done = done
    }

    func countDown() {
        if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { done() }
    }
}
