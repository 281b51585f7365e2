import AccessTokens
import Bytes
import JSONWire
import TestSupport
import Testing

/// Every token of the corpus gets the answer that is written beside it.
@Suite struct CorpusTests {
    @Test func everyTokenGetsItsAnswer() throws {
        let corpus = try Corpus()
        #expect(corpus.tokens.filter { $0.expected != "accepted" }.count >= 80)
        for token in corpus.tokens {
            #expect(answer(token.text, corpus) == token.expected, "\(token.name)")
        }
    }

    /// Neither a cut token nor one with a byte changed is accepted, and none ends the program.
    @Test func nothingButTheTokenItselfIsAccepted() throws {
        let corpus = try Corpus()
        for token in corpus.tokens where token.expected == "accepted" {
            for count in token.text.indices { #expect(answer(Array(token.text[..<count]), corpus) != "accepted") }
            for index in stride(from: 0, to: token.text.count, by: 7) {
                var changed = token.text
                changed[index] ^= 1
                #expect(answer(changed, corpus) != "accepted", "\(token.name), byte \(index)")
            }
        }
    }

    private func answer(_ token: [UInt8], _ corpus: Corpus) -> String {
        do throws(TokenRefusal) {
            _ = try corpus.verifier.verify(token.span, at: corpus.now)
            return "accepted"
        } catch {
            return error.label
        }
    }
}

/// The file that Corpus/make.py makes.
struct Corpus {
    struct Token {
        var name = ""
        var expected = ""
        var text: [UInt8] = []
    }

    private(set) var now: Int64 = 0
    private(set) var tokens: [Token] = []
    private(set) var verifier = TokenVerifier([])
    /// Of each issuer, the keys of its set that can't be used.
    private(set) var refused: [String: [String]] = [:]

    init() throws {
        let bytes = Array(
            TemporaryFolder.read("\(Tool.repository)/Tests/AccessTokensTests/Corpus/tokens.json").utf8)
        var limits = JSONLimits()
        limits.size = bytes.count
        var reader = JSONReader(bytes.span, limits: limits)
        var issuers: [TrustedIssuer] = []
        var audience = ""
        try reader.beginObject()
        while let member = try reader.nextMember() {
            switch reader.string(of: member) {
            case "now": now = try reader.readInt64()
            case "audience": audience = try reader.readString()
            case "issuers":
                try reader.beginArray()
                while try reader.nextElement() { issuers.append(try readIssuer(&reader, bytes, audience)) }
            default:
                try reader.beginArray()
                while try reader.nextElement() { tokens.append(try Self.readToken(&reader)) }
            }
        }
        try reader.finish()
        verifier = TokenVerifier(issuers)
    }

    private mutating func readIssuer(
        _ reader: inout JSONReader, _ bytes: [UInt8], _ audience: String
    ) throws -> TrustedIssuer {
        var issuer = TrustedIssuer(name: "", audience: audience, keys: JSONWebKeySet([]))
        try reader.beginObject()
        while let member = try reader.nextMember() {
            switch reader.string(of: member) {
            case "name": issuer.name = try reader.readString()
            case "plain": issuer.acceptsPlainType = try reader.readBool()
            default:
                _ = try reader.peek()
                let start = reader.offset
                try reader.skipValue()
                issuer.keys = try JSONWebKeySet(Array(bytes[start..<reader.offset]).span)
            }
        }
        refused[issuer.name] = issuer.keys.refused
        return issuer
    }

    private static func readToken(_ reader: inout JSONReader) throws -> Token {
        var token = Token()
        var recipe: [String: String] = [:]
        try reader.beginObject()
        while let member = try reader.nextMember() {
            switch reader.string(of: member) {
            case "name": token.name = try reader.readString()
            case "expected": token.expected = try reader.readString()
            case "token": token.text = Array(try reader.readString().utf8)
            default:
                try reader.beginObject()
                while let part = try reader.nextMember() {
                    let name = reader.string(of: part)
                    recipe[name] = name == "count" ? String(try reader.readInt64()) : try reader.readString()
                }
            }
        }
        if let head = recipe["head"], let fill = recipe["fill"], let count = recipe["count"].flatMap({ Int($0) }),
            let tail = recipe["tail"], let rest = recipe["rest"]
        {
            let header = head + String(repeating: fill, count: count) + tail
            token.text = Array((Base64URL.encode(Array(header.utf8).span) + rest).utf8)
        }
        return token
    }
}
