import Bytes
import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// A call ends exactly once, whatever ends first: it, its stream, its connection.
@Suite struct EndingTests {
    /// A peer that is connected and has our SETTINGS.
    private func connect(_ world: World) -> RawPeer {
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        return peer
    }

    private static func fields(_ adding: [(String, String)] = []) -> [(String, String)] {
        [
            (":method", "POST"), (":scheme", "http"), (":path", "/cabstand.test.Echo/Unary"), (":authority", "x"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ] + adding
    }

    /// The prefix and the message of an `EchoRequest` whose answer takes `delay` milliseconds (field 3).
    private static func slow(_ delay: UInt32) -> [UInt8] {
        var request = EchoRequest()
        request.delayMs = Int32(delay)
        var buffer = ByteBuffer()
        request.encode(into: &buffer)
        return [0, 0, 0, 0, UInt8(buffer.count)] + buffer.array()
    }

    /// How a connection comes to its end while its calls are still open.
    enum Blow: CaseIterable {
        case connectionError, tooManyPings, reset, peerCloses, serverCloses
    }

    private func strike(_ blow: Blow, _ world: World, _ peer: RawPeer) {
        switch blow {
        case .connectionError: peer.raw([0, 0, 0, 5, 0, 0, 0, 0, 0])  // PUSH_PROMISE
        case .tooManyPings: for _ in 0..<4 { peer.ping() }
        case .reset: world.network.resetConnections(of: world.clientLoop)
        case .peerCloses: world.clientLoop.close(peer.id)
        case .serverCloses: world.server.close()
        }
    }

    /// HEADERS with a deadline, and the connection ends: the deadline passes while it is closing.
    @Test(arguments: Blow.allCases) func aDeadlineThatPassesWhileTheConnectionCloses(blow: Blow) throws {
        let world = try World()
        let peer = connect(world)
        for _ in 0..<3 { peer.headers(peer.open(), Self.fields([("grpc-timeout", "20m")])) }
        world.network.run(until: { world.server.callCount == 3 })
        strike(blow, world, peer)
        world.network.run(for: 30 * .second)
        #expect(world.server.connectionCount == 0)
        #expect(world.server.callCount == 0)
        #expect(world.works(), "the server's places are whole")
    }

    /// A handler that can't hear of the end answers when its connection is closing, or gone.
    @Test(arguments: Blow.allCases, [0, 1, 40, 900] as [UInt32])
    func aHandlerThatAnswersLate(blow: Blow, delay: UInt32) throws {
        let world = try World()
        world.service.ignoresCancel = true
        let peer = connect(world)
        for _ in 0..<5 {
            let stream = peer.open()
            peer.headers(stream, Self.fields([("grpc-timeout", "20m")]))
            peer.data(stream, Self.slow(30 + delay), endStream: true)
        }
        world.network.run(until: { world.service.received == 5 })
        strike(blow, world, peer)
        world.network.run(for: 30 * .second)
        #expect(world.server.callCount == 0)
        #expect(world.works(), "the server's places are whole")
    }

    /// Streams that break the rules beyond what a connection may: each call's handler hears of the end once.
    @Test func streamErrorsBeyondTheBudgetEndEveryCall() throws {
        let world = try World()
        let peer = connect(world)
        for _ in 0..<201 {
            let stream = peer.open()
            peer.headers(stream, Self.fields([("content-length", "100000")]))
        }
        // One of the calls is at work when the budget is used up.
        world.network.run(until: { world.server.callCount == 201 })
        for stream in 0..<201 { peer.data(UInt32(stream * 2 + 1), [0], endStream: true) }
        world.network.run(until: { peer.isClosed })
        world.network.run(for: 30 * .second)
        #expect(peer.goAway == .enhanceYourCalm)
        #expect(world.server.callCount == 0)
        #expect(world.works(), "the server's places are whole")
    }
}

extension World {
    /// Whether calls on two connections get their own answers: places that were freed twice are given to both.
    func works() -> Bool {
        if server.callCount != 0 { return false }
        try? listen()
        let other = GRPCChannel(loop: clientLoop, target: "localhost:\(World.port)")
        let second = Cabstand_Test_EchoClient(channel: other)
        var right = 0
        for index in 0..<20 {
            var request = EchoRequest()
            request.text = "\(index)"
            request.delayMs = Int32(index % 3)
            let options = CallOptions(waitForReady: true)
            let client = index % 2 == 0 ? echo : second
            client.unary(request, options: options) { if $0.success?.text == "\(index)" { right += 1 } }
        }
        network.run(until: { right == 20 })
        other.close()
        network.run(for: .second)
        return right == 20 && server.callCount == 0
    }
}
