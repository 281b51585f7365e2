import HTTP2
import TestSupport
import Testing

/// What a server may send, right and wrong, to a session that is a client (`Tests/HTTP2Tests/Corpus`).
@Suite struct ClientCorpusTests {
    @Test func theCorpusIsWhole() throws {
        let scripts = try HTTP2Script.files.flatMap { try HTTP2Script.read($0) }
        #expect(scripts.count >= 250)
        #expect(Set(scripts.map(\.name)).count == scripts.count)
        #expect(scripts.allSatisfy { !$0.state.isEmpty && !$0.outcomes.isEmpty })
    }

    /// Whole, byte by byte unless they are long, and short ones split in two at every place, each on a connection of its own.
    @Test(arguments: HTTP2Script.files)
    func everyFrameIsTakenAsItsSectionSays(file: String) throws {
        for script in try HTTP2Script.read(file) {
            let sizes = script.steps.map { if case .send(let bytes) = $0 { bytes.count } else { 0 } }
            guard play(script, "whole", { _, bytes in [bytes] }) else { continue }
            guard script.size < 20_000 else { continue }
            play(script, "byte by byte") { _, bytes in bytes.map { [$0] } }
            guard script.size < 64 else { continue }
            for (step, size) in sizes.enumerated() where size > 1 {
                for place in 1..<size {
                    play(script, "step \(step) split at \(place)") { index, bytes in
                        index == step ? [Array(bytes[..<place]), Array(bytes[place...])] : [bytes]
                    }
                }
            }
        }
    }

    @discardableResult
    private func play(_ script: HTTP2Script, _ way: String, _ cut: (Int, [UInt8]) -> [[UInt8]]) -> Bool {
        let client = ScriptedClient(script)
        for (index, step) in script.steps.enumerated() {
            switch step {
            case .act(let words): client.act(words)
            case .send(let bytes): for piece in cut(index, bytes) { client.receive(piece) }
            }
        }
        let streams = client.wire.slots.filter { client.wire.session.isOpen($0.value) }.map(\.key).sorted()
        let state =
            client.wire.session.hasFailed ? "failed" : client.wire.session.peerGoAway != nil ? "going away" : "open"
        var isRight = true
        for (found, expected) in [
            (client.told, client.expectedTold),
            (client.sent.map(\.description), client.expectedSent.map(\.description)),
            (["\(state) \(streams)"], ["\(script.state) \(script.streams)"]), ([client.goesOn()], [nil]),
        ] as [([String?], [String?])] where found != expected {
            Issue.record("\(script.name), \(way): \(found), not \(expected)")
            isRight = false
        }
        return isRight
    }
}

/// A client that acts as a script says, and what the script expects of it.
private final class ScriptedClient {
    let wire: Wire
    private(set) var sent: [Frame] = []
    private(set) var told: [String] = []
    private(set) var expectedSent: [Frame] = []
    private(set) var expectedTold: [String] = []

    init(_ script: HTTP2Script) {
        var words: [String] = []
        if case .act(let first)? = script.steps.first { words = first }
        var limits = HTTP2Limits()
        if words.first == "small" { limits.initialStreamWindow = 100 }
        if words.last == "settings" {
            wire = Wire(.client, limits: limits)
            wire.session.start(output: &wire.output)
            wire.output.removeAll()
        } else {
            wire = Wire.client(limits: limits)
        }
        wire.consumes = words.first != "small"
        for outcome in script.outcomes { expect(outcome) }
    }

    private func expect(_ outcome: HTTP2Script.Outcome) {
        switch outcome {
        case .accepted: break
        case .answer(let bytes): expectedSent += Frame.parse(bytes)
        case .told(let words): expectedTold.append(words)
        case .connectionError(let code, let reason):
            expectedSent.append(.goAway(0, HTTP2ErrorCode(rawValue: code)))
            expectedTold.append("failed \(reason)")
        case .streamError(let code, let stream, let isClosed):
            let code = HTTP2ErrorCode(rawValue: code)
            expectedSent.append(.reset(stream, code))
            if !isClosed { expectedTold.append("reset \(stream) \(code) by the client") }
        }
    }

    func act(_ words: [String]) {
        switch words[0] {
        case "request", "open":
            guard let stream = wire.open() else { return told.append("refused") }
            wire.sendHeaders(stream, .request, endStream: words[0] == "request")
        case "refused": if let stream = wire.open() { told.append("opened \(stream)") }
        case "body": wire.sendData(UInt32(words[1])!, Array(repeating: UInt8(ascii: "x"), count: Int(words[2])!))
        case "end": wire.sendData(UInt32(words[1])!, [], endStream: true)
        case "reset": wire.session.reset(wire.slots[UInt32(words[1])!]!, .cancel, now: wire.now, output: &wire.output)
        case "takes": wire.consumes = true
        case "before", "small": break
        default: told.append("no such act: \(words)")
        }
        _ = wire.sent()
    }

    func receive(_ bytes: [UInt8]) {
        told += wire.receive(bytes).compactMap(words)
        sent += wire.sent()
    }

    private func words(_ report: Report) -> String? {
        func line(_ fields: [String], _ endStream: Bool = false) -> String {
            (fields.map { " " + $0.replacing(": ", with: ":", maxReplacements: 1) } + [endStream ? " END_STREAM" : ""])
                .joined()
        }
        switch report {
        case .headers(let id, let fields, let endStream):
            return "response \(id) \(fields[0].dropFirst(9))\(line(Array(fields.dropFirst()), endStream))"
        case .trailers(let id, let fields): return "trailers \(id)\(line(fields))"
        case .data(let id, let bytes, let endStream): return "data \(id) \(bytes.count)\(line([], endStream))"
        case .reset(let code, let byPeer):
            let stream = wire.lastReset
            return "reset \(stream) \(code)\(byPeer ? "" : " by the client")"
        case .goAway(let last, let code): return "goaway \(last) \(code)"
        case .pong(let value): return "pong \(value)"
        case .failed(let reason): return "failed \(reason)"
        case .settings, .ping: return nil
        }
    }

    /// Nil: the connection goes on, or has come to its end, as it should. A new stream must be answered, by a field of the table
    /// that was in step all the time.
    func goesOn() -> String? {
        if wire.session.hasFailed {
            let reports = wire.receive(.ping(1))
            let frames = wire.sent()
            return reports.isEmpty && frames.isEmpty ? nil : "goes on after its end: \(reports) \(frames)"
        }
        let reports = wire.receive(.ping(1))
        guard reports == [.ping], wire.sent() == [.ping(1, ack: true)] else { return "no answer to a ping: \(reports)" }
        guard wire.session.peerGoAway == nil else {
            return wire.open() == nil ? nil : "a stream was opened on a connection that goes away"
        }
        _ = wire.receive(.settings([(3, 1000)]))
        guard let stream = wire.open() else { return "no stream can be opened" }
        wire.sendHeaders(stream, .request, endStream: true)
        let response = Frame(type: .headers, flags: 5, stream: stream, payload: [0x88, 0x40, 1, 97, 1, 98, 0xbe])
        let answer = wire.receive(response)
        return answer == [.headers(stream, [":status: 200", "a: b", "a: b"], endStream: true)]
            ? nil : "a new stream is not answered: \(answer)"
    }
}
