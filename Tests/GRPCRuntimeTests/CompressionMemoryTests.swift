import Bytes
import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim
import Testing

@testable import Compression

/// zlib has no memory: the call whose message needs it ends with RESOURCE_EXHAUSTED, and nobody else notices.
@Suite struct CompressionMemoryTests {
    /// More than one step decompresses, so that a window is needed.
    private static let payload = [UInt8](repeating: 7, count: 200_000)

    private static func packed() -> [UInt8] {
        var request = EchoRequest()
        request.payload = payload
        return Gzip.framed(Gzip.pack(request.encoded()))
    }

    @Test(arguments: 0...1) func aRequestThatCannotBeDecompressed(allocations: Int) throws {
        let world = try World()
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        func ask(_ adding: [(String, String)], _ body: [UInt8]) -> UInt32 {
            let stream = peer.open()
            peer.headers(
                stream,
                [
                    (":method", "POST"), (":scheme", "http"), (":path", "/cabstand.test.Echo/Unary"),
                    (":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers"),
                ] + adding)
            peer.data(stream, body, endStream: true)
            return stream
        }
        func status(_ stream: UInt32) -> String? {
            peer.answers[stream]?.headers["grpc-status"] ?? peer.answers[stream]?.trailers["grpc-status"]
        }
        let gzip = [("grpc-encoding", "gzip")]
        let message = Self.packed()
        do {
            ZlibMemory.allocationsLeft = allocations
            defer { ZlibMemory.allocationsLeft = nil }
            let (compressed, plain) = (ask(gzip, message), ask([], [0, 0, 0, 0, 0]))
            world.network.run(for: .second)
            #expect(status(compressed) == "8" && status(plain) == "0")
        }
        let later = ask(gzip, message)
        world.network.run(for: .second)
        #expect(status(later) == "0" && !peer.isClosed)
        world.clientLoop.close(peer.id)
        world.network.run(for: 30 * .second)
        #expect(world.server.accountedBytes == 0)
    }

    @Test(arguments: 0...1) func anAnswerThatCannotBeDecompressed(allocations: Int) throws {
        var options = ChannelOptions()
        options.acceptsCompression = true
        let world = try World(channelOptions: options, listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        var answer = EchoResponse()
        answer.payload = Self.payload
        let message = Gzip.framed(Gzip.pack(answer.encoded()))
        peer.onRequest = { [unowned peer] stream in
            peer.headers(
                stream, [(":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip")])
            peer.data(stream, message)
            peer.headers(stream, [("grpc-status", "0")], endStream: true)
        }
        do {
            ZlibMemory.allocationsLeft = allocations
            defer { ZlibMemory.allocationsLeft = nil }
            guard case .failure(let error) = world.unary(CallOptions(waitForReady: true)) else {
                throw RPCError(code: .unknown, message: "no error")
            }
            #expect(error.code == .resourceExhausted, "\(error)")
        }
        #expect(world.unary(CallOptions(waitForReady: true))?.success?.payload == Self.payload)
    }

    /// It goes as it is, and the next one is compressed again.
    @Test func aMessageThatCannotBeCompressed() throws {
        var options = ChannelOptions()
        options.compression = .gzip
        let world = try World(channelOptions: options)
        for allocations in [0, 2, nil] {
            ZlibMemory.allocationsLeft = allocations
            defer { ZlibMemory.allocationsLeft = nil }
            var request = EchoRequest()
            request.payload = [UInt8](repeating: 7, count: 10_000)
            var answers: [Result<EchoResponse, RPCError>] = []
            world.echo.unary(request) { answers.append($0) }
            world.network.run(for: .second)
            #expect(answers.count == 1 && answers.first?.success?.payload.count == 10_000)
        }
    }
}
