import Bytes
import HTTPServer
import Reactor

/// Serves `GET /` with `Hello, World!` on one loop, through the real router.
enum HTTPServing {
    static func run(port: UInt16) throws {
        let loop = try EventLoop()
        let router = Router()
        router.get("/") { _, responder in responder.respond(200, "text/plain", body: "Hello, World!") }
        let server = HTTPServer(loop: loop, router: router, requestIDs: false)
        try server.listen(.loopback(port: port))
        loop.run()
    }
}
