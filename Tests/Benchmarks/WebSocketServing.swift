import Bytes
import Reactor
import WebSocketServer
import WebSockets

/// Serves `/echo`, and `/sub` with what clients send on `/pub`, on one loop.
enum WebSocketServing {
    private final class Echo: WebSocketHandler {
        override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) { server.sendText(id, text) }
        override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) { server.sendBinary(id, bytes) }
    }

    private final class Subscriber: WebSocketHandler {
        let topic: TopicID
        init(topic: TopicID) { self.topic = topic }
        override func webSocketOpened(_ id: WebSocketID) { server.topics.subscribe(id, to: topic) }
    }

    private final class Publisher: WebSocketHandler {
        let topic: TopicID
        init(topic: TopicID) { self.topic = topic }

        override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) { publish(.text, text) }
        override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) { publish(.binary, bytes) }

        private func publish(_ opcode: Opcode, _ bytes: Span<UInt8>) {
            var frame = ByteBuffer(capacity: bytes.count + 14)
            FrameWriter.append(opcode, bytes, to: &frame)
            server.topics.publish(topic, SharedBytes(frame))
        }
    }

    static func run(port: UInt16) throws {
        let loop = try EventLoop()
        let server = WebSocketServer(loop: loop, deflate: DeflateOptions())
        let topic = server.topics.makeBroadcast()
        let echo = Echo()
        let subscriber = Subscriber(topic: topic)
        let publisher = Publisher(topic: topic)
        let door = HandshakeHandler(server: server) { path in
            switch path {
            case "/echo": echo
            case "/sub": subscriber
            case "/pub": publisher
            default: nil
            }
        }
        try loop.listen(.loopback(port: port), handler: door)
        loop.run()
    }
}
