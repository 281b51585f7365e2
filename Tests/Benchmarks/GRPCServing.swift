import GRPCRuntime
import Reactor

/// Serves `bench.Echo/Unary` on one loop: the same id, n + 1; over TLS with a certificate.
enum GRPCServing {
    private final class Echo: Bench_EchoHandler {
        func unary(_ request: Bench_Small, _ call: UnaryServerCall<Bench_Small>) {
            var response = request
            response.n += 1
            call.respond(response)
        }
    }

    static func run(port: UInt16, tls: (certificate: String, key: String)?) throws {
        let loop = try EventLoop()
        let registry = ServiceRegistry()
        Bench_Echo.register(Echo(), in: registry)
        let server = GRPCServer(loop: loop, registry: registry)
        let context = try tls.map {
            try TLSServerContext(certificatePath: $0.certificate, keyPath: $0.key, alpn: ["h2"])
        }
        try server.listen(.loopback(port: port), tls: context)
        loop.run()
    }
}
