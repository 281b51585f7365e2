import Bytes
import Reactor
import WebSocketServer
import WebSockets

/// What `../shared/peers` asks of a WebSocket server: `/echo`, and `/pub`, whose messages go to every `/sub`.
final class WebSocketTarget {
    /// Returns what it gets.
    private final class Echo: WebSocketHandler {
        override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) { server.sendText(id, text) }
        override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) { server.sendBinary(id, bytes) }
    }

    /// Subscribes, and reads nothing.
    private final class Subscribe: WebSocketHandler {
        let topic: TopicID
        init(_ topic: TopicID) { self.topic = topic }

        override func webSocketOpened(_ id: WebSocketID) { server.topics.subscribe(id, to: topic) }
        override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) {}
    }

    /// Publishes what it gets: one frame for all.
    private final class Publish: WebSocketHandler {
        let topic: TopicID
        init(_ topic: TopicID) { self.topic = topic }

        override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) { publish(.text, text) }
        override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) { publish(.binary, bytes) }

        private func publish(_ opcode: Opcode, _ payload: Span<UInt8>) {
            var frame = ByteBuffer()
            FrameWriter.append(opcode, payload, to: &frame)
            server.topics.publish(topic, SharedBytes(frame))
        }
    }

    private let echo = Echo()
    private let subscribe: Subscribe
    private let publish: Publish
    let server: WebSocketServer

    init(loop: EventLoop) {
        server = WebSocketServer(loop: loop, limits: WebSocketLimits(maximumMessageSize: 1 << 20))
        let topic = server.topics.makeBroadcast()
        subscribe = Subscribe(topic)
        publish = Publish(topic)
    }

    /// Serves on one loop until the process ends.
    static func run(port: UInt16) throws {
        let loop = try EventLoop()
        let target = WebSocketTarget(loop: loop)
        let door = HandshakeHandler(server: target.server) { path in target.endpoint(path) }
        let listener = try loop.listen(.loopback(port: port), handler: door)
        print("WebSocket on \(listener.localAddress)")
        loop.run()
    }

    /// The endpoint of a path.
    func endpoint(_ path: String) -> WebSocketHandler? {
        switch path {
        case "/echo": echo
        case "/sub": subscribe
        case "/pub": publish
        default: nil
        }
    }
}
