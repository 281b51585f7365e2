import Bytes
import Reactor
import ReactorSim
import WebSocketServer
import WebSockets

/// A client in a simulated world: shakes hands, then hears and says frames.
final class SimulatedClient: ConnectionHandler {
    let loop: EventLoop
    private(set) var id = ConnectionID.none
    private var request: [UInt8]
    private var isOpen = false
    private var parser = FrameParser(role: .client)
    private var message: [UInt8] = []
    /// What was agreed upon with the server; nil: messages are not compressed.
    private(set) var deflate: DeflateParameters?
    private var inflater = Inflater()
    private var inflated = ByteBuffer()
    /// Messages that came compressed.
    private(set) var deflatedMessages = 0
    private let limits = WebSocketLimits(maximumMessageSize: 64 << 20)

    var answersPings = true
    var answersClose = true
    /// Frames that are said right after the handshake.
    var says: [UInt8] = []
    /// The response's head.
    private(set) var head = ""
    private(set) var messages: [String] = []
    /// When each message came, nanoseconds of the loop.
    private(set) var times: [UInt64] = []
    private(set) var pings = 0
    private(set) var pongs: [[UInt8]] = []
    private(set) var closeCode: UInt16?
    private(set) var closeReason = ""
    private(set) var violation: ProtocolViolation?
    /// When the Close frame came, and when the connection ended.
    private(set) var closedAt: UInt64?
    private(set) var endedAt: UInt64?

    init(
        loop: EventLoop, to address: SocketAddress, path: String = "/", fields: String = SimulatedClient.handshake
    ) {
        self.loop = loop
        request = Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n".utf8)
        super.init()
        id = loop.connect(address, timeout: 5_000_000_000, handler: self)
    }

    static let handshake =
        "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    static let offersDeflate = handshake + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

    var status: Int { Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0 }

    func send(_ opcode: Opcode, _ payload: [UInt8] = [], fin: Bool = true) {
        say(Self.frame(opcode, payload, fin: fin))
    }

    func send(_ text: String) { send(.text, Array(text.utf8)) }

    /// Bytes as they are.
    func say(_ bytes: [UInt8]) {
        if isOpen { unsafe loop.output(id)?.pointee.append(bytes) } else { says += bytes }
    }

    static func frame(
        _ opcode: Opcode, _ payload: [UInt8] = [], fin: Bool = true, deflated: Bool = false
    ) -> [UInt8] {
        var buffer = ByteBuffer()
        FrameWriter.append(
            opcode, payload.span, isFinal: fin, isDeflated: deflated, mask: 0x1F2E_3D4C, to: &buffer)
        return buffer.array()
    }

    /// Reads nothing any more.
    func stopReading() { loop.pauseReading(id) }
    func goOnReading() { loop.resumeReading(id) }
    func close() { loop.close(id) }

    override func connectionOpened(_ id: ConnectionID) {
        unsafe loop.output(id)?.pointee.append(request)
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        var offset = 0
        if !isOpen {
            while offset < bytes.count && !isOpen {
                unsafe head.unicodeScalars.append(Unicode.Scalar(bytes[offset]))
                offset += 1
                if head.hasSuffix("\r\n\r\n") && status == 101 { isOpen = true }
            }
            if !isOpen { return bytes.count }
            agree()
            unsafe loop.output(id)?.pointee.append(says)
        }
        while true {
            var input = unsafe MutableSpan<UInt8>(_unsafeBytes: bytes)
            let event = parser.next(&input, &offset, limits)
            func payload(_ start: Int, _ count: Int) -> [UInt8] { unsafe Array(bytes[start..<(start + count)]) }
            switch event {
            case .needsMoreBytes: return offset
            case .message(let piece):
                message += payload(piece.offset, piece.count)
                guard piece.isLast else { continue }
                messages.append(String(decoding: message, as: UTF8.self))
                times.append(loop.now)
                message = []
            case .ping(let start, let count):
                pings += 1
                if answersPings { send(.pong, payload(start, count)) }
            case .pong(let start, let count): pongs.append(payload(start, count))
            case .close(let code, let start, let count):
                closeCode = code.rawValue
                closeReason = String(decoding: payload(start, count), as: UTF8.self)
                closedAt = loop.now
                if answersClose { send(.close, [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 255)]) }
            case .deflated(let piece): inflate(piece, payload(piece.offset, piece.count))
            case .violation(let found):
                violation = found
                loop.close(id)
            }
        }
    }

    private func agree() {
        let name = "Sec-WebSocket-Extensions: "
        guard let line = head.split(separator: "\r\n").first(where: { $0.hasPrefix(name) }) else { return }
        var all = DeflateOptions()
        all.serverNoContextTakeover = false
        all.clientNoContextTakeover = false
        let list = WebSocketExtension.list(Array(line.utf8.dropFirst(name.utf8.count)).span)
        deflate = list?.first.flatMap(all.accept)
        if deflate != nil { parser = FrameParser(role: .client, deflates: true) }
    }

    private func inflate(_ piece: MessagePiece, _ payload: [UInt8]) {
        if piece.isFirst && deflate?.serverNoContextTakeover == true { inflater.reset() }
        let outcome = inflater.inflate(
            payload.span, isLast: piece.isLast, limit: limits.maximumMessageSize, into: &inflated)
        if outcome != .taken { violation = .invalidDeflate }
        guard piece.isLast else { return }
        messages.append(String(decoding: inflated.array(), as: UTF8.self))
        times.append(loop.now)
        deflatedMessages += 1
        inflated.removeAll()
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        endedAt = loop.now
    }
}

/// A server in a simulated world with one endpoint, and a loop for its clients.
struct SimulatedServer {
    let network: SimulatedNetwork
    let loop: EventLoop
    let clients: EventLoop
    let server: WebSocketServer
    let door: HandshakeHandler
    let address: SocketAddress

    init(
        seed: UInt64 = 1, options: SimulationOptions = .init(), limits: WebSocketLimits = .init(),
        timeouts: WebSocketTimeouts = .init(), deflate: DeflateOptions? = nil, tls: TLSServerContext? = nil,
        endpoint: WebSocketHandler
    ) throws {
        network = SimulatedNetwork(seed: seed, options: options)
        loop = try network.makeLoop()
        clients = try network.makeLoop()
        let server = WebSocketServer(loop: loop, limits: limits, timeouts: timeouts, deflate: deflate)
        self.server = server
        door = HandshakeHandler(server: server) { path in path == "/missing" ? nil : endpoint }
        address = try loop.listen(.loopback(port: tls == nil ? 80 : 443), tls: tls, handler: door).localAddress
    }

    func client(path: String = "/", fields: String = SimulatedClient.handshake) -> SimulatedClient {
        SimulatedClient(loop: clients, to: address, path: path, fields: fields)
    }

    /// Runs for so many virtual seconds.
    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }
}
