import HTTPServer
import Reactor
import WebSocketServer
import WebSockets

/// A WebSocket that returns what it gets, compressed wherever that was agreed upon.
enum WebSocketEcho {
    /// Autobahn's messages have up to 16 MiB, in 65,536 fragments and more.
    static let limits = WebSocketLimits(maximumMessageSize: 16 << 20, maximumFramesPerMessage: 1 << 20)

    /// Whatever a client may ask for (RFC 7692), for all messages.
    static let deflate = {
        var options = DeflateOptions()
        options.serverNoContextTakeover = false
        options.clientNoContextTakeover = false
        options.minimumMessageSize = 0
        return options
    }()

    /// kosoku fails a case in the middle of which a Ping comes, whoever's it is; the longest takes seconds on a quiet machine.
    static let timeouts = {
        var timeouts = WebSocketTimeouts()
        timeouts.pingInterval = .seconds(62)
        return timeouts
    }()

    static func add(to router: Router, _ loop: EventLoop) {
        let sockets = WebSocketServer(loop: loop, limits: limits, timeouts: timeouts, deflate: deflate)
        router.webSocket("/websocket", on: sockets) { _, socket in
            socket.onText = { [unowned socket] in socket.send(text: $0) }
            socket.onBinary = { [unowned socket] in socket.send(bytes: $0) }
        }
    }
}
