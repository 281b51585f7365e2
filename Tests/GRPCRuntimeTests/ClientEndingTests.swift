import Bytes
import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// A call of the client ends exactly once, whatever its backend does (issue 10, section 1).
@Suite struct ClientEndingTests {
    /// Client: a backend that answers each call with a header name in upper case is refused for each, and at the 201st the
    /// connection fails: every call has ended once.
    @Test func aBackendThatBreaksTheRulesOnEveryStream() throws {
        let world = try World(listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        peer.onRequest = { [unowned peer] stream in
            peer.headers(stream, [(":status", "200"), ("content-type", "application/grpc"), ("X-Upper", "1")])
        }
        var ends = Array(repeating: 0, count: 300)
        for index in ends.indices {
            world.echo.unary(EchoRequest(), options: CallOptions(timeoutNanoseconds: 20 * .second)) { _ in
                ends[index] += 1
            }
        }
        world.network.run(for: 60 * .second)
        #expect(ends.allSatisfy { $0 == 1 })
        // The same backend, mended.
        peer.onRequest = { [unowned peer] stream in
            peer.headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            peer.data(stream, [0, 0, 0, 0, 0])
            peer.headers(stream, [("grpc-status", "0")], endStream: true)
        }
        #expect(world.unary(CallOptions(waitForReady: true))?.success != nil)
    }
}
