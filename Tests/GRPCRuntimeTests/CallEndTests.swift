import Basics
import GRPCRuntime
import Reactor
import ReactorSim
import Testing

/// Hears how each call ends.
private final class Listener: ServerInterceptor {
    /// By the call's `x-call`: the codes that were told, OK among them.
    private(set) var ends: [String: [StatusCode]] = [:]
    private(set) var heard = 0
    /// Called with each end.
    var onEnd: (InterceptedCall) -> Void = { _ in }

    func intercept(_ call: InterceptedCall) throws(RPCError) {
        let name = call.metadata["x-call"] ?? ""
        ends[name, default: []] += []
        call.onEnd { [unowned self] in
            heard += 1
            ends[name]?.append($0?.code ?? .ok)
            onEnd(call)
        }
    }
}

/// Refuses calls with `x-refuse`.
private struct Refuser: ServerInterceptor {
    func intercept(_ call: InterceptedCall) throws(RPCError) {
        if call.metadata["x-refuse"] != nil { throw RPCError(code: .permissionDenied, message: "not you") }
    }
}

/// Keeps the last call.
private final class Reader: ServerInterceptor {
    private(set) var call: InterceptedCall?

    func intercept(_ call: InterceptedCall) throws(RPCError) { self.call = call }
}

/// What interceptors are told of the ends of calls.
@Suite struct CallEndTests {
    private func world(
        _ listener: Listener, seed: UInt64 = 1, options: SimulationOptions = .init(), tasks: AsyncEcho? = nil
    ) throws -> World {
        let world = try World(seed: seed, options: options, listens: false, tasks: tasks)
        world.server.add(listener)
        world.server.add(Refuser())
        try world.listen()
        return world
    }

    private func options(_ name: String, _ more: String..., timeout: UInt64? = nil) -> CallOptions {
        var options = CallOptions()
        options.metadata.add("x-call", name)
        for key in more { options.metadata.add(key, "1") }
        options.timeoutNanoseconds = timeout
        return options
    }

    /// Calls for two seconds, with a deadline of 20 ms that the server alone goes by: call `late`.
    private func callWithDeadline(_ world: World) {
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        let stream = peer.open()
        peer.headers(
            stream,
            [
                (":method", "POST"), (":scheme", "http"), (":path", "/cabstand.test.Echo/Unary"), (":authority", "x"),
                ("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "20m"), ("x-call", "late"),
            ])
        // `delay_ms`, field 4: 2,000.
        peer.data(stream, [0, 0, 0, 0, 3, 4 << 3, 0xD0, 0x0F], endStream: true)
    }

    @Test(arguments: [false, true]) func anInterceptorHearsHowACallHasEnded(asTasks: Bool) throws {
        let listener = Listener()
        let world = try world(listener, tasks: asTasks ? AsyncEcho() : nil)
        _ = world.unary(options("ok"))
        _ = world.unary(options("refused", "x-refuse"))
        _ = world.unary(options("failed")) { $0.failCode = 9 }
        callWithDeadline(world)
        let collect = world.echo.collect(options: options("collected"))
        collect.finish { _ in }
        world.echo.expand(EchoRequest(repeat: 3), options: options("expanded"), onMessage: { _ in }, onEnd: { _ in })
        world.network.run(for: .second)
        let call = world.echo.unary(EchoRequest(delayMs: 60_000), options: options("gone")) { _ in }
        let talk = world.echo.talk(options: options("left"), onMessage: { _ in }, onEnd: { _ in })
        talk.send(EchoRequest(text: "hello"))
        world.network.run(for: .second)
        #expect(listener.ends["gone"] == [] && listener.ends["left"] == [])
        call.cancel()
        talk.cancel()
        world.network.run(for: .second)
        #expect(
            listener.ends == [
                "ok": [.ok], "refused": [.permissionDenied], "failed": [.failedPrecondition],
                "late": [.deadlineExceeded], "collected": [.ok], "expanded": [.ok], "gone": [.cancelled],
                "left": [.cancelled],
            ])
        world.network.run(for: 120 * .second)
        #expect(world.server.callCount == 0 && listener.heard == 8)
    }

    /// A handler that can't hear of the end goes on behind it: the end is told when nobody waits any more, and not again.
    @Test func aHandlerThatIsDeafChangesNothing() throws {
        let listener = Listener()
        let world = try world(listener)
        world.service.ignoresCancel = true
        let call = world.echo.unary(EchoRequest(delayMs: 2_000), options: options("gone")) { _ in }
        callWithDeadline(world)
        world.network.run(for: 100 * .millisecond)
        call.cancel()
        world.network.run(for: .second)
        #expect(listener.ends == ["gone": [.cancelled], "late": [.deadlineExceeded]] && world.server.callCount == 2)
        world.network.run(for: 10 * .second)
        #expect(listener.heard == 2 && world.server.callCount == 0)
    }

    /// A call's metadata stays for as long as its handler is at work: a closure that reads where it lies may end the call.
    @Test func whoReadsACallsMetadataMayEndIt() throws {
        let tasks = AsyncEcho()
        tasks.ignoresCancel = true
        let reader = Reader()
        let world = try World(listens: false, tasks: tasks)
        world.server.add(reader)
        try world.listen()
        let value = String(repeating: "v", count: 300)
        world.echo.unary(EchoRequest(delayMs: 2_000), options: options(value)) { _ in }
        world.network.run(until: { tasks.atWork == 1 })
        let call = try #require(reader.call)
        let held = world.server.heldBytes
        let read = call.withValue(of: "x-call") { bytes in
            call.end(RPCError(code: .aborted, message: "enough"))
            return (0..<bytes.count).map { bytes[$0] }
        }
        #expect(read.count == 1 && read.result == Array(value.utf8))
        #expect(call.metadata["x-call"] == value)
        #expect(held >= 300 && world.server.heldBytes >= 300)
        world.network.run(for: 10 * .second)
        #expect(tasks.atWork == 0 && world.server.callCount == 0 && world.server.heldBytes == 0)
        #expect(call.metadata["x-call"] == nil)
    }

    /// Of a call that has ended the end is told at once; and whoever hears of one may end the server.
    @Test func whoHearsOfAnEndMayDoAnything() throws {
        let listener = Listener()
        let world = try world(listener)
        var late: [StatusCode?] = []
        listener.onEnd = { call in
            call.end(RPCError(code: .aborted, message: "again"))
            call.onEnd { late.append($0?.code) }
            world.server.close()
        }
        for number in 0..<20 {
            let delay = Int32(number % 4 * 10)
            world.echo.unary(EchoRequest(delayMs: delay), options: options("\(number)")) { _ in }
        }
        world.network.run(for: 10 * .second)
        let count = listener.ends.count
        #expect(count > 0 && listener.heard == count && late == [StatusCode?](repeating: .cancelled, count: count))
        #expect(world.server.callCount == 0 && world.server.heldBytes == 0)
    }

    /// Whatever ends calls, and in which order: each end is told once, and it is what the client has heard, if it has heard.
    @Test(arguments: 0..<12 as Range<UInt64>) func eachEndIsToldOnce(seed: UInt64) throws {
        let listener = Listener()
        let networks: [SimulationOptions] = [.init(), .byteByByte, .unkind]
        let world = try world(
            listener, seed: seed, options: networks[Int(seed % 3)], tasks: seed % 2 == 0 ? AsyncEcho() : nil)
        world.service.ignoresCancel = seed % 4 == 1
        var random = SplitMix(seed: seed)
        var answers: [String: StatusCode] = [:]
        for number in 0..<24 {
            let name = "\(number)"
            let isRefused = random.next() % 8 == 0
            var options = isRefused ? options(name, "x-refuse") : options(name)
            if random.next() % 4 == 0 { options.timeoutNanoseconds = random.next() % (200 * .millisecond) + 1 }
            var request = EchoRequest(payload: [UInt8](repeating: 1, count: Int(random.next() % 40)), repeat: 2)
            if random.next() % 4 == 0 { request.failCode = 9 }
            if random.next() % 2 == 0 { request.delayMs = Int32(random.next() % 300) }
            let cancel: () -> Void
            switch random.next() % 4 {
            case 0:
                let call = world.echo.unary(request, options: options) { answers[name] = $0.error?.code ?? .ok }
                cancel = call.cancel
            case 1:
                let call = world.echo.collect(options: options)
                for _ in 0..<3 { call.send(request) }
                call.finish { answers[name] = $0.error?.code ?? .ok }
                cancel = call.cancel
            case 2:
                let call = world.echo.expand(
                    request, options: options, onMessage: { _ in }, onEnd: { answers[name] = $0?.code ?? .ok })
                cancel = call.cancel
            default:
                let call = world.echo.talk(
                    options: options, onMessage: { _ in }, onEnd: { answers[name] = $0?.code ?? .ok })
                call.send(request)
                call.finish()
                cancel = call.cancel
            }
            if random.next() % 4 == 0 {
                world.clientLoop.schedule(after: random.next() % (200 * .millisecond)) { cancel() }
            }
            if number % 5 == 0 { world.network.run(for: random.next() % (20 * .millisecond)) }
        }
        if seed % 3 == 0 { world.network.run(for: 30 * .millisecond) }
        switch seed % 6 {
        case 0: world.network.resetConnections(of: world.clientLoop)
        case 3: world.server.close()
        default: break
        }
        world.network.run(for: 200 * .second)
        #expect(world.server.callCount == 0)
        #expect(!listener.ends.isEmpty && listener.ends.values.allSatisfy { $0.count == 1 })
        for (name, code) in answers where code != .cancelled && code != .unavailable && code != .deadlineExceeded {
            #expect(listener.ends[name] == [code], "call \(name)")
        }
    }
}
