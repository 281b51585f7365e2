import Bytes
import Reactor
import ReactorSim
import Testing
import WebSocketServer
import WebSockets

/// Subscribes everybody to one topic.
final class SubscribingEndpoint: WebSocketHandler {
    var topic = TopicID.none
    var interval = 0
    var ids: [WebSocketID] = []
    var closed: [UInt16] = []

    override func webSocketOpened(_ id: WebSocketID) {
        ids.append(id)
        server.topics.subscribe(id, to: topic, interval: interval)
    }
    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) { closed.append(code.rawValue) }
}

@Suite struct TopicHubTests {
    private func text(_ text: String) -> SharedBytes {
        var buffer = ByteBuffer()
        FrameWriter.append(.text, Array(text.utf8).span, to: &buffer)
        return SharedBytes(buffer)
    }

    private func world(
        seed: UInt64 = 1, options: SimulationOptions = .init(), interval: Int = 0, broadcast history: Int? = nil
    ) throws -> (SimulatedServer, SubscribingEndpoint) {
        let endpoint = SubscribingEndpoint()
        let world = try SimulatedServer(seed: seed, options: options, endpoint: endpoint)
        endpoint.topic =
            history.map { world.server.topics.makeBroadcast(history: $0) } ?? world.server.topics.makeTopic()
        endpoint.interval = interval
        return (world, endpoint)
    }

    @Test func theNewestListAtOnceThenEachChange() throws {
        let (world, endpoint) = try world()
        world.server.topics.publish(endpoint.topic, text("one"))
        world.server.topics.publish(endpoint.topic, text("two"))
        let client = world.client()
        world.run(1)
        #expect(client.messages == ["two"])
        world.server.topics.publish(endpoint.topic, text("three"))
        world.run(1)
        #expect(client.messages == ["two", "three"])
        #expect(world.server.topics.subscriberCount(endpoint.topic) == 1)
        client.send(.close)
        world.run(1)
        #expect(world.server.topics.subscriberCount(endpoint.topic) == 0)
    }

    @Test func contract_theFirstChangeAtOnceThenAtMostOneListPerInterval() throws {
        let (world, endpoint) = try world(interval: 200)
        let client = world.client()
        world.run(1)
        for number in 0..<100 {
            world.server.topics.publish(endpoint.topic, text("\(number)"))
            world.run(0.01)
        }
        world.run(1)
        #expect(client.messages.first == "0")
        #expect(client.messages.last == "99")
        #expect((5...7).contains(client.messages.count))
        for (earlier, later) in zip(client.times, client.times.dropFirst()) { #expect(later - earlier > 190_000_000) }
        // Quiet again: the next change goes out at once.
        var instant: UInt64 = 0
        world.loop.execute {
            instant = world.loop.now
            world.server.topics.publish(endpoint.topic, text("100"))
        }
        world.run(0.1)
        #expect(client.messages.last == "100")
        #expect(try #require(client.times.last) - instant < 60_000_000)
    }

    @Test func subscribersWithDifferentIntervalsDoNotDisturbEachOther() throws {
        let (world, endpoint) = try world(interval: 100)
        let quick = world.client()
        world.run(0.5)
        endpoint.interval = 1_000
        let slow = world.client()
        world.run(0.5)
        for number in 0..<200 {
            world.server.topics.publish(endpoint.topic, text("\(number)"))
            world.run(0.01)
        }
        world.run(2)
        #expect((19...22).contains(quick.messages.count))
        #expect((3...4).contains(slow.messages.count))
        #expect(quick.messages.last == "199" && slow.messages.last == "199")
    }

    /// Slow readers: not a backlog but the newest, and nobody else waits.
    @Test(arguments: 0..<6 as Range<UInt64>)
    func aSlowReaderGetsTheNewestAndDisturbsNobody(seed: UInt64) throws {
        let (world, endpoint) = try world(seed: seed)
        let clients = (0..<10).map { _ in world.client() }
        world.run(1)
        clients[0].stopReading()
        let padding = String(repeating: ".", count: 50_000)
        for number in 0..<50 {
            world.server.topics.publish(endpoint.topic, text("\(number) \(padding)"))
            world.run(0.1)
        }
        for client in clients.dropFirst() { #expect(client.messages.count == 50) }
        clients[0].goOnReading()
        world.run(2)
        let numbers = clients[0].messages.map { Int($0.prefix { $0 != " " }) ?? -1 }
        #expect(numbers.last == 49)
        #expect(numbers.count < 8)
        #expect(numbers == numbers.sorted())
        #expect(clients[0].closeCode == nil)
    }

    @Test func contract_aListNotTakenIn15SecondsCloses3008() throws {
        let (world, endpoint) = try world()
        let slow = world.client()
        let good = world.client()
        world.run(1)
        slow.stopReading()
        world.server.topics.publish(endpoint.topic, text(String(repeating: ".", count: 300_000)))
        world.run(14)
        #expect(endpoint.closed.isEmpty)
        world.run(8)
        #expect(endpoint.closed == [3008])
        #expect(good.closeCode == nil && good.messages.count == 1)
    }

    @Test(arguments: 0..<6 as Range<UInt64>)
    func aBroadcastGivesEachMessageToEachSubscriber(seed: UInt64) throws {
        let (world, endpoint) = try world(seed: seed, options: seed == 0 ? .init() : .unkind, broadcast: 64)
        let clients = (0..<5).map { _ in world.client() }
        world.run(2)
        for number in 0..<60 { world.server.topics.publish(endpoint.topic, text("message \(number)")) }
        world.run(20)
        for client in clients { #expect(client.messages == (0..<60).map { "message \($0)" }) }
    }

    @Test func whoMissesABroadcastMessageIsClosed3008() throws {
        let (world, endpoint) = try world(broadcast: 8)
        let slow = world.client()
        let good = world.client()
        world.run(1)
        slow.stopReading()
        let padding = String(repeating: ".", count: 100_000)
        for number in 0..<20 {
            world.server.topics.publish(endpoint.topic, text("\(number) \(padding)"))
            world.run(0.2)
        }
        slow.goOnReading()
        world.run(5)
        #expect(endpoint.closed == [3008])
        #expect(good.messages.count == 20)
    }

    @Test func aSubscriberCanMoveAndATopicCanGo() throws {
        let (world, endpoint) = try world()
        let hub = world.server.topics
        let client = world.client()
        world.run(1)
        let id = try #require(endpoint.ids.first)
        let other = hub.makeTopic()
        hub.publish(other, text("other"))
        hub.subscribe(id, to: other)
        hub.publish(endpoint.topic, text("not for you"))
        world.run(1)
        #expect(client.messages == ["other"])
        // The same topic again: the answer is a list.
        hub.subscribe(id, to: other)
        world.run(1)
        #expect(client.messages == ["other", "other"])
        hub.removeTopic(other)
        hub.publish(other, text("gone"))
        let third = hub.makeTopic()
        hub.publish(third, text("third"))
        world.run(1)
        #expect(client.messages == ["other", "other"])
        #expect(hub.topic(of: id) == nil)
    }

    /// A ping of the client in the same turn does not keep a list from it.
    @Test func controlFramesPassBetweenLists() throws {
        let (world, endpoint) = try world()
        let client = world.client()
        world.run(1)
        for number in 0..<20 {
            client.send(.ping, [UInt8](repeating: UInt8(number), count: 125))
            world.server.topics.publish(endpoint.topic, text("\(number)"))
            world.run(0.01)
        }
        world.run(1)
        #expect(client.pongs.count == 20)
        #expect(client.messages.last == "19")
    }
}
