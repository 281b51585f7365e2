import HTTPServer
import Reactor
import WebSocketServer
import WebSockets

/// A WebSocket that returns what it gets.
enum WebSocketEcho {
    /// Autobahn's messages have up to 16 MiB, in 65,536 fragments and more.
    private static let limits = WebSocketLimits(maximumMessageSize: 16 << 20, maximumFramesPerMessage: 1 << 20)

    static func add(to router: Router, _ loop: EventLoop) {
        let sockets = WebSocketServer(loop: loop, limits: limits)
        router.webSocket("/websocket", on: sockets) { _, socket in
            socket.onText = { [unowned socket] in socket.send(text: $0) }
            socket.onBinary = { [unowned socket] in socket.send(bytes: $0) }
        }
    }
}
