import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// A server that answers a call before it has heard all of it, and breaks the connection.
@Suite struct EarlyAnswerTests {
    /// Trailers-Only: the status is the call's, not that the connection was lost.
    @Test(arguments: 0..<10 as Range<UInt64>)
    func aStatusBeforeTheConnectionBreaks(seed: UInt64) throws {
        var options: SimulationOptions = seed % 2 == 0 ? .init() : .unkind
        options.delay = 100_000...100_000
        let world = try World(seed: seed, options: options, listens: false)
        let listener = world.network.listenForPeers(.loopback(port: World.port))
        var request = EchoRequest()
        request.payload = [UInt8](repeating: 7, count: 200_000)
        var answers: [Result<EchoResponse, RPCError>] = []
        world.echo.unary(request, options: CallOptions(timeoutNanoseconds: 20 * .second)) { answers.append($0) }
        world.network.run(for: .second / 10)
        let peer = try #require(listener.accept())
        peer.send(ByteEnd.Bytes.settings + ByteEnd.Bytes.acknowledgement)
        world.network.run(for: .second)
        // :status 200, content-type application/grpc, grpc-status 8.
        let block: [UInt8] =
            [0x88, 0x0F, 0x10, 16] + Array("application/grpc".utf8) + [0, 11] + Array("grpc-status".utf8) + [1]
            + Array("8".utf8)
        peer.send(ByteEnd.Bytes.frame(1, 5, 1, block))
        peer.reset()
        world.network.run(for: .second)
        #expect(answers.count == 1)
        guard case .failure(let error) = answers.first else { throw RPCError(code: .unknown, message: "no status") }
        #expect(error.code == .resourceExhausted, "\(error)")
        world.channel.close()
    }
}
