import Bytes
import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// A handler is told of every end that is not its own, once, whoever ended the call and for whatever reason: else it would keep
/// for ever what it has for the rest of the call.
@Suite struct TellingTests {
    private func connect(_ world: World, window: UInt32? = nil) -> RawPeer {
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        // SETTINGS_INITIAL_WINDOW_SIZE
        if let window { peer.raw([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, UInt8(window)]) }
        return peer
    }

    private func fields(_ method: String, _ adding: [(String, String)] = []) -> [(String, String)] {
        [
            (":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "x"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ] + adding
    }

    private static let collect = "/cabstand.test.Echo/Collect"

    private func message(_ fill: (inout EchoRequest) -> Void) -> [UInt8] {
        var request = EchoRequest()
        fill(&request)
        var buffer = ByteBuffer()
        request.encode(into: &buffer)
        return [0] + (0..<4).map { UInt8(truncatingIfNeeded: buffer.count >> (24 - 8 * $0)) } + buffer.array()
    }

    // MARK: A stream of requests

    /// What is wrong with a request, and the status that it gets.
    enum Fault: String, CaseIterable {
        case tooLarge, compressed, truncated, noMessage, tooMuchHeld, tooSlow, deadline

        var status: String {
            switch self {
            case .tooLarge, .tooMuchHeld: "8"
            case .tooSlow, .deadline: "4"
            case .compressed, .truncated, .noMessage: "13"
            }
        }
    }

    @Test(arguments: Fault.allCases, [false, true]) func aRequestThatTheServerRefuses(fault: Fault, behind: Bool) throws
    {
        var limits = GRPCLimits()
        limits.maximumHeldBytes = 64 << 10
        let world = try World(limits: limits)
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, fields(Self.collect, fault == .deadline ? [("grpc-timeout", "50m")] : []))
        // A message that is delivered before.
        if behind { peer.data(stream, message { $0.text = "first" }) }
        switch fault {
        case .tooLarge: peer.data(stream, [0, 0x7f, 0xff, 0xff, 0xff, 1])
        case .compressed: peer.data(stream, [1, 0, 0, 0, 0])
        case .truncated: peer.data(stream, [0, 0, 0, 0, 9, 1], endStream: true)
        case .noMessage: peer.data(stream, [0, 0, 0, 0, 2, 0x0a, 0x7f])
        case .tooMuchHeld: peer.data(stream, [0, 0, 0x3f, 0xff, 0xff] + [UInt8](repeating: 1, count: 100_000))
        case .tooSlow: peer.data(stream, [0, 0, 0, 0, 9, 1])
        case .deadline: break
        }
        #expect(world.network.run(until: { peer.answers[stream]?.isEnded == true }))
        #expect(peer.answers[stream]?.headers["grpc-status"] == fault.status)
        world.network.run(for: 30 * .second)
        #expect(world.service.cancelled == 1, "once")
        #expect(world.service.received == (behind ? 1 : 0))
        let call = try #require(world.service.collecting.first)
        #expect(call.isCancelled)
        #expect(world.server.callCount == 0 && world.server.heldBytes == 0)
    }

    @Test func aConnectionWithTooManyResets() throws {
        var http2 = HTTP2Limits()
        http2.maximumResets = 3
        let world = try World(http2Limits: http2)
        let peer = connect(world)
        for _ in 0..<8 {
            let stream = peer.open()
            peer.headers(stream, fields(Self.collect))
            peer.raw([0, 0, 4, 8, 0, 0, 0, 0, UInt8(stream), 0, 0, 0, 0])  // WINDOW_UPDATE by 0
        }
        world.network.run(for: 10 * .second)
        #expect(world.service.cancelled == world.service.collecting.count)
        #expect(world.server.callCount == 0)
    }

    // MARK: A stream of answers

    /// A handler that sends what can't be sent ends its stream; it hears of that like of any other end.
    @Test(arguments: [false, true]) func aStreamsOwnMessageThatCantBeSent(isTooLarge: Bool) throws {
        var limits = GRPCLimits()
        limits.maximumQueuedBytes = 2000
        limits.maximumMessageSize = 10_000
        let world = try World(limits: limits)
        world.service.ignoresBackpressure = true
        world.service.answerSize = isTooLarge ? 10_001 : 900
        let peer = connect(world, window: 0)
        let stream = peer.open()
        peer.headers(stream, fields("/cabstand.test.Echo/Expand"))
        peer.data(
            stream,
            message {
                $0.repeat = 100
                $0.stayOpen = true
            }, endStream: true)
        world.network.run(for: 10 * .second)
        #expect(world.service.expanding.count == 1)
        #expect(world.service.cancelled == 1)
        world.network.run(for: 60 * .second)
        #expect(world.service.cancelled == 1)
        #expect(world.server.callCount == 0 && world.server.queuedBytes == 0)
    }

    /// One that answers once has answered: nobody tells it that the answer could not be sent.
    @Test func anAnswerThatCantBeSentIsStillTheAnswer() throws {
        var limits = GRPCLimits()
        limits.maximumQueuedBytes = 500
        let world = try World(limits: limits)
        world.service.answerSize = 900
        let peer = connect(world, window: 0)
        let stream = peer.open()
        peer.headers(stream, fields("/cabstand.test.Echo/Unary"))
        peer.data(stream, message { $0.delayMs = 5 }, endStream: true)
        #expect(world.network.run(until: { peer.answers[stream]?.reset == .enhanceYourCalm }))
        world.network.run(for: 10 * .second)
        #expect(world.service.received == 1 && world.service.cancelled == 0)
        #expect(world.server.callCount == 0)
    }

    /// A handler that sends before it listens for the end: the watch of health was kept for ever when its first answer had no
    /// room.
    @Test func aHandlerThatListensTooLateIsToldAtOnce() throws {
        var limits = GRPCLimits()
        limits.maximumConnectionQueuedBytes = 70
        let world = try World(limits: limits)
        let peer = connect(world, window: 0)
        for _ in 0..<40 {
            let stream = peer.open()
            peer.headers(stream, fields("/grpc.health.v1.Health/Watch"))
            peer.data(stream, [0, 0, 0, 0, 0], endStream: true)
        }
        world.network.run(for: .second)
        #expect(world.server.callCount == 10)
        #expect(world.server.health.watcherCount == 10)
        world.clientLoop.close(peer.id)
        world.network.run(for: .second)
        #expect(world.server.health.watcherCount == 0 && world.server.callCount == 0)
    }
}
