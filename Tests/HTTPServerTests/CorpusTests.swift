import Bytes
import HTTP1
import HTTPServer
import Reactor
import TestSupport
import Testing

/// Requests in files (`Tests/HTTPServerTests/Corpus`): what a server that speaks HTTP/1.1 must make of them, by the sections that
/// say so.
///
///     [a name] the section
///     > bytes: \r \n \t \\ \xHH, and \{20*b} for twenty times b
///     = status, and what the handler was asked: method, target, body
///     . open, or closed
///
/// A case without an outcome is waited for. The limits are those of `HTTP1Corpus`.
struct CorpusCase: Sendable, CustomTestStringConvertible {
    var name: String
    var bytes: [UInt8] = []
    var outcomes: [String] = []
    var isOpen: Bool?

    var testDescription: String { name }

    static let files = [
        "9112-2-messages", "9112-3-request-line", "9112-3.2-host", "9112-5-fields", "9112-6-length", "9112-7-chunked",
        "9112-9-connections", "9110-semantics",
    ]

    static func read(_ file: String) throws -> [CorpusCase] {
        let text = TemporaryFolder.read("\(Tool.repository)/Tests/HTTPServerTests/Corpus/\(file).http")
        var cases: [CorpusCase] = []
        for line in text.split(separator: "\n") {
            if line.hasPrefix("[") {
                let section = try #require(line.firstRange(of: "] RFC "), "\(line)")
                cases.append(
                    CorpusCase(name: "\(line[section.upperBound...]): \(line[..<section.lowerBound].dropFirst())"))
            } else if !line.hasPrefix("#") {
                let index = try #require(cases.indices.last, "\(line)")
                let rest = line.dropFirst(2)
                switch line.prefix(2) {
                case "> ": cases[index].bytes += try #require(CorpusText.bytes(rest), "\(line)")
                case "= ": cases[index].outcomes.append(String(rest))
                case ". ":
                    try #require(rest == "open" || rest == "closed", "\(line)")
                    cases[index].isOpen = rest == "open"
                default: Issue.record("\(line)")
                }
            }
        }
        return cases
    }
}

@Suite struct CorpusTests {
    /// Says what it was asked, between two control characters.
    private static func echo(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        var said = ByteBuffer()
        said.append("\u{1}")
        said.append(request.head.methodName)
        said.append(" ")
        said.append(request.path)
        if request.query.count > 0 {
            said.append("?")
            said.append(request.query)
        }
        if request.body.count > 0 { said.append(" ") }
        for index in 0..<request.body.count {
            switch request.body[index] {
            case 13: said.append("\\r")
            case 10: said.append("\\n")
            case let byte where byte < 32: said.append(utf8: "\\x0\(String(byte, radix: 16))")
            case let byte: said.append(byte)
            }
        }
        said.append("\u{1}")
        responder.respond(200, "text/plain", body: said.span)
    }

    /// What a client has heard: statuses, and what the handler was asked.
    private func outcomes(_ heard: String) -> [String] {
        var outcomes: [String] = []
        var rest = heard[...]
        while let start = rest.firstRange(of: "HTTP/1.1 ") {
            rest = rest[start.upperBound...]
            let answer = rest[..<(rest.firstRange(of: "HTTP/1.1 ")?.lowerBound ?? rest.endIndex)]
            // Problems speak of HTTP/1.1, too.
            guard let status = Int(answer.prefix(3)) else { continue }
            let parts = answer.split(separator: "\u{1}", omittingEmptySubsequences: false)
            outcomes.append("\(status)" + (parts.count == 3 ? " \(parts[1])" : ""))
        }
        return outcomes
    }

    @Test func theCorpusIsWhole() throws {
        let cases = try CorpusCase.files.flatMap { try CorpusCase.read($0) }
        #expect(cases.count >= 300)
        #expect(Set(cases.map(\.name)).count == cases.count)
        #expect(cases.allSatisfy { !$0.bytes.isEmpty && $0.isOpen != nil })
    }

    /// Whole, byte by byte, and split in two at every place, each on a connection of its own.
    @Test(arguments: CorpusCase.files)
    func everyRequestIsAnsweredAsItsSectionSays(file: String) throws {
        for entry in try CorpusCase.read(file) {
            let world = try SimulatedHTTP(limits: .corpus) { loop, router in
                router.get("/only", Self.echo)
                router.get("/late") { request, responder in
                    let held = HeldRequest(request)
                    loop.schedule(after: 1_000_000_000) { held.view { Self.echo($0, responder) } }
                }
                router.fallback(Self.echo)
            }
            let bytes = entry.bytes[...]
            var ways = [[bytes], bytes.map { [$0][...] }]
            ways += bytes.indices.dropFirst().map { [bytes[..<$0], bytes[$0...]] }
            let clients = ways.map { _ in world.client() }
            world.run(0.1)
            for round in 0..<bytes.count {
                for (way, client) in zip(ways, clients) where round < way.count && client.endedAt == nil {
                    client.say(Array(way[round]))
                }
                world.run(0.002)
            }
            world.run(4)
            for (index, client) in clients.enumerated() {
                let way = index == 0 ? "whole" : index == 1 ? "byte by byte" : "split at \(index - 1)"
                // Whether a client hears 100 depends on whether its body is there already.
                let found = outcomes(client.heard).filter { $0 != "100" || entry.outcomes.contains("100") }
                #expect(found == entry.outcomes, "\(entry.name), \(way)")
                #expect((client.endedAt == nil) == entry.isOpen, "\(entry.name), \(way)")
                if found != entry.outcomes { break }
            }
        }
    }
}
