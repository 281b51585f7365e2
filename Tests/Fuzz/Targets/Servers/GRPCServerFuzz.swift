import Bytes
import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim

/// The whole gRPC server: unary and streaming calls that are answered at once, late, twice or never, deadlines, resets, floods,
/// GOAWAY, health watches and reflection.
func fuzzGRPCServer(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let attack = try GRPCAttack(&input)
    while !input.isEmpty { try attack.step(&input) }
    try attack.end()
}

private typealias Text = Google_Protobuf_StringValue

private final class GRPCAttack {
    private let world: FuzzWorld
    private let server: GRPCServer
    private let handlers = Handlers()
    private let address: SocketAddress
    /// The next stream that each peer opens.
    private var nextStream: [Int: UInt32] = [:]
    private var drained = 0
    private var isDraining = false

    init(_ input: inout FuzzInput) throws {
        world = try FuzzWorld(&input)
        let choices = input.byte()
        var http2 = HTTP2Limits()
        http2.maximumConcurrentStreams = choices & 1 == 0 ? 6 : 100
        http2.maximumResets = choices & 2 == 0 ? 4 : 200
        http2.maximumIdleFrames = choices & 4 == 0 ? 10 : 1000
        http2.initialStreamWindow = choices & 8 == 0 ? 500 : 65_535
        http2.outputHighWater = 8000
        var limits = GRPCLimits()
        limits.maximumMessageSize = 4000
        limits.maximumQueuedBytes = 20_000
        limits.writableBelow = 1000
        limits.keepaliveInterval = .seconds(20)
        let registry = ServiceRegistry()
        handlers.register(in: registry)
        server = GRPCServer(loop: world.loop, registry: registry, limits: limits, http2Limits: http2)
        address = try server.listen(.loopback(port: 50_051)).localAddress
    }

    func step(_ input: inout FuzzInput) throws {
        let operation = input.choice(24)
        if operation == 0 || world.peers.isEmpty {
            world.connect(to: address)
            world.peers.last?.end.send(Frames.preface + Frames.settings() + Frames.settingsAck)
        }
        guard let peer = world.peer(&input) else { return }
        switch operation {
        case 1: peer.end.send(input.run())
        case 2: peer.end.send(Frames.frame(input.byte() % 11, input.byte(), stream(peer, &input), input.run()))
        case 3, 4, 5, 6, 7, 8: call(peer, &input)
        case 9: message(peer, &input)
        case 10: peer.end.send(Frames.reset(stream(peer, &input), UInt32(input.byte() % 16)))
        case 11: peer.end.send(Frames.windowUpdate(input.bool() ? stream(peer, &input) : 0, UInt32(input.byte()) * 100))
        case 12: peer.end.send(Frames.settings([([1, 3, 4, 4, 5][input.choice(5)], UInt32(input.byte()) * 50)]))
        case 13: flood(peer, &input)
        case 14, 15: try world.wait(&input)
        case 16, 17, 18: handlers.act(&input, on: world.loop)
        case 19: world.misbehave(peer, &input)
        case 20: end(&input)
        case 21: peer.end.send(Frames.goAway(0, UInt32(input.byte() % 16)))
        case 22: breakRules(peer, &input)
        default: break
        }
        try world.settle()
    }

    // MARK: What peers do

    private func stream(_ peer: HostilePeer, _ input: inout FuzzInput) -> UInt32 {
        let next = nextStream[peer.number] ?? 1
        let back = UInt32(input.byte() % 8) * 2
        return next > back ? next - back : next
    }

    private static let paths = [
        "/f.F/Now", "/f.F/Later", "/f.F/Expand", "/f.F/Collect", "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/f.F/None",
        "/x.X/Y",
        "no path",
    ]

    private func fields(_ peer: HostilePeer, _ choice: UInt8, path: Int) -> [(String, String)] {
        var fields = [
            (":method", choice == 31 ? "GET" : "POST"), (":scheme", "http"), (":path", Self.paths[path]),
            (":authority", "a"), ("content-type", choice == 30 ? "text/html" : "application/grpc"), ("te", "trailers"),
        ]
        switch choice & 15 {
        case 1: fields.append(("grpc-timeout", "20m"))
        case 2: fields.append(("grpc-timeout", "1S"))
        case 3: fields.append(("grpc-timeout", "1n"))
        case 4: fields.append(("grpc-timeout", "99999999H"))
        case 5: fields.append(("grpc-timeout", "-1S"))
        case 6: fields.append(("x-secret", peer.secret))
        case 7: fields.append(("x-secret-bin", "!"))
        case 8: fields.append(("grpc-encoding", "gzip"))
        case 9: fields.append(("Upper", "case"))
        case 10: fields.append(("content-length", "3"))
        case 11: fields += [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")]
        case 12: fields.append(("grpc-accept-encoding", "identity,gzip"))
        default: break
        }
        return fields
    }

    private func call(_ peer: HostilePeer, _ input: inout FuzzInput) {
        let stream = nextStream[peer.number] ?? 1
        nextStream[peer.number] = stream + 2
        let path = input.choice(Self.paths.count)
        let choice = input.byte()
        let headers = Frames.headers(
            stream, fields(peer, choice & 31, path: path), endStream: choice & 0x40 != 0)
        peer.end.send(headers)
        // Half of all calls are whole: message and end.
        if choice & 0xC0 == 0 { peer.end.send(Frames.data(stream, Frames.message(text(peer)), endStream: true)) }
    }

    private func text(_ peer: HostilePeer) -> [UInt8] {
        var text = Text()
        text.value = peer.secret
        return text.encoded()
    }

    private func message(_ peer: HostilePeer, _ input: inout FuzzInput) {
        let stream = stream(peer, &input)
        let choice = input.byte()
        var message = Frames.message(text(peer), claims: choice & 4 == 0 ? nil : 100_000)
        if choice & 8 != 0 {
            // Whole, cut by what follows, twice the same, more than may come out.
            let member = Frames.gzip(text(peer))
            let forms = [member, member + [1], member + Frames.gzip([]), Frames.packedZeros]
            message = Frames.compressed(forms[Int(choice >> 4) & 3])
        }
        if choice & 2 != 0 { message = Array(message.prefix(Int(choice >> 4))) }
        peer.end.send(Frames.data(stream, message, endStream: choice & 1 != 0))
    }

    private func flood(_ peer: HostilePeer, _ input: inout FuzzInput) {
        let choice = input.byte()
        var bytes: [UInt8] = []
        for number in 0..<UInt32(choice >> 2) {
            switch choice & 3 {
            case 0: bytes += Frames.ping(number)
            case 1: bytes += Frames.settings([(4, number * 10)])
            case 2:
                let stream = nextStream[peer.number] ?? 1
                nextStream[peer.number] = stream + 2
                bytes += Frames.headers(stream, fields(peer, 0, path: 1), endStream: false) + Frames.reset(stream, 8)
            default:
                let stream = nextStream[peer.number] ?? 1
                nextStream[peer.number] = stream + 2
                bytes += Frames.headers(stream, fields(peer, 0, path: 5), endStream: false)
                bytes += Frames.data(stream, Frames.message([]), endStream: true)
            }
        }
        peer.end.send(bytes)
    }

    /// Errors of one stream, and of the connection.
    private func breakRules(_ peer: HostilePeer, _ input: inout FuzzInput) {
        let stream = stream(peer, &input)
        peer.end.send(
            [
                Frames.windowUpdate(stream, 0), Frames.windowUpdate(0, 0),
                Frames.frame(2, 0, stream, Frames.bigEndian(stream) + [1]),
                Frames.frame(5, 4, stream, [0, 0, 0, 2]), Frames.frame(9, 4, stream, []),
                Frames.data(0, [1], endStream: false),
                Frames.windowUpdate(stream, 0x7fff_ffff), Frames.frame(0, 8, stream, [200]),
            ][input.choice(8)])
    }

    private func end(_ input: inout FuzzInput) {
        let choice = input.byte()
        world.loop.execute { [self] in
            switch choice & 3 {
            case 0 where !isDraining:
                isDraining = true
                server.drain { [self] in drained += 1 }
            case 1: server.health.set(choice & 4 == 0 ? .serving : .notServing, for: "f.F")
            case 2: server.health.set(.notServing)
            default: break
            }
        }
    }

    // MARK: The end

    func end() throws {
        try world.leave()
        try promise(server.connectionCount == 0, "\(server.connectionCount) connections of the server are left")
        try promise(server.callCount == 0, "\(server.callCount) calls are left")
        try promise(server.accountedBytes == 0, "\(server.accountedBytes) bytes are held")
        try promise(drained == (isDraining ? 1 : 0), "drained \(drained) times")
        // Answers that come much too late go nowhere.
        world.loop.execute { [handlers] in handlers.answerAll() }
        try world.settle()
        try handlers.promiseEnds()
        server.close()
        try world.settle()
        try world.promiseEmptiness()
        handlers.forget()
    }
}

/// Handlers that do with their calls what the input says.
private final class Handlers {
    /// What is known of one call.
    private final class Record {
        var cancelled = 0
        /// Answered while the client was there.
        var answered = false
    }

    private var unary: [(call: UnaryServerCall<Text>, text: String, record: Record)] = []
    private var expanding: [(call: ServerStreamingServerCall<Text>, text: String, record: Record)] = []
    private var collecting: [(call: ClientStreamingServerCall<Text, Text>, record: Record)] = []
    private var records: [Record] = []

    private func record() -> Record {
        records.append(Record())
        return records[records.count - 1]
    }

    func register(in registry: ServiceRegistry) {
        registry.unary(service: "f.F", method: "Now") { (request: Text, call: UnaryServerCall<Text>) in
            call.sendHeaders(compression: .gzip)
            call.respond(request)
            call.respond(request)
        }
        registry.unary(service: "f.F", method: "Later") { [unowned self] (request: Text, call: UnaryServerCall<Text>) in
            let record = record()
            call.onCancel = { record.cancelled += 1 }
            unary.append((call, request.value, record))
        }
        registry.serverStreaming(service: "f.F", method: "Expand") {
            [unowned self] (request: Text, call: ServerStreamingServerCall<Text>) in
            let record = record()
            call.onCancel = { record.cancelled += 1 }
            expanding.append((call, request.value, record))
            call.sendHeaders(compression: .gzip)
            call.send(request)
        }
        registry.clientStreaming(service: "f.F", method: "Collect") {
            [unowned self] (call: ClientStreamingServerCall<Text, Text>) in
            let record = record()
            var last = Text()
            call.onCancel = { record.cancelled += 1 }
            call.onMessage = { last = $0 }
            call.onEnd = { [unowned call] in
                record.answered = !call.isCancelled
                call.respond(last)
            }
            collecting.append((call, record))
        }
    }

    func act(_ input: inout FuzzInput, on loop: EventLoop) {
        let place = Int(input.byte())
        let choice = input.byte()
        loop.execute { [self] in
            switch choice % 8 {
            case 0, 1: if !unary.isEmpty { answer(place % unary.count, fails: choice & 0x80 != 0) }
            case 2, 3:
                guard !expanding.isEmpty else { return }
                let (call, text, record) = expanding[place % expanding.count]
                for _ in 0..<(choice >> 4) { call.send(Text(value: text), compressed: choice & 8 == 0) }
                if choice & 8 != 0 {
                    if !call.isCancelled { record.answered = true }
                    call.finish()
                }
            case 4: if !collecting.isEmpty { collecting[place % collecting.count].call.pause() }
            case 5: if !collecting.isEmpty { collecting[place % collecting.count].call.resume() }
            case 6:
                guard !collecting.isEmpty else { return }
                let (call, record) = collecting[place % collecting.count]
                if !call.isCancelled { record.answered = true }
                call.fail(RPCError(code: .aborted, message: "enough"))
            default: if !unary.isEmpty { answer(unary.count - 1, fails: false) }
            }
        }
    }

    private func answer(_ place: Int, fails: Bool) {
        let (call, text, record) = unary[place]
        if !call.isCancelled { record.answered = true }
        if fails {
            call.fail(RPCError(code: .internal, message: text))
        } else {
            call.respond(Text(value: text))
        }
    }

    /// Everything is answered, whether or not it was before.
    func answerAll() {
        for (call, text, _) in unary { call.respond(Text(value: text)) }
        for (call, text, _) in expanding {
            call.send(Text(value: text))
            call.finish()
        }
        for (call, _) in collecting {
            call.resume()
            call.respond(Text())
        }
    }

    func promiseEnds() throws {
        for record in records {
            try promise(record.cancelled <= 1, "a call was cancelled \(record.cancelled) times")
            try promise(record.answered || record.cancelled == 1, "a call has neither an answer nor an end")
        }
        for (call, _, _) in unary { try promise(call.isCancelled, "a call outlives its connection") }
    }

    func forget() {
        unary = []
        expanding = []
        collecting = []
    }
}
