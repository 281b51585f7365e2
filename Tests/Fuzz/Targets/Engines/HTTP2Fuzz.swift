import Bytes
import HTTP2

/// RFC 9113, both roles: whatever comes, each stream that was reported ends once, and who keeps something for a stream hears
/// of its end.
func fuzzHTTP2Session(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    var conversation = SessionConversation(&input)
    try conversation.begin()
    while !input.isEmpty && !conversation.hasFailed { try conversation.step(&input) }
    try conversation.end()
}

/// A session under attack, and its user, who keeps a number for each stream.
private struct SessionConversation: ~Copyable {
    private var session: HTTP2Session
    private var output = ByteBuffer()
    private var waiting: [UInt8] = []
    private var now: UInt64 = 1_000_000_000
    private var nextNumber: UInt64 = 1
    /// Streams that have not ended, by the user's number.
    private var live: [UInt64: Live] = [:]
    private(set) var hasFailed = false
    private let isServer: Bool

    private struct Live {
        var stream: HTTP2StreamHandle
        var id: UInt32
        var hasSentHeaders = false
        /// The user has ended his side; what he sent may still wait for a window.
        var localEnded = false
        var remoteEnded = false
    }

    init(_ input: inout FuzzInput) {
        let settings = input.byte()
        isServer = settings & 1 == 0
        var limits = HTTP2Limits()
        limits.maximumConcurrentStreams = 8
        // Small budgets: what happens at their end is what is looked for.
        limits.maximumResets = settings & 2 == 0 ? 3 : 200
        limits.maximumIdleFrames = settings & 4 == 0 ? 10 : 1000
        limits.initialStreamWindow = settings & 8 == 0 ? 100 : 65_535
        limits.outputHighWater = 2000
        session = HTTP2Session(role: isServer ? .server : .client, limits: limits)
    }

    mutating func begin() throws {
        session.start(output: &output)
        try receive((isServer ? Frames.preface : []) + Frames.settings() + Frames.settingsAck)
    }

    // MARK: What happens

    mutating func step(_ input: inout FuzzInput) throws {
        let stream = streamID(input.byte())
        switch input.choice(14) {
        case 0: try receive(input.run())
        case 1: try receive(Frames.frame(input.byte() % 11, input.byte(), stream, input.run()))
        case 2: try receive(Frames.headers(stream, fields(input.byte()), endStream: input.bool()))
        case 3: try receive(Frames.data(stream, input.run(), endStream: input.bool()))
        case 4: try receive(Frames.reset(stream, UInt32(input.byte() % 16)))
        case 5: try receive(Frames.windowUpdate(input.bool() ? stream : 0, input.bool() ? input.uint32() : 50))
        case 6:
            // A table size, a number of streams, an initial window.
            let identifier = [UInt16(1), 3, 4, 4, 5][input.choice(5)]
            try receive(Frames.settings([(identifier, input.bool() ? input.uint32() : UInt32(input.byte()))]))
        case 7: try receive(Frames.goAway(stream, 0))
        case 8: now += UInt64(input.byte()) * 200_000_000
        case 9: open()
        case 10: sendHeaders(pick(stream), endStream: input.bool())
        case 11: sendData(pick(stream), count: Int(input.uint16()) % 3000, endStream: input.bool())
        case 12: reset(pick(stream))
        default:
            // The kernel takes what waits.
            output.removeAll()
            session.pump(output: &output)
        }
        while session.popDrained() != nil {}
    }

    private func streamID(_ byte: UInt8) -> UInt32 {
        byte < 200 ? UInt32(byte % 20) * 2 + 1 : UInt32(byte - 200)
    }

    private func fields(_ choice: UInt8) -> [(String, String)] {
        var fields: [(String, String)] =
            isServer
            ? [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x")]
            : [(":status", choice & 0x40 == 0 ? "200" : "100"), ("content-type", "application/grpc")]
        switch choice % 8 {
        case 1: fields.append(("Upper", "case"))
        case 2: fields.append(("content-length", "5"))
        case 3: fields = [("grpc-status", "0")]
        case 4: fields.append(("connection", "close"))
        case 5: fields.append(("x-long", String(repeating: "x", count: 120)))
        default: break
        }
        return fields
    }

    private mutating func receive(_ bytes: [UInt8]) throws {
        waiting += bytes
        var position = 0
        let input = waiting
        while true {
            let event = unsafe input.withUnsafeBytes {
                unsafe session.next($0, &position, now: now, output: &output)
            }
            switch event {
            case .needsMore:
                waiting.removeFirst(position)
                return
            case .headers(let stream, let endStream):
                if isServer { remember(stream) }
                try ended(stream, endStream)
            case .trailers(let stream): try ended(stream, true)
            case .data(let stream, let offset, let count, let endStream):
                try promise(offset >= 0 && offset + count <= input.count, "a body beyond its input")
                _ = try known(stream)
                session.consumed(stream, count, output: &output)
                try ended(stream, endStream)
            case .reset(let context, _, _):
                try promise(
                    live.removeValue(forKey: context) != nil, "a stream that is not there was reset: \(context)")
            case .failed:
                hasFailed = true
                waiting = []
                return
            case .goAway, .settings, .ping, .pong: break
            }
        }
    }

    // MARK: The user

    private mutating func remember(_ stream: HTTP2StreamHandle) {
        session.setContext(stream, nextNumber)
        live[nextNumber] = Live(stream: stream, id: session.streamID(stream), hasSentHeaders: false)
        nextNumber += 1
    }

    /// The number of a stream that an event names.
    private mutating func known(_ stream: HTTP2StreamHandle) throws -> UInt64 {
        let number = session.context(stream)
        try promise(live[number]?.stream == stream, "an event of a stream that nobody knows: \(number)")
        return number
    }

    private mutating func ended(_ handle: HTTP2StreamHandle, _ endStream: Bool) throws {
        let number = try known(handle)
        guard endStream, var stream = live[number] else { return }
        try promise(!stream.remoteEnded, "the peer has ended stream \(stream.id) twice")
        stream.remoteEnded = true
        live[number] = stream
        forgetIfEnded(number)
    }

    /// A stream that both have ended is gone, unless bytes of ours wait for a window.
    private mutating func forgetIfEnded(_ number: UInt64) {
        guard let stream = live[number], stream.localEnded, stream.remoteEnded else { return }
        live[number] = nil
    }

    private func pick(_ id: UInt32) -> UInt64? { live.first { $0.value.id == id }?.key }

    private mutating func open() {
        guard !isServer, case .success(let stream) = session.open(context: nextNumber) else { return }
        remember(stream)
        sendHeaders(nextNumber - 1, endStream: false)
    }

    private mutating func sendHeaders(_ number: UInt64?, endStream: Bool) {
        guard let number, var stream = live[number], !stream.hasSentHeaders, !stream.localEnded else { return }
        stream.hasSentHeaders = true
        stream.localEnded = endStream
        live[number] = stream
        let start = session.beginHeaders(output: &output)
        session.encoder.encode(staticIndex: 8, into: &output)
        session.endHeaders(start, stream: stream.stream, endStream: endStream, output: &output)
        forgetIfEnded(number)
    }

    /// Only what can leave at once may end the stream: for what waits, nobody could say when the stream has ended.
    private mutating func sendData(_ number: UInt64?, count: Int, endStream: Bool) {
        guard let number, var stream = live[number], stream.hasSentHeaders, !stream.localEnded else { return }
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: count)
        if session.beginData(stream.stream, count: count, endStream: endStream, output: &output) {
            output.append(bytes)
            stream.localEnded = endStream
        } else if let buffer = unsafe session.pendingBuffer(stream.stream) {
            unsafe buffer.pointee.append(bytes)
            session.pendingAppended(stream.stream, endStream: false, now: now, output: &output)
        }
        live[number] = stream
        forgetIfEnded(number)
    }

    private mutating func reset(_ number: UInt64?) {
        guard let number, let stream = live.removeValue(forKey: number) else { return }
        session.reset(stream.stream, .cancel, now: now, output: &output)
    }

    // MARK: The end

    /// The connection is lost: exactly those who have not heard of their end are told.
    mutating func end() throws {
        var told: Set<UInt64> = []
        var twice = false
        session.forEachContext { if !told.insert($0).inserted { twice = true } }
        try promise(!twice, "a stream is told twice")
        try promise(told == Set(live.keys), "told \(told.sorted()), waiting \(live.keys.sorted())")
    }
}
