import Reactor
import Telemetry

extension Server {
    /// Serves HTTP/1.1 at `address` until SIGTERM or SIGINT, then ends in order (`Server.run(loops:grace:_:)`).
    ///
    ///     let status = Server.run(at: .any(port: 8080)) { router, _ in
    ///         router.get("/") { _, response in response.text("Hello!\n") }
    ///     }
    ///
    /// - Parameters:
    ///   - address: where every loop listens, the kernel sharing out the connections. A port of 0 is one that is free.
    ///   - loops: how many loops; the CPUs that this process may use, unless it is said.
    ///   - grace: what an orderly end may take; then everything is closed.
    ///   - limits: the bounds of each loop's server.
    ///   - tls: the certificate; nil: HTTP in the clear.
    ///   - metrics: where requests are counted and timed, by route; nil: nowhere.
    ///   - logger: where requests are logged; nil: nowhere.
    ///   - routes: fills the router of each loop, before the loop runs. What handlers use belongs to their loop.
    ///   - ready: told the address once every loop listens.
    /// - Returns: the exit status: 0 after an end in order.
    public static func run(
        at address: SocketAddress, loops: Int = EventLoopGroup.defaultCount, grace: Duration = .seconds(20),
        limits: HTTPLimits = .init(), tls: TLSServerContext? = nil, metrics: MetricRegistry? = nil,
        logger: Logger? = nil, routes: @Sendable (_ router: Router, _ loop: EventLoop) throws -> Void,
        ready: (SocketAddress) -> Void = { _ in }
    ) -> Int32 {
        serve(at: address, loops: loops, grace: grace, ready: ready) { loop in
            let router = Router()
            try routes(router, loop)
            let server = HTTPServer(loop: loop, router: router, limits: limits, metrics: metrics, logger: logger)
            return (server, { try server.listen($0, options: $1, tls: tls) })
        }
    }
}
