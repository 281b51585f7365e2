import Bytes
import HTTPServer
import Reactor

/// Serves `GET /` with `Hello, World!` on one loop, through the real router; over TLS with a certificate.
enum HTTPServing {
    static func run(port: UInt16, tls: (certificate: String, key: String)?) throws {
        let loop = try EventLoop()
        let router = Router()
        router.get("/") { _, responder in responder.respond(200, "text/plain", body: "Hello, World!") }
        let server = HTTPServer(loop: loop, router: router, requestIDs: false)
        let context = try tls.map {
            try TLSServerContext(
                certificatePath: $0.certificate, keyPath: $0.key, alpn: HTTPServer.applicationProtocols)
        }
        try server.listen(.loopback(port: port), tls: context)
        loop.run()
    }
}
