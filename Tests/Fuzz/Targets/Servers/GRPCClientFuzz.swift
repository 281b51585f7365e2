import Bytes
import GRPCRuntime
import HTTP2
import ProtobufWire
import Reactor
import ReactorSim

/// The gRPC client's channel against servers that do anything: every call ends once, with its own answer.
func fuzzGRPCClient(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let attack = try ClientAttack(&input)
    while !input.isEmpty { try attack.step(&input) }
    try attack.end()
}

private typealias Text = Google_Protobuf_StringValue

private final class ClientAttack {
    private let world: FuzzWorld
    private let channel: GRPCChannel
    private var listener: SimulatedPeerListener?
    private let address = SocketAddress.loopback(port: 50_051)
    private var calls: [Call] = []
    private var messages: [String: Int] = [:]
    private var broken: String?

    /// A call that was begun, whatever its kind.
    private final class Call {
        var ends = 0
        /// Where its messages came from: connection and stream.
        var source: String?
        var cancel: () -> Void = {}
        var send: (Text) -> Void = { _ in }
        var finish: () -> Void = {}
        var pause: (Bool) -> Void = { _ in }

        /// What it does holds it.
        func forget() {
            cancel = {}
            send = { _ in }
            finish = {}
            pause = { _ in }
        }
    }

    init(_ input: inout FuzzInput) throws {
        world = try FuzzWorld(&input)
        var options = ChannelOptions()
        options.maximumMessageSize = 4000
        options.maximumQueuedCalls = 12
        options.maximumQueuedBytes = 20_000
        options.connectTimeout = .seconds(3)
        options.maximumBackoff = .seconds(5)
        options.keepaliveInterval = .seconds(10)
        channel = GRPCChannel(loop: world.loop, target: "localhost:50051", options: options)
        listener = world.network.listenForPeers(address)
    }

    func step(_ input: inout FuzzInput) throws {
        let operation = input.choice(20)
        switch operation {
        case 0, 1, 2, 3: begin(&input)
        case 4: act(&input)
        case 5, 6: try world.wait(&input)
        case 7: toggleListener()
        default: if let peer = world.peer(&input) { answer(operation, peer, &input) }
        }
        try world.settle()
        while world.peers.count < FuzzWorld.maximumPeers, let end = listener?.accept() {
            world.add(end)
            end.send(Frames.settings() + Frames.settingsAck)
        }
        try promise(broken == nil, broken ?? "")
    }

    // MARK: The client's side

    private func begin(_ input: inout FuzzInput) {
        guard calls.count < 60 else { return }
        let choice = input.byte()
        let timeout: [UInt64?] = [nil, 20_000_000, 1_000_000_000, 30_000_000_000]
        var options = CallOptions()
        options.timeoutNanoseconds = timeout[Int(choice >> 2) & 3]
        options.waitForReady = choice & 0x40 != 0
        if choice & 0x80 != 0 { options.compression = .gzip }
        if choice & 0x20 != 0 { options.acceptsCompression = true }
        let call = Call()
        calls.append(call)
        let kind = choice & 3
        world.loop.execute { [self] in start(call, kind, options) }
    }

    private func start(_ call: Call, _ kind: UInt8, _ options: CallOptions) {
        let request = Text(value: "call")
        switch kind {
        case 0, 1:
            let handle = channel.unary("/f.F/Unary", request, options: options) {
                [unowned self] (result: Result<Text, RPCError>) in
                if case .success(let text) = result { heard(call, text.value) }
                call.ends += 1
            }
            call.cancel = { handle.cancel() }
        case 2:
            let handle = channel.serverStreaming(
                "/f.F/Expand", request, options: options,
                onMessage: { [unowned self] (text: Text) in
                    if call.ends > 0 { broken = "a message behind the end of its call" }
                    heard(call, text.value)
                },
                onEnd: { _ in call.ends += 1 })
            call.cancel = { handle.cancel() }
            call.pause = { if $0 { handle.pause() } else { handle.resume() } }
        default:
            let handle: ClientStreamingCall<Text, Text> = channel.clientStreaming("/f.F/Collect", options: options)
            handle.onEnd = { [unowned self] result in
                if case .success(let text) = result { heard(call, text.value) }
                call.ends += 1
            }
            call.cancel = { handle.cancel() }
            call.send = { handle.send($0, compressed: $0.value.utf8.count < 1000) }
            call.finish = { handle.finish() }
        }
    }

    /// The servers write into each message where it was sent: one call hears from one stream, one stream speaks to one call.
    private func heard(_ call: Call, _ source: String) {
        guard source.hasPrefix("~") else { return }
        if let before = call.source, before != source { broken = "a call hears from \(before) and \(source)" }
        call.source = source
        let place = calls.firstIndex { $0 === call } ?? -1
        if let other = messages[source], other != place { broken = "\(source) speaks to two calls" }
        messages[source] = place
    }

    private func act(_ input: inout FuzzInput) {
        guard !calls.isEmpty else { return }
        let call = calls[Int(input.byte()) % calls.count]
        let choice = input.byte()
        world.loop.execute {
            switch choice % 6 {
            case 0: call.cancel()
            case 1: call.send(Text(value: String(repeating: "x", count: Int(choice) * 10)))
            case 2: call.finish()
            case 3: call.pause(true)
            default: call.pause(false)
            }
        }
    }

    // MARK: The servers' side

    private func toggleListener() {
        if let listener {
            listener.close()
            self.listener = nil
        } else {
            listener = world.network.listenForPeers(address)
        }
    }

    private func answer(_ operation: Int, _ peer: HostilePeer, _ input: inout FuzzInput) {
        let stream = UInt32(input.byte() % 12) * 2 + 1
        switch operation {
        case 8: peer.end.send(input.run())
        case 9: peer.end.send(Frames.frame(input.byte() % 11, input.byte(), stream, input.run()))
        case 10, 11: peer.end.send(Frames.headers(stream, fields(input.byte()), endStream: input.bool()))
        case 12, 13:
            let text = Text(value: "~\(peer.number).\(stream)~").encoded()
            let choice = input.byte()
            var message = Frames.message(text, claims: choice & 2 == 0 ? nil : 100_000)
            if choice & 4 != 0 {
                let member = Frames.gzip(text)
                let forms = [member, member + [1], Array(member.dropLast()), Frames.packedZeros]
                message = Frames.compressed(forms[Int(choice >> 3) & 3])
            }
            peer.end.send(Frames.data(stream, message, endStream: choice & 1 != 0))
        case 14: peer.end.send(Frames.headers(stream, [("grpc-status", status(input.byte()))], endStream: true))
        case 15: peer.end.send(Frames.reset(stream, UInt32(input.byte() % 16)))
        case 16: peer.end.send(Frames.goAway(UInt32(input.byte() % 12) * 2 + 1, UInt32(input.byte() % 16)))
        case 17:
            peer.end.send(
                input.bool()
                    ? Frames.windowUpdate(input.bool() ? stream : 0, UInt32(input.byte()) * 100)
                    : Frames.settings([([1, 3, 4, 4, 5][input.choice(5)], UInt32(input.byte()) * 50)]))
        case 18: peer.end.send(Frames.ping(stream, ack: input.bool()))
        default: world.misbehave(peer, &input)
        }
    }

    private func fields(_ choice: UInt8) -> [(String, String)] {
        let status = ["200", "200", "100", "404", "503", "20"][Int(choice & 15) % 6]
        var fields = [(":status", status), ("content-type", "application/grpc")]
        switch choice >> 4 {
        case 1: fields.append(("Upper", "case"))
        case 2: fields.append(("grpc-status", self.status(choice)))
        case 3: fields.append(("content-length", "5"))
        case 4: fields[1].1 = "text/html"
        case 5: fields.append(("grpc-encoding", "gzip"))
        case 6: fields.append(("x-bin", "!!"))
        case 7: fields.append(("grpc-status-details-bin", "AAAA"))
        case 8: fields.append(("grpc-message", "%E9%zz"))
        default: break
        }
        return fields
    }

    private func status(_ choice: UInt8) -> String {
        ["0", "14", "-1", "18446744073709551615", "x", "", "99", "8"][Int(choice) % 8]
    }

    // MARK: The end

    func end() throws {
        world.loop.execute { [channel] in channel.close() }
        try world.leave()
        try promise(broken == nil, broken ?? "")
        for call in calls { try promise(call.ends == 1, "a call has ended \(call.ends) times") }
        try promise(channel.queuedCalls == 0, "\(channel.queuedCalls) calls are queued")
        try promise(channel.openCalls == 0, "\(channel.openCalls) calls are left")
        try promise(channel.openConnections == 0, "\(channel.openConnections) connections are left")
        try promise(channel.accountedBytes == 0, "\(channel.accountedBytes) bytes are held")
        listener?.close()
        for call in calls { call.cancel() }
        try world.settle()
        for call in calls { try promise(call.ends == 1, "a call has ended \(call.ends) times, the last by cancelling") }
        try world.promiseEmptiness()
        for call in calls { call.forget() }
    }
}
