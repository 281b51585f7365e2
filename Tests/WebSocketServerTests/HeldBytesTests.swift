import Bytes
import Reactor
import ReactorSim
import Testing
import WebSocketServer
import WebSockets

/// What one WebSocket makes the server hold, in every state that it can be left in: bytes, and bytes for each byte that was
/// sent.
@Suite struct HeldBytesTests {
    /// Changes topics with each message, and answers some.
    private final class Endpoint: WebSocketHandler {
        var ids: [WebSocketID] = []
        var topics: [TopicID] = []
        var messages = 0

        override func webSocketOpened(_ id: WebSocketID) { ids.append(id) }
        override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
            messages += 1
            guard !topics.isEmpty else { return }
            server.topics.subscribe(id, to: topics[messages % topics.count])
        }
    }

    private func held(_ world: SimulatedServer) -> Int {
        world.server.account.input + world.server.account.output + world.server.heldMessageBytes
            + world.door.account.input + world.door.account.output
    }

    /// Opens a WebSocket, says `script`, and watches.
    private func watch(
        _ script: [UInt8], bytes: Int, ratio: Double, reads: Bool = true, topics: Int = 0,
        _ during: (SimulatedServer, Endpoint, SimulatedClient) -> Void = { _, _, _ in }
    ) throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(endpoint: endpoint)
        endpoint.topics = (0..<topics).map { _ in world.server.topics.makeTopic() }
        let client = world.client()
        world.run(0.5)
        if !reads { client.stopReading() }
        client.say(script)
        var most = 0
        for _ in 0..<20 {
            during(world, endpoint, client)
            world.run(0.1)
            most = max(most, held(world))
        }
        #expect(most <= bytes, "\(most) bytes")
        #expect(Double(most) <= ratio * Double(max(1, script.count)), "\(most) bytes for \(script.count)")
        client.close()
        world.run(1)
        #expect(held(world) == 0 && world.server.count == 0 && world.loop.statistics.connections == 0)
    }

    private func frame(_ opcode: Opcode, _ count: Int, fin: Bool = true) -> [UInt8] {
        SimulatedClient.frame(opcode, [UInt8](repeating: 0x61, count: count), fin: fin)
    }

    @Test func halfAFrame() throws {
        try watch(Array(frame(.text, 65_000).prefix(60_000)), bytes: 131_072, ratio: 2.2)
        try watch(Array(frame(.ping, 125).prefix(100)), bytes: 125, ratio: 1)
        try watch([0x81, 0xFF, 0, 0, 0], bytes: 14, ratio: 1)
    }

    @Test func fragmentsOfOneByteAndOfNone() throws {
        let pieces = (0..<1000).flatMap { frame($0 == 0 ? .text : .continuation, 1, fin: false) }
        try watch(pieces, bytes: 4096, ratio: 0.5)
        let empty = (0..<1000).flatMap { frame($0 == 0 ? .text : .continuation, 0, fin: false) }
        try watch(empty, bytes: 4096, ratio: 0.5)
    }

    @Test func controlFramesBetweenFragments() throws {
        let pieces = (0..<500).flatMap { frame($0 == 0 ? .text : .continuation, 100, fin: false) + frame(.ping, 100) }
        try watch(pieces, bytes: 131_072 + 65_536, ratio: 2)
    }

    @Test func pingsWhosePongsAreNotRead() throws {
        let pings = Array(repeatElement(frame(.ping, 125), count: 10_000).joined())
        // The pongs up to the mark and of one turn's share, in a buffer that grows, and one read of pings behind them.
        try watch(pings, bytes: 2 * (65_536 + 16 * 131) + 65_536, ratio: 0.2, reads: false)
        let empty = Array(repeatElement(frame(.ping, 0), count: 100_000).joined())
        try watch(empty, bytes: 2 * (65_536 + 16 * 131) + 65_536, ratio: 0.4, reads: false)
    }

    @Test func subscriptionsThatChange() throws {
        let changes = Array(repeatElement(frame(.text, 1), count: 10_000).joined())
        try watch(changes, bytes: 70_000, ratio: 1, topics: 10) { world, endpoint, _ in
            #expect(endpoint.topics.reduce(0) { $0 + world.server.topics.subscriberCount($1) } <= 1)
        }
    }

    /// However many lists there were: it holds what is left of the one that it has begun to read.
    @Test func listsThatAreNotRead() throws {
        var count = 0
        try watch(frame(.text, 1), bytes: 200_000, ratio: 40_000, reads: false, topics: 1) { world, endpoint, _ in
            for _ in 0..<5 {
                var buffer = ByteBuffer()
                FrameWriter.append(.text, [UInt8](repeating: 0x62, count: 190_000).span, to: &buffer)
                world.server.topics.publish(endpoint.topics[0], SharedBytes(buffer))
                count += 1
            }
        }
        #expect(count == 100)
    }

    /// What comes behind our Close frame is read and dropped, and not for long.
    @Test func aCloseThatIsNotAnswered() throws {
        var closed = false
        let texts = Array(repeatElement(frame(.text, 1000), count: 200).joined())
        try watch(texts, bytes: 140_000, ratio: 1) { world, endpoint, client in
            client.answersClose = false
            if !closed, let id = endpoint.ids.first {
                closed = true
                world.server.close(id, .normal)
            }
        }
    }

    /// Half a handshake, and frames behind one that is refused.
    @Test func handshakes() throws {
        let world = try SimulatedServer(endpoint: Endpoint())
        let half = world.client(fields: "X: " + String(repeating: "x", count: 16_000))
        let refused = world.client(path: "/missing")
        refused.say(frame(.text, 60_000))
        world.run(1)
        #expect(held(world) <= 16_384)
        world.run(15)
        #expect(
            held(world) == 0 && world.loop.statistics.connections == 0 && half.endedAt != nil && refused.endedAt != nil)
    }
}
