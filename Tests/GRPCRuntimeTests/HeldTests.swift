import Bytes
import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim
import Testing

/// What each state of a connection makes this process keep: in bytes, and for each byte that the peer has sent (issue 10,
/// section 2).
@Suite struct HeldTests {
    /// Bytes that any connection may cost: tables, buffers for a usual block, the greeting.
    private static let base = 40 << 10

    private static func fields(_ path: String = "/cabstand.test.Echo/Unary", _ adding: [(String, String)] = [])
        -> [(String, String)]
    {
        [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
            ("content-type", "application/grpc"), ("te", "trailers"),
        ] + adding
    }

    private static func message(_ request: some ProtobufMessage) -> [UInt8] {
        var buffer = ByteBuffer()
        request.encode(into: &buffer)
        return [0] + (0..<4).map { UInt8(truncatingIfNeeded: buffer.count >> (24 - 8 * $0)) } + buffer.array()
    }

    /// HEADERS that is not whole, and as much of its block as may come.
    private static func openBlock(_ stream: UInt8) -> [UInt8] {
        let part = [UInt8](repeating: 0x84, count: 8000)
        return ByteEnd.Bytes.frame(1, 0, stream, part)
            + Array(repeating: ByteEnd.Bytes.frame(9, 0, stream, part), count: 7).flatMap { $0 }
    }

    /// A block whose insertions by indexed names retire the table's memory again and again.
    private static func insertions() -> [UInt8] {
        let text = [UInt8](repeating: UInt8(ascii: "n"), count: 120)
        var block = Array(repeating: [0x40, 120] + text + [120] + text, count: 14).flatMap { $0 }
        while block.count < 7000 { block += [0x7e, 0x00] }
        return block
    }

    // MARK: Server

    /// What a client does to a server, with the bytes that may be held for it, and how many for each that was sent.
    enum ServerState: CaseIterable {
        case halfMessages, headerBlock, table, manyStreams, metadata, watches, unreadAnswers, zeroWindow, reflection
        case pings, settings, echoes

        var bound: (bytes: Int, ratio: Double) {
            switch self {
            // A buffer doubles when it grows.
            case .halfMessages: (1 << 20 + 1 << 18, 2.1)
            case .headerBlock: (128 << 10, 2.1)
            case .table: (0, 1)
            // A stream and its call.
            case .manyStreams, .watches: (4 << 20, 25)
            case .metadata: (96 << 10, 3)
            // The output's high-water mark, in a buffer that has doubled.
            case .unreadAnswers, .echoes: (512 << 10, 40)
            case .zeroWindow: (512 << 10, 2)
            case .reflection: (700 << 10, 4)
            case .pings, .settings: (40 << 10, 1.1)
            }
        }

        var limits: GRPCLimits {
            var limits = GRPCLimits()
            if self == .halfMessages { limits.maximumHeldBytes = 1 << 20 }
            if self == .metadata { limits.maximumHeldBytes = 64 << 10 }
            if self == .zeroWindow { limits.maximumConnectionQueuedBytes = 256 << 10 }
            // What a ping costs, and not when they are too many.
            limits.maximumPingStrikes = .max
            return limits
        }
    }

    @Test(arguments: ServerState.allCases) func whatAServerKeeps(state: ServerState) throws {
        let world = try World(limits: state.limits)
        let peer = RawPeer(.client, world.clientLoop)
        world.clientLoop.connect(.loopback(port: World.port), timeout: .second, handler: peer)
        world.network.run(until: { peer.isReady })
        world.network.run(for: 10 * .millisecond)
        let before = peer.sent
        attack(state, peer, world)
        var most = 0
        world.network.run(
            until: {
                most = max(most, world.server.accountedBytes)
                return false
            }, limit: 5 * .second)
        let sent = peer.sent - before
        let bound = state.bound
        #expect(most <= bound.bytes + Self.base, "\(sent) bytes sent")
        #expect(Double(most - Self.base) <= bound.ratio * Double(sent), "\(most) bytes held for \(sent)")
        world.clientLoop.close(peer.id)
        world.network.run(for: 30 * .second)
        #expect(world.server.accountedBytes == 0)
        #expect(world.server.callCount == 0 && world.server.health.watcherCount == 0)
    }

    private func attack(_ state: ServerState, _ peer: RawPeer, _ world: World) {
        switch state {
        case .halfMessages:
            for _ in 0..<30 {
                let stream = peer.open()
                peer.headers(stream, Self.fields())
                peer.data(stream, [0, 0, 0x10, 0, 0] + [UInt8](repeating: 7, count: 100_000))
            }
        case .headerBlock: peer.raw(Self.openBlock(1))
        case .table:
            for stream in stride(from: UInt8(1), to: 41, by: 2) {
                peer.raw(ByteEnd.Bytes.frame(1, 5, stream, Self.insertions()))
            }
        case .manyStreams:
            for _ in 0..<3000 { peer.headers(peer.open(), Self.fields("/cabstand.test.Echo/Collect")) }
        case .metadata:
            for _ in 0..<40 {
                let value = String(repeating: "m", count: 4000)
                peer.headers(peer.open(), Self.fields("/cabstand.test.Echo/Collect", [("x-long", value)]))
            }
        case .watches:
            for index in 0..<1000 {
                var request = Grpc_Health_V1_HealthCheckRequest()
                request.service = String(repeating: "n", count: 250) + "\(index)"
                let stream = peer.open()
                peer.headers(stream, Self.fields("/grpc.health.v1.Health/Watch"))
                peer.data(stream, Self.message(request), endStream: true)
            }
        case .unreadAnswers, .echoes:
            world.clientLoop.pauseReading(peer.id)
            let path = state == .echoes ? "/" + String(repeating: "%", count: 300) : "/grpc.health.v1.Health/Check"
            for _ in 0..<3000 {
                let stream = peer.open()
                guard stream != 0 else { return }
                peer.headers(stream, Self.fields(path))
                peer.data(stream, [0, 0, 0, 0, 0], endStream: true)
            }
        case .zeroWindow:
            peer.raw([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0])
            for _ in 0..<100 {
                let stream = peer.open()
                peer.headers(stream, Self.fields())
                var request = EchoRequest()
                request.payload = Array(repeating: 1, count: 10_000)
                peer.data(stream, Self.message(request), endStream: true)
            }
        case .reflection:
            peer.raw([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0])
            let stream = peer.open()
            peer.headers(stream, Self.fields("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"))
            var request = Grpc_Reflection_V1_ServerReflectionRequest()
            request.messageRequest = .fileContainingSymbol("cabstand.test.Echo")
            for _ in 0..<4000 { peer.data(stream, Self.message(request)) }
        case .pings, .settings:
            world.clientLoop.pauseReading(peer.id)
            let ping = ByteEnd.Bytes.frame(6, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8])
            for _ in 0..<990 { peer.raw(state == .pings ? ping : ByteEnd.Bytes.settings) }
        }
    }

    // MARK: Client

    /// What a server does to a client.
    enum ClientState: CaseIterable {
        case halfMessages, headerBlock, table, trailers, pings, settings, informational, goAways

        var bound: (bytes: Int, ratio: Double) {
            switch self {
            case .halfMessages: (1 << 20 + 1 << 18, 2.1)
            case .headerBlock: (128 << 10, 2.1)
            case .table, .trailers, .informational, .goAways: (0, 1)
            case .pings, .settings: (40 << 10, 1.1)
            }
        }
    }

    @Test(arguments: ClientState.allCases) func whatAClientKeeps(state: ClientState) throws {
        var options = ChannelOptions()
        options.maximumHeldBytes = 1 << 20
        let world = try World(channelOptions: options, listens: false)
        let peer = RawPeer(.server, world.serverLoop)
        try world.serverLoop.listen(.loopback(port: World.port), handler: peer)
        var streams: [UInt32] = []
        peer.onRequest = { streams.append($0) }
        var ended = 0
        for _ in 0..<20 {
            world.echo.unary(EchoRequest(), options: CallOptions(timeoutNanoseconds: 20 * .second)) { _ in ended += 1 }
        }
        world.network.run(until: { streams.count == 20 })
        world.network.run(for: 10 * .millisecond)
        let before = peer.sent
        attack(state, peer, streams, world)
        var most = 0
        world.network.run(
            until: {
                most = max(most, world.channel.accountedBytes)
                return false
            }, limit: 5 * .second)
        let sent = peer.sent - before
        let bound = state.bound
        #expect(most <= bound.bytes + Self.base, "\(sent) bytes sent")
        #expect(Double(most - Self.base) <= bound.ratio * Double(sent), "\(most) bytes held for \(sent)")
        world.network.run(for: 30 * .second)
        #expect(ended == 20)
        world.channel.close()
        world.network.run(for: 30 * .second)
        #expect(world.channel.accountedBytes == 0 && world.channel.openConnections == 0)
    }

    private func attack(_ state: ClientState, _ peer: RawPeer, _ streams: [UInt32], _ world: World) {
        let head = [(":status", "200"), ("content-type", "application/grpc")]
        switch state {
        case .halfMessages:
            for stream in streams {
                peer.headers(stream, head)
                peer.data(stream, [0, 0, 0x10, 0, 0] + [UInt8](repeating: 7, count: 100_000))
            }
        case .headerBlock: peer.raw(Self.openBlock(1))
        case .table:
            for stream in streams { peer.raw(ByteEnd.Bytes.frame(1, 4, UInt8(stream), Self.insertions())) }
        case .trailers:
            for stream in streams {
                peer.headers(stream, head)
                let text = String(repeating: "%41", count: 3000)
                peer.headers(stream, [("grpc-status", "5"), ("grpc-message", text)], endStream: true)
            }
        case .pings, .settings:
            world.serverLoop.pauseReading(peer.id)
            let ping = ByteEnd.Bytes.frame(6, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8])
            for _ in 0..<900 { peer.raw(state == .pings ? ping : ByteEnd.Bytes.settings) }
        case .informational:
            for stream in streams {
                for _ in 0..<40 { peer.raw(ByteEnd.Bytes.frame(1, 4, UInt8(stream), [0x08, 3] + Array("103".utf8))) }
            }
        case .goAways:
            let debug = [UInt8](repeating: 65, count: 8000)
            for _ in 0..<50 { peer.raw(ByteEnd.Bytes.frame(7, 0, 0, [0, 0, 0, 99, 0, 0, 0, 0] + debug)) }
        }
    }
}
