import GRPCRuntime
import Glibc
import HTTPServer
import Reactor
import WebSocketServer

final class Echo: WebSocketHandler {
    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) { server.sendText(id, text) }
}

let loop = try EventLoop()
let router = Router()
router.get("/hello/{name}") { request, responder in
    let name = request.pathParameter("name") ?? "nobody"
    responder.respond(200, "text/plain") { $0.append(utf8: "Hello, \(name)!") }
}
let echo = Echo()
let sockets = HandshakeHandler(server: WebSocketServer(loop: loop)) { $0 == "/echo" ? echo : nil }
let web = try HTTPServer(loop: loop, router: router).listen(.loopback(port: 0))
let door = try loop.listen(.loopback(port: 0), handler: sockets)
let calls = try GRPCServer(loop: loop, registry: ServiceRegistry()).listen(.loopback(port: 0))
print("ready", web.localAddress.port, door.localAddress.port, calls.localAddress.port)
fflush(nil)
loop.run()
