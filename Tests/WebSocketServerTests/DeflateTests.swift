import Bytes
import HTTPServer
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

    /// What has come behind the last piece made the message one that did not count: a single byte, a Ping.
    @Test(
        arguments: [
            [0x00], [0x80], [0x80, 0xFF, 0, 0], SimulatedClient.frame(.ping, [1, 2]),
            SimulatedClient.frame(.ping, [1, 2]) + [0x00],
            SimulatedClient.frame(.continuation, [], fin: false),
            SimulatedClient.frame(.continuation, [0], fin: false) + [0],
        ] as [[UInt8]])
    func whatComesBehindAPieceDoesNotHideIt(behind: [UInt8]) throws {
        for options in [SimulationOptions(), .unkind] {
            var deflate = DeflateOptions()
            deflate.maximumUnfinished = 3
            let world = try SimulatedServer(options: options, deflate: deflate, endpoint: Endpoint())
            let bomb = self.deflate([UInt8](repeating: 0x78, count: 65_000))
            let clients = (0..<5).map { _ in world.client(fields: SimulatedClient.offersDeflate) }
            for client in clients {
                client.answersClose = false
                client.say(SimulatedClient.frame(.text, bomb, fin: false, deflated: true) + behind)
            }
            world.run(1)
            #expect(clients.map(\.closeCode).filter { $0 == 1013 }.count == 2)
            // Those that were closed answer later, or never: they hold nothing meanwhile.
            #expect(world.server.count == 5 && world.server.unfinished == 3)
            #expect(world.server.heldMessageBytes <= 3 * (Inflater().memory + 131_072))
            for client in clients { client.close() }
            world.run(1)
            #expect(world.server.heldMessageBytes == 0 && world.server.unfinished == 0 && world.server.count == 0)
        }
    }

    /// A peer that does not read the Pongs is not read from any more, in the middle of its message.
    @Test func whoDoesNotReadDoesNotHideItEither() throws {
        var options = DeflateOptions()
        options.maximumUnfinished = 1
        let world = try SimulatedServer(deflate: options, endpoint: Endpoint())
        let pings = Array(
            repeatElement(SimulatedClient.frame(.ping, [UInt8](repeating: 1, count: 125)), count: 20_000).joined())
        let clients = (0..<3).map { _ in world.client(fields: SimulatedClient.offersDeflate) }
        world.run(0.5)
        for client in clients {
            client.stopReading()
            client.say(SimulatedClient.frame(.text, deflate([1, 2, 3]), fin: false, deflated: true) + pings)
        }
        world.run(1)
        #expect(world.server.unfinished == 1 && world.server.heldMessageBytes <= Inflater().memory + 65_536)
    }

    /// The client's half counts, too, and lets go of what it has when it closes.
    @Test func aServerThatDoesNotFinish() throws {
        var options = DeflateOptions()
        options.maximumUnfinished = 2
        let network = SimulatedNetwork(seed: 1)
        let (loop, clients) = (try network.makeLoop(), try network.makeLoop())
        let answerer = Answerer(loop)
        var behind = ByteBuffer()
        FrameWriter.append(
            .text, deflate([UInt8](repeating: 0x78, count: 65_000)).span, isFinal: false, isDeflated: true, to: &behind)
        answerer.behind = behind.array() + [0x00]
        let address = try loop.listen(.loopback(port: 80), handler: answerer).localAddress
        let client = WebSocketClient(loop: clients, deflate: options)
        var closes: [CloseCode] = []
        for _ in 0..<4 {
            client.connect("ws://\(address)/") {
                if case .success(let socket) = $0 { socket.onClose = { closes.append($0) } }
            }
        }
        network.run(for: 1_000_000_000)
        #expect(client.count == 4 && client.heldMessageBytes <= 2 * (Inflater().memory + 131_072))
        network.run(for: 60_000_000_000)
        #expect(closes.filter { $0 == .tryAgainLater }.count == 2)
    }

    /// Agrees to permessage-deflate, says what it has to say, and nothing more.
    private final class Answerer: ConnectionHandler {
        let loop: EventLoop
        var behind: [UInt8] = []
        init(_ loop: EventLoop) { self.loop = loop }

        override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
            let text = String(utf8: bytes)
            guard let key = text.split(separator: "\r\n").first(where: { $0.hasPrefix("Sec-WebSocket-Key: ") }) else {
                return bytes.count
            }
            var accept = ByteBuffer()
            WebSocketHandshake.appendAccept(Array(key.utf8.dropFirst(19)).span, to: &accept)
            let answer =
                "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: "
                + "\(String(utf8: accept.span))\r\nSec-WebSocket-Extensions: permessage-deflate; "
                + "server_no_context_takeover; client_no_context_takeover\r\n\r\n"
            unsafe loop.output(id)?.pointee.append(utf8: answer)
            unsafe loop.output(id)?.pointee.append(behind)
            return bytes.count
        }
    }

    /// A peer that does not answer our Close frame, and the beginning of a message that nobody will hear.
    @Test(arguments: [false, true]) func whatIsHeldGoesWhenWeClose(isDeflated: Bool) throws {
        let endpoint = Endpoint()
        let world = try SimulatedServer(deflate: all(from: 1), endpoint: endpoint)
        let client = world.client(fields: fields("permessage-deflate"))
        client.answersClose = false
        client.send("a history of ours")
        let payload = [UInt8](repeating: 0x61, count: 60_000)
        client.say(
            SimulatedClient.frame(.text, isDeflated ? deflate(payload) : payload, fin: false, deflated: isDeflated))
        world.run(0.5)
        #expect(world.server.heldMessageBytes > 60_000)
        world.server.close(try #require(endpoint.ids.first), .normal)
        client.say(SimulatedClient.frame(.continuation, [1, 2, 3], fin: false))
        world.run(0.5)
        #expect(client.closeCode == 1000 && world.server.count == 1 && world.server.heldMessageBytes == 0)
    }

    /// The endpoint closes while it looks at a message: that stays until it is done.
    @Test(arguments: [false, true]) func whoClosesGoesOnReadingTheMessage(isDeflated: Bool) throws {
        final class Closer: WebSocketHandler {
            var sums: [Int] = []
            override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
                server.close(id, .normal)
                var sum = 0
                for index in text.indices { sum += Int(text[index]) }
                sums.append(sum)
            }
        }
        let endpoint = Closer()
        let world = try SimulatedServer(deflate: all(), endpoint: endpoint)
        let client = world.client(fields: fields("permessage-deflate"))
        let payload = [UInt8](repeating: 0x61, count: 50_000)
        let sent = isDeflated ? deflate(payload) : payload
        client.say(SimulatedClient.frame(.text, Array(sent[..<40]), fin: false, deflated: isDeflated))
        client.say(SimulatedClient.frame(.continuation, Array(sent[40...])))
        client.send("behind it")
        world.run(1)
        #expect(endpoint.sums == [50_000 * 0x61] && client.closeCode == 1000)
        #expect(world.server.count == 0 && world.server.heldMessageBytes == 0 && world.server.unfinished == 0)
    }

    /// RFC 6455 §9.1: an earlier handshake on the same connection had agreed, and was refused by what came behind it.
    @Test func whatWasAgreedUponGoesWithItsHandshake() throws {
        let network = SimulatedNetwork(seed: 1)
        let (loop, clients) = (try network.makeLoop(), try network.makeLoop())
        let router = Router()
        let sockets = WebSocketServer(loop: loop, deflate: all(from: 1))
        router.get("/refused") { request, responder in
            var response = ByteBuffer()
            let refusal = sockets.shakeHands(
                request.head, request.connection, isForeign: false, response: &response)
            #expect(refusal == nil && String(utf8: response.span).contains("permessage-deflate"))
            responder.problem(Problem(429, "too-many", "There are too many."))
        }
        let text = String(repeating: "x", count: 2000)
        router.webSocket("/ws", on: sockets) { _, socket in socket.send(text) }
        let server = HTTPServer(loop: loop, router: router)
        let address = try server.listen(.loopback(port: 80)).localAddress
        for (offer, first) in [("", UInt8(0x81)), ("Sec-WebSocket-Extensions: permessage-deflate\r\n", 0xC1)] {
            let peer = RawPeer(
                clients, address,
                "GET /refused HTTP/1.1\r\nHost: a\r\n\(SimulatedClient.offersDeflate)\r\n"
                    + "GET /ws HTTP/1.1\r\nHost: a\r\n\(SimulatedClient.handshake)\(offer)\r\n")
            network.run(for: 1_000_000_000)
            let heard = String(decoding: peer.heard, as: UTF8.self)
            #expect(heard.hasPrefix("HTTP/1.1 429 "))
            let end = try #require(peer.heard.firstRange(of: Array("HTTP/1.1 101 ".utf8)))
            let head = try #require(peer.heard[end.lowerBound...].firstRange(of: Array("\r\n\r\n".utf8)))
            #expect(peer.heard[head.upperBound...].first == first)
            clients.close(peer.id)
        }
    }

    private final class RawPeer: ConnectionHandler {
        let loop: EventLoop
        let request: String
        var heard: [UInt8] = []
        private(set) var id = ConnectionID.none

        init(_ loop: EventLoop, _ address: SocketAddress, _ request: String) {
            (self.loop, self.request) = (loop, request)
            super.init()
            id = loop.connect(address, timeout: 5_000_000_000, handler: self)
        }

        override func connectionOpened(_ id: ConnectionID) { unsafe loop.output(id)?.pointee.append(utf8: request) }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            unsafe heard += Array(bytes)
            return bytes.count
        }
    }
}
