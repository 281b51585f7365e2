import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// Calls between our client and our server, on the simulated network.
@Suite struct CallTests {
    @Test(arguments: 0..<6) func unaryAtAnySplit(seed: Int) throws {
        let world = try World(seed: UInt64(seed), options: seed % 2 == 0 ? .byteByByte : .unkind)
        var options = CallOptions()
        options.metadata.add("x-key", "a value, with blanks")
        options.metadata.add("x-key", "second")
        options.metadata.add("x-raw-bin", binary: [0, 1, 2, 253, 254, 255])
        let result = world.unary(options) {
            $0.text = "grüße"
            $0.payload = Array(repeating: 7, count: 3000)
        }
        let response = try #require(result?.success)
        #expect(response.text == "grüße")
        #expect(response.payload.count == 3000)
        #expect(
            response.metadata == [
                "x-key=a value, with blanks", "x-key=second", "x-raw-bin=[0, 1, 2, 253, 254, 255]",
            ])
        #expect(world.channel.state == .ready)
    }

    @Test(arguments: 0..<4) func manyCallsOfAllKindsAtOnce(seed: Int) throws {
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 5
        http2.initialStreamWindow = 2000
        let world = try World(seed: UInt64(seed), options: .unkind, http2Limits: http2)
        var unary = 0
        var collected = 0
        var expanded: [Int] = []
        for index in 0..<30 {
            var request = EchoRequest()
            request.text = "\(index)"
            request.payload = Array(repeating: UInt8(index), count: index * 150)
            request.repeat = 10
            switch index % 3 {
            case 0:
                world.echo.unary(request) { if $0.success?.payload == request.payload { unary += 1 } }
            case 1:
                let call = world.echo.collect()
                for _ in 0..<4 { call.send(request) }
                call.finish { if $0.success?.count == 4, $0.success?.payload.count == index * 600 { collected += 1 } }
            default:
                var counts: [Int32] = []
                world.echo.expand(request) {
                    counts.append($0.count)
                } onEnd: { error in
                    if error == nil && counts == Array(1...10) { expanded.append(index) }
                }
            }
        }
        world.network.run(until: { unary == 10 && collected == 10 && expanded.count == 10 })
        #expect([unary, collected, expanded.count] == [10, 10, 10])
        #expect(world.channel.queuedCalls == 0)
        world.network.run(for: .second)
        #expect(world.server.callCount == 0)
    }

    /// Both sides have much to send and little time in a turn: each stopped reading until its own output had left, and waited
    /// for the other for ever.
    @Test(arguments: 0..<6) func twoSidesThatFloodEachOtherDoNotWaitForEachOther(seed: Int) throws {
        var options = SimulationOptions()
        options.window = 4_096
        var limits = GRPCLimits()
        limits.maximumEventsPerRead = 2
        var channelOptions = ChannelOptions()
        channelOptions.maximumEventsPerRead = 2
        var http2 = HTTP2Limits()
        http2.outputHighWater = 16 << 10
        let world = try World(
            seed: UInt64(seed), options: options, limits: limits, http2Limits: http2, channelOptions: channelOptions)
        var done = 0
        let request = EchoRequest(payload: [UInt8](repeating: 7, count: 20_000), repeat: 20)
        for _ in 0..<10 {
            world.echo.expand(request) { _ in
            } onEnd: {
                if $0 == nil { done += 1 }
            }
            let call = world.echo.collect()
            for _ in 0..<20 { call.send(request) }
            call.finish { if $0.success?.count == 20 { done += 1 } }
        }
        world.network.run(until: { done == 20 }, limit: 600 * .second)
        #expect(done == 20)
    }

    /// Behaviour 51: many messages in one read are one event, and were one turn.
    @Test func behaviour51_aFloodOfMessagesIsTakenOverManyTurns() throws {
        let world = try World()
        world.service.timePerMessage = { [network = world.network] in network.spend(.millisecond) }
        var done = 0
        for _ in 0..<10 {
            let call = world.echo.collect()
            for _ in 0..<100 { call.send(EchoRequest(text: "x")) }
            call.finish { if $0.success?.count == 100 { done += 1 } }
        }
        world.network.run(until: { done == 10 }, limit: 600 * .second)
        #expect(done == 10)
        // The clock is looked at after sixteen messages.
        #expect(world.serverLoop.statistics.longestTurn < 45 * .millisecond)
    }

    @Test func errorsCarryMessageDetailsAndTrailers() throws {
        let world = try World()
        let error = try #require(
            world.unary {
                $0.failCode = 9
                $0.failMessage = "der Fahrer ist schon weg: 100 %\nÜber"
                $0.failDetails = [1, 2, 3, 250]
            }?.error)
        #expect(error.code == .failedPrecondition)
        #expect(error.message == "der Fahrer ist schon weg: 100 %\nÜber")
        #expect(error.statusDetails == [1, 2, 3, 250])
        #expect(error.trailers["x-failed"] == "yes")
    }

    @Test func unknownMethodsAndServices() throws {
        let world = try World()
        var errors: [RPCError] = []
        for path in ["/cabstand.test.Echo/Nope", "/no.Such/Method"] as [StaticString] {
            world.channel.unary(path, EchoRequest()) { (result: Result<EchoResponse, RPCError>) in
                if let error = result.error { errors.append(error) }
            }
        }
        world.network.run(until: { errors.count == 2 })
        #expect(errors.map(\.code) == [.unimplemented, .unimplemented])
        #expect(
            errors.map(\.message) == ["unknown method Nope of service cabstand.test.Echo", "unknown service no.Such"])
    }

    // MARK: Deadlines and cancellation (behaviour 26)

    @Test func deadlineIsAnsweredByTheClientAndStopsTheServersWork() throws {
        let world = try World()
        let before = world.network.now
        let error = world.unary(CallOptions(timeoutNanoseconds: 50 * .millisecond)) { $0.delayMs = 10_000 }?.error
        #expect(error?.code == .deadlineExceeded)
        #expect(world.network.now - before < 60 * .millisecond)
        world.network.run(for: 10 * .millisecond)
        #expect(world.service.cancelled == 1)
        #expect(world.server.callCount == 0)
        let timeout = try #require(world.service.timeouts.first ?? nil)
        #expect(timeout > 40 * .millisecond && timeout <= 50 * .millisecond)
    }

    @Test func serverEndsTheCallAtTheDeadlineByItself() throws {
        let world = try World()
        var options = CallOptions(timeoutNanoseconds: 50 * .millisecond)
        options.metadata.add("x", "y")
        world.echo.unary(EchoRequest()) { _ in }  // connects
        world.network.run(for: .second)
        var request = EchoRequest()
        request.delayMs = 10_000
        world.echo.unary(request, options: options) { _ in }
        world.network.run(until: { world.service.received == 2 })
        // The client's RST_STREAM never comes: its side is cut off.
        world.network.options.delay = (10 * .second)...(11 * .second)
        world.network.run(for: 60 * .millisecond)
        #expect(world.service.cancelled == 1)
    }

    @Test func deadlineWithoutAConnection() throws {
        let world = try World(listens: false)
        let error = world.unary(CallOptions(timeoutNanoseconds: 3 * .second, waitForReady: true))?.error
        #expect(error?.code == .deadlineExceeded)
    }

    @Test func cancellingACall() throws {
        let world = try World()
        var request = EchoRequest()
        request.delayMs = 10_000
        var result: Result<EchoResponse, RPCError>?
        let call = world.echo.unary(request) { result = $0 }
        world.network.run(until: { world.service.received == 1 })
        call.cancel()
        #expect(result == nil, "never inside of what the caller calls")
        #expect(world.wait { result }?.error?.code == .cancelled)
        world.network.run(for: .second)
        #expect(world.service.cancelled == 1)
        #expect(world.server.callCount == 0)
    }

    @Test func cancellingAStream() throws {
        let world = try World()
        var request = EchoRequest()
        request.repeat = 3
        request.stayOpen = true
        var messages = 0
        var end: RPCError??
        let call = world.echo.expand(request) { _ in
            messages += 1
        } onEnd: {
            end = .some($0)
        }
        world.network.run(until: { messages == 3 })
        call.cancel()
        #expect(world.wait { end }??.code == .cancelled)
        world.network.run(for: .second)
        #expect(world.service.cancelled == 1)
    }

    @Test func tasksOfTheLoopCallToo() throws {
        let world = try World()
        final class Outcome: @unchecked Sendable {
            // Proof: the simulation has one thread.
            var text: String?
            var codes: [StatusCode] = []
        }
        let outcome = Outcome()
        let echo = LoopBound(world.echo, loop: world.clientLoop)
        world.clientLoop.spawn {
            var request = EchoRequest()
            request.text = "from a task"
            outcome.text = try? await echo.value.unary(request).text
            request.delayMs = 60_000
            do throws(RPCError) {
                _ = try await echo.value.unary(request, options: CallOptions(timeoutNanoseconds: .second))
            } catch {
                outcome.codes.append(error.code)
            }
            let slow = request
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    do throws(RPCError) {
                        _ = try await echo.value.unary(slow)
                    } catch {
                        outcome.codes.append(error.code)
                    }
                }
                group.cancelAll()
            }
        }
        world.network.run(until: { outcome.codes.count == 2 })
        #expect(outcome.text == "from a task")
        #expect(outcome.codes == [.deadlineExceeded, .cancelled])
    }

    // MARK: Sizes (behaviour 25)

    @Test func largeMessagesBothWays() throws {
        let world = try World()
        let response = world.unary { $0.payload = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0) } }?.success
        #expect(response?.payload.count == 3_000_000)
        #expect(response?.payload.last == UInt8(truncatingIfNeeded: 2_999_999))
    }

    /// A kernel that takes everything at once never reports that it has drained; bodies above the high water must go on.
    @Test func regression_largeMessagesWithoutShortWrites() throws {
        var options = SimulationOptions()
        options.window = 16 << 20
        options.readSize = 65_536...65_536
        options.writeSize = (16 << 20)...(16 << 20)
        var http2 = HTTP2Limits()
        http2.initialStreamWindow = 8 << 20
        http2.connectionWindow = 16 << 20
        let world = try World(options: options, http2Limits: http2)
        #expect(world.unary { $0.payload = Array(repeating: 1, count: 4_000_000) }?.success?.payload.count == 4_000_000)
    }

    @Test func messageOverTheLimit() throws {
        var limits = GRPCLimits()
        limits.maximumMessageSize = 1000
        let world = try World(limits: limits)
        let tooLarge = world.unary { $0.payload = Array(repeating: 0, count: 1001) }?.error
        #expect(tooLarge?.code == .resourceExhausted)
        var options = ChannelOptions()
        options.maximumMessageSize = 500
        let careful = try World(channelOptions: options)
        #expect(careful.unary { $0.payload = Array(repeating: 0, count: 501) }?.error?.code == .resourceExhausted)
        #expect(careful.unary { $0.text = "fits" }?.success?.text == "fits")
    }

    @Test func answerOverTheClientsLimit() throws {
        let world = try World()
        var options = ChannelOptions()
        options.maximumMessageSize = 300
        let channel = GRPCChannel(loop: world.clientLoop, target: "localhost:\(World.port)", options: options)
        var request = EchoRequest()
        request.repeat = 1
        request.payload = Array(repeating: 1, count: 290)
        request.text = "0123456789"
        var end: RPCError??
        _ = Cabstand_Test_EchoClient(channel: channel).expand(request) { _ in
        } onEnd: {
            end = .some($0)
        }
        // The request has 306 bytes: refused here already.
        #expect(world.wait { end }??.code == .resourceExhausted)
    }
}
