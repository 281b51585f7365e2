import Bytes
import Reactor
import ReactorSim
import Testing
import WebSocketServer
import WebSockets

/// Counts what its loop does for it in one turn, and what it makes the loop hold.
private final class WatchedEndpoint: WebSocketHandler {
    var ids: [WebSocketID] = []
    var closed: [UInt16] = []
    var messages = 0
    var longest = 0
    /// The most that happened in one turn, and the most output that waited.
    private(set) var mostPerTurn = 0
    private(set) var mostHeld = 0
    private var turn: UInt64 = 0
    private var inTurn = 0
    /// Sent for each message.
    var answer: [UInt8] = []

    private func count() {
        if turn != server.loop.now { inTurn = 0 }
        turn = server.loop.now
        inTurn += 1
        mostPerTurn = max(mostPerTurn, inTurn)
    }

    override func webSocketOpened(_ id: WebSocketID) { ids.append(id) }
    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        count()
        messages += 1
        longest = max(longest, text.count)
        if !answer.isEmpty { server.sendText(id, answer.span) }
        mostHeld = max(mostHeld, server.loop.pendingOutput(id))
    }
    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        count()
        closed.append(code.rawValue)
    }
}

@Suite struct AbuseTests {
    // MARK: Time

    /// Each byte renewed the message's life: 64 KiB could take a week.
    @Test func aFrameThatDripsIsASilentPeer() throws {
        let endpoint = WatchedEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        client.answersPings = false
        client.answersClose = false
        client.say(Array(SimulatedClient.frame(.text, [UInt8](repeating: 0x61, count: 60_000)).prefix(100)))
        for _ in 0..<10 {
            world.run(5)
            client.say([0x55])
        }
        #expect(client.closeCode == 3012 && client.endedAt != nil && world.server.count == 0)
    }

    /// It answers every Ping and never ends its message.
    @Test func aMessageThatDripsBetweenPongsIsGivenUp() throws {
        let endpoint = WatchedEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        client.send(.text, [0x61], fin: false)
        for _ in 0..<30 where client.closeCode == nil {
            world.run(3)
            client.send(.continuation, [0x61], fin: false)
        }
        world.run(1)
        #expect(client.closeCode == 1008 && client.endedAt != nil && endpoint.messages == 0)
    }

    @Test func aSlowMessageThatComesOnIsTaken() throws {
        for fragments in [1, 30] {
            let endpoint = WatchedEndpoint()
            let world = try SimulatedServer(endpoint: endpoint)
            let client = world.client()
            // In the middle of a frame nobody can answer a Ping.
            client.answersPings = fragments > 1
            var pieces: [[UInt8]] = []
            for number in 0..<fragments {
                let payload = [UInt8](repeating: 0x61, count: 60_000 / fragments)
                let isLast = number == fragments - 1
                pieces.append(SimulatedClient.frame(number == 0 ? .text : .continuation, payload, fin: isLast))
            }
            if fragments == 1 {
                let frame = pieces[0]
                pieces = stride(from: 0, to: frame.count, by: 1500).map {
                    Array(frame[$0..<min($0 + 1500, frame.count)])
                }
            }
            world.run(1)
            for piece in pieces {
                client.say(piece)
                world.run(Double(piece.count) / 1500)
            }
            #expect(endpoint.longest == 60_000 && client.closeCode == nil)
        }
    }

    @Test(
        arguments: [[0x81], [0x81, 0xFE], [0x81, 0xFE, 0x10], [0x89, 0x85, 1, 2], [0x88, 0x82, 0, 0, 0, 0, 3]]
            as [[UInt8]])
    func halfAFrameHeaderEndsWithTheMissingPong(bytes: [UInt8]) throws {
        let endpoint = WatchedEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        client.answersPings = false
        client.say(bytes)
        world.run(60)
        #expect(client.closeCode == 3012 && client.endedAt != nil)
    }

    /// A peer that takes what waits in front of our Close frame, slowly, hears it.
    @Test func aClosingPeerThatReadsSteadilyGetsEverything() throws {
        let endpoint = WatchedEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        world.run(1)
        client.stopReading()
        let id = try #require(endpoint.ids.first)
        let frame = SimulatedClient.frame(.text, [])
        #expect(!frame.isEmpty)
        var buffer = ByteBuffer()
        FrameWriter.append(.text, [UInt8](repeating: 0x61, count: 900_000).span, to: &buffer)
        world.server.send(id, frame: SharedBytes(buffer))
        world.run(0.1)
        world.server.close(id, .normal, reason: "bye")
        for _ in 0..<30 where client.closeCode == nil {
            client.goOnReading()
            world.run(0.02)
            client.stopReading()
            world.run(1)
        }
        client.goOnReading()
        world.run(2)
        #expect(client.messages.map(\.utf8.count) == [900_000] && client.closeCode == 1000)
        #expect(endpoint.closed == [1000] && client.endedAt != nil)
    }

    @Test func aClosingPeerThatDoesNotReadIsDropped() throws {
        let endpoint = WatchedEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        world.run(1)
        client.stopReading()
        let id = try #require(endpoint.ids.first)
        world.server.sendText(id, [UInt8](repeating: 0x61, count: 300_000).span)
        world.run(0.1)
        world.server.close(id, .normal)
        world.run(8)
        #expect(endpoint.closed == [1000] && world.server.count == 0)
    }

    /// An endpoint that closes the connection at the loop hears nothing more.
    @Test(arguments: [false, true])
    func nothingIsDeliveredBehindAnEndpointThatHasClosed(flushes: Bool) throws {
        final class Closing: WebSocketHandler {
            var texts = 0
            var closed = 0
            var flushes = false
            override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
                texts += 1
                if flushes { server.loop.closeAfterFlush(id) } else { server.loop.close(id) }
            }
            override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) { closed += 1 }
        }
        let whole = SimulatedClient.frame(.text, [0x61])
        let pieces = SimulatedClient.frame(.text, [0x61], fin: false) + SimulatedClient.frame(.continuation, [0x62])
        for script in [whole + whole + whole, pieces + pieces, whole + SimulatedClient.frame(.close) + whole] {
            let endpoint = Closing()
            endpoint.flushes = flushes
            let world = try SimulatedServer(endpoint: endpoint)
            let client = world.client()
            client.say(script)
            world.run(2)
            #expect(endpoint.texts == 1 && endpoint.closed == 1 && client.endedAt != nil && world.server.count == 0)
        }
    }

    // MARK: Memory

    /// Seven bytes that are answered with ten thousand, from a peer that does not listen.
    @Test func whatAnAskerCanMakeTheServerHoldIsBounded() throws {
        let endpoint = WatchedEndpoint()
        endpoint.answer = [UInt8](repeating: 0x61, count: 10_000)
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        world.run(1)
        client.stopReading()
        let ask = SimulatedClient.frame(.text, [0x61])
        client.say(Array(repeatElement(ask, count: 5000).joined()))
        world.run(2)
        let limit = world.server.timeouts.maximumPendingOutput + 17 * 10_020
        #expect(endpoint.mostHeld <= limit && world.loop.pendingOutput(endpoint.ids[0]) <= limit)
        // It listens again: nothing was lost.
        client.goOnReading()
        world.run(60)
        #expect(client.messages.count == 5000)
    }

    @Test func whatAnEndpointTellsToOneWhoDoesNotListenIsBounded() throws {
        let endpoint = WatchedEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        client.answersClose = false
        world.run(1)
        client.stopReading()
        let id = try #require(endpoint.ids.first)
        var told = 0
        let news = [UInt8](repeating: 0x61, count: 50_000)
        while world.server.sendText(id, news.span) && told < 1000 {
            told += 1
            world.run(0.01)
        }
        #expect((20...25).contains(told))
        #expect(world.loop.pendingOutput(id) <= world.server.timeouts.maximumHeldOutput + 100_000)
        world.run(8)
        #expect(endpoint.closed == [3008] && world.loop.statistics.connections == 0)
    }

    // MARK: Work

    /// A read of 64 KiB holds ten thousand messages of one byte.
    @Test(arguments: [SimulationOptions(), .unkind])
    func aFloodOfSmallMessagesIsTakenInPortions(options: SimulationOptions) throws {
        let endpoint = WatchedEndpoint()
        let world = try SimulatedServer(options: options, endpoint: endpoint)
        let client = world.client()
        world.run(1)
        var flood: [UInt8] = []
        for number in 0..<5000 {
            flood += SimulatedClient.frame(.text, [0x61])
            if number % 5 == 0 { flood += SimulatedClient.frame(.ping, [1]) }
        }
        client.say(flood)
        world.run(30)
        #expect(endpoint.messages == 5000 && client.pongs.count == 1000)
        // An event and what was kept may both be presented in one turn.
        #expect(endpoint.mostPerTurn <= 2 * world.server.timeouts.framesPerTurn)
    }

    @Test func thousandsAreClosedAndDrainedInPortions() throws {
        for drains in [false, true] {
            let endpoint = WatchedEndpoint()
            let world = try SimulatedServer(endpoint: endpoint)
            let clients = (0..<700).map { _ in world.client() }
            world.run(3)
            #expect(world.server.count == 700)
            if drains { world.server.drain(over: .zero) } else { world.server.closeAll() }
            world.run(10)
            #expect(world.server.count == 0 && endpoint.closed.count == 700 && clients.allSatisfy { $0.endedAt != nil })
            #expect(endpoint.mostPerTurn <= 512)
            #expect(Set(endpoint.closed) == [drains ? 1001 : 1006])
        }
    }

    @Test func aTopicTellsItsSubscribersInPortionsAndNobodyIsLeftOut() throws {
        final class Subscribing: WebSocketHandler {
            var topic = TopicID.none
            var ids: [WebSocketID] = []
            override func webSocketOpened(_ id: WebSocketID) {
                ids.append(id)
                server.topics.subscribe(id, to: topic)
            }
        }
        var timeouts = WebSocketTimeouts()
        timeouts.subscribersPerTurn = 16
        let endpoint = Subscribing()
        let world = try SimulatedServer(timeouts: timeouts, endpoint: endpoint)
        let hub = world.server.topics
        endpoint.topic = hub.makeTopic()
        var clients = (0..<300).map { _ in world.client() }
        world.run(2)
        func publish(_ text: String) {
            var frame = ByteBuffer()
            FrameWriter.append(.text, Array(text.utf8).span, to: &frame)
            hub.publish(endpoint.topic, SharedBytes(frame))
        }
        // While the first round goes on: a newer frame, some leave, some come.
        publish("one")
        world.network.run(for: 100_000)
        publish("two")
        for id in endpoint.ids[..<20] { world.loop.close(id) }
        for id in endpoint.ids[100..<120] { hub.unsubscribe(id) }
        clients += (0..<20).map { _ in world.client() }
        world.run(3)
        for text in ["one", "two"] {
            #expect(clients.allSatisfy { client in client.messages.count { $0 == text } <= 1 })
        }
        #expect(clients.count { $0.messages.last == "two" } >= 280)
        // However many they are, a topic is forgotten at once, and nobody hears of the next one in its place.
        hub.removeTopic(endpoint.topic)
        #expect(hub.subscriberCount(endpoint.topic) == 0)
        endpoint.topic = hub.makeTopic()
        publish("three")
        world.run(1)
        #expect(clients.allSatisfy { $0.messages.last != "three" })
        hub.subscribe(endpoint.ids[150], to: endpoint.topic)
        world.run(1)
        #expect(clients.count { $0.messages.last == "three" } == 1)
    }
}
