import HTTP1
import TestSupport
import Testing

/// What comes of bytes does not depend on how they were split.
@Suite struct SplitTests {
    private static var limits: HTTP1Limits {
        var limits = HTTP1Limits()
        limits.headBytes = HTTP1Corpus.headBytes
        limits.targetBytes = HTTP1Corpus.targetBytes
        limits.fields = HTTP1Corpus.fieldLines
        limits.methodBytes = HTTP1Corpus.methodBytes
        limits.chunkExtensionBytes = HTTP1Corpus.chunkExtensionBytes
        limits.trailerBytes = HTTP1Corpus.trailerBytes
        return limits
    }

    @Test func theCorpusIsLarge() {
        #expect(HTTP1Corpus.all.count >= 200)
        #expect(Set(HTTP1Corpus.all.map(\.name)).count == HTTP1Corpus.all.count)
    }

    /// The same over-long bad request line was 431 byte by byte and 400 whole.
    @Test func everySplitOfTheCorpusGivesTheSame() {
        var refusals = Set<HTTP1Error>()
        for entry in HTTP1Corpus.all {
            let bytes = Array(entry.script.utf8)
            let whole = outcomes([bytes[...]], limits: Self.limits)
            let single = outcomes(bytes.map { [$0][...] }, limits: Self.limits)
            if single != whole { Issue.record("\(entry.name) byte by byte: \(single), whole: \(whole)") }
            for split in bytes.indices.dropFirst() {
                let found = outcomes([bytes[..<split], bytes[split...]], limits: Self.limits)
                if found != whole { Issue.record("\(entry.name) at \(split): \(found), whole: \(whole)") }
            }
            if case .refused(let error)? = whole.last { refusals.insert(error) }
        }
        // There is no way to be refused that the corpus does not go; three are a response's.
        let ofResponses: Set<HTTP1Error> = [.badStatusLine, .truncatedResponse, .unaskedResponse]
        #expect(Set(HTTP1Error.allCases).subtracting(refusals) == ofResponses)
    }

    /// A good head that is changed in one place, in every place and in every way that means something.
    @Test func everyChangeOfAGoodHeadGivesTheSame() {
        let good = Array(
            "\r\nPUT /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX:  y \r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n"
                .utf8)
        for place in good.indices {
            for byte in [0, 9, 10, 13, 32, 35, 42, 47, 49, 58, 65, 127, 200] as [UInt8] {
                for kind in 0..<3 {
                    var changed = good
                    switch kind {
                    case 0: changed[place] = byte
                    case 1: changed.insert(byte, at: place)
                    default: changed.removeSubrange(place..<min(good.count, place + Int(byte) % 7))
                    }
                    let whole = outcomes([changed[...]], limits: Self.limits)
                    let split = (place * 31 + Int(byte) * 7) % max(1, changed.count)
                    let found = [
                        outcomes(changed.map { [$0][...] }, limits: Self.limits),
                        outcomes([changed[..<split], changed[split...]], limits: Self.limits),
                    ]
                    if found != [whole, whole] { Issue.record("\(changed): \(found), whole: \(whole)") }
                }
            }
        }
    }

    /// Nobody waits for the end of a line whose beginning is wrong, and no byte behind the first wrong one is looked at.
    @Test func whatIsWrongIsSaidWithItsFirstByte() {
        for (script, error) in [
            ("\r\n\u{16}", .badRequestLine), ("G@", .badRequestLine), ("GET  ", .badRequestLine),
            ("GET /#", .badTarget),
            ("GET / X", .badVersion), ("GET / HTTP/2.0", .unsupportedVersion), ("GET / HTTP/1.1\n", .bareLineFeed),
            ("GET / HTTP/1.1\r\n ", .obsoleteFold), ("GET / HTTP/1.1\r\nA ", .badFieldName),
            ("GET / HTTP/1.1\r\nA: \0", .badFieldValue), ("GET / HTTP/1.1\r\n\rX", .bareCarriageReturn),
        ] as [(String, HTTP1Error)] {
            let bytes = Array(script.utf8)
            #expect(outcomes([bytes[...]]) == [.refused(error)], "\(script)")
            #expect(outcomes([bytes.dropLast()]) == [.incomplete], "\(script)")
        }
    }

    /// A byte of a head that drips is looked at once: sixteen thousand reads cost what one read costs, not its square.
    @Test func aHeadThatDripsIsJudgedByteByByteAndOnce() {
        let table = HTTP1HeadTable()
        var parser = HTTP1Parser()
        let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\nA: \(String(repeating: "x", count: 16_000))".utf8)
        var shown: [UInt8] = []
        var unfinished = 0
        for byte in bytes {
            // What was judged may be gone: nobody looks at it again before the head is complete.
            if shown.count > 100 { shown[shown.count - 50] = 0 }
            shown.append(byte)
            if parser.next(shown.span, into: table) == .needMore(consumed: 0) { unfinished += 1 }
        }
        #expect(unfinished == bytes.count)
    }
}
