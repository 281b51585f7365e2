import Bytes
import HTTPClient
import Reactor
import ReactorSim
import TestSupport
import Testing

/// Responses in files (`Tests/HTTPClientTests/Corpus`): what a client must make of them, by the sections that say so.
///
///     [a name] the section
///     < the request's method, if it is not GET
///     > bytes that the server sends: \r \n \t \\ \xHH, and \{20*b} for twenty times b
///     ! end: the server sends nothing more
///     = status and body, or the error
///     . open, or closed
///
/// A case without an outcome is waited for.
struct CorpusCase: Sendable {
    var name: String
    var method = HTTP1Method.get
    var bytes: [UInt8] = []
    var ends = false
    var outcome: String?
    var isOpen: Bool?

    static let files = [
        "9112-4-status-line", "9112-5-fields", "9112-6-length", "9112-7-chunked", "9112-9-connections",
    ]

    static func read(_ file: String) throws -> [CorpusCase] {
        let text = TemporaryFolder.read("\(Tool.repository)/Tests/HTTPClientTests/Corpus/\(file).http")
        var cases: [CorpusCase] = []
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            if line.hasPrefix("[") {
                let section = try #require(line.firstRange(of: "] RFC "), "\(line)")
                cases.append(
                    CorpusCase(name: "\(line[section.upperBound...]): \(line[..<section.lowerBound].dropFirst())"))
                continue
            }
            let index = try #require(cases.indices.last, "\(line)")
            let rest = line.dropFirst(2)
            switch line.prefix(2) {
            case "< ":
                cases[index].method = try #require(HTTP1Method.allCases.first { "\($0.name)" == rest }, "\(line)")
            case "> ": cases[index].bytes += try #require(CorpusText.bytes(rest), "\(line)")
            case "! ": cases[index].ends = true
            case "= ": cases[index].outcome = String(rest)
            case ". ": cases[index].isOpen = rest == "open"
            default: Issue.record("\(line)")
            }
        }
        return cases
    }
}

@Suite struct CorpusTests {
    private var limits: HTTPClientLimits {
        var limits = HTTPClientLimits()
        limits.http1.headBytes = 256
        limits.http1.fields = 5
        limits.http1.chunkExtensionBytes = 12
        limits.http1.trailerBytes = 24
        limits.interimResponses = 4
        return limits
    }

    private func said(_ result: Result<HTTPClientResponse, HTTPClientError>?) -> String? {
        switch result {
        case .success(let response):
            response.body.isEmpty ? "\(response.status)" : "\(response.status) \(response.text)"
        case .failure(.malformed(let error)): "malformed \(error)"
        case .failure(.bodyTooLarge): "bodyTooLarge"
        case .failure(.lost): "lost"
        case .failure(let error): "\(error)"
        case nil: nil
        }
    }

    @Test func theCorpusIsWhole() throws {
        let cases = try CorpusCase.files.flatMap { try CorpusCase.read($0) }
        #expect(cases.count >= 150)
        #expect(Set(cases.map(\.name)).count == cases.count)
        #expect(cases.allSatisfy { $0.isOpen != nil && (!$0.bytes.isEmpty || $0.name.contains("nothing") || $0.ends) })
    }

    /// Whole, byte by byte, and split in two at every place, each on a connection of its own.
    @Test(arguments: CorpusCase.files)
    func everyResponseIsReadAsItsSectionSays(file: String) throws {
        for entry in try CorpusCase.read(file) {
            let bytes = entry.bytes[...]
            var ways = [[bytes], bytes.map { [$0][...] }]
            ways += bytes.indices.dropFirst().map { [bytes[..<$0], bytes[$0...]] }
            for (index, way) in ways.enumerated() {
                let world = try SimulatedServer(limits: limits)
                let answer = world.send(try HTTPClientRequest(entry.method, "http://example.org/"), limit: 64)
                let (peer, _) = try world.acceptRequest()
                for piece in way {
                    peer.send(Array(piece))
                    world.run(0.002)
                }
                if entry.ends { peer.shutDownWriting() }
                world.run(1)
                let way = index == 0 ? "whole" : index == 1 ? "byte by byte" : "split at \(index - 1)"
                let found = said(answer.result)
                if found != entry.outcome {
                    Issue.record("\(entry.name), \(way): \(found ?? "nothing"), not \(entry.outcome ?? "nothing")")
                }
                let isOpen = !peer.hasEnded && !peer.isBroken
                if isOpen != entry.isOpen { Issue.record("\(entry.name), \(way): \(isOpen ? "open" : "closed")") }
                peer.close()
                world.expectNothingIsLeft()
            }
        }
    }
}
