import Basics
import Bytes
import HTTP2
import Testing

/// Two sessions talk to each other, in pieces of any size, with frames between theirs that nobody should send. Whatever
/// happens: each stream that a user knows ends exactly once, what was held is given back, and a handle that was kept too long
/// does nothing.
@Suite struct RandomSessionTests {
    @Test(arguments: 0..<8)
    func everyStreamEndsOnce(group: UInt64) {
        for seed in group * 8..<group * 8 + 8 {
            var conversation = Conversation(seed: seed, isHostile: seed % 4 != 0)
            conversation.run(steps: 150)
            #expect(conversation.problems == [], "seed \(seed)")
        }
    }
}

private struct Conversation {
    private var random: SplitMix
    private let isHostile: Bool
    private let client = Side(.client)
    private let server = Side(.server)

    var problems: [String] { client.problems + server.problems }

    init(seed: UInt64, isHostile: Bool) {
        random = SplitMix(seed: seed)
        self.isHostile = isHostile
    }

    mutating func run(steps: Int) {
        client.session.start(output: &client.output)
        server.session.start(output: &server.output)
        for _ in 0..<steps where problems.isEmpty {
            let isClient = random.below(2) == 0
            let side = isClient ? client : server
            let other = isClient ? server : client
            side.now += UInt64(random.below(200)) * 1_000_000
            side.act(&random)
            // Behind the preface only: before it the other would see no HTTP/2 at all.
            if isHostile && random.below(12) == 0 && side.session.hasPeerSettings {
                side.output.append(Self.hostileFrame(&random).bytes)
            }
            Self.deliver(side, other, random.below(4) == 0 ? Int.max : random.below(400), &random)
        }
        for _ in 0..<4 {
            Self.deliver(client, server, .max, &random)
            Self.deliver(server, client, .max, &random)
            client.resetAll()
            server.resetAll()
        }
        client.checkIdle()
        server.checkIdle()
    }

    private static func deliver(_ side: Side, _ other: Side, _ count: Int, _ random: inout SplitMix) {
        let count = min(count, side.output.count)
        other.input.append(Array(side.output.array().prefix(count)))
        side.output.consume(count)
        other.read(&random)
        side.session.pump(output: &side.output)
        side.sweep()
    }

    private static func hostileFrame(_ random: inout SplitMix) -> Frame {
        let types: [UInt8] = [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 5]
        let type = HTTP2FrameType(rawValue: types[random.below(random.below(3) == 0 ? 11 : 9)])
        let flags = [0, 1, 4, 5, 8, 0x20, 0x2d][random.below(7)]
        let stream = UInt32([0, 1, 2, 3, 5, 7, 9, 11, 21, 1001][random.below(10)])
        let sizes = [0, 1, 4, 5, 6, 8, 8, 40]
        var payload = (0..<sizes[random.below(sizes.count)]).map { _ in UInt8(random.below(256)) }
        switch random.below(4) {
        case 0: payload = Frame.literal(.request)
        case 1: payload = [0, 0, 0, 1]
        case 2: payload = [0, 4, 0, 0, UInt8(random.below(256)), UInt8(random.below(256))]
        default: break
        }
        return Frame(type: type, flags: UInt8(flags), stream: stream, payload: payload)
    }
}

/// One end of the connection, with the user of its session: a model of which streams must still be there.
private final class Side {
    private struct Known {
        var stream: HTTP2StreamHandle
        var hasHeaders = false
        var hasEndedHere = false
        var hasEndedThere = false
    }

    var session: HTTP2Session
    var output = ByteBuffer()
    var input = ByteBuffer()
    var now: UInt64 = 5_000_000_000
    private(set) var problems: [String] = []
    private var known: [UInt64: Known] = [:]
    private var stale: [HTTP2StreamHandle] = []
    private var nextContext: UInt64 = 1
    private let isClient: Bool

    init(_ role: HTTP2Session.Role) {
        var limits = HTTP2Limits()
        limits.initialStreamWindow = 3000
        limits.maximumConcurrentStreams = 20
        limits.outputHighWater = 2000
        limits.maximumPendingPerStream = 5000
        limits.maximumPendingOutput = 15_000
        limits.maximumResets = 20
        session = HTTP2Session(role: role, limits: limits)
        isClient = role == .client
    }

    // MARK: What the user does

    func act(_ random: inout SplitMix) {
        if isClient && session.hasPeerSettings && random.below(3) == 0 {
            let context = nextContext
            if case .success(let stream) = session.open(context: context) {
                nextContext += 1
                known[context] = Known(stream: stream)
                sendHeaders(context, .request, endStream: random.below(3) == 0)
            }
        }
        if let stream = stale.randomElement(using: &random) { useStale(stream, &random) }
        guard let context = known.keys.sorted().randomElement(using: &random), let stream = known[context] else {
            return
        }
        switch random.below(6) {
        case 0 where !stream.hasHeaders: sendHeaders(context, .response, endStream: random.below(4) == 0)
        case 0, 1, 2:
            sendData(context, random.below(random.below(5) == 0 ? 6000 : 300), endStream: random.below(4) == 0)
        case 3: session.notifyWhenDrained(stream.stream)
        case 4 where random.below(3) == 0: reset(context)
        default:
            while let context = session.popDrained() { expect(known[context] != nil, "an ended stream was drained") }
        }
        sweep()
    }

    private func sendHeaders(_ context: UInt64, _ fields: [(String, String)], endStream: Bool) {
        guard let stream = known[context], !stream.hasEndedHere else { return }
        let start = session.beginHeaders(output: &output)
        for (name, value) in fields {
            let name = Array(name.utf8)
            let value = Array(value.utf8)
            unsafe name.withUnsafeBytes { name in
                unsafe value.withUnsafeBytes {
                    unsafe session.encoder.encode(name, $0, .table, into: &output)
                }
            }
        }
        known[context]?.hasHeaders = true
        if endStream { known[context]?.hasEndedHere = true }
        session.endHeaders(start, stream: stream.stream, endStream: endStream, output: &output)
    }

    private func sendData(_ context: UInt64, _ count: Int, endStream: Bool) {
        guard let stream = known[context], stream.hasHeaders, !stream.hasEndedHere else { return }
        if endStream { known[context]?.hasEndedHere = true }
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: context), count: count)
        if session.beginData(stream.stream, count: count, endStream: endStream, output: &output) {
            return output.append(bytes)
        }
        guard let buffer = unsafe session.pendingBuffer(stream.stream) else {
            return expect(false, "a live stream takes no data")
        }
        unsafe buffer.pointee.append(bytes)
        let fits = session.pendingAppended(stream.stream, endStream: endStream, now: now, output: &output)
        if !fits { ended(context, "too much pending") }
    }

    private func reset(_ context: UInt64) {
        guard let stream = known[context] else { return }
        expect(session.reset(stream.stream, .cancel, now: now, output: &output), "a live stream could not be reset")
        ended(context, "reset")
    }

    func resetAll() {
        if session.hasFailed { return }
        for context in known.keys.sorted() { reset(context) }
    }

    private func useStale(_ stream: HTTP2StreamHandle, _ random: inout SplitMix) {
        let before = output.count
        let open = session.openStreams
        expect(session.context(stream) == 0 && session.streamID(stream) == 0, "an ended stream has a context")
        session.setContext(stream, 99)
        session.consumed(stream, 5000, output: &output)
        expect(!session.beginData(stream, count: 1, endStream: true, output: &output), "an ended stream sends")
        expect(unsafe session.pendingBuffer(stream) == nil, "an ended stream has a buffer")
        session.pendingAppended(stream, endStream: true, now: now, output: &output)
        session.notifyWhenDrained(stream)
        expect(!session.reset(stream, .cancel, now: now, output: &output), "an ended stream ends again")
        // A block that is taken back must not leave the tables apart: later fields would be wrong.
        if random.below(4) == 0 {
            let start = session.beginHeaders(output: &output)
            unsafe Array("only-here".utf8).withUnsafeBytes {
                unsafe session.encoder.encode($0, $0, .table, into: &output)
            }
            session.endHeaders(start, stream: stream, endStream: true, output: &output)
        }
        expect(session.isRemoteEnded(stream) && session.pendingCount(stream) == 0, "an ended stream is counted")
        expect(output.count == before && session.openStreams == open, "an ended stream did something")
    }

    // MARK: What the session tells

    func read(_ random: inout SplitMix) {
        var position = 0
        var toConsume: [(HTTP2StreamHandle, Int)] = []
        unsafe input.withUnsafeBytes { input in
            events: while true {
                let event = unsafe session.next(input, &position, now: now, output: &output)
                for (stream, count) in toConsume { session.consumed(stream, count, output: &output) }
                toConsume = []
                switch event {
                case .needsMore: break events
                case .headers(let stream, let endStream):
                    if !isClient {
                        expect(session.context(stream) == 0, "a new stream has a context")
                        known[nextContext] = Known(stream: stream)
                        session.setContext(stream, nextContext)
                        nextContext += 1
                        checkFields()
                    }
                    heard(stream, endStream)
                case .trailers(let stream): heard(stream, true)
                case .data(let stream, let offset, let count, let endStream):
                    expect(offset + count <= input.count, "DATA beyond the input")
                    if random.below(8) != 0 { toConsume.append((stream, count)) }
                    heard(stream, endStream)
                case .reset(let context, _, _):
                    if context != 0 { ended(context, "told of a reset") }
                case .failed:
                    endDone()
                    var left: Set<UInt64> = []
                    session.forEachContext { expect(left.insert($0).inserted, "a stream is there twice") }
                    expect(left == Set(known.keys), "\(left.count) of \(known.count) streams are left at the failure")
                    known = [:]
                case .goAway, .settings, .ping, .pong: break
                }
                if random.below(5) == 0 { sweep() }
            }
        }
        input.consume(position)
        sweep()
        expect(session.heldBytes < 200_000, "\(session.heldBytes) bytes are held")
    }

    private func checkFields() {
        for index in 0..<session.headers.count {
            let name = session.headers[index].nameText
            expect(name != "only-here", "a field of a block that was not sent")
        }
    }

    private func heard(_ stream: HTTP2StreamHandle, _ endStream: Bool) {
        let context = session.context(stream)
        guard known[context] != nil else { return expect(false, "an event of a stream that has ended") }
        if endStream { known[context]!.hasEndedThere = true }
    }

    /// Streams that both sides have ended are gone, and no others.
    func sweep() {
        if !session.hasFailed { endDone() }
    }

    private func endDone() {
        for (context, stream) in known where session.streamID(stream.stream) == 0 {
            expect(stream.hasEndedHere && stream.hasEndedThere, "a stream went without a word")
            ended(context, "done")
        }
    }

    private func ended(_ context: UInt64, _ how: String) {
        guard let stream = known.removeValue(forKey: context) else {
            return expect(false, "context \(context) ended twice: \(how)")
        }
        if stale.count < 30 { stale.append(stream.stream) }
    }

    func checkIdle() {
        if session.hasFailed { return expect(known.isEmpty, "the failure left streams") }
        expect(known.isEmpty && session.openStreams == 0, "\(session.openStreams) streams are left")
        expect(session.pendingBytes == 0, "\(session.pendingBytes) bytes wait for nobody")
        // Both tables (twice 4096 bytes of strings, and their entries), the fields and strings of a usual block.
        expect(session.heldBytes <= 36 << 10, "\(session.heldBytes) bytes are held for nothing")
    }

    private func expect(_ isTrue: Bool, _ problem: String) {
        if !isTrue && problems.count < 5 { problems.append("\(isClient ? "client" : "server"): \(problem)") }
    }
}

extension SplitMix {
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
