import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import TestSupport
import Testing

/// What a server may send, right and wrong, to a channel (`Tests/HTTP2Tests/Corpus`): the frames that it answers errors with, that
/// every call whose stream is gone has ended, and that the next call is answered: on the same connection if it stands, or on
/// another one.
@Suite struct FrameCorpusTests {
    @Test(arguments: HTTP2Script.files)
    func everyErrorIsAnsweredAndTheNextCallWorks(file: String) throws {
        var played = 0
        for script in try HTTP2Script.read(file) where ChannelScript.canPlay(script) {
            played += 1
            // What is long would take long to be cut.
            try ChannelScript(script, script.size < 200 ? .unkind : .init()).play()
        }
        #expect(played > 5)
    }
}

/// A channel whose server says what a script does.
private final class ChannelScript {
    private let script: HTTP2Script
    private let world: World
    private let listener: SimulatedPeerListener
    private var peers: [SimulatedPeer] = []
    private var received: [[UInt8]] = []
    private var calls: [(call: BidirectionalCall<EchoRequest>, stream: UInt32)] = []
    private var ended: [UInt32: [RPCError?]] = [:]

    /// A channel waits for the server's settings, and for windows, by itself: what scripts say of these is of sessions.
    static func canPlay(_ script: HTTP2Script) -> Bool {
        let acts = script.steps.compactMap { if case .act(let words) = $0 { words } else { nil } }
        return acts.allSatisfy { ["request", "open", "reset", "before"].contains($0[0]) }
            && (acts.count == 1 || acts.first?[0] != "before")
    }

    init(_ script: HTTP2Script, _ options: SimulationOptions) throws {
        self.script = script
        world = try World(options: options, listens: false)
        listener = world.network.listenForPeers(.loopback(port: World.port))
        world.channel.connect()
        accept()
        if case .act(let words)? = script.steps.first, words[0] == "before" { return }
        peers[0].send(ByteEnd.Bytes.settings + ByteEnd.Bytes.acknowledgement)
        run()
    }

    private func accept() {
        for _ in 0..<100 {
            run()
            guard let peer = listener.accept() else { continue }
            peers.append(peer)
            return received.append([])
        }
        Issue.record("\(script.name): no connection")
    }

    private func run() {
        world.network.run(for: .second / 5)
        for (index, peer) in peers.enumerated() { received[index] += peer.takeReceived() }
    }

    func play() throws {
        for step in script.steps {
            switch step {
            case .act(let words):
                switch words[0] {
                case "request", "open": call(ends: words[0] == "request")
                case "reset": calls.first { "\($0.stream)" == words[1] }?.call.cancel()
                default: break
                }
            case .send(let bytes):
                peers[0].send(bytes)
                world.network.run(until: { [peer = peers[0]] in peer.pendingBytes == 0 }, limit: 60 * .second)
            }
            run()
        }
        try judge()
        world.channel.close()
        for peer in peers { peer.close() }
        run()
        let count = ended.values.map(\.count)
        if count != calls.map({ _ in 1 }) { Issue.record("\(script.name): calls ended \(count) times") }
    }

    @discardableResult
    private func call(ends: Bool) -> UInt32 {
        let stream = UInt32(calls.count * 2 + 1)
        let call = world.echo.talk(options: CallOptions(waitForReady: true)) { _ in
        } onEnd: { [unowned self] in
            ended[stream, default: []].append($0)
        }
        if ends { call.finish() }
        calls.append((call, stream))
        return stream
    }

    private func judge() throws {
        var isRefused = false
        for outcome in script.outcomes {
            switch outcome {
            case .connectionError(let code, _):
                let found = frames(0).filter { $0.type == 7 }.map { $0.word(4) }
                if found != [code] { Issue.record("\(script.name): GOAWAY \(found)") }
            case .streamError(let code, let stream, _):
                let found = frames(0).filter { $0.type == 3 && $0.stream == stream }.map { $0.word(0) }
                if found != [code] && found != [endOfCall(stream)?.rawValue] {
                    Issue.record("\(script.name): RST_STREAM \(found)")
                }
            case .told(let words): if words.hasSuffix("REFUSED_STREAM") { isRefused = true }
            case .accepted, .answer: break
            }
        }
        let isOpen = !peers[0].hasEnded && !peers[0].isBroken
        let mayStay = script.state == "open" || (script.state == "going away" && !script.streams.isEmpty)
        if isOpen != mayStay { Issue.record("\(script.name): the connection is \(isOpen ? "open" : "closed")") }
        for (_, stream) in calls where script.state == "failed" || !script.streams.contains(stream) && !isRefused {
            let errors = ended[stream] ?? []
            if errors.count != 1 { Issue.record("\(script.name): call of stream \(stream): \(errors)") }
        }
        if script.state != "open" { accept() }
        peers.last?.send(script.state == "open" ? [] : ByteEnd.Bytes.settings + ByteEnd.Bytes.acknowledgement)
        let next = call(ends: true)
        run()
        // :status 200, content-type application/grpc; grpc-status 0.
        let block = [0x88, 0x0F, 0x10, 16] + Array("application/grpc".utf8)
        let trailers = [0, 11] + Array("grpc-status".utf8) + [1, 48]
        for frame in frames(peers.count - 1).filter({ $0.type == 1 }).suffix(isRefused ? 2 : 1) {
            let stream = UInt8(frame.stream)
            peers.last?.send(ByteEnd.Bytes.frame(1, 4, stream, block) + ByteEnd.Bytes.frame(1, 5, stream, trailers))
        }
        run()
        if ended[next]?.count != 1 || ended[next]! != [nil] {
            Issue.record("\(script.name): the next call: \(ended[next] ?? [])")
        }
    }

    /// What the call itself has reset its stream with: it had ended, by a response that was whole or not gRPC's.
    private func endOfCall(_ stream: UInt32) -> HTTP2ErrorCode? {
        for case .told(let words) in script.outcomes {
            if words.hasPrefix("trailers \(stream) ") || words.hasSuffix(" END_STREAM") { return .noError }
            if words.hasPrefix("response \(stream) ") && !words.contains("/grpc") { return .cancel }
        }
        return nil
    }

    private struct Sent {
        var type: UInt8
        var stream: UInt32
        var payload: ArraySlice<UInt8>

        func word(_ offset: Int) -> UInt32 { payload.dropFirst(offset).prefix(4).reduce(0) { $0 << 8 | UInt32($1) } }
    }

    /// The frames that came on a connection.
    private func frames(_ index: Int) -> [Sent] {
        var rest = received[index].dropFirst(ByteEnd.Bytes.preface.count)
        var frames: [Sent] = []
        while rest.count >= 9 {
            let head = Array(rest.prefix(9))
            let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
            frames.append(
                Sent(
                    type: head[3], stream: head[5...].reduce(0) { $0 << 8 | UInt32($1) },
                    payload: rest.dropFirst(9).prefix(length)))
            rest = rest.dropFirst(9 + length)
        }
        return frames
    }
}
