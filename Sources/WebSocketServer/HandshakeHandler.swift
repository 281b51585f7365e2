import Bytes
import HTTP1
import Memory
import Reactor

/// A listener's handler that knows the opening handshake and no other HTTP: a WebSocket server without `HTTPServer`.
///
///     let sockets = WebSocketServer(loop: loop)
///     let door = HandshakeHandler(server: sockets) { path in path == "/echo" ? echo : nil }
///     let listener = try loop.listen(.loopback(port: 0), handler: door)
///
/// Whatever is no handshake gets its answer (400, 404, 403, 426) and the connection ends.
@safe public final class HandshakeHandler: ConnectionHandler {
    private let server: WebSocketServer
    private let origins: OriginPolicy
    private let find: (String) -> WebSocketHandler?
    private let table: HTTP1HeadTable
    /// Of connections whose head has come in part.
    let unfinished = PlaceTable(HTTP1Parser())

    /// How long a handshake may take, nanoseconds.
    public static let timeout: UInt64 = 10_000_000_000

    /// - Parameter find: the endpoint of a path (as it was sent, without the query); nil is 404.
    public init(
        server: WebSocketServer, origins: OriginPolicy = .init(),
        _ find: @escaping (String) -> WebSocketHandler?
    ) {
        self.server = server
        self.origins = origins
        self.find = find
        table = HTTP1HeadTable()
    }

    public override func connectionOpened(_ id: ConnectionID) {
        server.loop.setDeadline(id, at: server.loop.now + Self.timeout)
    }

    public override func connectionDeadline(_ id: ConnectionID) {
        server.loop.close(id)
    }

    public override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        unfinished.remove(id)
    }

    /// A byte of a head is looked at once, however it comes; all of them have at most 16 KiB and ten seconds.
    public override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        // Proof: the buffer is not changed while this span lives.
        let input = unsafe Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(bytes))
        var parser = unfinished.find(id)?.value ?? HTTP1Parser()
        let event = parser.next(input, into: table)
        switch event {
        case .needMore:
            unfinished.make(id).value = parser
            return 0
        case .head(let count):
            unfinished.remove(id)
            open(id, HTTP1Head(bytes: input, table: table), expectsBody: parser.expectsBody)
            return count
        case .failed(let error): refuse(id, error.status, [])
        case .body, .end: refuse(id, 400, [])
        }
        return bytes.count
    }

    private func open(_ id: ConnectionID, _ head: HTTP1Head, expectsBody: Bool) {
        if expectsBody { return refuse(id, 400, []) }
        let path = head.path
        let handler = unsafe path.withUnsafeBufferPointer { unsafe find(String(decoding: $0, as: UTF8.self)) }
        guard let handler else { return refuse(id, 404, []) }
        guard let output = unsafe server.loop.output(id) else { return }
        let isForeign = origins.judge(head, scheme: server.loop.isTLS(id) ? .https : .unknown) == .foreign
        if let refusal = unsafe server.shakeHands(head, id, isForeign: isForeign, response: &output.pointee) {
            return refuse(id, refusal.status, refusal.headers)
        }
        server.adopt(id, handler: handler)
    }

    private func refuse(_ id: ConnectionID, _ status: Int, _ headers: [(name: StaticString, value: String)]) {
        if let output = unsafe server.loop.output(id) {
            unsafe HTTP1Writer.statusLine(status, to: &output.pointee)
            for header in headers {
                unsafe output.pointee.append(utf8: "\(header.name): \(header.value)\r\n")
            }
            unsafe output.pointee.append("Content-Length: 0\r\nConnection: close\r\n\r\n")
        }
        server.loop.closeAfterFlush(id, drain: true)
    }
}
