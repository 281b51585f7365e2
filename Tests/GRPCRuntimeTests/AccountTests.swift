import Bytes
import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim
import Testing

/// What a connection may make a server keep, owe and do has a bound. Each attack says what it
/// sends; the server's account says what is held for it.
@Suite struct AccountTests {
    private func connect(_ world: World, window: UInt32? = nil) -> RawPeer {
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        // SETTINGS_INITIAL_WINDOW_SIZE
        if let window {
            peer.raw(
                [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4] + (0..<4).map { UInt8(truncatingIfNeeded: window >> (24 - 8 * $0)) })
        }
        return peer
    }

    private func fields(_ path: String = "/cabstand.test.Echo/Unary", _ adding: [(String, String)] = []) -> [(
        String, String
    )] {
        [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ] + adding
    }

    private func prefix(_ length: Int) -> [UInt8] {
        [0] + (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) }
    }

    private func message(_ fill: (inout EchoRequest) -> Void) -> [UInt8] {
        var request = EchoRequest()
        fill(&request)
        var buffer = ByteBuffer()
        request.encode(into: &buffer)
        return prefix(buffer.count) + buffer.array()
    }

    // MARK: Memory

    /// 400 MB were taken behind the prefix of a message of one byte.
    @Test func aBodyBehindAOneBytePrefix() throws {
        let world = try World()
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, fields())
        peer.data(stream, prefix(1) + Array(repeating: 7, count: 1 << 20))
        var most = 0
        world.network.run(until: {
            most = max(most, world.server.heldBytes)
            return peer.answers[stream]?.isEnded == true
        })
        #expect(peer.answers[stream]?.headers["grpc-status"] == "13")
        #expect(most < 1 << 17)
        #expect(world.server.callCount == 0 && world.server.heldBytes == 0)
    }

    @Test func bodiesOfAllStreamsHaveOneBound() throws {
        var limits = GRPCLimits()
        limits.maximumHeldBytes = 1 << 20
        let world = try World(limits: limits)
        let peer = connect(world)
        var streams: [UInt32] = []
        for _ in 0..<30 {
            let stream = peer.open()
            streams.append(stream)
            peer.headers(stream, fields())
            peer.data(stream, prefix(1 << 20) + Array(repeating: 7, count: 100_000))
        }
        var most = 0
        let count = { streams.count { peer.answers[$0]?.headers["grpc-status"] == "8" } }
        world.network.run(
            until: {
                most = max(most, world.server.heldBytes)
                return count() >= 15
            }, limit: 5 * .second)
        #expect(count() >= 15)
        #expect(most <= 1 << 20 + 1 << 18, "3 MB were sent")
        world.clientLoop.close(peer.id)
        world.network.run(for: .second)
        #expect(world.server.heldBytes == 0 && world.server.callCount == 0)
    }

    @Test func metadataIsCounted() throws {
        var limits = GRPCLimits()
        limits.maximumHeldBytes = 64 << 10
        let world = try World(limits: limits)
        let peer = connect(world)
        var last: UInt32 = 0
        for _ in 0..<40 {
            last = peer.open()
            peer.headers(last, fields("/cabstand.test.Echo/Collect", [("x-long", String(repeating: "m", count: 4000))]))
        }
        #expect(world.network.run(until: { peer.answers[last]?.headers["grpc-status"] == "8" }))
        #expect(world.server.heldBytes <= 72 << 10)
        world.clientLoop.close(peer.id)
        world.network.run(for: .second)
        #expect(world.server.heldBytes == 0)
    }

    /// A client with a window of zero asks and asks: answers wait for the window up to the connection's bound.
    @Test func answersBehindAZeroWindow() throws {
        var limits = GRPCLimits()
        limits.maximumConnectionQueuedBytes = 256 << 10
        let world = try World(limits: limits)
        let peer = connect(world, window: 0)
        var resets = 0
        for _ in 0..<100 {
            let stream = peer.open()
            peer.headers(stream, fields())
            peer.data(stream, message { $0.payload = Array(repeating: 1, count: 10_000) }, endStream: true)
        }
        world.network.run(for: 5 * .second)
        resets = peer.answers.values.count { $0.reset == .enhanceYourCalm }
        #expect(resets >= 70, "1 MB of answers")
        #expect(world.server.queuedBytes <= 256 << 10)
        // A finished answer that nobody takes does not stay either.
        world.network.run(for: 60 * .second)
        #expect(world.server.callCount == 0 && world.server.queuedBytes == 0)
    }

    /// 1.7 MB of questions to reflection became 227 MB of answers.
    @Test func aStreamWhoseAnswersWaitTakesNoMoreQuestions() throws {
        let world = try World()
        let peer = connect(world, window: 0)
        let stream = peer.open()
        peer.headers(stream, fields("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"))
        var request = Grpc_Reflection_V1_ServerReflectionRequest()
        request.messageRequest = .fileContainingSymbol("cabstand.test.Echo")
        var buffer = ByteBuffer()
        request.encode(into: &buffer)
        let question = prefix(buffer.count) + buffer.array()
        for _ in 0..<2000 { peer.data(stream, question) }
        world.network.run(for: 5 * .second)
        #expect(world.server.queuedBytes > 0 && world.server.queuedBytes < 80 << 10)
        #expect(world.server.heldBytes < 512 << 10)
        #expect(world.server.callCount == 1)
    }

    /// 28 kB of indexed fields became 53 MB of answers to a client that reads nothing.
    @Test func aClientThatReadsNothing() throws {
        let world = try World()
        let peer = connect(world)
        world.clientLoop.pauseReading(peer.id)
        let path = "/" + String(repeating: "%", count: 300)
        var sent = 0
        func ask() {
            guard sent < 3000, !peer.isClosed else { return }
            for _ in 0..<100 {
                peer.headers(peer.open(), fields(path), endStream: true)
                sent += 1
            }
            world.clientLoop.schedule(after: 10 * .millisecond, ask)
        }
        ask()
        world.network.run(for: 20 * .second)
        #expect(world.server.unsentBytes <= (256 + 16) << 10)
        // And it does not stay: what is not read for half a minute is over.
        world.network.run(for: 120 * .second)
        #expect(world.server.connectionCount == 0)
    }

    // MARK: Time

    @Test func aSilentClientIsFoundInMinutes() throws {
        let world = try World()
        let peer = connect(world)
        world.network.run(for: 300 * .second)
        #expect(world.server.connectionCount == 1, "one that answers PINGs stays")
        world.clientLoop.pauseReading(peer.id)
        world.network.run(for: 90 * .second)
        #expect(world.server.connectionCount == 0)
    }

    @Test(arguments: [[0, 0, 8], [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2]] as [[UInt8]]) func halfAFrame(bytes: [UInt8]) throws
    {
        let world = try World()
        let peer = connect(world)
        peer.raw(bytes)
        world.network.run(for: 40 * .second)
        #expect(world.server.connectionCount == 0)
        _ = peer
    }

    /// HEADERS and then nothing, or a byte every two seconds.
    @Test(arguments: [false, true]) func aRequestThatNeverEnds(drips: Bool) throws {
        let world = try World()
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, fields())
        peer.data(stream, prefix(100))
        func drip() {
            guard peer.answers[stream] == nil else { return }
            peer.data(stream, [0])
            world.clientLoop.schedule(after: 2 * .second, drip)
        }
        if drips { drip() }
        #expect(world.network.run(until: { peer.answers[stream]?.isEnded == true }, limit: 45 * .second))
        #expect(peer.answers[stream]?.headers["grpc-status"] == "4")
        #expect(world.server.connectionCount == 1)
    }

    /// A body of 300 kB at 10 kB a second takes as long as the timeout, and is not ended: bytes earn time.
    @Test func aSlowRequestThatGoesOnIsServed() throws {
        let world = try World()
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, fields())
        let body = message { $0.payload = Array(repeating: 1, count: 500_000) }
        var sent = 0
        func next() {
            let end = min(sent + 10_000, body.count)
            peer.data(stream, Array(body[sent..<end]), endStream: end == body.count)
            sent = end
            if sent < body.count { world.clientLoop.schedule(after: .second, next) }
        }
        next()
        #expect(world.network.run(until: { peer.answers[stream]?.isEnded == true }, limit: 100 * .second))
        #expect(peer.answers[stream]?.trailers["grpc-status"] == "0")
    }

    @Test func aDrainHasAnEnd() throws {
        var limits = GRPCLimits()
        limits.drainTimeout = .seconds(20)
        let world = try World(limits: limits)
        let peer = connect(world)
        peer.headers(peer.open(), fields("/cabstand.test.Echo/Collect"))
        world.network.run(until: { world.server.callCount == 1 })
        var drained = false
        world.server.drain { drained = true }
        world.network.run(for: 10 * .second)
        #expect(!drained)
        world.network.run(for: 15 * .second)
        #expect(drained && world.server.callCount == 0 && world.service.cancelled == 1)
    }

    // MARK: Work

    @Test func aFloodOfTinyCalls() throws {
        var options = SimulationOptions()
        options.window = 8 << 20
        options.readSize = 65_536...65_536
        options.writeSize = (8 << 20)...(8 << 20)
        let world = try World(options: options)
        let peer = connect(world)
        for _ in 0..<2000 {
            let stream = peer.open()
            peer.headers(stream, fields())
            peer.data(stream, [0, 0, 0, 0, 0], endStream: true)
        }
        #expect(world.network.run(until: { peer.answers.values.count { $0.isEnded } == 2000 }))
        #expect(world.server.longestTurn <= GRPCLimits().maximumEventsPerRead + 256)
        #expect(world.server.callCount == 0)
    }

    @Test func aConnectionWithThousandsOfCallsEndsInPortions() throws {
        let world = try World()
        let peer = connect(world)
        for _ in 0..<2000 { peer.headers(peer.open(), fields("/cabstand.test.Echo/Collect")) }
        world.network.run(until: { world.server.callCount == 2000 })
        peer.raw([0, 0, 0, 5, 0, 0, 0, 0, 0])  // PUSH_PROMISE
        world.network.run(for: 30 * .second)
        #expect(world.server.longestTurn <= GRPCLimits().maximumEventsPerRead + 256)
        #expect(world.server.callCount == 0 && world.server.connectionCount == 0)
        #expect(world.service.cancelled == 2000)
    }
}
