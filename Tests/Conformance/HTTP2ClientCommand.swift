import Bytes
import HTTP2
import Reactor

/// The client's role of `HTTP2Session` for servers that try what it bears, such as h2specd's: one GET in the clear with prior
/// knowledge, and a connection that is kept for a second, so that what is wrong behind the answer is found, too. The channels of
/// `GRPCRuntime` would connect again when it is lost, which such a server takes for another request.
final class HTTP2ClientCommand: ConnectionHandler {
    private let loop: EventLoop
    private let authority: String
    private var session = HTTP2Session(role: .client)
    private var stream: HTTP2StreamHandle?

    static func run(_ url: String) throws {
        let parts = url.split(separator: "/")
        let target = parts.count > 1 ? parts[1].split(separator: ":") : []
        guard parts.first == "http:", target.count == 2, let port = UInt16(target[1]),
            let address = SocketAddress(ip: String(target[0]), port: port)
        else { return print("\"\(url)\" is no URL like http://127.0.0.1:8080/") }
        let loop = try EventLoop()
        let client = HTTP2ClientCommand(loop, String(parts[1]))
        let id = loop.connect(address, timeout: 1_000_000_000, handler: client)
        loop.schedule(after: 1_000_000_000) {
            client.end(id)
            loop.schedule(after: 500_000_000) { loop.stop() }
        }
        loop.run()
    }

    private init(_ loop: EventLoop, _ authority: String) {
        self.loop = loop
        self.authority = authority
    }

    private func end(_ id: ConnectionID) {
        guard let output = unsafe loop.output(id) else { return }
        unsafe session.sendGoAway(output: &output.pointee)
        loop.closeAfterFlush(id)
    }

    override func connectionOpened(_ id: ConnectionID) {
        if let output = unsafe loop.output(id) { unsafe session.start(output: &output.pointee) }
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        guard let output = unsafe loop.output(id) else { return bytes.count }
        let input = UnsafeRawBufferPointer(bytes)
        var position = 0
        while true {
            switch unsafe session.next(input, &position, now: loop.now, output: &output.pointee) {
            case .needsMore: return position
            case .settings where stream == nil: unsafe request(&output.pointee)
            case .data(let stream, _, let count, _):
                unsafe session.consumed(stream, count, output: &output.pointee)
            case .failed(let failure):
                print("the connection has failed: \(failure)")
                loop.closeAfterFlush(id)
                return bytes.count
            case .headers(_, let endStream): print("headers\(endStream ? ", and the end" : "")")
            case .trailers: print("trailers")
            case .reset(_, let code, let byPeer): print("reset by the \(byPeer ? "server" : "client"): \(code)")
            case .goAway(_, let code): print("the server goes away: \(code)")
            case .settings, .ping, .pong: break
            }
        }
    }

    private func request(_ output: inout ByteBuffer) {
        guard case .success(let stream) = session.open(context: 1) else { return print("no stream may be opened") }
        self.stream = stream
        let start = session.beginHeaders(output: &output)
        for (name, value) in [
            (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", authority),
        ] {
            var (name, value) = (name, value)
            name.withUTF8 { name in
                value.withUTF8 { value in
                    unsafe session.encoder.encode(
                        UnsafeRawBufferPointer(name), UnsafeRawBufferPointer(value), .none, into: &output)
                }
            }
        }
        session.endHeaders(start, stream: stream, endStream: true, output: &output)
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) { loop.stop() }

    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) {
        print("no connection: \(reason)")
        loop.stop()
    }
}
