import Bytes
import Reactor
import ReactorSim
import Testing
import WebSockets

@testable import WebSocketServer

/// permessage-deflate (RFC 7692) on whole connections.
@Suite struct DeflateTests {
    private final class Endpoint: WebSocketHandler {
        var ids: [WebSocketID] = []
        var topic = TopicID.none
        var heard: [Int] = []

        override func webSocketOpened(_ id: WebSocketID) {
            ids.append(id)
            server.topics.subscribe(id, to: topic)
        }
        override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
            heard.append(text.count)
            server.sendText(id, text)
        }
        override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) { heard.append(bytes.count) }
    }

    private func all(from size: Int? = nil) -> DeflateOptions {
        var options = DeflateOptions()
        options.serverNoContextTakeover = false
        options.clientNoContextTakeover = false
        options.minimumMessageSize = size
        return options
    }

    private func fields(_ offer: String) -> String {
        SimulatedClient.handshake + "Sec-WebSocket-Extensions: \(offer)\r\n"
    }

    private func list(_ seed: Int, _ count: Int = 13_000) -> String {
        var text = "{\"type\":\"list\",\"items\":["
        var number = seed
        while text.utf8.count < count {
            number = (number &* 1_103_515_245 &+ 12345) & 0x7FFF_FFFF
            text +=
                "{\"id\":\"item-\(number)\",\"lat\":48.\(number % 100_000),\"lon\":11.\(number % 77_777),\"state\":\"free\"},"
        }
        return text + "]}"
    }

    private func frame(_ text: String) -> SharedBytes {
        var buffer = ByteBuffer()
        FrameWriter.append(.text, Array(text.utf8).span, to: &buffer)
        return SharedBytes(buffer)
    }

    private func deflate(_ message: [UInt8]) -> [UInt8] {
        var output = ByteBuffer()
        var deflater = Deflater()
        _ = deflater.deflate(message.span, into: &output)
        return output.array()
    }

    private func metric(_ world: SimulatedServer) -> (deflated: UInt64, from: UInt64, to: UInt64) {
        world.server.metrics.deflateCounts
    }

    // MARK: Handshake

    @Test func behaviour17_whatIsAnswered() throws {
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: EchoEndpoint())
        let offers = world.client(fields: SimulatedClient.offersDeflate)
        let silent = world.client()
        let others = world.client(
            fields: fields("permessage-bzip2") + "Sec-WebSocket-Extensions: x-webkit-deflate-frame\r\n")
        let second = world.client(
            fields: fields("permessage-deflate; foo") + "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        let malformed = world.client(fields: fields("permessage-deflate;;"))
        world.run(0.5)
        let answer =
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
        #expect(offers.head.contains(answer) && second.head.contains(answer))
        for client in [silent, others] {
            #expect(client.status == 101 && !client.head.lowercased().contains("extensions"))
        }
        #expect(malformed.status == 400)
    }

    @Test func aServerWithoutItAnswersNothing() throws {
        let world = try SimulatedServer(endpoint: EchoEndpoint())
        let client = world.client(fields: SimulatedClient.offersDeflate)
        client.say(SimulatedClient.frame(.text, deflate([0x61]), deflated: true))
        world.run(0.5)
        #expect(!client.head.lowercased().contains("extensions"))
        #expect(client.closeCode == 1002)
    }

    // MARK: Messages to one

    @Test(arguments: [
        "permessage-deflate", "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=12; client_no_context_takeover",
    ])
    func echoesAreCompressed(offer: String) throws {
        for options in [SimulationOptions(), .unkind] {
            let world = try SimulatedServer(options: options, deflate: all(from: 100), endpoint: EchoEndpoint())
            let client = world.client(fields: fields(offer))
            let texts = (0..<8).map { list($0 % 3, 3000) } + ["short", ""]
            let keepsHistory = offer.contains("client_no") == false
            var deflater = Deflater(windowBits: offer.contains("bits=9") ? 9 : 15)
            for text in texts {
                if !keepsHistory { deflater.reset() }
                var payload = ByteBuffer()
                _ = deflater.deflate(Array(text.utf8).span, into: &payload)
                client.say(SimulatedClient.frame(.text, payload.array(), deflated: true))
            }
            world.run(5)
            #expect(client.messages == texts)
            #expect(client.deflatedMessages == 8 && client.violation == nil)
            client.close()
            world.run(2)
            #expect(world.server.heldMessageBytes == 0 && world.server.unfinished == 0)
        }
    }

    /// What a connection holds of its own is given back at the second Ping without a message, and messages go on.
    @Test func aHistoryThatIsNotUsedIsGivenBack() throws {
        let world = try SimulatedServer(deflate: all(from: 10), endpoint: EchoEndpoint())
        let client = world.client(fields: fields("permessage-deflate; client_no_context_takeover"))
        let text = list(1)
        client.send(text)
        world.run(1)
        #expect(world.server.heldMessageBytes == Deflater().memory)
        world.run(60)
        #expect(world.server.heldMessageBytes == 0)
        client.send(text)
        world.run(1)
        #expect(client.messages == [text, text] && client.deflatedMessages == 2 && client.violation == nil)
    }

    @Test func aHistoryThatThePeerMayReferToStays() throws {
        let world = try SimulatedServer(deflate: all(), endpoint: EchoEndpoint())
        let client = world.client(fields: fields("permessage-deflate"))
        let hello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
        client.say(SimulatedClient.frame(.text, hello, deflated: true))
        world.run(100)
        #expect(world.server.heldMessageBytes == Inflater().memory)
        client.say(SimulatedClient.frame(.text, [0xF2, 0x00, 0x11, 0x00, 0x00], deflated: true))
        world.run(1)
        #expect(client.messages == ["Hello", "Hello"])
        client.close()
        world.run(1)
        #expect(world.server.heldMessageBytes == 0)
    }

    // MARK: Shared frames

    @Test func behaviour17_aSharedFrameIsCompressedOnceForAll() throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: endpoint)
        endpoint.topic = world.server.topics.makeTopic()
        let takers = (0..<20).map { _ in world.client(fields: SimulatedClient.offersDeflate) }
        let small = world.client(fields: fields("permessage-deflate; server_max_window_bits=10"))
        let plain = (0..<5).map { _ in world.client() }
        world.run(1)
        for number in 1...3 {
            world.server.topics.publish(endpoint.topic, frame(list(number)))
            world.run(1)
            #expect(metric(world).deflated == UInt64(number))
        }
        let texts = (1...3).map { list($0) }
        #expect(metric(world).to < metric(world).from / 3)
        for client in takers { #expect(client.messages == texts && client.deflatedMessages == 3) }
        for client in plain + [small] { #expect(client.messages == texts && client.deflatedMessages == 0) }
        // Whoever comes later is given the same image.
        let late = world.client(fields: SimulatedClient.offersDeflate)
        world.run(1)
        #expect(late.messages == [texts[2]] && late.deflatedMessages == 1 && metric(world).deflated == 3)
    }

    /// A window that holds the whole frame is large enough.
    @Test func aSmallWindowForASmallFrame() throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: endpoint)
        endpoint.topic = world.server.topics.makeTopic()
        let clients = (0..<2).map { _ in world.client(fields: fields("permessage-deflate; server_max_window_bits=11")) }
        world.run(1)
        world.server.topics.publish(endpoint.topic, frame(list(1, 1500)))
        world.run(1)
        for client in clients { #expect(client.messages == [list(1, 1500)] && client.deflatedMessages == 1) }
    }

    @Test func behaviour17_shortFramesAndSingleTakersAreNotWorthIt() throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: endpoint)
        endpoint.topic = world.server.topics.makeTopic()
        let client = world.client(fields: SimulatedClient.offersDeflate)
        let plain = world.client()
        world.run(1)
        world.server.topics.publish(endpoint.topic, frame(list(1)))
        world.run(1)
        let other = world.client(fields: SimulatedClient.offersDeflate)
        world.run(1)
        other.close()
        world.run(1)
        world.server.topics.publish(endpoint.topic, frame(list(2)))
        world.run(1)
        let third = world.client(fields: SimulatedClient.offersDeflate)
        world.run(1)
        world.server.topics.publish(endpoint.topic, frame("short"))
        world.run(1)
        #expect(client.messages == [list(1), list(2), "short"] && plain.messages == client.messages)
        #expect(client.deflatedMessages == 0 && third.messages.last == "short")
    }

    /// Frames that are no single message, and such as do not get shorter, go as they are.
    @Test func whatCannotBeCompressedGoesAsItIs() throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: endpoint)
        endpoint.topic = world.server.topics.makeBroadcast()
        let clients = (0..<2).map { _ in world.client(fields: SimulatedClient.offersDeflate) }
        world.run(1)
        var two = ByteBuffer()
        FrameWriter.append(.text, [UInt8](repeating: 0x61, count: 2000).span, isFinal: false, to: &two)
        FrameWriter.append(.continuation, [UInt8](repeating: 0x62, count: 2000).span, to: &two)
        world.server.topics.publish(endpoint.topic, SharedBytes(two))
        var both = ByteBuffer()
        for letter in [0x63, 0x64] as [UInt8] {
            FrameWriter.append(.text, [UInt8](repeating: letter, count: 2000).span, to: &both)
        }
        world.server.topics.publish(endpoint.topic, SharedBytes(both))
        world.server.topics.publish(endpoint.topic, frame(list(5)))
        world.run(1)
        for client in clients {
            #expect(client.messages.map { $0.utf8.count } == [4000, 2000, 2000, list(5).utf8.count])
            #expect(client.deflatedMessages == 1 && client.violation == nil)
        }
    }

    @Test func aTurnCompressesItsShare() throws {
        let endpoint = Endpoint()
        var options = DeflateOptions()
        options.sharedBytesPerTurn = 30_000
        let world = try SimulatedServer(deflate: options, endpoint: endpoint)
        endpoint.topic = world.server.topics.makeBroadcast()
        let clients = (0..<2).map { _ in world.client(fields: SimulatedClient.offersDeflate) }
        world.run(1)
        let texts = (0..<5).map { list($0) }
        for text in texts { world.server.topics.publish(endpoint.topic, frame(text)) }
        world.run(1)
        #expect(metric(world).deflated == 2)
        for client in clients { #expect(client.messages == texts && client.violation == nil) }
    }

    /// With a history of its own: what is shared does not confuse it.
    @Test func sharedFramesBetweenMessagesToOne() throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(deflate: all(from: 100), endpoint: endpoint)
        endpoint.topic = world.server.topics.makeTopic()
        let clients = (0..<3).map { _ in world.client(fields: fields("permessage-deflate")) }
        world.run(1)
        var texts: [String] = []
        for number in 0..<6 {
            let text = list(number % 2, 2000)
            if number % 3 == 1 {
                world.server.topics.publish(endpoint.topic, frame(text))
            } else {
                for client in clients { client.send(text) }
            }
            texts.append(text)
            world.run(1)
        }
        for client in clients {
            #expect(client.messages == texts && client.deflatedMessages == 6 && client.violation == nil)
        }
    }

    // MARK: Hostile peers

    @Test func behaviour17_aBombIs1009() throws {
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: EchoEndpoint())
        let client = world.client(fields: SimulatedClient.offersDeflate)
        client.say(SimulatedClient.frame(.text, deflate([UInt8](repeating: 0x61, count: 10_000_000)), deflated: true))
        world.run(1)
        #expect(client.closeCode == 1009 && world.server.heldMessageBytes == 0)
    }

    @Test func garbageIs1007() throws {
        let world = try SimulatedServer(deflate: DeflateOptions(), endpoint: EchoEndpoint())
        let garbage = world.client(fields: SimulatedClient.offersDeflate)
        garbage.say(SimulatedClient.frame(.text, [0xFF, 0xFF], deflated: true))
        let noText = world.client(fields: SimulatedClient.offersDeflate)
        noText.say(SimulatedClient.frame(.text, deflate([0xFF, 0xFF]), deflated: true))
        world.run(1)
        #expect(garbage.closeCode == 1007 && noText.closeCode == 1007)
        #expect(
            garbage.closeReason == "the message can't be decompressed" && noText.closeReason == "the text is not UTF-8")
    }

    /// Many bombs in one read take many turns, others come between, and every message arrives.
    @Test func aTurnDecompressesItsShare() throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(
            limits: WebSocketLimits(maximumMessageSize: 1 << 20), deflate: DeflateOptions(), endpoint: endpoint)
        let client = world.client(fields: SimulatedClient.offersDeflate)
        world.run(1)
        let before = world.loop.statistics.turns
        let bomb = SimulatedClient.frame(.binary, deflate([UInt8](repeating: 0x61, count: 1 << 20)), deflated: true)
        for _ in 0..<20 { client.say(bomb) }
        world.run(1)
        #expect(endpoint.heard == [Int](repeating: 1 << 20, count: 20))
        // A quarter of a megabyte each, and what one piece may be over.
        #expect(world.loop.statistics.turns - before >= 20 * 2)
    }

    /// A few bytes can hold a context and what the message has become: only so many may wait.
    @Test func messagesThatAreNotFinished() throws {
        var options = DeflateOptions()
        options.maximumUnfinished = 3
        let endpoint = Endpoint()
        let world = try SimulatedServer(deflate: options, endpoint: endpoint)
        let bomb = deflate([UInt8](repeating: 0x61, count: 60_000))
        let clients = (0..<5).map { _ in world.client(fields: SimulatedClient.offersDeflate) }
        for client in clients { client.say(SimulatedClient.frame(.text, bomb, fin: false, deflated: true)) }
        world.run(1)
        #expect(clients.map(\.closeCode).filter { $0 == 1013 }.count == 2)
        #expect(world.server.heldMessageBytes <= 3 * (Inflater().memory + 131_072))
        // Whole messages are not concerned.
        let whole = world.client(fields: SimulatedClient.offersDeflate)
        whole.say(SimulatedClient.frame(.text, bomb, deflated: true))
        world.run(1)
        #expect(whole.messages.map { $0.utf8.count } == [60_000])
        for client in clients where client.closeCode == nil {
            client.say(SimulatedClient.frame(.continuation, [0, 0, 0xFF, 0xFF, 0]))
        }
        world.run(1)
        #expect(endpoint.heard.filter { $0 == 60_000 }.count == 4)
        #expect(world.server.heldMessageBytes == 0 && world.server.unfinished == 0)
    }

    @Test func whatIsHeldGoesWithTheConnection() throws {
        let world = try SimulatedServer(deflate: all(from: 1), endpoint: EchoEndpoint())
        let clients = (0..<6).map { _ in world.client(fields: fields("permessage-deflate")) }
        let part = Array(deflate(Array(list(3).utf8)).prefix(1500))
        for client in clients {
            client.send("hello")
            client.say(SimulatedClient.frame(.text, part, fin: false, deflated: true))
        }
        world.run(1)
        #expect(world.server.heldMessageBytes >= 6 * (Inflater().memory + Deflater().memory))
        clients[0].close()
        clients[1].send(.close)
        clients[2].say([0xFF])
        world.server.drain(over: .zero)
        world.run(10)
        #expect(world.server.heldMessageBytes == 0 && world.server.unfinished == 0 && world.server.count == 0)
    }
}
