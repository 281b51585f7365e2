import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Testing

/// The channel: connecting, losing, finding again (behaviours 27, 28).
@Suite struct ChannelTests {
    @Test func connectsLazily() throws {
        let world = try World()
        world.network.run(for: .second)
        #expect(world.channel.state == .idle)
        #expect(world.server.connectionCount == 0)
        #expect(world.unary()?.success != nil)
        #expect(world.server.connectionCount == 1)
    }

    @Test func failsFastWhenNothingCanBeReached() throws {
        let world = try World(listens: false)
        let error = world.unary()?.error
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("localhost:50051 can't be reached") == true)
        #expect(world.channel.state == .transientFailure)
        #expect(world.unary()?.error?.code == .unavailable, "at once, until an attempt succeeds")
    }

    @Test func unknownNamesAndBadTargets() throws {
        let world = try World()
        for target in ["nowhere.invalid:1", "no-port", ":1", "localhost:99999"] {
            let channel = GRPCChannel(loop: world.clientLoop, target: target)
            var result: Result<EchoResponse, RPCError>?
            Cabstand_Test_EchoClient(channel: channel).unary(EchoRequest()) { result = $0 }
            #expect(world.wait { result }?.error?.code == .unavailable, "\(target)")
            channel.close()
        }
    }

    @Test func waitForReadyWaits() throws {
        let world = try World(listens: false)
        var result: Result<EchoResponse, RPCError>?
        world.echo.unary(EchoRequest(), options: CallOptions(waitForReady: true)) { result = $0 }
        world.network.run(for: 5 * .second)
        #expect(result == nil)
        try world.listen()
        #expect(world.wait { result }?.success != nil)
    }

    @Test func backoffGrowsAndStartsOver() throws {
        let world = try World(listens: false)
        world.channel.connect()
        world.network.run(for: 400 * .second)
        let options = ChannelOptions()
        var expected = 1.0
        let failures = world.channel.failedAttempts
        #expect(failures.count > 8)
        for (earlier, later) in zip(failures, failures.dropFirst()) {
            let wait = Double(later - earlier) / 1e9
            #expect(wait > expected * 0.79 && wait < expected * 1.21 + 0.1, "\(wait) instead of \(expected)")
            expected = min(expected * options.backoffMultiplier, 120)
        }
    }

    @Test func reconnectsAndResolvesAgain() throws {
        let world = try World()
        #expect(world.unary()?.success != nil)
        // The service moves: the name has another address afterwards.
        let elsewhere = try #require(SocketAddress(ip: "10.1.2.3", port: World.port))
        let loop = try world.network.makeLoop()
        let registry = ServiceRegistry()
        let other = EchoService()
        Cabstand_Test_Echo.register(other, in: registry)
        let server = GRPCServer(loop: loop, registry: registry)
        try server.listen(elsewhere)
        world.network.names["localhost"] = [elsewhere]
        world.server.close()
        world.network.run(for: .second)
        #expect(world.unary(CallOptions(waitForReady: true))?.success != nil)
        #expect(other.received == 1)
    }

    @Test func callsInFlightFailWhenTheConnectionBreaks() throws {
        let world = try World()
        var request = EchoRequest()
        request.delayMs = 60_000
        var result: Result<EchoResponse, RPCError>?
        world.echo.unary(request) { result = $0 }
        world.network.run(until: { world.service.received == 1 })
        world.network.resetConnections(of: world.serverLoop)
        #expect(world.wait { result }?.error?.code == .unavailable)
        #expect(world.service.cancelled == 1, "the server's handler hears of it")
        #expect(world.unary(CallOptions(waitForReady: true))?.success != nil)
    }

    @Test func roundRobinOverAllAddresses() throws {
        let world = try World(listens: false)
        var services: [EchoService] = []
        var servers: [GRPCServer] = []
        var addresses: [SocketAddress] = []
        for host in 1...3 {
            let address = try #require(SocketAddress(ip: "10.0.0.\(host)", port: World.port))
            addresses.append(address)
            let registry = ServiceRegistry()
            let service = EchoService()
            Cabstand_Test_Echo.register(service, in: registry)
            let server = GRPCServer(loop: try world.network.makeLoop(), registry: registry)
            try server.listen(address)
            services.append(service)
            servers.append(server)
        }
        world.network.names["localhost"] = addresses
        world.channel.connect()
        world.network.run(for: .second)
        for _ in 0..<30 { #expect(world.unary()?.success != nil) }
        #expect(services.map(\.received) == [10, 10, 10])
        // One goes away: the others take its share, and nobody notices.
        servers[1].drain()
        world.network.run(for: 100 * .millisecond)
        for _ in 0..<30 { #expect(world.unary()?.success != nil) }
        #expect(services[1].received == 10)
        #expect(services[0].received + services[2].received == 50)
    }

    @Test func streamsBeyondTheLimitWait() throws {
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 2
        var options = ChannelOptions()
        options.maximumQueuedCalls = 5
        let world = try World(http2Limits: http2, channelOptions: options)
        #expect(world.unary()?.success != nil)
        var request = EchoRequest()
        request.delayMs = 100
        var codes: [StatusCode] = []
        for _ in 0..<9 { world.echo.unary(request) { codes.append($0.error?.code ?? .ok) } }
        #expect(world.channel.queuedCalls == 5)
        world.network.run(until: { codes.count == 9 })
        #expect(codes.filter { $0 == .ok }.count == 7)
        #expect(codes.filter { $0 == .resourceExhausted }.count == 2)
    }

    /// Calls that were given up, by their caller or for their deadline, make room like those that were answered: those that waited
    /// behind them waited until something else was read.
    @Test(arguments: [false, true]) func callsThatAreGivenUpMakeRoom(byDeadline: Bool) throws {
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 2
        let world = try World(http2Limits: http2)
        #expect(world.unary()?.success != nil)
        var slow = CallOptions()
        if byDeadline { slow.timeoutNanoseconds = .second }
        let calls = (0..<2).map { _ in world.echo.unary(EchoRequest(delayMs: 60_000), options: slow) { _ in } }
        var codes: [StatusCode] = []
        for _ in 0..<5 { world.echo.unary(EchoRequest()) { codes.append($0.error?.code ?? .ok) } }
        world.network.run(for: 100 * .millisecond)
        #expect(codes.isEmpty && world.channel.queuedCalls == 5)
        if !byDeadline { for call in calls { call.cancel() } }
        world.network.run(for: 2 * .second)
        #expect(codes == [StatusCode](repeating: .ok, count: 5))
    }

    /// Streams that stay open must not keep short calls waiting for ever: where a connection is full there is a further one.
    @Test func aFullConnectionIsJoinedByFurtherOnes() throws {
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 2
        var options = ChannelOptions()
        options.maximumConnectionsPerAddress = 3
        let world = try World(http2Limits: http2, channelOptions: options)
        #expect(world.unary()?.success != nil && world.server.connectionCount == 1)
        var ended = 0
        let talks = (0..<6).map { _ in world.echo.talk(onMessage: { _ in }, onEnd: { _ in ended += 1 }) }
        for talk in talks.prefix(5) { talk.send(EchoRequest(text: "hello")) }
        talks[5].cancel()
        world.network.run(for: .second)
        #expect(world.server.connectionCount == 3 && world.channel.openConnections == 3)
        #expect(world.unary()?.success != nil)
        // Two streams are taken on each: who comes now waits, for there are three connections.
        let last = world.echo.talk(onMessage: { _ in }, onEnd: { _ in ended += 1 })
        last.send(EchoRequest(text: "hello"))
        var answered = false
        world.echo.unary(EchoRequest(text: "waits")) { _ in answered = true }
        world.network.run(for: 5 * .second)
        #expect(!answered && world.channel.queuedCalls == 1 && world.server.connectionCount == 3)
        last.cancel()
        world.network.run(for: .second)
        #expect(answered && world.channel.queuedCalls == 0)
        // A further connection that is lost is not made again without need; its address' own is.
        world.network.resetConnections(of: world.clientLoop)
        world.network.run(for: 5 * .second)
        #expect(world.unary()?.success != nil && world.server.connectionCount == 1)
        world.channel.close()
        world.network.run(for: .second)
        #expect(world.channel.openConnections == 0 && world.server.connectionCount == 0 && world.channel.openCalls == 0)
    }

    /// A further connection that can't be had is tried again at a bounded rate, and those that wait go on waiting.
    @Test func aFurtherConnectionThatFailsIsNoStorm() throws {
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = 1
        var options = ChannelOptions()
        options.maximumConnectionsPerAddress = 16
        let world = try World(http2Limits: http2, channelOptions: options, listens: false)
        let listener = try world.server.listen(.loopback(port: World.port))
        let talk = world.echo.talk(onMessage: { _ in }, onEnd: { _ in })
        talk.send(EchoRequest(text: "hello"))
        world.network.run(for: .second)
        // Nobody can connect any more; the one who is there stays.
        listener.close()
        var codes: [StatusCode] = []
        for _ in 0..<100 { world.echo.unary(EchoRequest()) { codes.append($0.error?.code ?? .ok) } }
        world.network.run(for: 5 * .second)
        #expect(codes.isEmpty && world.channel.state == .ready && world.channel.queuedCalls == 100)
        #expect(world.channel.failedAttempts.count <= 6)
        talk.cancel()
        world.network.run(for: 5 * .second)
        #expect(codes == [StatusCode](repeating: .ok, count: 100))
    }

    @Test func closedChannelsFailTheirCalls() throws {
        let world = try World()
        var request = EchoRequest()
        request.delayMs = 60_000
        var codes: [StatusCode] = []
        world.echo.unary(request) { codes.append($0.error?.code ?? .ok) }
        world.network.run(until: { world.service.received == 1 })
        world.channel.close()
        world.echo.unary(request) { codes.append($0.error?.code ?? .ok) }
        world.network.run(for: .second)
        #expect(codes == [.unavailable, .unavailable])
        #expect(world.server.connectionCount == 0)
    }

    // MARK: Draining (behaviour 27)

    @Test func drainFinishesCallsInFlight() throws {
        let world = try World()
        var request = EchoRequest()
        request.delayMs = 3000
        request.text = "in flight"
        var result: Result<EchoResponse, RPCError>?
        world.echo.unary(request) { result = $0 }
        world.network.run(until: { world.service.received == 1 })
        var drained = false
        world.server.drain { drained = true }
        world.network.run(for: .second)
        #expect(!drained)
        #expect(world.wait { result }?.success?.text == "in flight")
        world.network.run(until: { drained })
        #expect(drained)
        #expect(world.server.connectionCount == 0)
    }

    @Test(arguments: 0..<8) func noCallIsLostWhenAServerIsReplaced(seed: Int) throws {
        let world = try World(seed: UInt64(seed), options: .unkind)
        var answered = 0
        var failed: [RPCError] = []
        var sent = 0
        func next() {
            guard sent < 200 else { return }
            sent += 1
            world.echo.unary(EchoRequest(), options: CallOptions(waitForReady: true)) {
                if let error = $0.error { failed.append(error) } else { answered += 1 }
                next()
            }
        }
        for _ in 0..<4 { next() }
        for round in 1...3 {
            world.network.run(until: { answered + failed.count >= round * 50 })
            let old = world.server
            old.drain()
            try world.restartKeepingOld()
        }
        world.network.run(until: { answered + failed.count == 200 })
        #expect(answered == 200)
        #expect(failed == [])
    }

    @Test func watchesOfHealthEndWithTheDrain() throws {
        let world = try World()
        var statuses: [HealthService.Status] = []
        var end: RPCError??
        var request = Grpc_Health_V1_HealthCheckRequest()
        request.service = "cabstand.test.Echo"
        _ = world.channel.serverStreaming("/grpc.health.v1.Health/Watch", request) {
            (response: Grpc_Health_V1_HealthCheckResponse) in
            statuses.append(response.status)
        } onEnd: {
            end = .some($0)
        }
        world.network.run(until: { statuses.count == 1 })
        world.server.health.set(.notServing, for: "cabstand.test.Echo")
        world.server.health.set(.serving, for: "cabstand.test.Echo")
        world.network.run(until: { statuses.count == 3 })
        var drained = false
        world.server.drain { drained = true }
        #expect(world.wait { end }??.code == .unavailable)
        #expect(statuses == [.serving, .notServing, .serving, .notServing])
        world.network.run(until: { drained })
        #expect(drained)
    }

    // MARK: Keepalive (behaviour 27)

    @Test func clientNoticesADeadConnection() throws {
        var options = ChannelOptions()
        options.keepaliveInterval = .seconds(10)
        options.keepaliveTimeout = .seconds(2)
        let world = try World(channelOptions: options)
        var request = EchoRequest()
        request.delayMs = 600_000
        var result: Result<EchoResponse, RPCError>?
        world.echo.unary(request) { result = $0 }
        world.network.run(until: { world.service.received == 1 })
        let before = world.network.now
        world.network.options.delay = (1000 * .second)...(1001 * .second)
        let error = world.wait(100 * .second) { result }?.error
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("keepalive") == true)
        #expect(world.network.now - before < 13 * .second)
    }

    @Test func serverNoticesADeadConnection() throws {
        var limits = GRPCLimits()
        limits.keepaliveInterval = .seconds(10)
        limits.keepaliveTimeout = .seconds(2)
        let world = try World(limits: limits)
        #expect(world.unary()?.success != nil)
        world.network.run(for: 60 * .second)
        #expect(world.server.connectionCount == 1, "a client that answers stays")
        world.network.options.delay = (1000 * .second)...(1001 * .second)
        world.network.run(for: 13 * .second)
        #expect(world.server.connectionCount == 0)
    }

    @Test(arguments: [true, false])
    func aQuietConnectionIsKeptAliveIfItIsWanted(isWanted: Bool) throws {
        var options = ChannelOptions()
        options.keepaliveInterval = .seconds(10)
        options.keepaliveTimeout = .seconds(2)
        options.keepaliveWithoutCalls = isWanted
        var limits = GRPCLimits()
        limits.keepaliveInterval = .seconds(10_000)
        limits.minimumPingInterval = .seconds(9)
        let world = try World(limits: limits, channelOptions: options)
        #expect(world.unary()?.success != nil)
        world.network.run(for: 600 * .second)
        #expect(world.server.connectionCount == 1 && world.channel.state == .ready)
        world.network.options.delay = (1000 * .second)...(1001 * .second)
        world.network.run(for: 13 * .second)
        #expect((world.channel.state != .ready) == isWanted)
    }

    @Test func anOldConnectionIsReplacedAndNoCallFails() throws {
        var limits = GRPCLimits()
        limits.maximumConnectionAge = .seconds(60)
        limits.drainTimeout = .seconds(10)
        let world = try World(limits: limits)
        var request = EchoRequest()
        request.delayMs = 65_000
        var result: Result<EchoResponse, RPCError>?
        world.echo.unary(EchoRequest(text: "first")) { _ in world.echo.unary(request) { result = $0 } }
        for _ in 0..<300 {
            #expect(world.unary { $0.text = "x" }?.success?.text == "x")
            world.network.run(for: .second)
        }
        // It lives for 54 to 66 seconds.
        #expect((5...7).contains(world.serverLoop.statistics.accepted))
        #expect(world.server.connectionCount == 1)
        // A call in flight gets the time that a drain may take.
        #expect(result != nil)
        request.delayMs = 600_000
        let before = world.network.now
        result = nil
        world.echo.unary(request) { result = $0 }
        #expect(world.wait(100 * .second) { result }?.error != nil)
        #expect(world.network.now - before <= 77 * .second)
    }

    @Test func clientThatPingsTooOftenIsSentAway() throws {
        var options = ChannelOptions()
        options.keepaliveInterval = .seconds(1)
        let world = try World(channelOptions: options)
        var request = EchoRequest()
        request.delayMs = 60_000
        var result: Result<EchoResponse, RPCError>?
        world.echo.unary(request) { result = $0 }
        #expect(world.wait(30 * .second) { result }?.error?.code == .unavailable)
    }
}
