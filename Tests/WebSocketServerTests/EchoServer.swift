import Bytes
import Reactor
import WebSocketServer
import WebSockets

/// Returns what it gets.
final class EchoEndpoint: WebSocketHandler {
    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) { server.sendText(id, text) }
    override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) { server.sendBinary(id, bytes) }
}
