import Bytes
import HTTPServer
import Reactor
import ReactorSim
import Testing

/// Lets everybody in, and notes who they were.
private final class Book: ConnectionGate {
    var isFull = false
    private(set) var admitted: [String] = []
    private(set) var gone: [String] = []
    private(set) var marks: [UInt64] = []
    private(set) var failures: [String] = []

    func admits(_ client: SocketAddress) -> Bool {
        admitted.append(client.ip)
        return !isFull
    }

    func ended(_ client: SocketAddress, mark: UInt64) {
        gone.append(client.ip)
        marks.append(mark)
    }

    func refusedProxy(_ peer: SocketAddress?, _ failure: ProxyHeader.Failure?) {
        failures.append(failure?.rawValue ?? "silent or not trusted")
    }
}

private enum Header {
    static let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

    static func v2(_ command: UInt8, _ family: UInt8, _ rest: [UInt8]) -> [UInt8] {
        signature + [0x20 | command, family, UInt8(rest.count >> 8), UInt8(rest.count & 255)] + rest
    }

    /// 192.0.2.7:4711 to 10.0.0.1:80, with an extension.
    static let ipv4 = v2(1, 0x11, [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0, 80, 0x20, 0, 2, 1, 2])
    /// [2001:db8::7]:4711
    static let ipv6 = v2(
        1, 0x21, [0x20, 1, 0xD, 0xB8] + [UInt8](repeating: 0, count: 11) + [7] + [UInt8](repeating: 1, count: 20))
    static let local = v2(0, 0, [])
    static let unknown = v2(1, 0, [1, 2, 3])
}

@Suite struct ProxyHeaderTests {
    @Test func everyPrefixNeedsMoreAndTheWholeIsAHeader() {
        for (bytes, address) in [
            (Header.ipv4, "192.0.2.7:4711"), (Header.ipv6, "[2001:db8::7]:257"), (Header.local, nil),
            (Header.unknown, nil), (Header.v2(0, 0x99, [1]), nil),
        ] {
            for count in 0..<bytes.count {
                #expect(ProxyHeader.parse(bytes.span.extracting(0..<count)) == .needsMore)
            }
            guard case .header(let header) = ProxyHeader.parse((bytes + [71, 69, 84]).span) else {
                Issue.record("no header: \(bytes)")
                continue
            }
            #expect(header.length == bytes.count && header.source.map { "\($0)" } == address)
        }
    }

    @Test func whatIsNoHeaderIsRefusedWithItsFirstWrongByte() {
        let wrong: [([UInt8], ProxyHeader.Failure)] = [
            (Array("G".utf8), .missing), (Array("PRI * HTTP/2.0\r\n".utf8), .missing), ([22], .missing),
            (Array("PROXY ".utf8), .version1), (Array("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".utf8), .version1),
            (Array("PROXZ".utf8), .missing), (Array("\r\n\r\n\0\r\nQUIX".utf8), .missing),
            (Header.signature + [0x11], .unknown), (Header.signature + [0x22], .unknown),
            (Header.signature + [0x31], .unknown), (Header.signature + [0x21, 0x12], .unknown),
            (Header.signature + [0x21, 0x22], .unknown), (Header.signature + [0x21, 0x31], .unknown),
            (Header.signature + [0x21, 0x10], .unknown), (Header.signature + [0x21, 0x01], .unknown),
            (Header.v2(1, 0x11, [UInt8](repeating: 0, count: 11)), .length),
            (Header.v2(1, 0x21, [UInt8](repeating: 0, count: 35)), .length),
            (Header.signature + [0x21, 0x11, 0xFF, 0xFF], .length),
            (Header.signature + [0x20, 0, 0x08, 0x00], .length),
        ]
        for (bytes, failure) in wrong { #expect(ProxyHeader.parse(bytes.span) == .failed(failure), "\(bytes)") }
    }
}

/// A server behind a proxy that speaks version 2, in virtual time.
@Suite struct ProxyProtocolTests {
    private func world(_ book: Book, trusted: [String] = ["127.0.0.1"], tls: Bool = false) throws -> SimulatedHTTP {
        try SimulatedHTTP(
            tls: tls, proxies: try TrustedProxies(trusted), gate: book, proxyProtocol: true
        ) { _, router in
            router.get("/") { request, responder in responder.text(request.clientAddress?.ip ?? "nobody") }
        }
    }

    private static let get = Array("GET / HTTP/1.1\r\nHost: h\r\n\r\n".utf8)

    private func answer(_ peer: ReactorSim.SimulatedPeer) -> String {
        let text = String(decoding: peer.takeReceived(), as: UTF8.self)
        return String(text.split(separator: "\r\n\r\n").last ?? "")
    }

    @Test func aRequestComesFromWhomTheProxyNames() throws {
        let book = Book()
        let world = try world(book)
        for (header, client) in [
            (Header.ipv4, "192.0.2.7"), (Header.ipv6, "2001:db8::7"), (Header.local, "127.0.0.1"),
            (Header.unknown, "127.0.0.1"),
        ] {
            let peer = world.network.connect(to: world.address)
            peer.send(header + Self.get)
            world.run(1)
            #expect(answer(peer) == client)
            // And so does the next one of the connection, and what stands in its fields is the client's own word.
            peer.send(Array("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n".utf8))
            world.run(1)
            #expect(answer(peer) == (client == "127.0.0.1" ? "9.9.9.9" : client))
            peer.close()
            world.run(1)
        }
        #expect(book.admitted == ["192.0.2.7", "2001:db8::7", "127.0.0.1", "127.0.0.1"] && book.gone == book.admitted)
        #expect(book.failures.isEmpty)
    }

    /// Byte by byte, and whole with what follows.
    @Test func aHeaderMayComeInPieces() throws {
        let book = Book()
        let world = try world(book)
        let peer = world.network.connect(to: world.address)
        for byte in Header.ipv6 + Self.get {
            peer.send([byte])
            world.run(0.01)
        }
        #expect(answer(peer) == "2001:db8::7")
    }

    @Test func whoSaysNothingOrSomethingElseIsClosed() throws {
        let book = Book()
        let world = try world(book)
        let silent = world.network.connect(to: world.address)
        let slow = world.network.connect(to: world.address)
        slow.send(Array(Header.ipv4.dropLast()))
        world.run(4)
        #expect(!silent.isOver && !slow.isOver)
        world.run(2)
        #expect(silent.isOver && slow.isOver && silent.takeReceived().isEmpty)
        for bytes in [Self.get, Array("PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n".utf8) + Self.get, [22, 3, 1]] {
            let peer = world.network.connect(to: world.address)
            peer.send(bytes)
            world.run(0.1)
            #expect(peer.isOver && peer.takeReceived().isEmpty)
        }
        #expect(
            book.failures == ["silent or not trusted", "silent or not trusted", "missing", "version1", "missing"])
        #expect(book.admitted.isEmpty && book.gone.isEmpty)
        #expect(world.server.connectionCount == 0)
    }

    @Test func whoIsNoProxyIsClosedAtOnce() throws {
        let book = Book()
        let world = try world(book, trusted: ["10.0.0.0/8"])
        let stranger = world.network.connect(to: world.address)
        stranger.send(Header.ipv4 + Self.get)
        let proxy = world.network.connect(to: world.address, from: SocketAddress(ip: "10.0.0.9", port: 0))
        proxy.send(Header.ipv4 + Self.get)
        world.run(1)
        #expect(stranger.isOver && answer(proxy) == "192.0.2.7")
        #expect(book.failures == ["silent or not trusted"] && book.admitted == ["192.0.2.7"])
    }

    /// The header stands in front of TLS: a relay on the way writes it.
    @Test func behindItTLSBegins() throws {
        let book = Book()
        let world = try world(book, tls: true)
        let relay = Relay(loop: world.clients, to: world.address, header: Header.ipv4)
        let front = try world.clients.listen(.loopback(port: 8443), handler: relay)
        let client = world.client(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", at: front.localAddress)
        world.run(5)
        #expect(client.heard.hasSuffix("\r\n\r\n192.0.2.7"), "\(client.heard)")
        world.run(5)
        #expect(book.admitted == ["192.0.2.7"] && book.gone == ["192.0.2.7"])
    }
}

extension ReactorSim.SimulatedPeer {
    fileprivate var isOver: Bool { hasEnded || isBroken }
}

/// Who is let in at all.
@Suite struct ConnectionGateTests {
    @Test func aConnectionIsAskedForAndToldOfOnce() throws {
        let book = Book()
        let world = try SimulatedHTTP(gate: book) { loop, router in
            router.get("/") { request, responder in
                loop.setMark(request.connection, 7)
                responder.text("\(request.clientAddress?.ip ?? "nobody") \(loop.mark(request.connection) ?? 0)")
            }
        }
        let home = SocketAddress(ip: "2001:db8::1", port: 0)
        let peer = world.network.connect(to: world.address, from: home)
        peer.send(Array("GET / HTTP/1.1\r\nHost: h\r\n\r\n".utf8))
        world.run(1)
        #expect(String(decoding: peer.takeReceived(), as: UTF8.self).hasSuffix("\r\n\r\n2001:db8::1 7"))
        book.isFull = true
        let late = world.network.connect(to: world.address)
        world.run(1)
        #expect(late.isOver && late.takeReceived().isEmpty && !peer.isOver)
        peer.close()
        world.run(1)
        #expect(book.admitted == ["2001:db8::1", "127.0.0.1"] && book.gone == ["2001:db8::1"] && book.marks == [7])
    }
}

/// Passes bytes on in both directions, behind a header of its own.
private final class Relay: ConnectionHandler {
    private let loop: EventLoop
    private let target: SocketAddress
    private let header: [UInt8]
    private var other: [ConnectionID: ConnectionID] = [:]
    private var waiting: [ConnectionID: [UInt8]] = [:]

    init(loop: EventLoop, to target: SocketAddress, header: [UInt8]) {
        self.loop = loop
        self.target = target
        self.header = header
    }

    override func connectionOpened(_ id: ConnectionID) {
        if other[id] == nil {
            let up = loop.connect(target, timeout: 1_000_000_000, handler: self)
            (other[id], other[up]) = (up, id)
            waiting[up] = header
        } else {
            unsafe loop.output(id)?.pointee.append(waiting.removeValue(forKey: id) ?? [])
        }
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
        guard let to = other[id] else { return bytes.count }
        let copy = (0..<bytes.count).map { bytes[$0] }
        if waiting[to] != nil { waiting[to]! += copy } else { unsafe loop.output(to)?.pointee.append(copy) }
        return bytes.count
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        if let to = other.removeValue(forKey: id) { loop.closeAfterFlush(to) }
    }
}
