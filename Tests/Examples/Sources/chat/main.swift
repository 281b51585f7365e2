// A chat: what one says, everybody hears.
//   wscat -c ws://localhost:8080/chat/ada

import Glibc
import WebSocketServer

let port = CommandLine.arguments.dropFirst().first.flatMap { UInt16($0) } ?? 8080
let status = Server.run(at: .loopback(port: port), loops: 1) { router, loop in
    let sockets = WebSocketServer(loop: loop)
    let room = sockets.topics.makeBroadcast()
    router.webSocket("/chat/{name}", on: sockets) { request, socket in
        let name = request.pathParameter("name") ?? "somebody"
        sockets.topics.subscribe(socket.id, to: room)
        sockets.topics.publish(room, text: "\(name) is here")
        socket.onText = { sockets.topics.publish(room, text: "\(name): \(String(utf8: $0))") }
        socket.onClose = { _ in sockets.topics.publish(room, text: "\(name) has left") }
    }
} ready: {
    print("ws://\($0)/chat/ada")
}
exit(status)
