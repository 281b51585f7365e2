import HTTPServer
import Reactor

let loop = try EventLoop()
let router = Router()
router.get("/hello/{name}") { request, responder in
    let name = request.pathParameter("name") ?? "world"
    responder.respond(200, "text/plain; charset=utf-8") { $0.append(utf8: "Hello, \(name)!\n") }
}
let listener = try HTTPServer(loop: loop, router: router).listen(.loopback(port: 0))
print("http://\(listener.localAddress)/hello/Ada")
loop.run()
