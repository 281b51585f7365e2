import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// Async handlers and async callers: tasks of the loops that serve and call.
@Suite struct AsyncTests {
    private struct Broken: Error {
        let secret = "what only the log may know"
    }

    private struct Refusal: RPCErrorConvertible {
        var rpcError: RPCError { RPCError(code: .failedPrecondition, message: "not today") }
    }

    /// Every kind of call, through a network that tears everything apart.
    @Test(arguments: 0..<9 as Range<UInt64>) func allKindsOfCalls(seed: UInt64) throws {
        let tasks = AsyncEcho()
        let world = try World(
            seed: seed, options: seed % 3 == 0 ? .init() : seed % 3 == 1 ? .byteByByte : .unkind, tasks: tasks)
        var answers: [String] = []
        // Byte by byte, a long message takes a turn for each of its bytes.
        for size in [0, 100, seed % 3 == 1 ? 1000 : 40_000] {
            var request = EchoRequest(text: "x", payload: [UInt8](repeating: 7, count: size))
            request.repeat = 3
            world.spawn {
                do throws(RPCError) {
                    let one = try await world.echo.unary(request)
                    if one.payload == request.payload { answers.append("unary") }
                    let all = try await world.echo.collect { requests throws(RPCError) in
                        for _ in 0..<3 { try await requests.send(request) }
                    }
                    if all.payload.count == 3 * size, all.text == "x,x,x" { answers.append("collect") }
                    var counts: [Int32] = []
                    for try await response in world.echo.expand(request) { counts.append(response.count) }
                    if counts == [1, 2, 3] { answers.append("expand") }
                    let (requests, responses) = world.echo.talk()
                    counts = []
                    for _ in 0..<2 {
                        try await requests.send(request)
                        for _ in 0..<3 { counts.append(try await responses.next()?.count ?? 0) }
                    }
                    requests.finish()
                    if try await responses.next() == nil, counts == [1, 2, 3, 1, 2, 3] { answers.append("talk") }
                    if try await responses.next() == nil { answers.append("end") }
                } catch {
                    answers.append("\(error)")
                }
            }
        }
        world.network.run(until: { answers.count == 15 }, limit: 600 * .second)
        #expect(answers.sorted() == ["collect", "end", "expand", "talk", "unary"].flatMap { [$0, $0, $0] })
        #expect(tasks.atWork == 0 && tasks.cancelled == 0)
        #expect(world.server.callCount == 0 && world.server.heldBytes == 0 && world.channel.openCalls == 0)
    }

    @Test func whatAHandlerThrows() throws {
        let tasks = AsyncEcho()
        let world = try World(tasks: tasks)
        var notices: [String] = []
        world.server.onNotice = { notices.append($0) }
        tasks.error = RPCError(code: .alreadyExists, message: "there", statusDetails: [1, 2])
        var error = world.unary()?.error
        #expect(error?.code == .alreadyExists && error?.message == "there" && error?.statusDetails == [1, 2])
        tasks.error = Refusal()
        error = world.unary()?.error
        #expect(error?.code == .failedPrecondition && error?.message == "not today")
        #expect(notices.isEmpty)
        tasks.error = Broken()
        error = world.unary()?.error
        #expect(error?.code == .internal && error?.message == "the handler failed")
        #expect(notices.count == 1 && notices[0].contains("Echo/Unary") && notices[0].contains("only the log"))
        var ends: [RPCError?] = []
        world.echo.expand(EchoRequest()) { _ in
        } onEnd: {
            ends.append($0)
        }
        _ = world.echo.talk { _ in
        } onEnd: {
            ends.append($0)
        }
        world.network.run(until: { ends.count == 2 })
        #expect(ends.allSatisfy { $0?.code == .internal })
    }

    /// How a call ends before its task.
    enum Blow: CaseIterable {
        case cancel, deadline, reset, serverCloses, clientCloses
    }

    /// The task hears of it once, whatever it waits for, and its call counts until it has returned.
    @Test(arguments: Blow.allCases, [false, true]) func aCallThatEndsBeforeItsTask(blow: Blow, isDeaf: Bool) throws {
        let tasks = AsyncEcho()
        tasks.ignoresCancel = isDeaf
        let world = try World(tasks: tasks)
        var request = EchoRequest()
        request.delayMs = 500
        request.stayOpen = true
        let options = CallOptions(timeoutNanoseconds: blow == .deadline ? 30 * .millisecond : nil)
        var ends = 0
        let unary = world.echo.unary(request, options: options) { _ in ends += 1 }
        let collect = world.echo.collect(options: options)
        collect.onEnd = { _ in ends += 1 }
        let expand = world.echo.expand(request, options: options) { _ in
        } onEnd: { _ in
            ends += 1
        }
        let talk = world.echo.talk(options: options) { _ in
        } onEnd: { _ in
            ends += 1
        }
        world.network.run(until: { tasks.atWork == 4 })
        #expect(world.server.callCount == 4 && ends == 0)
        switch blow {
        case .cancel:
            unary.cancel()
            collect.cancel()
            expand.cancel()
            talk.cancel()
        case .deadline: break
        case .reset: world.network.resetConnections(of: world.clientLoop)
        case .serverCloses: world.server.close()
        case .clientCloses: world.channel.close()
        }
        world.network.run(for: 100 * .millisecond)
        #expect(ends == 4)
        let isGone = blow != .cancel && blow != .deadline
        #expect(tasks.atWork == (isDeaf ? 1 : 0))
        #expect(world.server.callCount == (isDeaf && !isGone ? 1 : 0))
        world.network.run(for: .second)
        #expect(tasks.atWork == 0 && tasks.cancelled == 4 && ends == 4)
        #expect(world.server.callCount == 0 && world.server.heldBytes == 0)
        if !isGone { #expect(world.unary()?.success != nil) }
    }

    /// Resets buy no more work than streams that may be open at once.
    @Test func resetsDoNotMultiplyTasks() throws {
        let tasks = AsyncEcho()
        tasks.ignoresCancel = true
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 6
        let world = try World(http2Limits: http2, tasks: tasks)
        var request = EchoRequest()
        request.delayMs = 50
        var ends = 0
        for index in 0..<60 {
            let call = world.echo.unary(request) { _ in ends += 1 }
            world.clientLoop.schedule(after: UInt64(index % 7) * .millisecond) { call.cancel() }
        }
        world.network.run(for: 10 * .second)
        #expect(ends == 60 && tasks.mostAtWork <= 6 && tasks.received > 0)
        #expect(tasks.atWork == 0 && world.server.callCount == 0)
    }

    /// A drain waits for tasks; the connection closes behind the last of them.
    @Test func aDrainWaitsForTasks() throws {
        let tasks = AsyncEcho()
        let world = try World(tasks: tasks)
        var request = EchoRequest(text: "late")
        request.delayMs = 3000
        var answer: String?
        world.echo.unary(request) { answer = $0.success?.text }
        world.network.run(until: { tasks.atWork == 1 })
        var isDrained = false
        world.server.drain { isDrained = true }
        world.network.run(for: 2 * .second)
        #expect(!isDrained && answer == nil)
        world.network.run(for: 2 * .second)
        #expect(isDrained && answer == "late")
    }

    /// Who sends faster than the other side reads waits: in both directions, for handlers and for callers.
    @Test func backPressure() throws {
        let tasks = AsyncEcho()
        let world = try World(tasks: tasks)
        var request = EchoRequest(payload: [UInt8](repeating: 1, count: 10_000))
        request.repeat = 1000
        var stream: MessageStream<EchoResponse>? = world.echo.expand(request)
        world.network.run(for: .second)
        // Nobody has asked for more than the first message.
        let first = tasks.sent
        #expect(first > 0 && first < 500 && world.server.queuedBytes < 100_000)
        var taken = 0
        world.spawn {
            while let stream, (try? await stream.next()) != nil { taken += 1 }
        }
        world.network.run(until: { taken == 1000 })
        #expect(tasks.sent == 1000)
        stream = nil

        tasks.timePerMessage = 10
        var given = 0
        var answer: EchoResponse?
        world.spawn {
            answer = try? await world.echo.collect { requests throws(RPCError) in
                for _ in 0..<400 {
                    try await requests.send(request)
                    given += 1
                    #expect(given - tasks.received < 100)
                }
            }
        }
        world.network.run(for: .second)
        #expect(given < 250 && world.server.heldBytes < 1 << 20)
        world.network.run(until: { answer != nil })
        #expect(answer?.count == 400)
    }

    /// A stream that is let go of, a loop that is left, and a task that is cancelled end the call.
    @Test func aCallerThatWantsNoMore() throws {
        let tasks = AsyncEcho()
        let world = try World(tasks: tasks)
        var request = EchoRequest()
        request.repeat = 5
        request.stayOpen = true
        var taken = 0
        world.spawn {
            do {
                for try await _ in world.echo.expand(request) {
                    taken += 1
                    if taken == 3 { break }
                }
            } catch {}
        }
        world.network.run(for: .second)
        #expect(taken == 3 && tasks.atWork == 0 && tasks.cancelled == 1)
        var errors: [RPCError] = []
        func wait(_ body: @escaping () async throws(RPCError) -> Void) -> Task<Void, Never> {
            world.spawn { do throws(RPCError) { try await body() } catch { errors.append(error) } }
        }
        request.delayMs = 60_000
        let waiting = [
            wait { () throws(RPCError) in _ = try await world.echo.unary(request) },
            wait { () throws(RPCError) in for try await _ in world.echo.expand(request) {} },
            wait { () throws(RPCError) in _ = try await world.echo.talk().responses.next() },
            wait { () throws(RPCError) in
                _ = try await world.echo.collect { requests throws(RPCError) in
                    while true { try await requests.send(EchoRequest(payload: [UInt8](repeating: 1, count: 9000))) }
                }
            },
        ]
        tasks.timePerMessage = 60_000
        world.network.run(for: .second)
        #expect(errors.isEmpty && tasks.atWork == 4)
        for task in waiting { task.cancel() }
        world.network.run(for: .second)
        #expect(errors.count == 4 && errors.allSatisfy { $0.code == .cancelled })
        #expect(tasks.atWork == 0 && tasks.cancelled == 5)
        #expect(world.channel.openCalls == 0 && world.server.callCount == 0)
    }

    /// A server that has had enough of a stream answers before its end.
    @Test func anAnswerBeforeTheEnd() throws {
        let tasks = AsyncEcho()
        tasks.take = 3
        let world = try World(tasks: tasks)
        var given = 0
        var answer: EchoResponse?
        world.spawn {
            answer = try? await world.echo.collect { requests throws(RPCError) in
                while true {
                    try await requests.send(EchoRequest(payload: [UInt8](repeating: 1, count: 9000)))
                    given += 1
                }
            }
        }
        world.network.run(until: { answer != nil })
        #expect(answer?.count == 3 && given >= 3)
        world.network.run(for: .second)
        #expect(world.channel.openCalls == 0 && world.server.callCount == 0 && world.server.heldBytes == 0)
    }

    private final class Attach: ServerInterceptor {
        func intercept(_ call: InterceptedCall) throws(RPCError) { call.attach(call.metadata["x-name"] ?? "nobody") }
    }

    @Test func whatTheContextKnows() throws {
        let tasks = AsyncEcho()
        let world = try World(listens: false, tasks: tasks)
        world.server.add(Attach())
        try world.listen()
        var names: [String?] = []
        var timeouts: [UInt64] = []
        tasks.onCall = {
            names.append($0[String.self])
            timeouts.append(($0.deadline ?? 0) - $0.loop.now)
            #expect($0.peer != nil && !$0.isCancelled)
        }
        var options = CallOptions(timeoutNanoseconds: 5 * .second)
        options.metadata.add("x-name", "ada")
        #expect(world.unary(options)?.success?.metadata == ["x-name=ada"])
        var isEnded = false
        world.echo.talk(options: options) { _ in
        } onEnd: { _ in
            isEnded = true
        }.finish()
        world.network.run(until: { isEnded })
        #expect(names == ["ada", "ada"])
        #expect(timeouts.allSatisfy { $0 > 4 * .second && $0 <= 5 * .second })
    }
}
