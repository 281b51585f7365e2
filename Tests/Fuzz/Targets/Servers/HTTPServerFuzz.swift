import Bytes
import HTTPServer
import Reactor
import ReactorSim
import WebSocketServer
import WebSockets

/// The whole HTTP server: answers at once, late, twice and never, bodies and streams, upgrades, drain.
func fuzzHTTPServer(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let attack = try HTTPAttack(&input)
    while !input.isEmpty { try attack.step(&input) }
    try attack.end()
}

private final class HTTPAttack {
    private let world: FuzzWorld
    private let server: HTTPServer
    private let sockets: WebSocketServer
    private let endpoint = CountingEndpoint()
    private let address: SocketAddress
    private let routes = Routes()
    private var isDraining = false
    private var drained = 0

    /// What handlers keep: apart from the attack, so that routes do not hold the world.
    private final class Routes {
        var waiting: [(responder: HTTPResponder, tag: String)] = []
        var streams: [(stream: HTTPBodyStream, tag: String)] = []
    }

    init(_ input: inout FuzzInput) throws {
        world = try FuzzWorld(&input)
        sockets = WebSocketServer(loop: world.loop)
        var limits = HTTPLimits()
        limits.pipelineDepth = 4
        limits.outputHighWater = 4000
        limits.discardedBodyBytes = 3000
        let router = Self.router(routes, sockets, endpoint)
        server = HTTPServer(loop: world.loop, router: router, limits: limits)
        address = try server.listen(.loopback(port: 80)).localAddress
    }

    private static func router(_ routes: Routes, _ sockets: WebSocketServer, _ endpoint: CountingEndpoint) -> Router {
        let router = Router()
        let later: HTTPHandler = { request, responder in
            routes.waiting.append((responder, request.text("x-tag") ?? ""))
        }
        let upgrade: HTTPHandler = { request, responder in
            var response = ByteBuffer()
            let id = request.connection
            if sockets.shakeHands(request.head, id, isForeign: request.isForeign, response: &response) != nil {
                return responder.respond(426)
            }
            if responder.upgrade(to: sockets, context: 0, response: response.span) {
                sockets.adopt(id, handler: endpoint)
            }
        }
        router.get("/tag") { request, responder in
            let tag = request.text("x-tag") ?? ""
            responder.respond(200, "text/plain") { $0.append(utf8: tag) }
        }
        router.post("/echo", bodyBytes: 2000) { request, responder in
            responder.respond(200, "text/plain", body: request.body)
        }
        router.get("/later", later)
        router.post("/later", bodyBytes: 2000, later)
        router.get("/stream") { request, responder in
            routes.streams.append((responder.stream(200, "text/plain"), request.text("x-tag") ?? ""))
        }
        router.get("/ws", upgrade)
        router.post("/ws", upgrade)
        return router
    }

    func step(_ input: inout FuzzInput) throws {
        let operation = input.choice(16)
        if operation == 0 || world.peers.isEmpty { world.connect(to: address) }
        guard let peer = world.peer(&input) else { return }
        switch operation {
        case 0, 1, 2, 3, 4: peer.send(request(peer, &input))
        case 5: peer.end.send(input.run())
        case 6: peer.end.send(body(peer, Int(input.byte()) * 20))
        case 7, 8: frame(peer, &input)
        case 9: try world.wait(&input)
        case 10, 11: answer(&input)
        case 12: stream(&input)
        case 13: world.misbehave(peer, &input)
        case 14: end(&input)
        default: break
        }
        try world.settle()
    }

    // MARK: What peers do

    private static let upgradeFields =
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    private func request(_ peer: HostilePeer, _ input: inout FuzzInput) -> String {
        let choice = input.byte()
        let path = ["/tag", "/later", "/stream", "/ws", "/none"][Int(choice >> 5) % 5]
        let fields = "Host: a\r\nx-tag: \(peer.secret)\r\n"
        let upgrade = Self.upgradeFields
        let size = peer.secret.utf8.count
        return switch choice & 31 {
        case 0...4: "GET \(path) HTTP/1.1\r\n\(fields)\r\n"
        case 5: "GET /ws HTTP/1.1\r\n\(fields)\(upgrade)\r\n"
        case 6: "GET /ws HTTP/1.1\r\n\(fields)\(upgrade)Content-Length: 5\r\n\r\n"
        case 7: "POST /ws HTTP/1.1\r\n\(fields)\(upgrade)Transfer-Encoding: chunked\r\n\r\n"
        case 8: "POST /echo HTTP/1.1\r\n\(fields)Content-Length: \(size)\r\n\r\n\(peer.secret)"
        case 9: "POST /echo HTTP/1.1\r\n\(fields)Content-Length: \(Int(input.byte()) * 20)\r\n\r\n"
        case 10:
            "POST /later HTTP/1.1\r\n\(fields)Transfer-Encoding: chunked\r\n\r\n"
                + "\(String(size, radix: 16))\r\n\(peer.secret)\r\n0\r\n\r\n"
        case 11: "POST /tag HTTP/1.1\r\n\(fields)Content-Length: 100000\r\n\r\n"
        case 12: "GET \(path) HTTP/1.0\r\n\(fields)\r\n"
        case 13: "GET \(path) HTTP/1.1\r\n\(fields)Connection: close\r\n\r\n"
        case 14: "POST /echo HTTP/1.1\r\n\(fields)Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"
        case 15: "HEAD \(path) HTTP/1.1\r\n\(fields)\r\n"
        case 16: "OPTIONS * HTTP/1.1\r\n\(fields)\r\n"
        case 17: String(repeating: "GET \(path) HTTP/1.1\r\n\(fields)\r\n", count: 6)
        case 18: "GET \(path) HTTP/1.1\r\n\(fields)"
        case 19: "\r\n"
        case 20: "0\r\n\r\n"
        case 21: "GET /ws HTTP/1.1\r\n\(fields)\(upgrade)\r\nGET /tag HTTP/1.1\r\n\(fields)\r\n"
        case 22: "PUT \(path) HTTP/1.1\r\n\(fields)Content-Length: 4\r\n\r\nabcd"
        case 23: "GET \(path)?\(String(repeating: "a", count: 9000)) HTTP/1.1\r\n"
        case 24: "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"
        default: "GET \(path) HTTP/1.1\r\n\(fields)X: \(choice)\r\n\r\n"
        }
    }

    private func body(_ peer: HostilePeer, _ count: Int) -> [UInt8] {
        Array(String(repeating: peer.secret, count: count / peer.secret.utf8.count + 1).utf8.prefix(count))
    }

    private func frame(_ peer: HostilePeer, _ input: inout FuzzInput) {
        var buffer = ByteBuffer()
        let choice = input.byte()
        FrameWriter.append(
            Opcode(rawValue: choice & 15) ?? .text, Array(peer.secret.utf8).span, isFinal: choice & 0x40 == 0,
            mask: 0x1F2E_3D4C, to: &buffer)
        peer.end.send(buffer.array())
    }

    // MARK: What handlers do

    private func answer(_ input: inout FuzzInput) {
        guard !routes.waiting.isEmpty else { return }
        let choice = input.byte()
        // Answered ones stay in the list: a second answer must count for nothing.
        let (responder, tag) = routes.waiting[Int(choice & 31) % routes.waiting.count]
        world.loop.execute {
            responder.respond(200, "text/plain") {
                for _ in 0..<(choice & 0x80 != 0 ? 200 : 1) { $0.append(utf8: tag) }
            }
        }
    }

    private func stream(_ input: inout FuzzInput) {
        guard !routes.streams.isEmpty else { return }
        let choice = input.byte()
        let (stream, tag) = routes.streams[Int(choice & 31) % routes.streams.count]
        world.loop.execute {
            switch choice & 0xC0 {
            case 0x80: stream.finish()
            case 0xC0: stream.breakOff()
            default: stream.write(Array(tag.utf8).span)
            }
        }
    }

    private func end(_ input: inout FuzzInput) {
        let choice = input.byte()
        world.loop.execute { [self] in
            switch choice & 3 {
            case 0 where !isDraining:
                isDraining = true
                server.drain(keepingQuietFor: choice & 4 == 0 ? .zero : .seconds(1)) { [self] in drained += 1 }
            case 1: server.announceEnd()
            case 2: sockets.closeAll()
            default: server.closeAll()
            }
        }
    }

    // MARK: The end

    func end() throws {
        if !isDraining { try serveNewcomer() }
        try world.leave()
        // Who has gone may just have closed his half: the server waits for the answer, and hears then.
        world.loop.execute { [routes] in
            for (responder, tag) in routes.waiting { responder.respond(200, "text/plain") { $0.append(utf8: tag) } }
            for (stream, _) in routes.streams { stream.finish() }
        }
        try world.run(for: 100_000_000_000)
        for (responder, _) in routes.waiting { try promise(!responder.isOpen, "a responder outlives its connection") }
        for (stream, _) in routes.streams { try promise(!stream.isOpen, "a stream outlives its connection") }
        try promise(server.connectionCount == 0, "\(server.connectionCount) connections of the server are left")
        try promise(sockets.count == 0, "\(sockets.count) WebSockets are left")
        try promise(drained == (isDraining ? 1 : 0), "drained \(drained) times")
        try endpoint.promiseEnds()
        server.stopAccepting()
        try world.settle()
        try world.promiseEmptiness()
    }

    /// A newcomer is served, whatever the others have done, and with his own bytes.
    private func serveNewcomer() throws {
        world.becomeKind()
        let newcomer = HostilePeer(world.network.connect(to: address), number: FuzzWorld.maximumPeers)
        newcomer.send("GET /tag HTTP/1.1\r\nHost: a\r\nx-tag: \(newcomer.secret)\r\n\r\n")
        try world.run(for: 1_000_000_000)
        try newcomer.listen(others: world.peers)
        let answer = String(decoding: newcomer.received, as: UTF8.self)
        try promise(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix(newcomer.secret), "a newcomer got \(answer)")
        newcomer.end.close()
    }
}

/// Echoes, and counts who came and went.
final class CountingEndpoint: WebSocketHandler {
    private var open: Set<WebSocketID> = []
    private var broken: String?

    override func webSocketOpened(_ id: WebSocketID) {
        if !open.insert(id).inserted { broken = "\(id) was opened twice" }
    }

    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        if !open.contains(id) { broken = "\(id) speaks and is not open" }
        server.sendText(id, text)
    }

    override func webSocketBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) {
        if !open.contains(id) { broken = "\(id) speaks and is not open" }
        server.sendBinary(id, bytes)
    }

    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        if open.remove(id) == nil { broken = "\(id) was closed and not open" }
    }

    func promiseEnds() throws {
        try promise(broken == nil, broken ?? "")
        try promise(open.isEmpty, "\(open.count) WebSockets have no end")
    }
}
