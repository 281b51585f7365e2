import Bytes
import ReactorSim
import Testing
import WebSocketServer
import WebSockets

/// Says what it is told, and remembers what it hears.
final class RecordingEndpoint: WebSocketHandler {
    var texts: [String] = []
    var closed: [UInt16] = []
    var ids: [WebSocketID] = []
    var onText: (WebSocketID) -> Void = { _ in }

    override func webSocketOpened(_ id: WebSocketID) { ids.append(id) }
    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        texts.append(unsafe text.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) })
        onText(id)
    }
    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) { closed.append(code.rawValue) }
}

@Suite struct ConnectionTests {
    /// The same conversation in worlds that split, delay and refuse at random.
    @Test(arguments: 0..<12 as Range<UInt64>)
    func rfc6455_5_4_aConversationSurvivesEverySplit(seed: UInt64) throws {
        let options: SimulationOptions = seed % 3 == 0 ? .byteByByte : seed % 3 == 1 ? .unkind : .init()
        let world = try SimulatedServer(seed: seed, options: options, endpoint: EchoEndpoint())
        let client = world.client()
        let long = String(repeating: "Zürich → 🛫 ", count: 200)
        client.send("Hello")
        client.send(.text, Array("Hel".utf8), fin: false)
        client.send(.ping, [1, 2, 3])
        client.send(.continuation, Array("lo".utf8))
        client.send(long)
        client.send(.close, [0x03, 0xE8] + Array("bye".utf8))
        world.run(10)
        #expect(client.messages == ["Hello", "Hello", long])
        #expect(client.pongs == [[1, 2, 3]])
        #expect(client.closeCode == 1000)
        #expect(client.violation == nil)
        #expect(client.endedAt != nil)
        #expect(world.server.count == 0)
    }

    @Test func behaviour12_aViolationIsAnsweredByItsCode() throws {
        for (bytes, code): ([UInt8], UInt16) in [
            ([0x81, 0x01, 0x61], 1002), ([0xC1, 0x80], 1002), (SimulatedClient.frame(.text, [0xFF]), 1007),
            ([0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1], 1009),
        ] {
            let endpoint = RecordingEndpoint()
            let world = try SimulatedServer(endpoint: endpoint)
            let client = world.client()
            client.say(bytes)
            world.run(3)
            #expect(client.closeCode == code)
            #expect(client.endedAt != nil)
            #expect(endpoint.closed == [code])
        }
    }

    @Test func behaviour15_ourCloseWaitsFiveSecondsForTheirs() throws {
        let endpoint = RecordingEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let polite = world.client()
        let silent = world.client()
        silent.answersClose = false
        world.run(1)
        for id in endpoint.ids { world.server.close(id, CloseCode(rawValue: 4001), reason: "genug") }
        world.run(1)
        #expect(polite.closeCode == 4001 && polite.closeReason == "genug")
        #expect(polite.endedAt != nil)
        #expect(silent.closeCode == 4001 && silent.endedAt == nil)
        world.run(6)
        let waited = try #require(silent.endedAt) - #require(silent.closedAt)
        #expect((4_900_000_000...6_100_000_000).contains(waited))
        #expect(endpoint.closed == [4001, 4001])
    }

    @Test func behaviour15_nothingIsSentAfterClose() throws {
        let endpoint = RecordingEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        client.answersClose = false
        world.run(1)
        let id = try #require(endpoint.ids.first)
        world.server.close(id, .normal)
        let isSent = world.server.sendText(id, Array("late".utf8).span)
        #expect(!isSent)
        client.send(.ping)
        client.send("ignored")
        world.run(2)
        #expect(client.messages.isEmpty && client.pongs.isEmpty && endpoint.texts.isEmpty)
    }

    @Test func contract_aPingEvery25SecondsKeepsAConnection() throws {
        let endpoint = RecordingEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        world.run(24)
        #expect(client.pings == 0)
        world.run(3)
        #expect(client.pings == 1)
        world.run(100)
        #expect((4...5).contains(client.pings))
        #expect(client.endedAt == nil && endpoint.closed.isEmpty)
    }

    @Test func contract_noPongInTenSecondsCloses3012() throws {
        let endpoint = RecordingEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        client.answersPings = false
        client.answersClose = false
        world.run(34)
        #expect(client.pings == 1 && client.closeCode == nil)
        world.run(3)
        #expect(client.closeCode == 3012)
        world.run(6)
        #expect(client.endedAt != nil && endpoint.closed == [3012])
    }

    /// Behaviour 45: a quiet server wakes up for what is due and for nothing else.
    @Test func behaviour45_heartbeatsAloneWakeAnIdleLoop() throws {
        let world = try SimulatedServer(endpoint: RecordingEndpoint())
        let client = world.client()
        world.run(2)
        let before = world.loop.statistics.turns
        world.run(20)
        #expect(world.loop.statistics.turns - before <= 1)
        _ = client
    }

    @Test func contract_theTenthBadMessageInAMinuteCloses3509() throws {
        let endpoint = RecordingEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        endpoint.onText = { id in world.server.countBadMessage(id) }
        let slow = world.client()
        let fast = world.client()
        for _ in 0..<9 { fast.send("bad") }
        world.run(1)
        #expect(fast.closeCode == nil)
        fast.send("bad")
        for _ in 0..<12 {
            slow.send("bad")
            world.run(8)
        }
        #expect(fast.closeCode == 3509)
        #expect(slow.closeCode == nil)
    }

    @Test func contract_drainingCloses1001SpreadOverTime() throws {
        let endpoint = RecordingEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let clients = (0..<40).map { _ in world.client() }
        world.run(1)
        var isDone = false
        world.server.drain(over: .seconds(10)) { isDone = true }
        world.run(2)
        #expect(!isDone && clients.contains { $0.closeCode == 1001 })
        let late = world.client()
        world.run(10)
        #expect(isDone)
        #expect(clients.allSatisfy { $0.closeCode == 1001 })
        #expect(late.closeCode == 1001)
        #expect(Set(clients.compactMap { $0.closedAt.map { $0 / 1_000_000_000 } }).count > 5)
    }

    /// What asks and does not listen is not read from any more; it gets all its answers when it listens again.
    @Test func aPeerThatDoesNotReadIsNotReadFrom() throws {
        let world = try SimulatedServer(endpoint: EchoEndpoint())
        let client = world.client()
        world.run(1)
        client.stopReading()
        let text = String(repeating: "x", count: 10_000)
        for _ in 0..<100 { client.send(text) }
        world.run(5)
        client.goOnReading()
        world.run(10)
        #expect(client.messages.count == 100)
    }

    @Test func aBrokenConnectionIs1006() throws {
        let endpoint = RecordingEndpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        let client = world.client()
        world.run(1)
        world.network.resetConnections(of: world.clients)
        world.run(1)
        #expect(endpoint.closed == [1006])
        _ = client
    }
}
