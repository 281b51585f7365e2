import Bytes
import Reactor
import ReactorSim
import TestSupport
import Testing

/// Behaviour 51: no turn takes over 10 ms, whatever peers send and however many end at once. Callbacks spend virtual time, so
/// a turn's length is exact.
@Suite struct TurnBudgetTests {
    private static let limit: UInt64 = 10_000_000

    /// A handler whose every callback takes a tenth of a millisecond.
    private final class Slow: ConnectionHandler {
        let network: SimulatedNetwork
        var opened: [ConnectionID] = []
        var reads = 0
        var bytes = 0
        var ends = 0
        var deadlines = 0
        /// What a read takes beside, nanoseconds a byte.
        var timePerByte: UInt64 = 0
        /// What an opened connection takes, nanoseconds.
        var timeToOpen: UInt64 = 0

        init(_ network: SimulatedNetwork) { self.network = network }

        private func work() { network.spend(100_000) }

        override func connectionOpened(_ id: ConnectionID) {
            network.spend(timeToOpen)
            opened.append(id)
        }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            work()
            network.spend(UInt64(bytes.count) * timePerByte)
            reads += 1
            self.bytes += bytes.count
            return bytes.count
        }

        override func connectionDeadline(_ id: ConnectionID) {
            work()
            deadlines += 1
        }

        override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
            work()
            ends += 1
        }
    }

    /// A handler that takes 5,000 bytes and goes on in the next turn.
    private final class Slowly: ConnectionHandler {
        let loop: EventLoop
        var taken = 0
        var mostShown = 0
        /// What it had taken whenever it was told that nothing more comes.
        var takenAtEnd: [Int] = []
        var reasons: [CloseReason] = []

        init(loop: EventLoop) { self.loop = loop }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            mostShown = max(mostShown, bytes.count)
            let count = min(bytes.count, 5_000)
            taken += count
            loop.pauseReading(id)
            loop.schedule(after: 1) { [loop] in loop.resumeReading(id) }
            return count
        }

        override func connectionReadClosed(_ id: ConnectionID) {
            takenAtEnd.append(taken)
            loop.schedule(after: 1_000_000) { [loop] in loop.close(id) }
            // Going on tells nobody of the end a second time.
            loop.pauseReading(id)
            loop.resumeReading(id)
        }

        override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) { reasons.append(reason) }
    }

    private struct Crowd {
        let network: SimulatedNetwork
        let server: EventLoop
        let client: EventLoop
        let slow: Slow
        let peers = Script()

        init(_ count: Int) throws {
            var options = SimulationOptions()
            options.delay = 10_000...10_000
            network = SimulatedNetwork(seed: 51, options: options)
            server = try network.makeLoop()
            client = try network.makeLoop()
            slow = Slow(network)
            let listener = try server.listen(.loopback(port: 0), handler: slow)
            for _ in 0..<count { client.connect(listener.localAddress, timeout: 60_000_000_000, handler: peers) }
            network.run(for: 1_000_000_000)
        }

        func send() {
            for id in peers.openedIDs { unsafe client.output(id)?.pointee.append(1 as UInt8) }
        }
    }

    @Test func behaviour51_aCrowdOfReadsIsSpreadOverTurnsAndNoneIsForgotten() throws {
        let crowd = try Crowd(300)
        crowd.send()
        crowd.network.run(for: 1_000_000_000)
        #expect(crowd.slow.reads == 300)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    /// A gate that takes its time with everybody, and refuses most.
    private final class SlowGate: ConnectionGate {
        let network: SimulatedNetwork
        var asked = 0
        var admitted = 0
        /// Refusals that came in one turn, by the loop's instant.
        var refusals: [UInt64: Int] = [:]
        var loop: EventLoop?

        init(_ network: SimulatedNetwork) { self.network = network }

        func admits(_ client: SocketAddress) -> Bool {
            network.spend(200_000)
            asked += 1
            guard asked % 50 == 0 else {
                refusals[loop?.now ?? 0, default: 0] += 1
                return false
            }
            admitted += 1
            return true
        }

        func ended(_ client: SocketAddress, mark: UInt64) {}
        func refusedProxy(_ peer: SocketAddress?, _ failure: ProxyHeader.Failure?) {}
    }

    /// Sixty-four connections were accepted in one turn whatever each took, refused ones too.
    @Test func behaviour51_aFloodOfConnectionsThatAreRefused() throws {
        let crowd = try Crowd(1)
        let gate = SlowGate(crowd.network)
        gate.loop = crowd.server
        let listener = try crowd.server.listen(.loopback(port: 0), handler: crowd.slow, gate: gate)
        for _ in 0..<500 {
            crowd.client.connect(listener.localAddress, timeout: 60_000_000_000, handler: crowd.peers)
        }
        crowd.network.run(for: 5_000_000_000)
        #expect(gate.asked == 500 && gate.admitted == 10)
        #expect(gate.refusals.values.max() ?? 0 <= 8)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    /// The same for those that are taken.
    @Test func behaviour51_aCrowdOfConnectionsThatAreTaken() throws {
        let crowd = try Crowd(0)
        crowd.slow.timeToOpen = 200_000
        let listener = try crowd.server.listen(.loopback(port: 0), handler: crowd.slow)
        for _ in 0..<500 {
            crowd.client.connect(listener.localAddress, timeout: 60_000_000_000, handler: crowd.peers)
        }
        crowd.network.run(for: 5_000_000_000)
        #expect(crowd.slow.opened.count == 500)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    /// Sixteen reads between two looks at the clock were sixteen milliseconds and more when each was a large body.
    @Test func behaviour51_aCrowdOfLargeReads() throws {
        let crowd = try Crowd(100)
        crowd.slow.timePerByte = 40
        for id in crowd.peers.openedIDs {
            unsafe crowd.client.output(id)?.pointee.append([UInt8](repeating: 1, count: 60_000))
        }
        crowd.network.run(for: 5_000_000_000)
        #expect(crowd.slow.bytes == 6_000_000)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    @Test func behaviour51_whoIsReadFirstDoesNotKeepTheOthersWaiting() throws {
        let crowd = try Crowd(200)
        // Whoever was read sends again: in each turn there is more to read than its budget allows.
        for _ in 0..<5 {
            crowd.send()
            crowd.network.run(for: 30_000_000)
        }
        crowd.network.run(for: 1_000_000_000)
        #expect(crowd.slow.reads >= 200)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    @Test func behaviour51_aCrowdThatEndsTogether() throws {
        let crowd = try Crowd(300)
        crowd.network.resetConnections(of: crowd.client)
        crowd.network.run(for: 1_000_000_000)
        #expect(crowd.slow.ends == 300)
        #expect(crowd.server.statistics.connections == 0)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    @Test func behaviour51_aCrowdThatThisSideCloses() throws {
        let crowd = try Crowd(300)
        crowd.server.execute { for id in crowd.slow.opened { crowd.server.close(id) } }
        crowd.network.run(for: 1_000_000_000)
        #expect(crowd.slow.ends == 300)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    @Test func behaviour51_aCrowdOfDeadlinesAtOnce() throws {
        let crowd = try Crowd(300)
        let due = crowd.network.now + 1_000_000_000
        crowd.server.execute { for id in crowd.slow.opened { crowd.server.setDeadline(id, at: due) } }
        crowd.network.run(for: 3_000_000_000)
        #expect(crowd.slow.deadlines == 300)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    @Test func behaviour51_aCrowdOfConnectionsThatAreResumedAtOnce() throws {
        let crowd = try Crowd(300)
        crowd.server.execute { for id in crowd.slow.opened { crowd.server.pauseReading(id) } }
        crowd.network.run(for: 10_000_000)
        crowd.send()
        crowd.network.run(for: 1_000_000_000)
        #expect(crowd.slow.reads == 0)
        crowd.server.execute { for id in crowd.slow.opened { crowd.server.resumeReading(id) } }
        crowd.network.run(for: 1_000_000_000)
        #expect(crowd.slow.reads == 300)
        #expect(crowd.server.statistics.longestTurn < Self.limit)
    }

    @Test func behaviour51_workIsDoneInOrderOverManyTurns() throws {
        let network = SimulatedNetwork(seed: 1)
        let loop = try network.makeLoop()
        var done: [Int] = []
        for number in 0..<1000 {
            loop.execute {
                network.spend(100_000)
                done.append(number)
                if number % 100 == 0 { loop.execute { done.append(1000 + number) } }
            }
        }
        network.run(for: 1_000_000_000)
        #expect(done == Array(0..<1000) + stride(from: 1000, to: 2000, by: 100))
        #expect(loop.statistics.longestTurn < Self.limit)
        #expect(loop.statistics.queued == 0)
    }

    @Test func behaviour51_aCrowdOfHandshakesTakesItsTurns() throws {
        let certificate = TestCertificate.shared
        let context = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
        let trusting = try TLSClientContext(serverName: "localhost", trustedPath: certificate.certificatePath)
        let network = SimulatedNetwork(seed: 51)
        var configuration = EventLoop.Configuration()
        configuration.handshakeBudget = .seconds(0)
        let server = try network.makeLoop(configuration: configuration)
        let client = try network.makeLoop()
        let handler = Script()
        let listener = try server.listen(.loopback(port: 0), tls: context, handler: handler)
        let peers = Script()
        for _ in 0..<50 {
            client.connect(listener.localAddress, timeout: 60_000_000_000, tls: trusting, handler: peers)
        }
        network.run(for: 4_000_000_000)
        #expect(handler.openedIDs.count == 50)
        #expect(peers.openedIDs.count == 50)
        // Two flights of each client, one step a turn.
        #expect(server.statistics.turns >= 100)
    }

    /// A handler that takes a little at a time, and goes on in the next turn: more was read with each turn than it took, until
    /// the connection was closed for what it kept.
    @Test(arguments: [false, true])
    func behaviour51_whoTakesALittleAtATimeIsNotGivenMoreThanThat(tls: Bool) throws {
        let (network, slowly) = try say(4_000_000, tls: tls)
        network.run(until: { slowly.taken == 4_000_000 || !slowly.reasons.isEmpty }, limit: 60_000_000_000)
        #expect(slowly.taken == 4_000_000 && slowly.reasons.isEmpty)
        #expect(slowly.mostShown <= 200_000)
    }

    /// The end came in the same records as the last bytes, and was told while the handler still had most of them to take.
    @Test(arguments: [false, true])
    func theEndIsToldOnceBehindAllThatCameBefore(tls: Bool) throws {
        let (network, slowly) = try say(60_000, tls: tls, andClose: true)
        network.run(until: { !slowly.reasons.isEmpty }, limit: 60_000_000_000)
        #expect(slowly.taken == 60_000 && slowly.takenAtEnd == [60_000])
        #expect(slowly.reasons == [.peer])
    }

    /// A world in which a client says `count` bytes to a handler that takes a little at a time.
    private func say(_ count: Int, tls: Bool, andClose: Bool = false) throws -> (SimulatedNetwork, Slowly) {
        var options = SimulationOptions()
        options.readSize = 65_536...65_536
        options.writeSize = 65_536...65_536
        options.window = 1 << 20
        let network = SimulatedNetwork(seed: 51, options: options)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let slowly = Slowly(loop: server)
        let certificate = TestCertificate.shared
        let context =
            tls
            ? try TLSServerContext(certificatePath: certificate.certificatePath, keyPath: certificate.keyPath) : nil
        let trusting =
            tls
            ? try TLSClientContext(serverName: "localhost", trustedPath: certificate.certificatePath) : nil
        let listener = try server.listen(.loopback(port: 0), tls: context, handler: slowly)
        let peer = Script()
        let id = client.connect(listener.localAddress, timeout: 60_000_000_000, tls: trusting, handler: peer)
        network.run(for: 1_000_000_000)
        unsafe client.output(id)?.pointee.append([UInt8](repeating: 1, count: count))
        if andClose { client.closeAfterFlush(id, drain: true) }
        return (network, slowly)
    }

    /// Handshakes stood in the same queue as everybody, eight in each turn: who was connected waited for all of them.
    @Test func behaviour51_whoIsConnectedDoesNotWaitForACrowdOfHandshakes() throws {
        let certificate = TestCertificate.shared
        let context = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
        let trusting = try TLSClientContext(serverName: "localhost", trustedPath: certificate.certificatePath)
        var options = SimulationOptions()
        options.delay = 10_000...10_000
        let network = SimulatedNetwork(seed: 51, options: options)
        var configuration = EventLoop.Configuration()
        configuration.handshakeBudget = .seconds(0)
        let server = try network.makeLoop(configuration: configuration)
        let client = try network.makeLoop()
        let handler = Slow(network)
        let listener = try server.listen(.loopback(port: 0), tls: context, handler: handler)
        func connect(_ count: Int) -> Script {
            let peers = Script()
            for _ in 0..<count {
                client.connect(listener.localAddress, timeout: 60_000_000_000, tls: trusting, handler: peers)
            }
            return peers
        }
        let first = connect(1)
        network.run(for: 1_000_000_000)
        let id = try #require(first.openedIDs.first)
        let crowd = connect(100)
        network.run(until: { handler.opened.count >= 3 }, limit: 1_000_000_000)
        unsafe client.output(id)?.pointee.append(1 as UInt8)
        network.run(until: { handler.reads == 1 }, limit: 1_000_000_000)
        #expect(handler.reads == 1 && handler.opened.count < 20)
        network.run(for: 4_000_000_000)
        #expect(crowd.openedIDs.count == 100)
    }

    /// Work that ends exactly where the turn's share ends leaves nothing behind that the next work would be counted from.
    @Test(arguments: 1...9)
    func workThatFillsATurnExactlyIsFollowedByMore(items: Int) throws {
        var configuration = EventLoop.Configuration()
        configuration.workPerTurn = 3
        let network = SimulatedNetwork(seed: 1)
        let loop = try network.makeLoop(configuration: configuration)
        var done = 0
        for round in 1...20 {
            for _ in 0..<items { loop.execute { done += 1 } }
            network.run(for: 1_000_000)
            #expect(done == round * items)
        }
    }
}
