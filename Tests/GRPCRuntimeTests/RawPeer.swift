import Bytes
import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// A peer that writes HTTP/2 by hand, to say what our own client or server never would.
final class RawPeer: ConnectionHandler {
    struct Answer: Equatable {
        var headers: [String: String] = [:]
        var trailers: [String: String] = [:]
        var body: [UInt8] = []
        var reset: HTTP2ErrorCode?
        var isEnded = false
    }

    let loop: EventLoop
    private var session: HTTP2Session
    private(set) var id = ConnectionID.none
    private(set) var answers: [UInt32: Answer] = [:]
    private var streams: [UInt32: HTTP2StreamHandle] = [:]
    private(set) var goAway: HTTP2ErrorCode?
    private(set) var isClosed = false
    private(set) var isReady = false
    /// Bytes of frames that this end was told to send.
    private(set) var sent = 0
    /// For a server: what to do with a request.
    var onRequest: ((UInt32) -> Void)?

    init(_ role: HTTP2Session.Role, _ loop: EventLoop) {
        self.loop = loop
        session = HTTP2Session(role: role)
    }

    override func connectionOpened(_ id: ConnectionID) {
        self.id = id
        isClosed = false
        unsafe session.start(output: &loop.output(id)!.pointee)
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        isClosed = true
        session = HTTP2Session(role: session.role)
        streams = [:]
    }

    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) { connectionClosed(id, reason) }

    override func connectionDrained(_ id: ConnectionID) {
        if let output = unsafe loop.output(id) { unsafe session.pump(output: &output.pointee) }
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        var position = 0
        let input = UnsafeRawBufferPointer(bytes)
        while let output = unsafe loop.output(id) {
            switch unsafe session.next(input, &position, now: loop.now, output: &output.pointee) {
            case .needsMore: return position
            case .headers(let stream, let endStream):
                let number = session.streamID(stream)
                streams[number] = stream
                session.setContext(stream, UInt64(number))
                answers[number, default: Answer()].headers = fields()
                answers[number]!.isEnded = endStream
                onRequest?(number)
            case .trailers(let stream):
                let number = session.streamID(stream)
                answers[number]!.trailers = fields()
                answers[number]!.isEnded = true
            case .data(let stream, let offset, let count, let endStream):
                let number = session.streamID(stream)
                unsafe answers[number, default: Answer()].body += Array(input[offset..<offset + count])
                answers[number]!.isEnded = endStream
                unsafe session.consumed(stream, count, output: &output.pointee)
            case .reset(let context, let code, _): answers[UInt32(context), default: Answer()].reset = code
            case .goAway(_, let code): goAway = code
            case .settings: isReady = true
            case .ping, .pong: break
            case .failed: loop.closeAfterFlush(id)
            }
        }
        return bytes.count
    }

    private func fields() -> [String: String] {
        var result: [String: String] = [:]
        for index in 0..<session.headers.count {
            result[session.headers[index].nameText] = session.headers[index].valueText
        }
        return result
    }

    /// Opens a stream (client).
    func open() -> UInt32 {
        guard case .success(let slot) = session.open(context: 0) else { return 0 }
        let number = session.streamID(slot)
        session.setContext(slot, UInt64(number))
        streams[number] = slot
        return number
    }

    /// What a call of `body` appends is counted.
    private func count(_ body: () -> Void) {
        let before = unsafe loop.output(id)?.pointee.count ?? 0
        body()
        sent += unsafe (loop.output(id)?.pointee.count ?? before) - before
    }

    func headers(_ stream: UInt32, _ fields: [(String, String)], endStream: Bool = false) {
        count { write(stream, fields, endStream) }
    }

    private func write(_ stream: UInt32, _ fields: [(String, String)], _ endStream: Bool) {
        let output = unsafe loop.output(id)!
        let start = unsafe session.beginHeaders(output: &output.pointee)
        for (name, value) in fields {
            let name = Array(name.utf8)
            let value = Array(value.utf8)
            unsafe name.withUnsafeBytes { name in
                unsafe value.withUnsafeBytes {
                    unsafe session.encoder.encode(name, $0, .none, into: &output.pointee)
                }
            }
        }
        unsafe session.endHeaders(start, stream: streams[stream]!, endStream: endStream, output: &output.pointee)
    }

    func data(_ stream: UInt32, _ bytes: [UInt8], endStream: Bool = false) {
        sent += bytes.count
        let output = unsafe loop.output(id)!
        guard let buffer = unsafe session.pendingBuffer(streams[stream]!) else { return }
        unsafe buffer.pointee.append(bytes)
        unsafe session.pendingAppended(
            streams[stream]!, endStream: endStream, now: loop.now, output: &output.pointee)
    }

    func reset(_ stream: UInt32, _ code: HTTP2ErrorCode) {
        unsafe session.reset(streams[stream]!, code, now: loop.now, output: &loop.output(id)!.pointee)
    }

    func sendGoAway(last: UInt32) {
        let output = unsafe loop.output(id)!
        unsafe HTTP2FrameHeader.append(length: 8, type: .goAway, streamID: 0, into: &output.pointee)
        unsafe output.pointee.append(bigEndian: last)
        unsafe output.pointee.append(bigEndian: UInt32(0))
    }

    func ping() { unsafe session.sendPing(1, output: &loop.output(id)!.pointee) }

    func raw(_ bytes: [UInt8]) {
        sent += bytes.count
        unsafe loop.output(id)?.pointee.append(bytes)
    }
}
