import Bytes
import HTTPServer
import Reactor
import ReactorSim
import TestSupport
import Testing
import WebSockets

@testable import WebSocketServer

/// `WebSocketClient` against our server and against servers that do not keep to the RFC.
@Suite struct ClientTests {
    /// A client, and what has become of its handshakes.
    private final class World {
        let world: SimulatedServer
        let client: WebSocketClient
        var sockets: [WebSocket] = []
        var errors: [WebSocketClientError] = []
        var messages: [String] = []
        var closes: [CloseCode] = []

        init(
            options: SimulationOptions = .init(), timeouts: WebSocketTimeouts = .init(), client: DeflateOptions? = nil,
            server: DeflateOptions? = nil, tls: (server: TLSServerContext, client: TLSClientContext)? = nil
        ) throws {
            world = try SimulatedServer(
                options: options, timeouts: timeouts, deflate: server, tls: tls?.server, endpoint: EchoEndpoint())
            self.client = WebSocketClient(loop: world.clients, timeouts: timeouts, deflate: client, tls: tls?.client)
        }

        func connect(
            _ url: String = "ws://127.0.0.1/", subprotocols: [String] = [],
            fields: [(name: String, value: String)] = [],
            timeout: Duration = .seconds(10), _ opened: @escaping (WebSocket) -> Void = { _ in }
        ) {
            client.connect(url, subprotocols: subprotocols, fields: fields, timeout: timeout) {
                [unowned self] outcome in
                switch outcome {
                case .success(let socket):
                    sockets.append(socket)
                    socket.onText = { self.messages.append(String(utf8: $0)) }
                    socket.onBinary = { self.messages.append("\($0.count) bytes") }
                    socket.onClose = { self.closes.append($0) }
                    opened(socket)
                case .failure(let error): errors.append(error)
                }
            }
        }
    }

    /// Answers whatever comes with the same bytes.
    private final class Answerer: ConnectionHandler {
        let answer: (String) -> String
        var behind: [UInt8] = []
        let loop: EventLoop
        init(_ loop: EventLoop, _ answer: @escaping (String) -> String) { (self.loop, self.answer) = (loop, answer) }

        override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
            let text = String(utf8: bytes)
            guard text.hasSuffix("\r\n\r\n") else { return 0 }
            unsafe loop.output(id)?.pointee.append(utf8: answer(text))
            unsafe loop.output(id)?.pointee.append(behind)
            return bytes.count
        }
    }

    private static func accept(_ request: String) -> String {
        let key = request.split(separator: "\r\n").first { $0.hasPrefix("Sec-WebSocket-Key: ") }?.dropFirst(19) ?? ""
        var accept = ByteBuffer()
        WebSocketHandshake.appendAccept(Array(key.utf8).span, to: &accept)
        return String(utf8: accept.span)
    }

    private func everything(from size: Int? = 0) -> DeflateOptions {
        var options = DeflateOptions()
        options.serverNoContextTakeover = false
        options.clientNoContextTakeover = false
        options.minimumMessageSize = size
        return options
    }

    @Test func messagesThereAndBack() throws {
        for options in [SimulationOptions(), .unkind, .byteByByte] {
            let world = try World(options: options)
            let long = String(repeating: "é", count: 20_000)
            world.connect { socket in
                socket.send("hello")
                socket.send(bytes: [1, 2, 3].span)
                socket.send(long)
            }
            world.world.run(20)
            #expect(world.messages == ["hello", "3 bytes", long] && world.client.count == 1)
            world.sockets.first?.close(.normal, reason: "done")
            world.world.run(5)
            #expect(world.closes == [.normal] && world.client.count == 0 && world.world.server.count == 0)
        }
    }

    @Test func rfc7692_messagesAreCompressedBothWays() throws {
        for flags in 0..<4 {
            var (mine, theirs) = (everything(), everything())
            mine.serverWindowBits = flags & 1 == 1 ? 9 : 15
            theirs.clientWindowBits = flags & 1 == 1 ? 8 : 15
            mine.clientNoContextTakeover = flags & 2 == 2
            theirs.serverNoContextTakeover = flags & 2 == 2
            let world = try World(options: .unkind, client: mine, server: theirs)
            let texts = (0..<6).map { number in (0..<300).map { "\($0 * (number % 3)) " }.joined() } + [""]
            world.connect { socket in for text in texts { socket.send(text) } }
            world.world.run(20)
            #expect(world.messages == texts)
            #expect(world.world.server.metrics.deflateCounts.deflated == 7)
            world.sockets.first?.close()
            world.world.run(5)
            #expect(world.client.heldMessageBytes == 0 && world.world.server.heldMessageBytes == 0)
        }
    }

    /// What `wss:` encrypts is the host's own, whose name or address the certificate has (RFC 6455 §4.1, RFC 6125).
    @Test(arguments: [SimulationOptions(), .unkind])
    func overTLSTheCertificateIsVerified(options: SimulationOptions) throws {
        let certificate = TestCertificate.shared
        let server = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath, alpn: ["http/1.1"])
        let trust = try TLSClientContext(trustedPath: certificate.certificatePath)
        let world = try World(options: options, client: everything(), server: everything(), tls: (server, trust))
        world.world.network.names["localhost"] = [.loopback(port: 0)]
        world.world.network.names["example.org"] = [.loopback(port: 0)]
        let long = String(repeating: "é", count: 2_000)
        world.connect("wss://localhost/") { socket in
            #expect(world.world.clients.isTLS(socket.id))
            socket.send(long)
        }
        world.world.run(20)
        #expect(world.messages == [long] && world.errors.isEmpty)
        world.sockets.first?.close()
        world.world.run(5)
        #expect(world.closes == [.normal] && world.client.count == 0 && world.world.server.count == 0)

        // Another's name, an address that it does not have, and one that nobody trusted has signed.
        world.connect("wss://example.org/")
        world.connect("wss://127.0.0.1/")
        WebSocketClient(loop: world.world.clients).connect("wss://localhost/") { outcome in
            if case .failure(let error) = outcome { world.errors.append(error) }
        }
        world.connect("ws://127.0.0.1:443/")
        world.world.run(20)
        let refusals = world.errors.map(\.description).filter { $0.contains("is not accepted") }
        #expect(refusals.count == 3 && world.errors.count == 4 && world.sockets.count == 1, "\(world.errors)")
        #expect(
            refusals.contains { $0.contains("hostname mismatch") }
                && refusals.contains { $0.contains("IP address mismatch") })
        #expect(world.world.clients.statistics.connections == 0)
    }

    /// Pings go both ways, and keep a quiet connection open.
    @Test func quietConnectionsStayOpen() throws {
        let world = try World()
        world.connect()
        world.world.run(300)
        #expect(world.closes.isEmpty && world.client.count == 1 && world.world.server.count == 1)
    }

    @Test func theServerCloses() throws {
        let world = try World()
        world.connect()
        world.world.run(1)
        world.world.server.drain(over: .zero)
        world.world.run(2)
        #expect(world.closes == [.goingAway] && world.client.count == 0)
    }

    @Test func theClientIsClosed() throws {
        let world = try World()
        for _ in 0..<3 { world.connect() }
        world.world.run(1)
        var closed = false
        world.client.close { closed = true }
        world.world.run(2)
        #expect(closed && world.closes == [.goingAway, .goingAway, .goingAway] && world.world.server.count == 0)
    }

    @Test func whatTheServerRefusesIsSaid() throws {
        let world = try World()
        world.connect("ws://127.0.0.1/missing")
        world.connect("ws://127.0.0.1/", fields: [("Origin", "http://evil.example")])
        world.connect("ws://127.0.0.1:81/")
        world.connect("ws://nobody.example/")
        world.world.run(5)
        #expect(world.errors.count == 4 && world.sockets.isEmpty)
        let texts = world.errors.map(\.description)
        #expect(
            texts.contains { $0.hasPrefix("the server refuses: 404") }
                && texts.contains { $0.hasPrefix("the server refuses: 403") })
        #expect(
            texts.contains { $0.hasPrefix("no connection: ") }
                && texts.contains { $0.hasPrefix("the host can't be found: ") })
    }

    @Test(arguments: [
        "http://127.0.0.1/", "127.0.0.1", "ws://", "ws:///path", "ws://a b/", "ws://a/#b", "ws://user@a/", "ws://a:0/",
        "ws://a:65536/",
        "ws://a:b/", "ws://[::1", "ws://[::1]x/", "ws://::1/", "ws://a/\r\nX: y", "ws://ä/",
    ])
    func whatIsNoAddress(url: String) throws {
        let world = try World()
        world.connect(url)
        world.world.run(1)
        guard case .badRequest? = world.errors.first else { return #expect(Bool(false), "\(world.errors)") }
    }

    @Test func whatCannotBeSent() throws {
        let world = try World()
        world.connect(fields: [("X", "a\r\nY: b")])
        world.connect(fields: [("X:", "a")])
        world.connect(subprotocols: ["a b"])
        world.world.run(1)
        #expect(world.errors.count == 3 && world.sockets.isEmpty)
    }

    /// RFC 6455 §4.1: what an answer must be.
    @Test func rfc6455_4_1_answersThatAreNone() throws {
        let good = { (request: String) in
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\nSec-WebSocket-Accept: \(Self.accept(request))\r\n"
        }
        let answers: [(name: String, answer: (String) -> String)] = [
            ("subprotocol b", { good($0) + "Sec-WebSocket-Protocol: b\r\n\r\n" }),
            ("good", { good($0) + "\r\n" }),
            (
                "deflate",
                { good($0) + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n" }
            ),
            ("key", { good($0).replacing("Accept: ", with: "Accept: x") + "\r\n" }),
            ("no key", { _ in "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" }),
            ("upgrade", { good($0).replacing("WebSocket\r\n", with: "h2c\r\n") + "\r\n" }),
            ("connection", { good($0).replacing("keep-alive, upgrade", with: "close") + "\r\n" }),
            ("subprotocol", { good($0) + "Sec-WebSocket-Protocol: c\r\n\r\n" }),
            ("extension", { good($0) + "Sec-WebSocket-Extensions: permessage-bzip2\r\n\r\n" }),
            (
                "extension twice",
                {
                    good($0)
                        + "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover, permessage-deflate\r\n\r\n"
                }
            ),
            (
                "parameter",
                { good($0) + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=16\r\n\r\n" }
            ),
            ("line", { good($0) + "no field\r\n\r\n" }),
            ("version", { _ in "HTTP/1.0 101 X\r\n\r\n" }),
            ("nothing", { _ in "SSH-2.0-OpenSSH_9.2p1\r\n\r\n" }),
            ("long", { good($0) + "X: " + String(repeating: "x", count: 20_000) }),
            ("long line", { _ in String(repeating: "x", count: 70_000) }),
        ]
        for (index, answer) in answers.enumerated() {
            let world = try World(client: DeflateOptions())
            let port = UInt16(1000 + index)
            _ = try world.world.loop.listen(.loopback(port: port), handler: Answerer(world.world.loop, answer.answer))
            world.connect("ws://127.0.0.1:\(port)/", subprotocols: ["a", "b"])
            world.world.run(3)
            if index < 3 {
                #expect(world.sockets.count == 1, "\(answer.name): \(world.errors)")
                #expect(world.sockets.first?.subprotocol == (index == 0 ? "b" : nil))
            } else if case .badAnswer? = world.errors.first {
                #expect(world.sockets.isEmpty && world.errors.count == 1, "\(answer.name)")
            } else {
                #expect(Bool(false), "\(answer.name): \(world.errors)")
            }
            world.world.run(100)
            #expect(world.world.clients.statistics.connections == 0 || index < 3, "\(answer.name)")
        }
    }

    @Test func aServerThatDoesNotAnswer() throws {
        let world = try World()
        _ = try world.world.loop.listen(.loopback(port: 90), handler: Answerer(world.world.loop) { _ in "" })
        world.connect("ws://127.0.0.1:90/", timeout: .seconds(3))
        world.world.run(2)
        #expect(world.errors.isEmpty)
        world.world.run(2)
        #expect(world.errors == [.timedOut] && world.world.clients.statistics.connections == 0)
    }

    /// What comes with the answer is not lost, and a server that masks its frames is told so.
    @Test func framesBehindTheAnswer() throws {
        for (frame, message, code) in [
            ([0x81, 0x02, 0x68, 0x69], "hi", nil),
            ([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69], nil, CloseCode.protocolError),
        ] as [([UInt8], String?, CloseCode?)] {
            let world = try World()
            let answerer = Answerer(world.world.loop) { request in
                "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                    + "Sec-WebSocket-Accept: \(Self.accept(request))\r\n\r\n"
            }
            answerer.behind = frame
            _ = try world.world.loop.listen(.loopback(port: 90), handler: answerer)
            world.connect("ws://127.0.0.1:90/")
            world.world.run(20)
            #expect(world.messages == (message.map { [$0] } ?? []) && world.closes == (code.map { [$0] } ?? []))
        }
    }

    @Test func aTaskWaitsForMessages() throws {
        let world = try World()
        var heard: [WebSocketMessage] = []
        var end: WebSocketMessage? = .text("")
        let client = world.client
        let body = { () async -> Void in
            do throws(WebSocketClientError) {
                let socket = try await client.connect("ws://127.0.0.1/")
                for number in 0..<100 { socket.send("\(number)") }
                socket.send(bytes: [7].span)
                for _ in 0..<101 { if let message = await socket.receive() { heard.append(message) } }
                socket.close()
                end = await socket.receive()
            } catch {
                heard.append(.text("\(error)"))
            }
        }
        let bound = LoopBound(body, loop: world.world.clients)
        world.world.clients.spawn { await bound.value() }
        world.world.run(10)
        #expect(heard == (0..<100).map { .text("\($0)") } + [.binary([7])])
        #expect(end == nil && client.count == 0)
    }

    /// RFC 9110 §15.2: interim answers may come before the one that is meant.
    @Test func rfc9110_15_2_interimAnswers() throws {
        for count in [1, 8, 9] {
            let world = try World()
            let answerer = Answerer(world.world.loop) { request in
                String(repeating: "HTTP/1.1 103 Early Hints\r\nLink: </a.js>; rel=preload\r\n\r\n", count: count)
                    + "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
                    + "Sec-WebSocket-Accept: \(Self.accept(request))\r\n\r\n"
            }
            answerer.behind = [0x81, 0x02, 0x68, 0x69]
            _ = try world.world.loop.listen(.loopback(port: 90), handler: answerer)
            world.connect("ws://127.0.0.1:90/")
            world.world.run(20)
            #expect(world.messages == (count > 8 ? [] : ["hi"]))
            #expect(world.errors.count == (count > 8 ? 1 : 0))
        }
    }
}
