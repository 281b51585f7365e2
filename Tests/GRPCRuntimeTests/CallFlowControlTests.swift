import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

extension CallTests {
    // MARK: Flow control

    @Test func pausedServerBoundsWhatTheClientCanSend() throws {
        var http2 = HTTP2Limits()
        http2.initialStreamWindow = 10_000
        let world = try World(http2Limits: http2)
        world.service.pausesCollect = true
        let call = world.echo.collect()
        var request = EchoRequest()
        request.payload = Array(repeating: 1, count: 1000)
        for _ in 0..<200 { call.send(request) }
        var result: Result<EchoResponse, RPCError>?
        call.finish { result = $0 }
        world.network.run(for: 2 * .second)
        #expect(world.service.received == 1)
        #expect(!call.isWritable)
        world.service.resumeAll()
        #expect(world.wait { result }?.success?.count == 200)
    }

    @Test func pausedClientHoldsTheServerBack() throws {
        let world = try World()
        var request = EchoRequest()
        request.repeat = 2000
        request.payload = Array(repeating: 1, count: 1000)
        var messages = 0
        var end: RPCError??
        let call = world.echo.expand(request) { _ in
            messages += 1
        } onEnd: {
            end = .some($0)
        }
        call.pause()
        world.network.run(for: 2 * .second)
        #expect(messages == 0)
        let other = world.unary { $0.text = "another stream" }
        #expect(other?.success?.text == "another stream", "a stalled stream never blocks another")
        call.resume()
        #expect(world.wait { end } == .some(nil))
        #expect(messages == 2000)
    }

    @Test func slowReaderIsDropped() throws {
        var limits = GRPCLimits()
        limits.maximumQueuedBytes = 1 << 20
        let world = try World(limits: limits)
        world.service.ignoresBackpressure = true
        var request = EchoRequest()
        request.repeat = 10_000
        request.payload = Array(repeating: 1, count: 1000)
        var end: RPCError??
        let call = world.echo.expand(request) { _ in
        } onEnd: {
            end = .some($0)
        }
        call.pause()
        world.network.run(for: .second)
        call.resume()
        #expect(world.wait { end }??.code == .resourceExhausted)
        #expect(world.service.cancelled == 1)
    }

    @Test func clientStreamThatOutrunsItsQueue() throws {
        var options = ChannelOptions()
        options.maximumQueuedBytes = 100_000
        let world = try World(channelOptions: options)
        world.service.pausesCollect = true
        let call = world.echo.collect()
        var end: Result<EchoResponse, RPCError>?
        call.onEnd = { end = $0 }
        var request = EchoRequest()
        request.payload = Array(repeating: 1, count: 10_000)
        for _ in 0..<100 { call.send(request) }
        #expect(world.wait { end }?.error?.code == .resourceExhausted)
        #expect(call.isEnded)
    }

    @Test func writableIsTold() throws {
        let world = try World()
        let call = world.echo.collect()
        var request = EchoRequest()
        request.payload = Array(repeating: 1, count: 10_000)
        var sent = 0
        let fill = {
            while sent < 300 && call.isWritable {
                sent += 1
                call.send(request)
            }
        }
        call.onWritable = fill
        fill()
        #expect(sent < 300)
        world.network.run(until: { sent == 300 })
        var result: Result<EchoResponse, RPCError>?
        call.finish { result = $0 }
        #expect(world.wait { result }?.success?.count == 300)
    }

    @Test func serverMayAnswerAClientStreamEarly() throws {
        let world = try World()
        let call = world.echo.collect()
        var request = EchoRequest()
        request.failCode = 3
        request.failMessage = "enough"
        call.send(request)
        var end: Result<EchoResponse, RPCError>?
        call.onEnd = { end = $0 }
        #expect(world.wait { end }?.error?.message == "enough")
        var late: Result<EchoResponse, RPCError>?
        call.finish { late = $0 }
        #expect(world.wait { late }?.error?.code == .invalidArgument)
        world.network.run(for: .second)
        #expect(world.unary()?.success != nil, "the connection is fine")
    }
}
