import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// Calls that are given up together cost the others nothing.
@Suite struct CancellingTests {
    private static let count = 1500
    private static let given = 500

    /// Counts the connections that the channel loses.
    private func watchLosses(_ world: World) -> () -> Int {
        var losses = 0
        world.channel.onStateChange = { if $0 != .ready && $0 != .connecting { losses += 1 } }
        return { losses + world.channel.failedAttempts.count }
    }

    @Test(arguments: [false, true]) func someOfManyWatches(whileTold: Bool) throws {
        let world = try World()
        var told = Array(repeating: 0, count: Self.count)
        var ended: [Int: RPCError?] = [:]
        var calls: [ServerStreamingCall] = []
        var request = Grpc_Health_V1_HealthCheckRequest()
        request.service = "cabstand.test.Echo"
        for index in 0..<Self.count {
            calls.append(
                world.channel.serverStreaming("/grpc.health.v1.Health/Watch", request) {
                    (_: Grpc_Health_V1_HealthCheckResponse) in
                    told[index] += 1
                } onEnd: {
                    ended[index] = $0
                })
        }
        world.network.run(until: { told.allSatisfy { $0 == 1 } })
        if whileTold { world.server.health.set(.notServing, for: "cabstand.test.Echo") }
        for index in 0..<Self.given { calls[index * 3].cancel() }
        world.network.run(for: .second)
        #expect(ended.count == Self.given)
        #expect(world.server.health.watcherCount == Self.count - Self.given)
        #expect(world.server.connectionCount == 1 && world.server.callCount == Self.count - Self.given)
        world.server.health.set(whileTold ? .serving : .notServing, for: "cabstand.test.Echo")
        world.network.run(for: .second)
        let isTold = told.indices.allSatisfy { $0 % 3 == 0 && $0 < 3 * Self.given || told[$0] == (whileTold ? 3 : 2) }
        #expect(isTold)
    }

    /// Calls that wait for an answer, as those of riders who wait for their trip do.
    @Test func someOfManyCallsThatWait() throws {
        let world = try World()
        var results: [Int: Result<EchoResponse, RPCError>] = [:]
        var calls: [UnaryCall] = []
        for index in 0..<Self.count {
            var request = EchoRequest()
            request.delayMs = 3000
            calls.append(world.echo.unary(request) { results[index] = $0 })
        }
        world.network.run(until: { world.server.callCount == Self.count })
        world.network.run(for: 300 * .millisecond)
        for index in 0..<Self.given { calls[index].cancel() }
        world.network.run(for: 10 * .second)
        #expect(results.count == Self.count)
        #expect(results.values.count { $0.success != nil } == Self.count - Self.given)
        #expect(world.server.connectionCount == 1 && world.server.callCount == 0)
    }

    /// A server that is slow: the deadlines of all its calls pass in the moment in which it answers.
    @Test(arguments: [40, 400]) func deadlinesThatPassTogether(milliseconds: UInt64) throws {
        let world = try World()
        world.service.ignoresCancel = true
        #expect(world.unary()?.success != nil)
        let ended = watchLosses(world)
        var results = 0
        let options = CallOptions(timeoutNanoseconds: milliseconds * .millisecond)
        for index in 0..<Self.count {
            var request = EchoRequest()
            request.delayMs = Int32(milliseconds) - 1 + Int32(index % 3)
            world.echo.unary(request, options: options) { _ in results += 1 }
        }
        world.network.run(for: 10 * .second)
        #expect(results == Self.count)
        #expect(world.server.callCount == 0 && world.server.connectionCount == 1)
        #expect(world.channel.openConnections == 1 && ended() == 0)
        #expect(world.unary()?.success != nil)
    }
}
