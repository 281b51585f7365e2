import Bytes
import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim
import Testing

private func encoded(_ fill: (inout EchoRequest) -> Void) -> [UInt8] {
    var request = EchoRequest()
    fill(&request)
    return request.encoded()
}

/// What a request says whose messages may be in gzip.
let gzip = [("grpc-encoding", "gzip")]
private let takesGzip = [("grpc-accept-encoding", "identity, deflate,gzip")]

/// What the server makes of compressed requests, and which answers it compresses (gRPC's "Compression").
@Suite struct ServerCompressionTests {
    private static func fields(_ method: String = "Unary", _ adding: [(String, String)]) -> [(String, String)] {
        [
            (":method", "POST"), (":scheme", "http"), (":path", "/cabstand.test.Echo/\(method)"), (":authority", "x"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ] + adding
    }

    private func connect(_ world: World) -> RawPeer {
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        return peer
    }

    private func ask(
        in world: World? = nil, method: String = "Unary", _ adding: [(String, String)], body: [UInt8]
    ) throws -> RawPeer.Answer {
        let world = try world ?? World()
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, Self.fields(method, adding))
        peer.data(stream, body, endStream: true)
        world.network.run(until: { peer.answers[stream]?.isEnded == true || peer.answers[stream]?.reset != nil })
        #expect(!peer.isClosed)
        let answer = try #require(peer.answers[stream])
        world.clientLoop.close(peer.id)
        world.network.run(for: 30 * .second)
        #expect(world.server.accountedBytes == 0)
        return answer
    }

    private func status(_ answer: RawPeer.Answer) -> String? {
        answer.headers["grpc-status"] ?? answer.trailers["grpc-status"]
    }

    /// The messages of a body: their flags, and what they say.
    private func messages(_ body: [UInt8]) -> [(flag: UInt8, response: EchoResponse?)] {
        var rest = body[...]
        var found: [(UInt8, EchoResponse?)] = []
        while rest.count >= 5 {
            let head = Array(rest.prefix(5))
            let size = head[1...].reduce(0) { $0 << 8 | Int($1) }
            let bytes = Array(rest.dropFirst(5).prefix(size))
            let plain = head[0] == 0 ? bytes : Gzip.unpack(bytes) ?? []
            found.append((head[0], try? EchoResponse(decoding: plain.span)))
            rest = rest.dropFirst(5 + size)
        }
        return found
    }

    // MARK: Requests

    @Test func requestsInGzip() throws {
        let long = encoded { $0.payload = Array(repeating: 7, count: 100_000) }
        let packed = Gzip.pack(long)
        let answer = try ask(gzip, body: Gzip.framed(packed))
        #expect(status(answer) == "0")
        #expect(messages(answer.body).first?.response?.payload.count == 100_000)
        // The client has heard of nothing that it had not used; now it does.
        #expect(answer.headers["grpc-accept-encoding"] == "identity,gzip")
        #expect(answer.headers["grpc-encoding"] == nil)

        let plain = try ask(gzip, body: Gzip.framed(long, flag: 0))
        #expect(status(plain) == "0", "a message need not be compressed")
        let failed = try ask(gzip, body: Gzip.framed(Gzip.pack(encoded { $0.failCode = 9 })))
        #expect(status(failed) == "9")
        #expect(failed.headers["grpc-accept-encoding"] == "identity,gzip", "in front of an error, too")
    }

    /// RFC 1952 §2.2: members follow one another, and are one content.
    @Test func severalMembersAreOneMessage() throws {
        let bytes = encoded { $0.text = String(repeating: "ab", count: 500) }
        let parts = [bytes[..<10], bytes[10..<700], bytes[700..<700], bytes[700...]]
        let packed = parts.flatMap { Gzip.pack(Array($0)) }
        let answer = try ask(gzip, body: Gzip.framed(packed))
        #expect(messages(answer.body).first?.response?.text.utf8.count == 1000)
    }

    @Test func theFlagWithoutAnEncoding() throws {
        let body = Gzip.framed(Gzip.pack(encoded { $0.text = "x" }))
        #expect(try status(ask([], body: body)) == "13")
        #expect(try status(ask([("grpc-encoding", "identity")], body: body)) == "13")
        #expect(try status(ask(method: "Collect", [], body: body)) == "13")
        for flag in [2, 3, 0x81, 255] as [UInt8] {
            #expect(try status(ask(gzip, body: [flag] + body.dropFirst())) == "13", "\(flag)")
            #expect(try status(ask(method: "Collect", gzip, body: [flag] + body.dropFirst())) == "13", "\(flag)")
        }
    }

    @Test(arguments: ["deflate", "snappy", "br", "GZIP", "gzip,identity", ""])
    func encodingsThatAreNotUnderstood(name: String) throws {
        let answer = try ask([("grpc-encoding", name)], body: Gzip.framed([1, 2, 3]))
        #expect(answer.headers["grpc-status"] == "12")
        #expect(answer.headers["grpc-accept-encoding"] == "identity,gzip")
        let message = try #require(answer.headers["grpc-message"])
        #expect(message.contains("gzip") && message.contains("identity"))
    }

    @Test(arguments: ["Unary", "Collect"]) func whatIsNoGzip(method: String) throws {
        let packed = Gzip.pack(encoded { $0.text = String(repeating: "text ", count: 100) })
        var wrongSum = packed
        wrongSum[packed.count - 8] ^= 1
        var wrongLength = packed
        wrongLength[packed.count - 1] ^= 1
        let bodies: [([UInt8], String)] = [
            ([], "nothing"), (Array(packed.dropLast()), "cut"), (Array(packed.prefix(20)), "cut early"),
            ([0x1f], "a byte"), (packed + [0], "something behind it"), (packed + [0x1f, 0x8b], "half a member"),
            (wrongSum, "CRC-32"), (wrongLength, "ISIZE"), (Array(repeating: 0xff, count: 1000), "garbage"),
            (Gzip.pack([1, 2, 3], windowBits: 15), "zlib's frame"),
            (Gzip.pack([1, 2, 3], windowBits: -15), "no frame"),
        ]
        for (body, name) in bodies {
            #expect(try status(ask(method: method, gzip, body: Gzip.framed(body))) == "13", "\(name)")
        }
        for cut in 0..<packed.count {
            #expect(
                try status(ask(method: method, gzip, body: Gzip.framed(Array(packed.prefix(cut))))) == "13", "\(cut)")
        }
    }

    /// What a message becomes is held to the same limit as what it is.
    @Test(arguments: ["Unary", "Collect"]) func bombs(method: String) throws {
        var limits = GRPCLimits()
        limits.maximumMessageSize = 1 << 20
        let world = try World(limits: limits)
        world.service.answerSize = 0
        let fits = encoded { $0.payload = Array(repeating: 0, count: (1 << 20) - 4) }
        #expect(fits.count == 1 << 20)
        #expect(try status(ask(in: world, method: method, gzip, body: Gzip.framed(Gzip.pack(fits)))) == "0")
        let over = Gzip.pack(fits + [0])
        #expect(try status(ask(in: world, method: method, gzip, body: Gzip.framed(over))) == "8")
        let bomb = Gzip.pack(Array(repeating: 0, count: 50 << 20))
        #expect(bomb.count < 60_000)
        #expect(try status(ask(in: world, method: method, gzip, body: Gzip.framed(bomb))) == "8")
        // Ten thousand members that hold nothing.
        let empty = Array(repeating: Gzip.pack([]), count: 10_000).flatMap { $0 }
        #expect(try status(ask(in: world, method: method, gzip, body: Gzip.framed(empty))) == "0")
    }

    /// Inflating is spread over turns, and what is half out counts for its connection.
    @Test func manyBombsAtOnce() throws {
        var limits = GRPCLimits()
        limits.maximumHeldBytes = 8 << 20
        let world = try World(limits: limits)
        world.service.answerSize = 0
        let peer = connect(world)
        let packed = Gzip.framed(Gzip.pack(encoded { $0.payload = Array(repeating: 0, count: 3 << 20) }))
        let streams = (0..<30).map { _ in
            let stream = peer.open()
            peer.headers(stream, Self.fields("Collect", gzip))
            peer.data(stream, packed, endStream: true)
            return stream
        }
        var most = 0
        var turnsBetween = 0
        var lastCount = 0
        world.network.run(until: {
            most = max(most, world.server.heldBytes)
            let count = streams.count { peer.answers[$0]?.isEnded == true }
            if count == lastCount { turnsBetween += 1 }
            lastCount = count
            return count == streams.count
        })
        // One after the other: none is refused for what the others keep.
        #expect(streams.allSatisfy { peer.answers[$0].flatMap(status) == "0" })
        #expect(most < 8 << 20 && most > 1 << 20)
        #expect(turnsBetween > 30 * 3)
        #expect(world.server.heldBytes == 0)
    }

    @Test func whoGoesAwayMeanwhileLeavesNothing() throws {
        for step in 1...12 {
            let world = try World()
            let peer = connect(world)
            let stream = peer.open()
            peer.headers(stream, Self.fields("Collect", gzip))
            let packed = Gzip.pack(encoded { $0.payload = Array(repeating: 0, count: 4_000_000) })
            peer.data(stream, Gzip.framed(packed), endStream: true)
            var steps = 0
            world.network.run(until: {
                if world.server.heldBytes > 64 << 10 { steps += 1 }
                return steps == step || peer.answers[stream]?.isEnded == true
            })
            if step % 2 == 0 { peer.reset(stream, .cancel) } else { world.clientLoop.close(peer.id) }
            world.network.run(for: 30 * .second)
            #expect(world.server.heldBytes == 0 && world.server.callCount == 0)
        }
    }

    @Test func aPausedHandlerGetsItsMessagesLater() throws {
        let world = try World()
        world.service.pausesCollect = true
        world.service.answerSize = 0
        let peer = connect(world)
        let stream = peer.open()
        peer.headers(stream, Self.fields("Collect", gzip))
        for text in ["a", "b", "c"] {
            let bytes = encoded {
                $0.text = text
                $0.payload = Array(repeating: 0, count: 3_000_000)
            }
            peer.data(stream, Gzip.framed(text == "b" ? bytes : Gzip.pack(bytes), flag: text == "b" ? 0 : 1))
        }
        peer.data(stream, [], endStream: true)
        world.network.run(for: 5 * .second)
        #expect(world.service.received == 1)
        world.serverLoop.execute { world.service.resumeAll() }
        world.network.run(until: { peer.answers[stream]?.isEnded == true })
        #expect(messages(peer.answers[stream]?.body ?? []).first?.response?.text == "a,b,c")
    }

    // MARK: Answers

    @Test func answersAreCompressedForWhoTakesIt() throws {
        let request = Gzip.framed(encoded { $0.payload = Array(repeating: 7, count: 10_000) }, flag: 0)
        let world = try World()
        world.service.answerCompression = .gzip
        let packed = try ask(in: world, takesGzip, body: request)
        #expect(packed.headers["grpc-encoding"] == "gzip")
        #expect(packed.headers["grpc-accept-encoding"] == nil)
        #expect(packed.body.count < 200 && packed.body.first == 1)
        #expect(messages(packed.body).first?.response?.payload == Array(repeating: 7, count: 10_000))
        #expect(status(packed) == "0")

        for accepts in [[], [("grpc-accept-encoding", "identity,deflate")], [("grpc-accept-encoding", "gzipped")]] {
            let plain = try ask(in: world, accepts, body: request)
            #expect(plain.headers["grpc-encoding"] == nil && plain.body.first == 0 && plain.body.count > 10_000)
        }
        world.service.answerCompression = nil
        #expect(try ask(in: world, takesGzip, body: request).headers["grpc-encoding"] == nil, "nobody asked for it")
    }

    @Test func aMessageThatWouldNotShrinkGoesAsItIs() throws {
        let world = try World()
        world.service.answerCompression = .gzip
        for text in ["", "x", "abcdefghijklmnopqrstuvwxyz"] {
            let answer = try ask(in: world, takesGzip, body: Gzip.framed(encoded { $0.text = text }, flag: 0))
            #expect(answer.headers["grpc-encoding"] == "gzip" && answer.body.first == 0, "\(text)")
            #expect(messages(answer.body).first?.response?.text == text)
        }
    }

    @Test func aStreamMayHaveBothKinds() throws {
        let world = try World()
        world.service.answerCompression = .gzip
        world.service.plainAnswers = [2, 3]
        let body = Gzip.framed(
            encoded {
                $0.repeat = 4
                $0.payload = Array(repeating: 7, count: 100_000)
            }, flag: 0)
        let answer = try ask(in: world, method: "Expand", takesGzip, body: body)
        let all = messages(answer.body)
        #expect(all.map(\.flag) == [1, 0, 0, 1])
        #expect(all.map { $0.response?.count } == [1, 2, 3, 4])
        #expect(all.allSatisfy { $0.response?.payload.count == 100_000 })
    }

    @Test func headersBeforeTheFirstMessage() throws {
        let world = try World()
        world.service.initialMetadata = [("x-early", "1"), ("x-raw-bin", "\u{1}")]
        let request = Gzip.framed(encoded { $0.text = "x" }, flag: 0)
        let answer = try ask(in: world, [], body: request)
        #expect(answer.headers["x-early"] == "1" && answer.headers["x-raw-bin"] == "AQ")
        #expect(answer.headers["grpc-encoding"] == nil && status(answer) == "0")
        let failed = try ask(in: world, [], body: Gzip.framed(encoded { $0.failCode = 5 }, flag: 0))
        #expect(failed.headers["x-early"] == "1" && failed.trailers["grpc-status"] == "5")
        world.service.initialMetadata = [("x-early", String(repeating: "x", count: 9000))]
        #expect(try status(ask(in: world, [], body: request)) == "8")
    }
}
