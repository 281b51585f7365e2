import Bytes
import HTTPServer
import Reactor
import WebSockets

/// One WebSocket of a route that was added with a closure, or of a `WebSocketClient`. It belongs to its loop, and lives until its
/// peer has gone.
public final class WebSocket {
    /// Names it to its server.
    public let id: WebSocketID
    /// Whose it is: lists and broadcasts are its `topics`. Of a client's, what plays the other role, without topics.
    public let server: WebSocketServer
    /// Called with each whole text message, valid UTF-8; the span is valid during the call.
    public var onText: (Span<UInt8>) -> Void = { _ in }
    /// Called with each whole binary message; the span is valid during the call. nil: one ends the WebSocket with 1003.
    public var onBinary: ((Span<UInt8>) -> Void)?
    /// Of a client: the subprotocol that the server has chosen among those that were offered (RFC 6455 §1.9).
    public internal(set) var subprotocol: String?
    /// Called once at the end, with the code as `WebSocketHandler.webSocketClosed` says it.
    public var onClose: (CloseCode) -> Void = { _ in }

    /// Messages that wait for `receive`.
    var inbox: MessageInbox?

    init(_ id: WebSocketID, _ server: WebSocketServer) {
        self.id = id
        self.server = server
    }

    /// Sends a text message. False: the WebSocket is not open any more.
    @discardableResult
    public func send(_ text: String) -> Bool { server.sendText(id, Array(text.utf8).span) }

    /// Sends a text message, which has to be UTF-8. False: the WebSocket is not open any more.
    @discardableResult
    public func send(text: Span<UInt8>) -> Bool { server.sendText(id, text) }

    /// Sends a binary message. False: the WebSocket is not open any more.
    @discardableResult
    public func send(bytes: Span<UInt8>) -> Bool { server.sendBinary(id, bytes) }

    /// Begins the closing handshake; `onClose` is called at its end.
    public func close(_ code: CloseCode = .normal, reason: String = "") {
        server.close(id, code, reason: reason)
    }
}

extension RouteGroup {
    /// Adds a WebSocket on the port of the HTTP server. The gates of the group stand before the handshake.
    ///
    ///     let sockets = WebSocketServer(loop: loop)
    ///     router.webSocket("/echo", on: sockets) { _, socket in
    ///         socket.onText = { [unowned socket] in socket.send(text: $0) }
    ///     }
    ///
    /// - Parameters:
    ///   - server: the WebSockets of the same loop. It is drained with the HTTP server.
    ///   - opened: called with the request and the new WebSocket, to which it may send at once.
    public func webSocket(
        _ pattern: String, on server: WebSocketServer,
        _ opened: @escaping (borrowing HTTPRequest, WebSocket) -> Void
    ) {
        let endpoint = ClosureEndpoint()
        drains(with: server)
        get(pattern) { (request, responder) throws(Problem) in
            guard let id = try server.upgrade(request, responder) else { return }
            server.adopt(id, handler: endpoint)
            guard server.isOpen(id) else { return }
            let socket = WebSocket(id, server)
            endpoint.sockets[id] = socket
            opened(request, socket)
        }
    }
}

extension Router {
    /// Adds a WebSocket, as `RouteGroup.webSocket` does.
    public func webSocket(
        _ pattern: String, on server: WebSocketServer,
        _ opened: @escaping (borrowing HTTPRequest, WebSocket) -> Void
    ) {
        group().webSocket(pattern, on: server, opened)
    }
}

extension WebSocketServer: LoopService {
    /// Closes every WebSocket 1001, spread over `WebSocketTimeouts.drainTime`.
    public func drain(_ completion: @escaping () -> Void) { drain(over: timeouts.drainTime, completion) }

    /// Answers a handshake with its 101: what comes on the connection from now on is for `adopt`, which has to follow. Only
    /// while the request's handler is being called.
    ///
    /// - Returns: the WebSocket; nil if the connection is gone or the request was answered.
    /// - Throws: why the request does not become a WebSocket: 426, 403 (a page of a foreign origin), 400 (extensions that can't
    ///   be read), 503 (draining).
    public func upgrade(
        _ request: borrowing HTTPRequest, _ responder: HTTPResponder
    ) throws(Problem) -> WebSocketID? {
        if isDraining {
            throw Problem(503, "stopping", "The server is stopping; try again.", fields: ["Retry-After": "1"])
        }
        var response = ByteBuffer()
        let id = request.connection
        if let refusal = shakeHands(request.head, id, isForeign: request.isForeign, response: &response) {
            var fields = HTTPFields()
            for header in refusal.headers { fields.add(header.name, header.value) }
            throw Problem(refusal.status, refusal.code, "\(refusal.detail)", fields: fields)
        }
        return responder.upgrade(to: self, context: 0, response: response.span) ? id : nil
    }
}

/// The WebSockets of one route, or of one client, with closures.
final class ClosureEndpoint: WebSocketHandler {
    var sockets: [WebSocketID: WebSocket] = [:]

    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) { sockets[id]?.onText(text) }

    override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) {
        if let onBinary = sockets[id]?.onBinary { onBinary(bytes) } else { super.webSocketBinary(id, bytes) }
    }

    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        guard let socket = sockets.removeValue(forKey: id) else { return }
        socket.onClose(code)
        // A closure that holds the WebSocket would keep it for ever.
        socket.onText = { _ in }
        socket.onBinary = nil
        socket.onClose = { _ in }
    }
}
