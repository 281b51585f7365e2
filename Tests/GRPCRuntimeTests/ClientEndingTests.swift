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

    /// Found by fuzzing: the last of the calls that had ended in the queue stayed there, and held the channel, which held it.
    @Test func callsThatEndInTheQueueAreNotKept() throws {
        let network = SimulatedNetwork(seed: 1)
        let loop = try network.makeLoop()
        weak var seen: GRPCChannel?
        var ends = 0
        func use() {
            let channel = GRPCChannel(loop: loop, target: "localhost:1")
            seen = channel
            let echo = Cabstand_Test_EchoClient(channel: channel)
            for wait in [true, false] {
                let options = CallOptions(timeoutNanoseconds: .second, waitForReady: wait)
                echo.unary(EchoRequest(), options: options) { _ in ends += 1 }
            }
            network.run(for: 5 * .second)
            loop.execute { channel.close() }
        }
        use()
        network.run(for: 60 * .second)
        #expect(ends == 2)
        #expect(seen == nil)
    }

    /// A call that gets its stream ends many others that wait: those that are left get theirs.
    @Test func aCallThatEndsOthersAsItGetsItsStream() throws {
        let world = try World(listens: false)
        var options = CallOptions()
        options.waitForReady = true
        let first = world.echo.collect(options: options)
        var request = EchoRequest()
        request.payload = [UInt8](repeating: 1, count: 20_000)
        first.send(request)
        while first.isWritable { first.send(request) }
        var ended = 0
        let others = (0..<200).map { _ in world.echo.collect(options: options) }
        first.onWritable = { for call in others { call.cancel() } }
        for call in others { call.onEnd = { _ in ended += 1 } }
        var last: [Result<EchoResponse, RPCError>] = []
        for _ in 0..<3 { world.echo.unary(EchoRequest(), options: options) { last.append($0) } }
        try world.listen()
        world.network.run(until: { last.count == 3 }, limit: 120 * .second)
        #expect(ended == 200)
        #expect(last.count == 3 && last.allSatisfy { $0.success != nil })
        #expect(world.channel.queuedCalls == 0)
    }

    /// gRPC over HTTP/2, "Responses": a format or parameters may follow. What only begins like that is another type.
    @Test(arguments: [
        ("application/grpc", true), ("application/grpc+proto", true), ("application/grpc;charset=x", true),
        ("application/grpc ; charset=x", true), ("application/grpc-web", false), ("application/grpc-web+proto", false),
        ("application/grpcx", false), ("application/grp", false),
    ])
    func theTypeOfAnAnswer(type: String, isGRPC: Bool) throws {
        let world = try World(listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        peer.onRequest = { [unowned peer] stream in
            peer.headers(stream, [(":status", "200"), ("content-type", type)])
            peer.data(stream, [0, 0, 0, 0, 0])
            peer.headers(stream, [("grpc-status", "0")], endStream: true)
        }
        let outcome = try #require(world.unary(CallOptions(waitForReady: true)))
        #expect((outcome.success != nil) == isGRPC)
        if case .failure(let error) = outcome {
            #expect(error.code == .unknown && error.message.contains("content-type \"\(type)\""))
        }
    }
}
