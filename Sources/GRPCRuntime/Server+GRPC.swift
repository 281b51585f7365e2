import Reactor

extension Server {
    /// Serves gRPC at `address` until SIGTERM or SIGINT, then ends in order (`Server.run(loops:grace:_:)`).
    ///
    ///     let status = Server.run(at: .any(port: 50051)) { registry, _ in
    ///         Greeter_V1_Greeter.register(Greeter(), in: registry)
    ///     }
    ///
    /// - Parameters:
    ///   - address: where every loop listens, the kernel sharing out the connections. A port of 0 is one that is free.
    ///   - loops: how many loops; the CPUs that this process may use, unless it is said.
    ///   - grace: what an orderly end may take; then everything is closed.
    ///   - tls: the certificate; nil: HTTP/2 in the clear.
    ///   - services: fills the registry of each loop, before the loop runs. What handlers use belongs to their loop.
    ///   - interceptors: what stands before the handlers of each loop, in order.
    ///   - ready: told the address once every loop listens.
    /// - Returns: the exit status: 0 after an end in order.
    public static func run(
        at address: SocketAddress, loops: Int = EventLoopGroup.defaultCount, grace: Duration = .seconds(20),
        tls: TLSServerContext? = nil,
        services: @Sendable (_ registry: ServiceRegistry, _ loop: EventLoop) throws -> Void,
        interceptors: @Sendable (_ loop: EventLoop) -> [any ServerInterceptor] = { _ in [] },
        ready: (SocketAddress) -> Void = { _ in }
    ) -> Int32 {
        serve(at: address, loops: loops, grace: grace, ready: ready) { loop in
            let registry = ServiceRegistry()
            try services(registry, loop)
            let server = GRPCServer(loop: loop, registry: registry)
            for interceptor in interceptors(loop) { server.add(interceptor) }
            return (server, { try server.listen($0, options: $1, tls: tls) })
        }
    }
}
