import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// Who calls, as an interceptor has found out.
private struct Name {
    let text: String
}

/// Lets in who says a name, and tells the handler.
private final class NameInterceptor: ServerInterceptor {
    private(set) var paths: [String] = []
    private(set) var peers = 0

    func intercept(_ call: InterceptedCall) throws(RPCError) {
        paths.append(call.path)
        if call.peer != nil, !call.isTLS { peers += 1 }
        guard let name = call.metadata["x-name"] else {
            throw RPCError(code: .unauthenticated, message: "say x-name")
        }
        call.attach(Name(text: name))
    }
}

/// Decides 20 ms later.
private final class SlowInterceptor: AsyncServerInterceptor {
    private(set) var asked = 0
    private(set) var cancelled = 0

    func intercept(_ call: InterceptedCall) async throws(RPCError) {
        asked += 1
        let loop = call.loop
        await withCheckedContinuation { continuation in
            loop.schedule(after: 20 * .millisecond) { continuation.resume() }
        }
        if Task.isCancelled { cancelled += 1 }
        if call.metadata["x-refuse"] != nil { throw RPCError(code: .permissionDenied, message: "not you") }
        call.attach(Name(text: call.metadata["x-name"] ?? "nobody"))
    }
}

/// Adds a name to each call; refuses those that have one.
private struct AddName: ClientInterceptor {
    func intercept(_ path: StaticString, _ options: inout CallOptions) throws(RPCError) {
        if options.metadata["x-name"] != nil { throw RPCError(code: .invalidArgument, message: "named already") }
        options.metadata.add("x-name", "ada of \("\(path)".split(separator: "/").last ?? "")")
    }
}

/// Answers with the name that was attached.
private final class Greeter: Cabstand_Test_EchoHandler {
    func unary(_ request: EchoRequest, _ call: UnaryServerCall<EchoResponse>) {
        call.respond(EchoResponse(text: call[Name.self]?.text ?? "?", payload: request.payload))
    }
    func collect(_ call: ClientStreamingServerCall<EchoRequest, EchoResponse>) {
        var response = EchoResponse(text: call[Name.self]?.text ?? "?")
        call.onMessage = { response.payload += $0.payload }
        call.onEnd = { [unowned call] in call.respond(response) }
    }
    func expand(_ request: EchoRequest, _ call: ServerStreamingServerCall<EchoResponse>) {
        for _ in 0..<request.repeat { call.send(EchoResponse(text: call[Name.self]?.text ?? "?")) }
        call.finish()
    }
    func talk(_ call: BidirectionalServerCall<EchoRequest, EchoResponse>) {
        call.onMessage = { [unowned call] in
            call.send(EchoResponse(text: call[Name.self]?.text ?? "?", payload: $0.payload))
        }
        call.onEnd = { [unowned call] in call.finish() }
    }
}

private final class Town {
    let network: SimulatedNetwork
    let server: GRPCServer
    let channel: GRPCChannel
    let echo: Cabstand_Test_EchoClient
    let clientLoop: EventLoop

    init(
        seed: UInt64 = 1, options: SimulationOptions = .init(), channelOptions: ChannelOptions = .init(),
        _ setUp: (GRPCServer) -> Void
    ) throws {
        network = SimulatedNetwork(seed: seed, options: options)
        let loop = try network.makeLoop()
        clientLoop = try network.makeLoop()
        let registry = ServiceRegistry()
        Cabstand_Test_Echo.register(Greeter(), in: registry)
        server = GRPCServer(loop: loop, registry: registry)
        setUp(server)
        try server.listen(.loopback(port: World.port))
        channel = GRPCChannel(loop: clientLoop, target: "localhost:\(World.port)", options: channelOptions)
        echo = Cabstand_Test_EchoClient(channel: channel)
    }

    func unary(_ name: String?, payload: Int = 0, extra: String? = nil) -> Result<EchoResponse, RPCError>? {
        var options = CallOptions()
        if let name { options.metadata.add("x-name", name) }
        if let extra { options.metadata.add(extra, "1") }
        var result: Result<EchoResponse, RPCError>?
        echo.unary(EchoRequest(payload: [UInt8](repeating: 7, count: payload)), options: options) { result = $0 }
        network.run(until: { result != nil }, limit: 60 * .second)
        return result
    }
}

@Suite struct InterceptorTests {
    @Test func anInterceptorRefusesAndAttaches() throws {
        let names = NameInterceptor()
        let town = try Town { $0.add(names) }
        #expect(town.unary("ada")?.success?.text == "ada")
        #expect(town.unary(nil)?.error?.code == .unauthenticated)
        #expect(town.unary("bob")?.success?.text == "bob")
        #expect(names.paths == [String](repeating: "/cabstand.test.Echo/Unary", count: 3) && names.peers == 3)
        #expect(town.server.callCount == 0)
    }

    /// Messages that come while it is decided are delivered afterwards, in order and whole.
    @Test(arguments: 0..<9 as Range<UInt64>)
    func anAsyncInterceptorHoldsAllKindsOfCalls(seed: UInt64) throws {
        let slow = SlowInterceptor()
        let town = try Town(
            seed: seed, options: seed % 3 == 0 ? .init() : seed % 3 == 1 ? .byteByByte : .unkind
        ) {
            $0.add(NameInterceptor())
            $0.add(slow)
        }
        var options = CallOptions()
        options.metadata.add("x-name", "ada")
        var answers: [String: Int] = [:]
        // Beyond a window once on each network: byte by byte that takes a hundred times as long as the others.
        let sizes = seed < 3 ? [0, 10, 5_000, 40_000] : [0, 10, 5_000]
        let count = sizes.count
        for size in sizes {
            let request = EchoRequest(payload: [UInt8](repeating: 7, count: size), repeat: 5)
            town.echo.unary(request, options: options) {
                if $0.success?.payload.count == size, $0.success?.text == "ada" { answers["unary", default: 0] += 1 }
            }
            let collect = town.echo.collect(options: options)
            for _ in 0..<3 { collect.send(request) }
            collect.finish {
                if $0.success?.payload.count == 3 * size, $0.success?.text == "ada" {
                    answers["collect", default: 0] += 1
                }
            }
            town.echo.expand(request, options: options) {
                if $0.text == "ada" { answers["expand", default: 0] += 1 }
            } onEnd: { error in
                if error == nil { answers["end", default: 0] += 1 }
            }
        }
        town.network.run(until: { answers.values.reduce(0, +) == 8 * count }, limit: 60 * .second)
        #expect(answers == ["unary": count, "collect": count, "expand": 5 * count, "end": count])
        #expect(slow.asked == 3 * count && slow.cancelled == 0)
        #expect(town.unary("ada", extra: "x-refuse")?.error?.code == .permissionDenied)
        town.network.run(for: .second)
        #expect(town.server.callCount == 0 && town.server.heldBytes == 0)
    }

    /// However a call ends while it is decided: it ends once, the task is told, and nothing stays.
    @Test(arguments: 0..<4) func aCallThatEndsWhileItIsDecided(way: Int) throws {
        let slow = SlowInterceptor()
        let town = try Town { $0.add(slow) }
        var options = CallOptions()
        if way == 0 { options.timeoutNanoseconds = 5 * .millisecond }
        var ends = 0
        let calls = (0..<5).map { _ in
            town.echo.unary(EchoRequest(payload: [1, 2, 3]), options: options) { result in
                if result.error != nil { ends += 1 }
            }
        }
        town.network.run(until: { slow.asked == 5 || ends == 5 }, limit: .second)
        switch way {
        case 1: for call in calls { call.cancel() }
        case 2: town.network.resetConnections(of: town.clientLoop)
        case 3: town.server.close()
        default: break
        }
        town.network.run(for: 2 * .second)
        #expect(ends == 5 && slow.cancelled == slow.asked)
        #expect(town.server.callCount == 0 && town.server.heldBytes == 0)
    }

    @Test func aClientInterceptorAddsMetadataAndRefuses() throws {
        var options = ChannelOptions()
        options.interceptors = [AddName()]
        let town = try Town(channelOptions: options) { $0.add(NameInterceptor()) }
        #expect(town.unary(nil)?.success?.text == "ada of Unary")
        #expect(town.unary("bob")?.error?.code == .invalidArgument)
        var collected: String?
        let call = town.echo.collect()
        call.finish { collected = $0.success?.text }
        town.network.run(until: { collected != nil }, limit: .second)
        #expect(collected == "ada of Collect")
    }
}
