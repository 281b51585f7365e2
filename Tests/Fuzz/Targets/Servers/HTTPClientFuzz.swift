import Bytes
import HTTPClient
import Reactor
import ReactorSim

/// The whole HTTP client against servers that do anything: every request ends once, within its time and its limits.
func fuzzHTTPClient(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let attack = try HTTPClientAttack(&input)
    while !input.isEmpty { try attack.step(&input) }
    try attack.end()
}

private final class HTTPClientAttack {
    private let world: FuzzWorld
    private let client: HTTPClient
    private var listener: SimulatedPeerListener?
    private let address = SocketAddress.loopback(port: 80)
    private var requests: [Request] = []
    private var broken: String?

    private final class Request {
        var ends = 0
        var heads = 0
        var call: HTTPCall?
        /// When its time is over.
        var due: UInt64 = 0
    }

    /// "hello", compressed by gzip.
    private static let gzip: [UInt8] = [
        0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 0xCB, 0x48, 0xCD, 0xC9, 0xC9, 7, 0, 0x86, 0xA6, 0x10, 0x36, 5, 0, 0, 0,
    ]

    init(_ input: inout FuzzInput) throws {
        world = try FuzzWorld(&input)
        var limits = HTTPClientLimits()
        limits.http1.headBytes = 2000
        limits.connectionsPerOrigin = 2
        limits.connections = 3
        limits.waitingRequests = 12
        limits.heldBytes = 200_000
        limits.discardedBytes = 500
        limits.connectTime = .seconds(3)
        limits.idleTime = .seconds(10)
        client = HTTPClient(loop: world.loop, limits: limits)
        world.network.names["a"] = [.loopback(port: 0)]
        world.network.names["b"] = [SocketAddress(ipv4: 0x0A00_0001, port: 0), .loopback(port: 0)]
        listener = world.network.listenForPeers(address)
    }

    func step(_ input: inout FuzzInput) throws {
        let operation = input.choice(20)
        switch operation {
        case 0, 1, 2: begin(&input)
        case 3, 4: act(&input)
        case 5, 6: try world.wait(&input)
        case 7: toggleListener()
        default: if let peer = world.peer(&input) { answer(operation, peer, &input) }
        }
        try world.settle()
        while world.peers.count < FuzzWorld.maximumPeers, let end = listener?.accept() { world.add(end) }
        try promise(broken == nil, broken ?? "")
    }

    // MARK: The client's side

    private func begin(_ input: inout FuzzInput) {
        guard requests.count < 60 else { return }
        let choice = input.byte()
        let more = input.byte()
        let methods: [HTTP1Method] = [.get, .get, .head, .post, .put, .delete, .get, .options]
        let hosts = ["a", "b", "a", "nobody"]
        let timeout: [Duration] = [.milliseconds(20), .seconds(1), .seconds(30), .seconds(5)]
        guard
            let request = try? HTTPClientRequest(
                methods[Int(choice & 7)], "http://\(hosts[Int(choice >> 3 & 3)])/\(requests.count)",
                body: choice & 0x20 != 0 ? [UInt8](repeating: choice, count: Int(more) * 40) : nil,
                timeout: timeout[Int(choice >> 6)], redirects: Int(more & 3))
        else { return }
        let one = Request()
        requests.append(one)
        let limit = more & 4 != 0 ? 10 : 5000
        let streams = more & 8 != 0
        world.loop.execute { [self] in
            one.due = world.loop.now + request.timeout.nanoseconds
            one.call = streams ? stream(request, one) : collect(request, one, limit)
            if one.ends > 0 { broken = "an end before its call has returned" }
        }
    }

    private func collect(_ request: HTTPClientRequest, _ one: Request, _ limit: Int) -> HTTPCall {
        client.send(request, limit: limit) { [unowned self] result in
            ended(one)
            guard case .success(let response) = result else { return }
            if response.body.count > limit {
                broken = "a body of \(response.body.count) bytes, and the limit is \(limit)"
            }
            if response.status < 200 { broken = "an interim response" }
            if request.method == .head, !response.body.isEmpty { broken = "HEAD was answered with a body" }
        }
    }

    private func stream(_ request: HTTPClientRequest, _ one: Request) -> HTTPCall {
        client.stream(request) { [unowned self] _ in
            one.heads += 1
            if one.heads > 1 || one.ends > 0 { broken = "a head where none can be" }
        } onBody: { [unowned self] bytes in
            if one.heads != 1 || one.ends > 0 || bytes.count == 0 { broken = "a body where none can be" }
        } onEnd: { [unowned self] error in
            ended(one)
            if error == nil, one.heads != 1 { broken = "an end without a head" }
        }
    }

    private func ended(_ one: Request) {
        one.ends += 1
        // A turn may be late.
        if world.loop.now > one.due + 100_000_000 { broken = "an end behind its time" }
    }

    private func act(_ input: inout FuzzInput) {
        guard !requests.isEmpty else { return }
        let one = requests[Int(input.byte()) % requests.count]
        let choice = input.byte()
        world.loop.execute {
            switch choice % 3 {
            case 0: one.call?.cancel()
            case 1: one.call?.pause()
            default: one.call?.resume()
            }
        }
    }

    // MARK: The servers' side

    private func toggleListener() {
        if let listener {
            listener.close()
            self.listener = nil
        } else {
            listener = world.network.listenForPeers(address)
        }
    }

    private func answer(_ operation: Int, _ peer: HostilePeer, _ input: inout FuzzInput) {
        let choice = input.byte()
        switch operation {
        case 8: peer.end.send(input.run())
        case 9, 10:
            peer.send(
                "HTTP/1.1 200 OK\r\nContent-Length: \(choice)\r\n\r\n\(String(repeating: "x", count: Int(choice)))")
        case 11: peer.send("HTTP/1.\(choice & 1) 200 OK\r\n\(field(choice >> 1))\r\n")
        case 12: peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        case 13: peer.send(String(choice, radix: 16) + "\r\n\(String(repeating: "y", count: Int(choice)))\r\n")
        case 14: peer.send("0\r\n\r\n")
        case 15:
            peer.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(Self.gzip.count)\r\n\r\n")
            peer.end.send(Self.gzip.prefix(choice & 3 == 0 ? Int(choice >> 2) % Self.gzip.count : Self.gzip.count) + [])
        case 16:
            let places = ["/x", "http://b/", "//a/y", "https://a/", "x y", "?q"]
            peer.send("HTTP/1.1 30\(choice % 9) X\r\nLocation: \(places[Int(choice >> 4) % 6])\r\n\(field(choice))\r\n")
        case 17:
            peer.send(["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"][Int(choice & 1)])
        case 18: peer.send("HTTP/1.1 \([204, 304, 408, 101][Int(choice & 3)]) X\r\n\(field(choice >> 2))\r\n")
        default: world.misbehave(peer, &input)
        }
    }

    private func field(_ choice: UInt8) -> String {
        [
            "", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
            "Connection: keep-alive\r\n",
            "Keep-Alive: timeout=\(choice)\r\n", "Content-Encoding: gzip\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 700\r\n", "Content-Length: 99999999999\r\n", "A: b\r\n c\r\n", "Content-Length: 0\r\n",
        ][Int(choice) % 12]
    }

    // MARK: The end

    func end() throws {
        world.loop.execute { [client] in client.close() }
        try world.leave()
        try promise(broken == nil, broken ?? "")
        for one in requests { try promise(one.ends == 1, "a request has ended \(one.ends) times") }
        try promise(client.openRequests == 0, "\(client.openRequests) requests are left")
        try promise(client.waitingRequests == 0, "\(client.waitingRequests) requests wait")
        try promise(client.openConnections == 0, "\(client.openConnections) connections are left")
        try promise(client.heldBytes == 0, "\(client.heldBytes) bytes are held")
        listener?.close()
        world.loop.execute { [self] in
            for one in requests {
                one.call?.resume()
                one.call?.cancel()
            }
        }
        try world.settle()
        for one in requests {
            try promise(one.ends == 1, "a request has ended \(one.ends) times, the last by cancelling")
        }
        try world.promiseEmptiness()
        for one in requests { one.call = nil }
    }
}
