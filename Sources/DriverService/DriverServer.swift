import Access
import Operations
import Reactor
import Settings

/// The driver service as a whole: one loop with a thread of its own, its database thread and its Kafka clients.
///
///     let server = try DriverServer(settings: settings)
///     try server.start()
///
/// Thread-safe from `start` on.
public final class DriverServer: ServerProcess {
    private let settings: ProgramSettings
    private let identity: ServiceIdentity
    private let group: EventLoopGroup
    private let node: LoopBound<DriverNode>
    /// What it knows of its database and of those that it asks.
    public let readiness: ServiceReadiness
    /// Where gRPC is served.
    public let grpcAddress: SocketAddress
    /// Where health and metrics are served, if a port is configured for it.
    public let adminAddress: SocketAddress?

    /// Opens the database, brings it up to date, and listens; requests wait until `start`.
    ///
    /// - Throws: what is wrong with an address, the database or Kafka's properties.
    public init(settings: ProgramSettings) throws {
        self.settings = settings
        identity = try ServiceIdentity(.driver, settings: settings)
        group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        let node = try DriverNode(loop: loop, settings: settings, identity: identity)
        grpcAddress = node.grpcAddress
        adminAddress = node.adminAddress
        readiness = node.readiness
        self.node = LoopBound(node, loop: loop)
    }

    /// Starts the loop's thread.
    /// - Throws: `SystemError` if there is none to be had.
    public func start() throws(SystemError) { try group.start { _ in } }

    /// Certificates, the services' secret and the keys of tokens.
    public func reload() {
        identity.reload()
        AccessConfiguration.reload { () throws(AccessSettingError) in
            try .ofService(settings)
        } use: { [node] access in
            node.loop.submit { node.value.use(access) }
        }
    }

    public var files: [String] { identity.files + AccessConfiguration.files(settings) }

    public func drain(_ completion: @escaping @Sendable () -> Void) {
        node.loop.spawn { [group, node] in
            await node.value.drain()
            group.stop()
            completion()
        }
    }
}
