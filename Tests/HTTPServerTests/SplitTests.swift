import Bytes
import HTTP1
import HTTPServer
import Reactor
import ReactorSim
import TestSupport
import Testing

/// What a client hears, whether its connection goes on, and what was asked of the handlers do not depend on how the client's
/// bytes were split.
@Suite struct SplitTests {
    private struct Outcome: Equatable {
        var statuses: [Int]
        var isOpen: Bool
    }

    /// What comes of each way to say a script, all in one world, and how often each request was asked of a handler.
    private func outcomes(_ ways: [[ArraySlice<UInt8>]]) throws -> (outcomes: [Outcome], requests: [String: Int]) {
        var requests: [String: Int] = [:]
        let world = try SimulatedHTTP(limits: .corpus) { loop, router in
            func note(_ request: borrowing HTTPRequest, _ name: String) {
                var line = name
                for index in 0..<request.body.count { line += " \(request.body[index])" }
                requests[line, default: 0] += 1
            }
            for path in ["/", "/b"] {
                router.get(path) { request, responder in
                    note(request, path)
                    responder.respond(body: "x")
                }
            }
            router.get("/late") { request, responder in
                note(request, "late")
                loop.schedule(after: 1_000_000_000) { responder.respond(body: "x") }
            }
            router.post("/p") { request, responder in
                note(request, "p")
                responder.respond(201)
            }
        }
        let clients = ways.map { _ in world.client() }
        world.run(0.1)
        for index in 0..<(ways.map(\.count).max() ?? 0) {
            for (way, client) in zip(ways, clients) where index < way.count && client.endedAt == nil {
                client.say(Array(way[index]))
            }
            world.run(0.002)
        }
        world.run(4)
        let found = clients.map {
            // Whether the client is told to go on depends on how much of its body is there, and should.
            Outcome(statuses: $0.statuses.filter { $0 != 100 }, isOpen: $0.endedAt == nil)
        }
        return (found, requests)
    }

    @Test(arguments: 0..<8)
    func everySplitOfTheCorpusIsAnsweredTheSame(part: Int) throws {
        for (number, entry) in HTTP1Corpus.all.enumerated() where number % 8 == part {
            let bytes = Array(entry.script.utf8)
            guard !bytes.isEmpty else { continue }
            let whole = try outcomes([[bytes[...]]])
            // Every seventh place; which ones changes from script to script.
            var ways = stride(from: 1 + number % 7, to: bytes.count, by: 7).map { [bytes[..<$0], bytes[$0...]] }
            ways.append(bytes.map { [$0][...] })
            let split = try outcomes(ways)
            for (way, outcome) in zip(ways, split.outcomes) {
                #expect(outcome == whole.outcomes[0], "\(entry.name), the first piece of \(way[0].count)")
            }
            #expect(split.requests == whole.requests.mapValues { $0 * ways.count }, "\(entry.name)")
        }
    }
}
