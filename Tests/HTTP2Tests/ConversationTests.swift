import HTTP2
import Testing

/// A client and a server session that talk to each other, their bytes cut anywhere.
@Suite struct ConversationTests {
    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    /// Requests of random size; the server answers each with the same bytes. Everything must arrive whole, whatever the
    /// windows are and wherever the bytes are cut.
    @Test(arguments: 0..<12) func bodiesArriveWholeAtAnySplit(seed: Int) {
        var random = Random(state: UInt64(seed))
        var limits = HTTP2Limits()
        limits.initialStreamWindow = [61, 1000, 16_384, 65_535, 100_000].randomElement(using: &random)!
        limits.connectionWindow = Int.random(in: 65_535...200_000, using: &random)
        let client = Wire(.client, limits: limits)
        let server = Wire(.server, limits: limits)
        client.session.start(output: &client.output)
        server.session.start(output: &server.output)

        var bodies: [UInt32: [UInt8]] = [:]
        var atServer: [UInt32: [UInt8]] = [:]
        var atClient: [UInt32: [UInt8]] = [:]
        var ended: Set<UInt32> = []
        var toServer: [UInt8] = []
        var toClient: [UInt8] = []
        var opened = 0
        for _ in 0..<2_000_000 {
            if opened < 12 && Int.random(in: 0..<6, using: &random) == 0 {
                opened += 1
                let id = client.open()!
                let size = Int.random(in: 0...60_000, using: &random)
                let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ Int(id)) }
                bodies[id] = body
                client.sendHeaders(id, .request + [("x-seed", "\(seed)"), ("x-stream", "\(id)")])
                client.sendData(id, body, endStream: true)
            }
            toServer += client.output.array()
            client.output.removeAll()
            toClient += server.output.array()
            server.output.removeAll()
            if ended.count == 12 { break }
            let first = Int.random(in: 0...min(toServer.count, 40_000), using: &random)
            for report in server.receive(Array(toServer[..<first])) {
                switch report {
                case .headers(let id, _, _): atServer[id] = []
                case .data(let id, let bytes, let endStream):
                    atServer[id]! += bytes
                    guard endStream else { continue }
                    server.sendHeaders(id, .response)
                    server.sendData(id, atServer[id]!, endStream: true)
                case .settings: break
                default: Issue.record("server: \(report)")
                }
            }
            toServer.removeFirst(first)
            let second = Int.random(in: 0...min(toClient.count, 40_000), using: &random)
            for report in client.receive(Array(toClient[..<second])) {
                switch report {
                case .headers(let id, _, _): atClient[id] = []
                case .data(let id, let bytes, let endStream):
                    atClient[id]! += bytes
                    if endStream { ended.insert(id) }
                case .settings: break
                default: Issue.record("client: \(report)")
                }
            }
            toClient.removeFirst(second)
            client.session.pump(output: &client.output)
            server.session.pump(output: &server.output)
        }
        #expect(ended.count == 12)
        let arrived = atServer == bodies && atClient == bodies
        #expect(arrived)
        let open = [client.session.openStreams, server.session.openStreams]
        #expect(open == [0, 0])
    }

    /// Any bytes at all: the session may complain, but not crash, and what it writes stays well-formed.
    @Test(arguments: 0..<200) func randomBytesNeverCrash(seed: Int) {
        var random = Random(state: UInt64(seed) &* 77)
        let wire = seed % 2 == 0 ? Wire.server() : Wire.client()
        if seed % 2 == 1 { for _ in 0..<3 { _ = wire.open() } }
        for _ in 0..<300 {
            var payload = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { payload = Frame.literal(.request) }
            let frame = Frame(
                type: .init(rawValue: UInt8.random(in: 0...10, using: &random)),
                flags: UInt8.random(in: 0...255, using: &random) & 0x2d,
                stream: UInt32.random(in: 0...9, using: &random), payload: payload)
            if wire.receive(frame).contains(where: { if case .failed = $0 { true } else { false } }) { break }
            _ = wire.sent()
        }
        _ = wire.sent()
    }
}
