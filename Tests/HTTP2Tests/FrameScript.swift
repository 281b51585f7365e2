import Bytes
import HTTP2

/// A frame as tests write and read it. Nothing is checked, so illegal ones are written with the same code: any flags, any
/// stream, and with `claimedLength` a header that does not tell the truth.
struct Frame: Equatable, CustomStringConvertible {
    var type: HTTP2FrameType
    var flags: UInt8 = 0
    var stream: UInt32
    var payload: [UInt8] = []
    var claimedLength: Int?

    var bytes: [UInt8] {
        var buffer = ByteBuffer()
        HTTP2FrameHeader.append(
            length: claimedLength ?? payload.count, type: type, flags: flags, streamID: stream, into: &buffer)
        buffer.append(payload)
        return buffer.array()
    }

    var description: String { "(\(type.rawValue) flags \(flags) stream \(stream) \(payload))" }

    var errorCode: HTTP2ErrorCode? {
        switch type {
        case .rstStream: HTTP2ErrorCode(rawValue: payload.bigEndian(0))
        case .goAway: HTTP2ErrorCode(rawValue: payload.bigEndian(4))
        default: nil
        }
    }

    static func settings(_ values: [(UInt16, UInt32)] = []) -> Frame {
        Frame(type: .settings, stream: 0, payload: values.flatMap { $0.bytes + $1.bytes })
    }
    static let settingsAck = Frame(type: .settings, flags: HTTP2Flag.ack, stream: 0)

    static func headers(
        _ stream: UInt32, _ fields: [(String, String)] = .request, endStream: Bool = true, endHeaders: Bool = true
    ) -> Frame {
        Frame(
            type: .headers,
            flags: (endStream ? HTTP2Flag.endStream : 0) | (endHeaders ? HTTP2Flag.endHeaders : 0),
            stream: stream, payload: literal(fields))
    }

    static func continuation(_ stream: UInt32, _ payload: [UInt8], endHeaders: Bool) -> Frame {
        Frame(type: .continuation, flags: endHeaders ? HTTP2Flag.endHeaders : 0, stream: stream, payload: payload)
    }

    static func data(_ stream: UInt32, _ payload: [UInt8], endStream: Bool = false) -> Frame {
        Frame(type: .data, flags: endStream ? HTTP2Flag.endStream : 0, stream: stream, payload: payload)
    }

    static func windowUpdate(_ stream: UInt32, _ increment: UInt32) -> Frame {
        Frame(type: .windowUpdate, stream: stream, payload: increment.bytes)
    }

    static func reset(_ stream: UInt32, _ code: HTTP2ErrorCode) -> Frame {
        Frame(type: .rstStream, stream: stream, payload: code.rawValue.bytes)
    }

    static func goAway(_ last: UInt32, _ code: HTTP2ErrorCode = .noError) -> Frame {
        Frame(type: .goAway, stream: 0, payload: last.bytes + code.rawValue.bytes)
    }

    static func ping(_ value: UInt64, ack: Bool = false) -> Frame {
        Frame(type: .ping, flags: ack ? HTTP2Flag.ack : 0, stream: 0, payload: value.bytes)
    }

    static func priority(_ stream: UInt32, on parent: UInt32) -> Frame {
        Frame(type: .priority, stream: stream, payload: parent.bytes + [16])
    }

    /// Fields as literals without indexing: a block that does not depend on any table.
    static func literal(_ fields: [(String, String)]) -> [UInt8] {
        var result: [UInt8] = []
        for (name, value) in fields {
            result.append(0)
            for text in [name, value] {
                precondition(text.utf8.count < 127, "a short one")
                result.append(UInt8(text.utf8.count))
                result += Array(text.utf8)
            }
        }
        return result
    }

    /// The frames that `bytes` hold.
    static func parse(_ bytes: [UInt8]) -> [Frame] {
        var frames: [Frame] = []
        var offset = 0
        while offset < bytes.count {
            let length = Int(bytes[offset]) << 16 | Int(bytes[offset + 1]) << 8 | Int(bytes[offset + 2])
            let end = offset + 9 + length
            frames.append(
                Frame(
                    type: HTTP2FrameType(rawValue: bytes[offset + 3]), flags: bytes[offset + 4],
                    stream: bytes.bigEndian(offset + 5), payload: Array(bytes[offset + 9..<end])))
            offset = end
        }
        return frames
    }
}

extension [(String, String)] {
    static var request: Self {
        [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x")]
    }
    static var response: Self { [(":status", "200"), ("content-type", "application/grpc")] }
    static var trailers: Self { [("grpc-status", "0")] }
}

extension FixedWidthInteger {
    var bytes: [UInt8] {
        (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> (Self.bitWidth - 8 - 8 * $0)) }
    }
}

extension [UInt8] {
    func bigEndian(_ offset: Int) -> UInt32 {
        self[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}

/// What a session reported, in values that can be compared.
enum Report: Equatable {
    case headers(UInt32, [String], endStream: Bool)
    case trailers(UInt32, [String])
    case data(UInt32, [UInt8], endStream: Bool)
    case reset(HTTP2ErrorCode, byPeer: Bool)
    case goAway(UInt32, HTTP2ErrorCode)
    case settings
    case ping
    case pong(UInt64)
    case failed(HTTP2Failure.Reason)
}

/// A session under test and the peer's end of the wire.
final class Wire {
    var session: HTTP2Session
    var output = ByteBuffer()
    private var input = ByteBuffer()
    /// Nanoseconds.
    var now: UInt64 = 1_000_000_000
    /// Report bytes of DATA as taken at once.
    var consumes = true
    /// Identifier of the stream of the last `.reset`.
    private(set) var lastReset: UInt32 = 0
    /// Handle of each stream that was seen.
    var slots: [UInt32: HTTP2StreamHandle] = [:]

    init(_ role: HTTP2Session.Role, limits: HTTP2Limits = HTTP2Limits()) {
        session = HTTP2Session(role: role, limits: limits)
    }

    /// A server whose client has said hello.
    static func server(limits: HTTP2Limits = HTTP2Limits(), settings: [(UInt16, UInt32)] = []) -> Wire {
        let wire = Wire(.server, limits: limits)
        wire.session.start(output: &wire.output)
        _ = wire.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8))
        _ = wire.receive(Frame.settings(settings), .settingsAck)
        _ = wire.sent()
        return wire
    }

    /// A client whose server has said hello.
    static func client(limits: HTTP2Limits = HTTP2Limits(), settings: [(UInt16, UInt32)] = []) -> Wire {
        let wire = Wire(.client, limits: limits)
        wire.session.start(output: &wire.output)
        wire.output.removeAll()
        _ = wire.receive(Frame.settings(settings), .settingsAck)
        _ = wire.sent()
        return wire
    }

    /// The frames that the session has written since the last call.
    func sent() -> [Frame] {
        let bytes = output.array()
        output.removeAll()
        return Frame.parse(bytes)
    }

    func receive(_ frames: Frame...) -> [Report] { receive(frames.flatMap(\.bytes)) }

    func receive(_ bytes: [UInt8]) -> [Report] {
        input.append(bytes)
        var reports: [Report] = []
        var position = 0
        unsafe input.withUnsafeBytes { input in
            events: while true {
                switch unsafe session.next(input, &position, now: now, output: &output) {
                case .needsMore: break events
                case .headers(let stream, let endStream):
                    let id = session.streamID(stream)
                    slots[id] = stream
                    session.setContext(stream, UInt64(id))
                    reports.append(.headers(id, fields(), endStream: endStream))
                case .trailers(let stream): reports.append(.trailers(session.streamID(stream), fields()))
                case .data(let stream, let offset, let count, let endStream):
                    reports.append(
                        .data(
                            session.streamID(stream), unsafe Array(input[offset..<offset + count]),
                            endStream: endStream))
                    if consumes { session.consumed(stream, count, output: &output) }
                case .reset(let context, let code, let byPeer):
                    lastReset = UInt32(context)
                    reports.append(.reset(code, byPeer: byPeer))
                case .goAway(let last, let code): reports.append(.goAway(last, code))
                case .settings: reports.append(.settings)
                case .ping: reports.append(.ping)
                case .pong(let value): reports.append(.pong(value))
                case .failed(let failure):
                    reports.append(.failed(failure.reason))
                    position = input.count
                    break events
                }
            }
        }
        input.consume(position)
        return reports
    }

    private func fields() -> [String] {
        (0..<session.headers.count).map { "\(session.headers[$0].nameText): \(session.headers[$0].valueText)" }
    }

    // MARK: What the user of the session does

    func open() -> UInt32? {
        guard case .success(let slot) = session.open(context: 7) else { return nil }
        let id = session.streamID(slot)
        slots[id] = slot
        session.setContext(slot, UInt64(id))
        return id
    }

    func sendHeaders(_ stream: UInt32, _ fields: [(String, String)], endStream: Bool = false) {
        let start = session.beginHeaders(output: &output)
        for (name, value) in fields { encode(name, value) }
        session.endHeaders(start, stream: slots[stream]!, endStream: endStream, output: &output)
    }

    private func encode(_ name: String, _ value: String) {
        let name = Array(name.utf8)
        let value = Array(value.utf8)
        unsafe name.withUnsafeBytes { name in
            unsafe value.withUnsafeBytes { value in
                unsafe session.encoder.encode(name, value, .table, into: &output)
            }
        }
    }

    func sendData(_ stream: UInt32, _ bytes: [UInt8], endStream: Bool = false) {
        let slot = slots[stream]!
        if session.beginData(slot, count: bytes.count, endStream: endStream, output: &output) {
            return output.append(bytes)
        }
        guard let buffer = unsafe session.pendingBuffer(slot) else { return }
        unsafe buffer.pointee.append(bytes)
        session.pendingAppended(slot, endStream: endStream, now: now, output: &output)
    }
}
