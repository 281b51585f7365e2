import Bytes
import Reactor
import ReactorSim
import WebSocketServer
import WebSockets

/// The whole WebSocket server behind its own door, with a list and a broadcast that peers subscribe to, slow readers included.
func fuzzWebSocketServer(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    // The last byte, so that programs from before there were compressed messages mean what they meant.
    let attack = try WebSocketAttack(&input, deflate: bytes.last ?? 0)
    while !input.isEmpty { try attack.step(&input) }
    try attack.end()
}

private final class WebSocketAttack {
    private let world: FuzzWorld
    private let server: WebSocketServer
    private let listener: Listener
    private let endpoint = SubscribingEndpoint()
    private var drained = 0
    private var isDraining = false
    private var published = 0

    init(_ input: inout FuzzInput, deflate choice: UInt8) throws {
        world = try FuzzWorld(&input)
        let limits = WebSocketLimits(maximumMessageSize: 1000, maximumFramesPerMessage: 8)
        var deflate = DeflateOptions()
        deflate.serverNoContextTakeover = choice & 1 == 1
        deflate.clientNoContextTakeover = choice & 2 == 2
        deflate.minimumMessageSize = choice & 4 == 4 ? 20 : nil
        deflate.maximumUnfinished = 2
        server = WebSocketServer(loop: world.loop, limits: limits, deflate: choice & 8 == 8 ? nil : deflate)
        endpoint.topics = [server.topics.makeTopic(), server.topics.makeBroadcast(history: 4)]
        let door = HandshakeHandler(server: server) { [endpoint] in $0 == "/" ? endpoint : nil }
        listener = try world.loop.listen(.loopback(port: 80), handler: door)
    }

    func step(_ input: inout FuzzInput) throws {
        let operation = input.choice(16)
        if operation == 0 || world.peers.isEmpty {
            world.connect(to: listener.localAddress)
            world.peers.last?.send(Self.handshake(world.peers.count & 1 == 1))
        }
        guard let peer = world.peer(&input) else { return }
        switch operation {
        case 1: peer.end.send(input.run())
        case 2:
            peer.send(
                input.bool() ? Self.handshake(true) : "GET /none HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
        case 3, 4, 5, 6: frame(peer, &input)
        case 7: try world.wait(&input)
        case 8, 9, 10: publish(&input)
        case 11: world.misbehave(peer, &input)
        case 12: say(peer, ["list", "broadcast", "leave", "bad", "close", "ping"][input.choice(6)])
        case 13: end(&input)
        default: break
        }
        try world.settle()
    }

    private static func handshake(_ offersDeflate: Bool) -> String {
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + (offersDeflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n" : "\r\n")
    }

    private func frame(_ peer: HostilePeer, _ input: inout FuzzInput) {
        let choice = input.byte()
        var buffer = ByteBuffer()
        var payload = choice & 0x20 == 0 ? Array(peer.secret.utf8) : input.run()
        let kind = choice & 15
        // Numbers that are no opcodes stand for compressed frames: of a message, or of anything.
        if kind == 11 || kind == 12 {
            var deflater = Deflater()
            var compressed = ByteBuffer()
            let message = kind == 11 ? payload : Array(repeatElement(payload, count: 100).joined())
            _ = deflater.deflate(message.span, into: &compressed)
            payload = compressed.array()
        }
        FrameWriter.append(
            Opcode(rawValue: kind) ?? .text, payload.span, isFinal: choice & 0x40 == 0, isDeflated: kind > 10,
            mask: choice & 0x80 == 0 ? 0x0102_0304 : nil, to: &buffer)
        peer.end.send(buffer.array())
    }

    private func say(_ peer: HostilePeer, _ text: String) {
        var buffer = ByteBuffer()
        FrameWriter.append(.text, Array(text.utf8).span, mask: 0x0102_0304, to: &buffer)
        peer.end.send(buffer.array())
    }

    private func publish(_ input: inout FuzzInput) {
        let choice = input.byte()
        published += 1
        var buffer = ByteBuffer()
        let text = [UInt8](repeating: UInt8(ascii: "l"), count: Int(choice >> 1) * 40)
        FrameWriter.append(.text, text.span, to: &buffer)
        let topic = endpoint.topics[Int(choice & 1)]
        let frame = SharedBytes(buffer)
        world.loop.execute { [server] in server.topics.publish(topic, frame) }
    }

    private func end(_ input: inout FuzzInput) {
        let choice = input.byte()
        world.loop.execute { [self] in
            switch choice & 3 {
            case 0 where !isDraining:
                isDraining = true
                server.drain(over: .seconds(Int(choice >> 2) % 4)) { [self] in drained += 1 }
            case 1: server.closeAll()
            case 2:
                server.topics.removeTopic(endpoint.topics[Int(choice >> 7)])
                endpoint.topics[Int(choice >> 7)] = server.topics.makeTopic()
            default: endpoint.closeOne()
            }
        }
    }

    func end() throws {
        try world.leave()
        try promise(server.count == 0, "\(server.count) WebSockets are left")
        try promise(server.heldMessageBytes == 0, "\(server.heldMessageBytes) bytes of messages are held for nobody")
        for topic in endpoint.topics {
            try promise(server.topics.subscriberCount(topic) == 0, "a topic has subscribers that are gone")
        }
        try promise(drained == (isDraining ? 1 : 0), "drained \(drained) times")
        try endpoint.promiseEnds()
        listener.close()
        try world.settle()
        try world.promiseEmptiness()
    }
}

/// Does what texts say; echoes the others.
private final class SubscribingEndpoint: WebSocketHandler {
    var topics: [TopicID] = []
    private var open: [WebSocketID] = []
    private var broken: String?

    override func webSocketOpened(_ id: WebSocketID) {
        if open.contains(id) { broken = "\(id) was opened twice" }
        open.append(id)
    }

    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        if !open.contains(id) { broken = "\(id) speaks and is not open" }
        switch String(decoding: array(text), as: UTF8.self) {
        case "list": server.topics.subscribe(id, to: topics[0], interval: 100)
        case "broadcast": server.topics.subscribe(id, to: topics[1])
        case "leave": server.topics.unsubscribe(id)
        case "bad": server.countBadMessage(id)
        case "close": server.close(id, .normal, reason: "asked")
        case "ping": server.ping(id)
        default: server.sendText(id, text)
        }
    }

    override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) {
        if !open.contains(id) { broken = "\(id) speaks and is not open" }
        server.sendBinary(id, bytes)
    }

    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        guard let place = open.firstIndex(of: id) else {
            broken = "\(id) was closed and not open"
            return
        }
        open.remove(at: place)
        server.sendText(id, [UInt8]().span)
        server.topics.subscribe(id, to: topics[0])
    }

    func closeOne() {
        if let id = open.first { server.loop.close(id) }
    }

    func promiseEnds() throws {
        try promise(broken == nil, broken ?? "")
        try promise(open.isEmpty, "\(open.count) WebSockets have no end")
    }
}
