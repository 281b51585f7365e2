import Bytes
import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim
import Testing

/// Which requests the client compresses, and which answers it takes.
@Suite struct ClientCompressionTests {
    private static let head: [(String, String)] = [(":status", "200"), ("content-type", "application/grpc")]

    /// What a server sees of one call.
    private func request(
        channel: MessageCompression = .identity, call: MessageCompression? = nil, accepts: Bool? = nil,
        channelAccepts: Bool = false, size: Int = 10_000
    ) throws -> RawPeer.Answer {
        var options = ChannelOptions()
        options.compression = channel
        options.acceptsCompression = channelAccepts
        let world = try World(channelOptions: options, listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        var callOptions = CallOptions()
        callOptions.compression = call
        callOptions.acceptsCompression = accepts
        var request = EchoRequest()
        request.payload = Array(repeating: 7, count: size)
        world.echo.unary(request, options: callOptions) { _ in }
        world.network.run(until: { peer.answers[1]?.isEnded == true })
        world.channel.close()
        world.network.run(for: .second)
        return try #require(peer.answers[1])
    }

    @Test func whatIsSent() throws {
        let plain = try request()
        #expect(plain.headers["grpc-encoding"] == nil && plain.headers["grpc-accept-encoding"] == nil)
        #expect(plain.body.first == 0 && plain.body.count > 10_000)

        for (channel, call) in [(.gzip, nil), (.gzip, .gzip), (.identity, .gzip)]
            as [(MessageCompression, MessageCompression?)]
        {
            let packed = try request(channel: channel, call: call)
            #expect(packed.headers["grpc-encoding"] == "gzip")
            #expect(packed.headers["grpc-accept-encoding"] == "identity,gzip")
            #expect(packed.body.first == 1 && packed.body.count < 200)
            #expect(
                Gzip.unpack(Array(packed.body.dropFirst(5)))?.suffix(10_000) == Array(repeating: 7, count: 10_000)[...])
        }
        let without = try request(channel: .gzip, call: .identity)
        #expect(without.headers["grpc-encoding"] == nil && without.body.first == 0)
        #expect(try request(channel: .gzip, accepts: false).headers["grpc-accept-encoding"] == nil)
        #expect(try request(accepts: true).headers["grpc-accept-encoding"] == "identity,gzip")
        #expect(try request(channelAccepts: true).headers["grpc-accept-encoding"] == "identity,gzip")
        #expect(try request(accepts: false, channelAccepts: true).headers["grpc-accept-encoding"] == nil)
        let small = try request(channel: .gzip, size: 0)
        #expect(small.headers["grpc-encoding"] == "gzip" && small.body == [0, 0, 0, 0, 0])
    }

    private func answer(
        accepts: Bool = true, limit: Int = 4 << 20, _ script: @escaping (RawPeer, UInt32) -> Void
    ) throws -> Result<EchoResponse, RPCError> {
        var options = ChannelOptions()
        options.acceptsCompression = accepts
        options.maximumMessageSize = limit
        let world = try World(channelOptions: options, listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        peer.onRequest = { [unowned peer] in script(peer, $0) }
        let result = try #require(world.unary())
        world.network.run(for: 100 * .millisecond)
        world.channel.close()
        world.network.run(for: .second)
        #expect(world.channel.accountedBytes == 0 && world.channel.openCalls == 0)
        return result
    }

    private static func response(_ size: Int) -> [UInt8] {
        EchoResponse(payload: Array(repeating: 7, count: size)).encoded()
    }

    @Test func answersInGzip() throws {
        for size in [0, 1, 1000, 4_000_000] {
            for together in [true, false] {
                let result = try answer { peer, stream in
                    peer.headers(stream, Self.head + gzip)
                    peer.data(stream, Gzip.framed(Gzip.pack(Self.response(size))))
                    if !together { peer.loop.schedule(after: 50_000_000) { Self.end(peer, stream) } }
                    if together { Self.end(peer, stream) }
                }
                #expect(result.success?.payload.count == size)
            }
        }
        let plain = try answer { peer, stream in
            peer.headers(stream, Self.head + gzip)
            peer.data(stream, Gzip.framed(Self.response(9), flag: 0))
            Self.end(peer, stream)
        }
        #expect(plain.success?.payload.count == 9)
    }

    private static func end(_ peer: RawPeer, _ stream: UInt32) {
        peer.headers(stream, [("grpc-status", "0")], endStream: true)
    }

    @Test func answersThatWereNotOffered() throws {
        for (accepts, encoding) in [(false, "gzip"), (true, "deflate"), (true, "GZIP"), (false, "deflate")] {
            let result = try answer(accepts: accepts) { peer, stream in
                peer.headers(stream, Self.head + [("grpc-encoding", encoding)])
                peer.data(stream, Gzip.framed(Gzip.pack(Self.response(10))))
            }
            #expect(result.error?.code == .internal)
            #expect(
                result.error?.message.contains(encoding) == true && result.error?.message.contains("identity") == true)
        }
        // The flag needs an encoding.
        for fields in [[], [("grpc-encoding", "identity")]] {
            let result = try answer { peer, stream in
                peer.headers(stream, Self.head + fields)
                peer.data(stream, Gzip.framed(Gzip.pack(Self.response(10))))
            }
            #expect(result.error?.code == .internal)
        }
    }

    @Test func whatIsNoGzipOrTooMuch() throws {
        let packed = Gzip.pack(Self.response(1000))
        for body in [[], Array(packed.dropLast()), packed + [0], Array(repeating: 1, count: 99)] {
            let result = try answer { peer, stream in
                peer.headers(stream, Self.head + gzip)
                peer.data(stream, Gzip.framed(body))
                Self.end(peer, stream)
            }
            #expect(result.error?.code == .internal)
        }
        let bomb = Gzip.pack(Array(repeating: 0, count: 20 << 20))
        let result = try answer { peer, stream in
            peer.headers(stream, Self.head + gzip)
            peer.data(stream, Gzip.framed(bomb))
            Self.end(peer, stream)
        }
        #expect(result.error?.code == .resourceExhausted)
    }

    /// Server and client as they are, on networks that split and delay.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func bothSides(seed: UInt64) throws {
        var options = ChannelOptions()
        options.compression = .gzip
        let world = try World(
            seed: seed, options: seed % 2 == 0 ? .init() : .unkind, channelOptions: options)
        world.service.answerCompression = .gzip
        let payload = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 100) }
        var call: UnaryCall?
        var result: Result<EchoResponse, RPCError>?
        var request = EchoRequest()
        request.payload = payload
        call = world.echo.unary(request) { result = $0 }
        #expect(world.wait { result }?.success?.payload == payload)
        #expect(call?.answerWasCompressed == true)
        #expect(call?.trailers["x-answered"] == "yes")
        #expect(world.service.compressedRequests == 1)

        var flags: [Bool] = []
        var texts: [String] = []
        var end: RPCError??
        var talk: BidirectionalCall<EchoRequest>?
        talk = world.echo.talk { response in
            flags.append(talk?.answerWasCompressed == true)
            texts.append(response.text)
        } onEnd: {
            end = .some($0)
        }
        world.service.plainAnswers = [1]
        let long = String(repeating: "long ", count: 1000)
        talk?.send(EchoRequest(text: long))
        talk?.send(EchoRequest(text: long + "2", repeat: 2), compressed: false)
        talk?.finish()
        _ = world.wait { end }
        #expect(texts == [long, long + "2", long + "2"])
        #expect(flags == [false, false, true])
        #expect(world.service.compressedRequests == 2)

        let bound = LoopBound(world.echo, loop: world.clientLoop)
        var streamed = 0
        world.spawn {
            let (requests, responses) = bound.value.talk()
            do {
                for index in 0..<20 {
                    try await requests.send(EchoRequest(text: long), compressed: index % 2 == 0)
                    if try await responses.next()?.text == long { streamed += 1 }
                }
                requests.finish()
                if try await responses.next() == nil { streamed += 1 }
            } catch {}
        }
        #expect(world.wait { streamed == 21 ? true : nil } == true)
    }

    @Test func anAnswerWaitsForAPausedCaller() throws {
        var options = ChannelOptions()
        options.acceptsCompression = true
        let world = try World(channelOptions: options)
        world.service.answerCompression = .gzip
        var request = EchoRequest(repeat: 3)
        request.payload = Array(repeating: 0, count: 3_000_000)
        var counts: [Int32] = []
        var end: RPCError??
        var call: ServerStreamingCall?
        call = world.echo.expand(request) {
            counts.append($0.count)
            call?.pause()
        } onEnd: {
            end = .some($0)
        }
        for expected in 1...3 as ClosedRange<Int32> {
            world.network.run(for: 5 * .second)
            #expect(counts.count == expected && end == nil)
            call?.resume()
        }
        #expect(try #require(world.wait { end }) == nil)
        #expect(counts == [1, 2, 3])
    }
}
