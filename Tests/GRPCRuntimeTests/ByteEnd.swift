import HTTP2
import Reactor

/// An end that writes bytes, at once or dripping, and notes what it gets and when it was closed: for what no session says.
final class ByteEnd: ConnectionHandler {
    let loop: EventLoop
    private(set) var id = ConnectionID.none
    private(set) var received: [UInt8] = []
    private(set) var openedAt: UInt64 = 0
    private(set) var closedAt: UInt64?
    /// Connections so far; only the first is looked at.
    private(set) var connections = 0
    private let first: [UInt8]
    private var drip: ArraySlice<UInt8>
    /// Bytes of `drip` that go out at once, and nanoseconds between two such pieces.
    private let piece: Int
    private let pause: UInt64

    init(_ loop: EventLoop, _ first: [UInt8], drip: [UInt8] = [], piece: Int = 1, every pause: UInt64 = .second) {
        self.loop = loop
        self.first = first
        self.drip = drip[...]
        self.piece = piece
        self.pause = pause
    }

    override func connectionOpened(_ id: ConnectionID) {
        connections += 1
        guard connections == 1 else { return }
        self.id = id
        openedAt = loop.now
        send(first)
        goOn()
    }

    private func goOn() {
        guard closedAt == nil, !drip.isEmpty else { return }
        loop.schedule(after: pause) { [self] in
            send(Array(drip.prefix(piece)))
            drip = drip.dropFirst(piece)
            goOn()
        }
    }

    func send(_ bytes: [UInt8]) { unsafe loop.output(id)?.pointee.append(bytes) }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        if id == self.id { unsafe received += Array(bytes) }
        return bytes.count
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        if id == self.id { closedAt = loop.now }
    }

    override func connectionReadClosed(_ id: ConnectionID) {
        if id == self.id && closedAt == nil { closedAt = loop.now }
        loop.close(id)
    }

    /// Seconds from its beginning to its end.
    var seconds: UInt64? { closedAt.map { ($0 - openedAt) / .second } }

    /// The code of the GOAWAY that came.
    var goAway: HTTP2ErrorCode? {
        var rest = received[...]
        if rest.starts(with: Bytes.preface) { rest = rest.dropFirst(Bytes.preface.count) }
        while rest.count >= 9 {
            let frame = Array(rest)
            let length = Int(frame[0]) << 16 | Int(frame[1]) << 8 | Int(frame[2])
            guard frame.count >= 9 + length else { return nil }
            if frame[3] == 7 { return HTTP2ErrorCode(rawValue: frame[13..<17].reduce(0) { $0 << 8 | UInt32($1) }) }
            rest = rest.dropFirst(9 + length)
        }
        return nil
    }

    /// Frames as bytes.
    enum Bytes {
        static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        static let settings = frame(4, 0, 0, [])
        static let acknowledgement = frame(4, 1, 0, [])
        static let hello = preface + settings + acknowledgement

        static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
            [0, UInt8(payload.count >> 8), UInt8(payload.count & 255), type, flags, 0, 0, 0, stream] + payload
        }
    }
}
