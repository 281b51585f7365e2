import Reactor
import ReactorSim
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A connection breaks, and before that something had come: whoever has connected reads it first.
@Suite struct BrokenConnectionTests {
    /// A client on a simulated loop and a script at the other end; what is sent at one moment arrives at one moment.
    private struct World {
        let network: SimulatedNetwork
        let loop: EventLoop
        let handler = Script()
        let id: ConnectionID
        let peer: SimulatedPeer

        init(seed: UInt64 = 1, options: SimulationOptions = .init(), tls: TLSClientContext? = nil) throws {
            var options = options
            options.delay = 100_000...100_000
            network = SimulatedNetwork(seed: seed, options: options)
            loop = try network.makeLoop()
            let listener = network.listenForPeers(.loopback(port: 80))
            id = loop.connect(.loopback(port: 80), timeout: 10_000_000_000, tls: tls, handler: handler)
            network.run(for: 100_000_000)
            peer = try #require(listener.accept())
        }

        func run() { network.run(for: 1_000_000_000) }
    }

    private static let bytes = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func whatHadComeIsReadBeforeTheEnd(seed: UInt64) throws {
        let world = try World(seed: seed, options: seed % 2 == 0 ? .init() : .unkind)
        let bytes = Array(Self.bytes.prefix(world.network.options.window))
        world.peer.send(bytes)
        world.peer.reset()
        world.run()
        #expect(world.handler.received == bytes)
        #expect(world.handler.reasons == [.reset(errno: ECONNRESET)] && world.handler.readEnds == 0)
        #expect(world.loop.statistics.connections == 0)
    }

    /// The error is found by a write, which takes it from the socket: a read behind it finds an end that is none.
    @Test func aWriteThatFailsThrowsNothingAway() throws {
        let world = try World()
        world.loop.pauseReading(world.id)
        world.peer.send(Self.bytes)
        world.run()
        #expect(world.handler.received.isEmpty)
        world.network.options.resets = 1
        unsafe world.loop.output(world.id)?.pointee.append([1, 2, 3])
        world.run()
        #expect(!world.loop.isOpen(world.id) && world.handler.reasons.isEmpty)
        // What is said now can't be sent; it is forgotten in each turn.
        for _ in 0..<10 {
            unsafe world.loop.output(world.id)?.pointee.append(Self.bytes)
            world.run()
            #expect(world.loop.pendingOutput(world.id) == 0 && world.handler.account.output == 0)
        }
        world.loop.resumeReading(world.id)
        world.run()
        #expect(world.handler.received == Self.bytes)
        #expect(world.handler.reasons == [.reset(errno: ECONNRESET)] && world.handler.readEnds == 0)
    }

    /// A handler that takes a little at a time gets no more than it wants.
    @Test(arguments: 0..<10 as Range<UInt64>)
    func whatIsPausedWaits(seed: UInt64) throws {
        let world = try World(seed: seed)
        var reads = 0
        world.handler.onRead = { [unowned handler = world.handler] id, bytes in
            reads += 1
            world.loop.pauseReading(id)
            world.loop.schedule(after: 1_000_000) { world.loop.resumeReading(id) }
            #expect(handler.reasons.isEmpty)
            return min(bytes.count, 1000)
        }
        world.peer.send(Self.bytes)
        world.peer.reset()
        world.run()
        #expect(reads >= 50 && world.handler.received == Self.bytes)
        #expect(world.handler.reasons == [.reset(errno: ECONNRESET)])
    }

    @Test func whoIsDoneClosesAtOnce() throws {
        for closes in [true, false] {
            let world = try World()
            world.handler.onRead = { id, bytes in
                if closes { world.loop.close(id) } else { world.loop.closeAfterFlush(id, drain: true) }
                return bytes.count
            }
            world.peer.send([1, 2, 3])
            world.peer.reset()
            world.run()
            #expect(world.handler.received == [1, 2, 3])
            #expect(world.handler.reasons == [closes ? .local : .reset(errno: ECONNRESET)])
        }
    }

    /// Nobody is there to be answered.
    @Test func ofAConnectionThatWasAcceptedNothingIsRead() throws {
        var options = SimulationOptions()
        options.delay = 100_000...100_000
        let network = SimulatedNetwork(seed: 1, options: options)
        let loop = try network.makeLoop()
        let handler = Script()
        try loop.listen(.loopback(port: 80), handler: handler)
        let peer = network.connect(to: .loopback(port: 80))
        network.run(for: 1_000_000_000)
        peer.send([1, 2, 3])
        peer.reset()
        network.run(for: 1_000_000_000)
        #expect(handler.received.isEmpty && handler.reasons == [.reset(errno: ECONNRESET)])
    }

    /// Records that had come are decrypted; what the peer has ended in order has ended in order.
    @Test(arguments: [true, false])
    func tlsIsReadToItsEnd(endsInOrder: Bool) throws {
        let certificate = TestCertificate.shared
        let server = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
        let client = try TLSClientContext(trustedPath: certificate.certificatePath)
        var options = SimulationOptions()
        options.delay = 100_000...100_000
        let network = SimulatedNetwork(seed: 3, options: options)
        let (serving, loop) = (try network.makeLoop(), try network.makeLoop())
        let (atServer, atClient) = (Script(), Script())
        atServer.onOpened = { id in
            unsafe serving.output(id)?.pointee.append(Self.bytes)
            if endsInOrder { serving.closeAfterFlush(id) }
        }
        atClient.onOpened = { loop.pauseReading($0) }
        try serving.listen(.loopback(port: 443), tls: server, handler: atServer)
        let id = loop.connect(
            .loopback(port: 443), timeout: 10_000_000_000, tls: client, serverName: "localhost", handler: atClient)
        network.run(for: 1_000_000_000)
        network.options.resets = 1
        unsafe loop.output(id)?.pointee.append([1, 2, 3])
        network.run(for: 1_000_000_000)
        #expect(atClient.received.isEmpty && atClient.reasons.isEmpty && !loop.isOpen(id))
        loop.resumeReading(id)
        network.run(for: 1_000_000_000)
        #expect(atClient.received == Self.bytes && atClient.readEnds == (endsInOrder ? 1 : 0))
        #expect(atClient.reasons == [.reset(errno: ECONNRESET)])
    }
}
