import Bytes
import Memory
import Reactor
import WebSockets

/// Names a WebSocket: its connection on its loop.
public typealias WebSocketID = ConnectionID

/// What an endpoint does with its WebSockets.
///
/// One instance per loop and kind of endpoint, not per connection: each call gets the identifier, and the number that the
/// endpoint gave at `adopt` (`server.context(id)`) finds its own state. All calls are on the loop's thread; anything may be
/// called in them, closing included.
open class WebSocketHandler {
    /// A handler without WebSockets.
    public init() {}

    /// The 101 is on its way: the first message may be sent.
    open func webSocketOpened(_ id: WebSocketID) {}

    /// A whole text message, valid UTF-8; the span is valid during the call.
    open func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {}

    /// A whole binary message; the span is valid during the call. The default refuses it with 1003.
    open func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) {
        refuseBinary(id)
    }

    /// Output that had been left over by a short write is written: more may be sent.
    open func webSocketDrained(_ id: WebSocketID) {}

    /// The last call, exactly once. `code` is what the peer's Close frame said (1005 if it had no code), what this side has
    /// closed with, or 1006 if the connection broke. `server.context(id)` is still there, nothing can be sent.
    open func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {}

    /// The server that adopts connections for it. (No cycle: a server holds a handler only while it has connections.)
    public internal(set) final var server: WebSocketServer {
        get {
            guard let server = slot.value else { preconditionFailure("no connection was adopted for this handler") }
            return server
        }
        set { slot.value = newValue }
    }

    /// In a cell: every message is answered through it.
    private let slot = Cell<WebSocketServer?>(nil)

    private func refuseBinary(_ id: WebSocketID) {
        server.close(id, .unsupportedData, reason: "this endpoint reads text")
    }
}
