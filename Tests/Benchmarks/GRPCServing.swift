import GRPCRuntime
import Reactor

/// Serves `bench.Echo/Unary` on one loop: the same id, n + 1.
enum GRPCServing {
    private final class Echo: Bench_EchoHandler {
        func unary(_ request: Bench_Small, _ call: UnaryServerCall<Bench_Small>) {
            var response = request
            response.n += 1
            call.respond(response)
        }
    }

    static func run(port: UInt16) throws {
        let loop = try EventLoop()
        let registry = ServiceRegistry()
        Bench_Echo.register(Echo(), in: registry)
        let server = GRPCServer(loop: loop, registry: registry)
        try server.listen(.loopback(port: port))
        loop.run()
    }
}
