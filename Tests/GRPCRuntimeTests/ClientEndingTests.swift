import Bytes
import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// A call of the client ends exactly once, whatever its backend does.
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

    /// The server's end waits behind messages that the caller has not taken: a call in no list, which the end of its channel
    /// passed over. Found by fuzzing.
    @Test func aPausedCallEndsWithItsChannel() throws {
        let world = try World()
        var messages = 0
        var ends: [RPCError?] = []
        var call: ServerStreamingCall?
        var request = EchoRequest()
        request.repeat = 3
        call = world.echo.expand(request) { _ in
            messages += 1
            call?.pause()
        } onEnd: {
            ends.append($0)
        }
        world.network.run(for: .second)
        #expect(messages == 1 && ends.isEmpty && world.channel.openCalls == 1)
        world.channel.close()
        world.network.run(for: .second)
        #expect(ends.count == 1 && ends[0]?.code == .unavailable)
        #expect(world.channel.openCalls == 0 && world.channel.openConnections == 0)
        call?.resume()
        world.network.run(for: .second)
        #expect(messages == 1 && ends.count == 1)
        call = nil
    }
}
