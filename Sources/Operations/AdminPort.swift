import HTTPServer
import Reactor

/// The port of a service for operators: health, readiness and metrics. On the loop.
public final class AdminPort {
    /// Where it listens.
    public let address: SocketAddress
    private let server: HTTPServer

    /// nil: no port is configured for it.
    ///
    /// - Throws: `ListenError`, which names the setting, if the port can't be had.
    public init?(loop: EventLoop, settings: ProgramSettings, readiness: ServiceReadiness) throws {
        guard let port = settings.adminPort else { return nil }
        let router = Router()
        router.addHealth(readiness, loop: loop)
        router.addMetrics()
        let isLocal = try settings.listenAddress(port: port).isLoopback
        let server = HTTPServer(
            loop: loop, router: router, hosts: isLocal ? .local() : .all, problemTypes: Product.problemTypes)
        self.server = server
        address = try settings.listening(\.adminPort, port) { try server.listen($0) }
    }
}
