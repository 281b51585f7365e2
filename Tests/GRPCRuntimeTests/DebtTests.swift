import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// Every state in which a peer owes something has a deadline, however it drips, on both sides (issue 10, section 3).
@Suite struct DebtTests {
    /// What a peer never brings to an end.
    enum State: CaseIterable {
        case nothing, preface, prefaceAlone, settings, acknowledgement, acknowledgementBehindFrames, frameHeader, frame
        case headerBlock, continuations, continuation

        /// What is sent at once, what drips, in pieces of how many bytes.
        func script(_ hello: [UInt8]) -> (first: [UInt8], drip: [UInt8], piece: Int) {
            let settings = ByteEnd.Bytes.settings
            let welcome = hello + settings
            let greeted = welcome + ByteEnd.Bytes.acknowledgement
            let half = ByteEnd.Bytes.frame(1, 0, 1, [0x84])  // HEADERS without END_HEADERS
            let update = ByteEnd.Bytes.frame(8, 0, 0, [0, 0, 0, 1])
            let unknown = ByteEnd.Bytes.frame(0xee, 0, 0, Array(repeating: 0, count: 1000))
            let go = ByteEnd.Bytes.frame(9, 0, 1, [0x84])
            switch self {
            case .nothing: return ([], [], 1)
            case .preface: return ([], hello, 1)
            case .prefaceAlone: return (hello, [], 1)
            case .settings: return (hello, settings.dropLast(), 1)
            case .acknowledgement: return (welcome, [], 1)
            // Each read ends in the middle of the next frame.
            case .acknowledgementBehindFrames: return (welcome, Array(repeating: update, count: 40).flatMap { $0 }, 7)
            case .frameHeader: return (greeted, [0, 0, 8], 1)
            case .frame: return (greeted, unknown, 1)
            case .headerBlock: return (greeted + half, [], 1)
            case .continuations: return (greeted + half, Array(repeating: go, count: 15).flatMap { $0 }, go.count)
            case .continuation: return (greeted + half, go + go + go + go, 1)
            }
        }

        var isBeforeSettings: Bool {
            switch self {
            case .nothing, .preface, .prefaceAlone, .settings: true
            default: false
            }
        }

        var code: HTTP2ErrorCode {
            switch self {
            case .nothing, .preface, .prefaceAlone, .settings, .acknowledgement, .acknowledgementBehindFrames:
                .settingsTimeout
            default: .enhanceYourCalm
            }
        }
    }

    @Test(arguments: State.allCases) func aClientThatOwes(state: State) throws {
        let world = try World()
        let script = state.script(ByteEnd.Bytes.preface)
        // The last byte of a frame or a preface that drips would come behind the deadline.
        let end = ByteEnd(world.clientLoop, script.first, drip: script.drip, piece: script.piece, every: .second)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: end)
        world.network.run(until: { end.closedAt != nil })
        let seconds = try #require(end.seconds)
        #expect(state.isBeforeSettings ? (9...11).contains(seconds) : (20...29).contains(seconds), "\(seconds) s")
        #expect(end.goAway == state.code)
        world.network.run(for: 5 * .second)
        #expect(world.server.connectionCount == 0)
        #expect(world.unary()?.success != nil)
    }

    @Test(arguments: State.allCases.filter { $0 != .preface && $0 != .prefaceAlone })
    func aServerThatOwes(state: State) throws {
        let world = try World(listens: false)
        let script = state.script([])
        let end = ByteEnd(world.serverLoop, script.first, drip: script.drip, piece: script.piece, every: 3 * .second)
        try world.serverLoop.listen(.loopback(port: World.port), handler: end)
        var error: RPCError?
        let options = CallOptions(timeoutNanoseconds: 50 * .second)
        world.echo.unary(EchoRequest(), options: options) { error = $0.error }
        world.network.run(until: { end.closedAt != nil })
        let seconds = try #require(end.seconds)
        #expect((20...29).contains(seconds), "\(seconds) s")
        #expect(end.goAway == state.code)
        world.network.run(for: 40 * .second)
        #expect(error?.code == .unavailable || error?.code == .deadlineExceeded)
        #expect(end.connections > 1, "the channel tries again")
        world.channel.close()
        world.network.run(for: 5 * .second)
        #expect(world.channel.openConnections == 0 && world.channel.openCalls == 0)
    }

    /// A peer that sends slowly, but brings each frame to its end in time, stays.
    @Test func aSlowClientStays() throws {
        let world = try World()
        let ping = ByteEnd.Bytes.frame(0xee, 0, 0, [1, 2, 3, 4])
        let end = ByteEnd(
            world.clientLoop, ByteEnd.Bytes.hello, drip: Array(repeating: ping, count: 20).flatMap { $0 }, piece: 1)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: end)
        world.network.run(for: 50 * .second)
        #expect(end.closedAt == nil && world.server.connectionCount == 1)
    }

    // MARK: Calls

    private static func fields(_ method: String, _ timeout: String) -> [(String, String)] {
        [
            (":method", "POST"), (":scheme", "http"), (":path", "/cabstand.test.Echo/\(method)"), (":authority", "x"),
            ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", timeout),
        ]
    }

    private func connect(_ world: World, window: UInt8? = nil) -> RawPeer {
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        if let window { peer.raw([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, window]) }
        return peer
    }

    /// A deadline was not armed before the first DATA had come.
    @Test(arguments: ["Unary", "Expand", "Collect"]) func aDeadlinePassesWithoutAMessage(method: String) throws {
        let world = try World()
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, Self.fields(method, "50m"))
        #expect(world.network.run(until: { peer.answers[stream]?.isEnded == true }, limit: 100 * .millisecond))
        #expect(peer.answers[stream]?.headers["grpc-status"] == "4")
        #expect(world.server.callCount == 0)
    }

    /// With deadlines of a millisecond a client had any number of handlers at work.
    @Test(arguments: [false, true]) func handlersAtWorkCountBehindTheirDeadline(resets: Bool) throws {
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 5
        let world = try World(http2Limits: http2)
        world.service.ignoresCancel = true
        let peer = connect(world)
        var streams: [UInt32] = []
        for _ in 0..<9 {
            let stream = peer.open()
            streams.append(stream)
            guard stream != 0 else { continue }
            peer.headers(stream, Self.fields("Unary", "1m"))
            peer.data(stream, [0, 0, 0, 0, 2, 0x20, 100], endStream: true)  // an answer in 100 ms
            if resets { peer.reset(stream, .cancel) }
            world.network.run(for: 5 * .millisecond)
        }
        #expect(world.service.received == 5)
        #expect(world.server.callCount == 5)
        world.network.run(for: 200 * .millisecond)
        #expect(world.server.callCount == 0)
        let stream = peer.open()
        peer.headers(stream, Self.fields("Unary", "1S"))
        peer.data(stream, [0, 0, 0, 0, 0], endStream: true)
        #expect(world.network.run(until: { peer.answers[stream]?.isEnded == true }))
        #expect(peer.answers[stream]?.trailers["grpc-status"] == "0")
    }

    /// A handler that never answers does not keep its place for ever.
    @Test func aHandlerThatNeverAnswers() throws {
        let world = try World()
        world.service.ignoresCancel = true
        let options = CallOptions(timeoutNanoseconds: .second)
        #expect(world.unary(options) { $0.delayMs = 2_000_000 }?.error?.code == .deadlineExceeded)
        world.network.run(for: 10 * .second)
        #expect(world.server.callCount == 1)
        world.network.run(for: 310 * .second)
        #expect(world.server.callCount == 0)
    }

    /// Answers to PINGs that nobody sent put every deadline of a connection off, if they came often enough.
    @Test func aClientWhoseUnaskedAnswersPutNothingOff() throws {
        let world = try World()
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, Self.fields("Collect", "99999S"))
        peer.data(stream, [0, 0, 0, 0, 9, 1])
        answerWhatNobodyAsked(peer, world.clientLoop)
        #expect(world.network.run(until: { peer.answers[stream]?.isEnded == true }, limit: 45 * .second))
        #expect(peer.answers[stream]?.headers["grpc-status"] == "4")
    }

    @Test func aServerWhoseUnaskedAnswersPutNothingOff() throws {
        let world = try World(listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        peer.onRequest = { [unowned peer] stream in
            peer.headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            peer.data(stream, [0, 0, 0, 0, 9, 1])
            answerWhatNobodyAsked(peer, world.serverLoop)
        }
        #expect(world.unary(limit: 45 * .second)?.error?.code == .deadlineExceeded)
    }

    private func answerWhatNobodyAsked(_ peer: RawPeer, _ loop: EventLoop) {
        guard !peer.isClosed else { return }
        peer.raw(ByteEnd.Bytes.frame(6, 1, 0, [1, 2, 3, 4, 5, 6, 7, 8]))
        loop.schedule(after: 4 * .second) { answerWhatNobodyAsked(peer, loop) }
    }

    /// A request that is none of gRPC's, and does not end, or whose answer is not taken: nobody had an eye on its stream.
    @Test(arguments: [nil, 0] as [UInt8?]) func aRefusedRequestThatGoesOn(window: UInt8?) throws {
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 80
        let world = try World(http2Limits: http2)
        let peer = connect(world, window: window)
        let streams = (0..<80).map { _ in peer.open() }
        for stream in streams {
            peer.headers(
                stream, [(":method", "PUT"), (":scheme", "http"), (":path", "/"), (":authority", "x")],
                endStream: window != nil)
        }
        world.network.run(for: .second)
        let resets = { streams.count { peer.answers[$0]?.reset == .noError } }
        #expect(streams.allSatisfy { peer.answers[$0]?.headers[":status"] == "405" })
        #expect(resets() == 80 - 64, "so many are waited for")
        world.network.run(for: 25 * .second)
        #expect(resets() == 80 - 64)
        world.network.run(for: 10 * .second)
        #expect(resets() == 80)
    }

    // MARK: Progress

    /// A reader at 1.5 kB a second of a stream that goes on is slow, no more: what is put behind does not count against it.
    @Test func aReaderThatNeverCatchesUpStays() throws {
        var limits = GRPCLimits()
        limits.pausedStreamTimeout = .seconds(30)
        let world = try World(limits: limits)
        world.service.ignoresBackpressure = true
        world.service.answerSize = 740
        let peer = connect(world, window: 0)
        let stream = peer.open()
        peer.headers(stream, Self.fields("Expand", "99999S"))
        peer.data(stream, [0, 0, 0, 0, 4, 0x18, 20, 0x40, 1], endStream: true)  // 20 messages, and stay open
        world.network.run(until: { world.service.expanding.count == 1 })
        let call = try #require(world.service.expanding.first)
        var more = EchoResponse()
        more.payload = Array(repeating: 1, count: 740)
        for _ in 0..<80 {
            peer.raw(ByteEnd.Bytes.frame(8, 0, UInt8(stream), [0, 0, 0x05, 0xdc]))  // WINDOW_UPDATE by 1,500
            for _ in 0..<2 { call.send(more) }
            world.network.run(for: .second)
        }
        #expect(world.server.callCount == 1 && world.server.queuedBytes > 0)
        // One that stops is found.
        world.network.run(for: 70 * .second)
        #expect(world.server.callCount == 0 && world.service.cancelled == 1)
    }

    /// A server that gives no window for a request: the call had no end without a deadline.
    @Test(arguments: [false, true]) func aServerThatTakesNothing(isStream: Bool) throws {
        let world = try World(listens: false)
        var error: RPCError?
        var request = EchoRequest()
        request.payload = Array(repeating: 1, count: 400_000)
        // SETTINGS_INITIAL_WINDOW_SIZE of 0.
        let end = ByteEnd(
            world.serverLoop,
            ByteEnd.Bytes.frame(4, 0, 0, [0, 4, 0, 0, 0, 0]) + ByteEnd.Bytes.acknowledgement)
        try world.serverLoop.listen(.loopback(port: World.port), handler: end)
        if isStream {
            let call = world.echo.collect()
            call.onEnd = { error = $0.error }
            call.send(request)
        } else {
            world.echo.unary(request) { error = $0.error }
        }
        world.network.run(for: 25 * .second)
        #expect(error == nil)
        world.network.run(for: 20 * .second)
        #expect((error?.code == .deadlineExceeded) != isStream)
        world.network.run(for: 400 * .second)
        #expect(error != nil && world.channel.openCalls == 0)
    }
}
