import Basics
import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// Whatever comes first of an answer, a deadline, a reset, a GOAWAY, a connection's error and its end, and in whatever order:
/// each call starts and ends once on both sides, nothing is left over, and nobody hears another's answer.
@Suite struct InterleavingTests {
    private static let seeds = 120

    @Test(arguments: 0..<6, [false, true]) func anyOrderOfEvents(part: Int, tasks: Bool) throws {
        // Tasks take longer: half as many.
        for seed in stride(from: part, to: tasks ? Self.seeds / 2 : Self.seeds, by: 6) {
            let run = try Interleaving(seed: UInt64(seed), tasks: tasks)
            let problems = try run.play()
            #expect(problems.isEmpty, "seed \(seed): \(problems)")
        }
    }
}

/// One world, one seed.
private final class Interleaving {
    private struct Call {
        var starts = 0
        var ends = 0
        var isWrong = false
    }

    private let world: World
    private let tasks: AsyncEcho?
    private var random: SplitMix
    private var calls: [Call] = []
    private var streams: [ServerStreamingCall] = []
    private var uploads: [ClientStreamingCall<EchoRequest, EchoResponse>] = []
    private var talks: [BidirectionalCall<EchoRequest>] = []
    private var unary: [UnaryCall] = []
    private var waiting: [Task<Void, Never>] = []
    private var peers: [RawPeer] = []
    private var servers = 1

    init(seed: UInt64, tasks: Bool) throws {
        self.tasks = tasks ? AsyncEcho() : nil
        random = SplitMix(seed: seed &* 0x9E37_79B9_7F4A_7C15 | 1)
        var options: SimulationOptions = seed % 3 == 0 ? .unkind : .init()
        if seed % 4 == 1 { options.resets = 0.002 }
        var http2 = HTTP2Limits()
        if seed % 2 == 0 { http2.maximumConcurrentStreams = 6 }
        if seed % 5 == 0 { http2.maximumResets = 3 }
        var limits = GRPCLimits()
        limits.maximumQueuedBytes = 20_000
        limits.writableBelow = 4000
        limits.drainGrace = .milliseconds(5)
        limits.drainTimeout = .milliseconds(100)
        if seed % 7 == 0 { limits.maximumEventsPerRead = 3 }
        var channel = ChannelOptions()
        channel.initialBackoff = .milliseconds(2)
        channel.maximumBackoff = .milliseconds(10)
        channel.maximumQueuedCalls = 30
        world = try World(
            seed: seed, options: options, limits: limits, http2Limits: http2, channelOptions: channel,
            tasks: self.tasks)
        world.service.answersTwice = true
    }

    private func below(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }

    private func newCall() -> Int {
        calls.append(Call(starts: 1))
        return calls.count - 1
    }

    private func options() -> CallOptions {
        CallOptions(
            timeoutNanoseconds: below(2) == 0 ? UInt64(below(15) + 1) * .millisecond : nil, waitForReady: below(2) == 0)
    }

    private func step() throws {
        world.service.ignoresCancel = below(2) == 0
        tasks?.ignoresCancel = world.service.ignoresCancel
        switch below(28) {
        case 0..<7:
            let index = newCall()
            var request = EchoRequest()
            request.text = "call \(index)"
            request.delayMs = Int32(below(20))
            if below(5) == 0 { request.payload = Array(repeating: 1, count: below(9000)) }
            if below(6) == 0 { request.failCode = 9 }
            unary.append(
                world.echo.unary(request, options: options()) { [self] in
                    calls[index].ends += 1
                    if let answer = $0.success, answer.text != "call \(index)" { calls[index].isWrong = true }
                })
        case 7..<10:
            let index = newCall()
            let call = world.echo.collect(options: options())
            call.onEnd = { [self] in
                calls[index].ends += 1
                let texts = $0.success.map { Set($0.text.split(separator: ",").map(String.init)) }
                if let texts, !texts.isSubset(of: ["call \(index)"]) { calls[index].isWrong = true }
            }
            var request = EchoRequest()
            request.text = "call \(index)"
            for _ in 0..<below(4) { call.send(request) }
            if below(2) == 0 { call.finish() }
            uploads.append(call)
        case 10..<13:
            let index = newCall()
            var request = EchoRequest()
            request.text = "call \(index)"
            request.repeat = Int32(below(20))
            request.stayOpen = below(3) == 0
            request.payload = Array(repeating: 2, count: below(2000))
            let call = world.echo.expand(request, options: options()) { [self] in
                if $0.text != "call \(index)" { calls[index].isWrong = true }
            } onEnd: { [self] _ in
                calls[index].ends += 1
            }
            if below(4) == 0 { call.pause() }
            streams.append(call)
        case 24: talk()
        case 25: spawnTask()
        case 26:
            if let call = talks.randomElement(using: &random) {
                [call.cancel, call.finish, call.pause, call.resume][below(4)]()
            }
        case 27: waiting.randomElement(using: &random)?.cancel()
        case 13: if let call = unary.randomElement(using: &random) { call.cancel() }
        case 14: if let call = streams.randomElement(using: &random) { call.cancel() }
        case 15: if let call = streams.randomElement(using: &random) { call.resume() }
        case 16:
            if let call = uploads.randomElement(using: &random) {
                if below(2) == 0 { call.cancel() } else { call.finish() }
            }
        case 17..<21: try peerStep()
        case 21: world.network.resetConnections(of: below(2) == 0 ? world.serverLoop : world.clientLoop)
        case 22:
            guard servers < 4 else { return }
            servers += 1
            world.server.drain()
            try world.restartKeepingOld()
        default: world.network.run(for: UInt64(below(20)) * .millisecond)
        }
    }

    private func talk() {
        let index = newCall()
        let call = world.echo.talk(options: options()) { [self] in
            if $0.text != "call \(index)" { calls[index].isWrong = true }
        } onEnd: { [self] _ in
            calls[index].ends += 1
        }
        var request = EchoRequest(text: "call \(index)", payload: Array(repeating: 3, count: below(3000)))
        request.repeat = Int32(below(5))
        if below(8) == 0 { request.failCode = 9 }
        for _ in 0..<below(4) { call.send(request) }
        if below(2) == 0 { call.finish() }
        talks.append(call)
    }

    /// A task that calls in one of the async ways. It ends as often as it begins, and hears no other's answer.
    private func spawnTask() {
        let index = newCall()
        let options = options()
        let kind = below(4)
        let count = below(30)
        var request = EchoRequest(text: "call \(index)", payload: Array(repeating: 4, count: below(2000)))
        request.repeat = Int32(count)
        request.delayMs = kind == 0 ? Int32(below(20)) : 0
        waiting.append(
            world.spawn { [self] in
                do throws(RPCError) {
                    var answers: [EchoResponse] = []
                    switch kind {
                    case 0: answers.append(try await world.echo.unary(request, options: options))
                    case 1:
                        answers.append(
                            try await world.echo.collect(options: options) { requests throws(RPCError) in
                                for _ in 0..<min(count, 1) { try await requests.send(request) }
                            })
                    case 2:
                        for try await answer in world.echo.expand(request, options: options) {
                            answers.append(answer)
                            if answers.count == 20 { break }
                        }
                    default:
                        let (requests, responses) = world.echo.talk(options: options)
                        for _ in 0..<3 {
                            try await requests.send(request)
                            if let answer = try await responses.next() { answers.append(answer) }
                        }
                        requests.finish()
                    }
                    if answers.contains(where: { !$0.text.isEmpty && $0.text != request.text }) {
                        calls[index].isWrong = true
                    }
                } catch {}
                calls[index].ends += 1
            })
    }

    /// A peer that does what our client never would.
    private func peerStep() throws {
        guard let peer = peers.filter({ $0.isReady && !$0.isClosed }).randomElement(using: &random), below(6) > 0 else {
            guard peers.count < 5 else { return }
            let peer = RawPeer(.client, world.clientLoop)
            world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
            peers.append(peer)
            return
        }
        guard world.clientLoop.isOpen(peer.id) else { return }
        let stream = peer.open()
        guard stream != 0 else { return }
        let path = ["Unary", "Collect", "Expand", "Talk", "Nope"][below(5)]
        var fields = [
            (":method", "POST"), (":scheme", "http"), (":path", "/cabstand.test.Echo/\(path)"), (":authority", "x"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ]
        if below(2) == 0 { fields.append(("grpc-timeout", "\(below(20) + 1)m")) }
        if below(4) == 0 { fields.append(("content-length", "\(below(20))")) }
        peer.headers(stream, fields)
        switch below(8) {
        case 0: peer.data(stream, [0, 0, 0, 0, 0], endStream: true)
        case 1: peer.data(stream, [0, 0, 0, 0, 2, 0x20, UInt8(below(20))], endStream: true)
        case 2: peer.data(stream, [0, 0, 0, 0, 9, 1])
        case 3: peer.reset(stream, .cancel)
        case 4: for _ in 0..<4 { peer.ping() }
        case 5: peer.raw([0, 0, 0, 5, 0, 0, 0, 0, 0])
        case 6: world.clientLoop.close(peer.id)
        default: break
        }
    }

    /// What went wrong.
    func play() throws -> [String] {
        for _ in 0..<(30 + below(60)) {
            try step()
            if below(2) == 0 { world.network.run(for: UInt64(below(3000)) * 1000) }
        }
        // Everything that is still at work comes to its end.
        world.network.run(for: 200 * .millisecond)
        for call in streams { call.cancel() }
        for call in uploads { call.cancel() }
        for call in talks { call.cancel() }
        for call in unary { call.cancel() }
        for task in waiting { task.cancel() }
        for peer in peers where !peer.isClosed { world.clientLoop.close(peer.id) }
        world.network.run(for: 200 * .millisecond)
        world.channel.close()
        world.network.run(for: 200 * .millisecond)
        for server in world.allServers { server.close() }
        world.network.run(for: 30 * .second)
        var problems: [String] = []
        for (index, call) in calls.enumerated() {
            if call.ends != 1 { problems.append("call \(index) ended \(call.ends) times") }
            if call.isWrong { problems.append("call \(index) got another's message") }
        }
        for server in world.allServers {
            if server.callCount != 0 { problems.append("\(server.callCount) calls are left at the server") }
            if server.connectionCount != 0 { problems.append("\(server.connectionCount) connections are left") }
            if server.heldBytes != 0 { problems.append("\(server.heldBytes) bytes are held") }
            if server.queuedBytes != 0 { problems.append("\(server.queuedBytes) bytes are queued") }
        }
        if world.channel.openCalls != 0 { problems.append("\(world.channel.openCalls) calls are left at the client") }
        if world.channel.openConnections != 0 {
            problems.append("\(world.channel.openConnections) connections are left")
        }
        if world.channel.queuedCalls != 0 { problems.append("\(world.channel.queuedCalls) calls wait") }
        if let tasks, tasks.atWork != 0 { problems.append("\(tasks.atWork) handlers are at work") }
        if world.service.endedTwice != 0 { problems.append("\(world.service.endedTwice) handlers heard two ends") }
        return problems
    }
}
