import Bytes
import HTTP1
import Testing

/// RFC 9112 from the client's side: where a response ends, and what is none.
@Suite struct ResponseTests {
    /// What comes of bytes, fed in pieces, after requests with these methods: "200 OK [body]", with "…" behind the body while it is
    /// not complete, "+" behind what lets the connection be used again, or the error.
    private func read(
        _ pieces: [ArraySlice<UInt8>], _ methods: [HTTP1Method] = [.get], ends: Bool = false,
        limits: HTTP1Limits = .init()
    ) -> [String] {
        let table = HTTP1HeadTable(limits: limits)
        var parser = HTTP1ResponseParser()
        var methods = methods[...]
        var found: [String] = []
        var waiting: [UInt8] = []
        var body: [UInt8]?
        func finish() {
            found[found.count - 1] +=
                " [\(String(decoding: body ?? [], as: UTF8.self))]" + (parser.isReusable ? "+" : "")
            body = nil
            if let next = methods.popFirst() { parser.expect(next) }
        }
        if let first = methods.popFirst() { parser.expect(first) }
        feeding: for piece in pieces {
            waiting += piece
            while true {
                let shown = waiting
                let event = parser.next(shown.span, into: table)
                switch event {
                case .needMore(let consumed):
                    waiting.removeFirst(consumed)
                    continue feeding
                case .head(let count):
                    let head = HTTP1Head(bytes: shown.span, table: table)
                    found.append("\(head.status) \(text(head.reason))")
                    waiting.removeFirst(count)
                    if head.status < 200 { continue }
                    body = []
                    if parser.isIdle { finish() }
                case .body(let skip, let count):
                    body? += shown[skip..<(skip + count)]
                    waiting.removeFirst(skip + count)
                case .end(let consumed):
                    waiting.removeFirst(consumed)
                    finish()
                case .failed(let error): return found + ["\(error)"]
                }
            }
        }
        if ends {
            if let error = parser.inputEnded() { return found + ["\(error)"] }
            if body != nil { finish() }
        } else if let body {
            found[found.count - 1] += " [\(String(decoding: body, as: UTF8.self))…"
        }
        return found
    }

    private func read(
        _ script: String, _ methods: [HTTP1Method] = [.get], ends: Bool = false, limits: HTTP1Limits = .init()
    ) -> [String] {
        let bytes = Array(script.utf8)
        let whole = read([bytes[...]], methods, ends: ends, limits: limits)
        #expect(read(bytes.map { [$0][...] }, methods, ends: ends, limits: limits) == whole, "byte by byte: \(script)")
        for split in bytes.indices.dropFirst() {
            let found = read([bytes[..<split], bytes[split...]], methods, ends: ends, limits: limits)
            #expect(found == whole, "\(script) at \(split)")
        }
        return whole
    }

    @Test func rfc9112_4_statusLine() {
        for (line, outcome) in [
            ("HTTP/1.1 200 OK", "200 OK []+"), ("HTTP/1.0 200 OK", "200 OK []"), ("HTTP/1.9 200 OK", "200 OK []+"),
            ("HTTP/1.1 200 ", "200  []+"), ("HTTP/1.1 200", "200  []+"), ("HTTP/1.1 404 Not Found\t\u{e9}", nil),
            ("HTTP/1.1 999 Odd", "999 Odd []+"), ("HTTP/1.1 099 Low", "badStatusLine"),
            ("HTTP/1.1 20 OK", "badStatusLine"), ("HTTP/1.1 2000 OK", "badStatusLine"),
            ("HTTP/1.1  200 OK", "badStatusLine"), ("http/1.1 200 OK", "badStatusLine"),
            ("HTTP/2.0 200 OK", "unsupportedVersion"), ("HTTP/1 200 OK", "badStatusLine"),
            ("ICY 200 OK", "badStatusLine"),
            ("\r\nHTTP/1.1 200 OK", "badStatusLine"), (" HTTP/1.1 200 OK", "badStatusLine"),
            ("HTTP/1.1 200 O\u{0}K", "badStatusLine"), ("HTTP/1.1 200 OK\nX", "bareLineFeed"),
            ("HTTP/1.1 200 OK\rX", "bareCarriageReturn"), ("HTTP/1.1\t200 OK", "badStatusLine"),
        ] as [(String, String?)] {
            let found = read(line + "\r\nContent-Length: 0\r\n\r\n")
            if let outcome { #expect(found == [outcome], "\(line)") } else { #expect(found.count == 1, "\(line)") }
        }
    }

    @Test func rfc9112_6_3_whereABodyEnds() {
        let start = "HTTP/1.1 200 OK\r\n"
        #expect(read(start + "Content-Length: 5\r\n\r\nhello") == ["200 OK [hello]+"])
        #expect(read(start + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello") == ["200 OK [hello]+"])
        #expect(
            read(start + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n") == ["200 OK [hello]+"]
        )
        #expect(read(start + "\r\nhello", ends: true) == ["200 OK [hello]"])
        #expect(read(start + "\r\nhello") == ["200 OK [hello…"])
        #expect(read(start + "Content-Length: 5\r\n\r\nhell", ends: true).last == "truncatedResponse")
        #expect(
            read(start + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ends: true).last == "truncatedResponse")
        #expect(read("HTTP/1.1 200 O", ends: true) == ["truncatedResponse"])
        #expect(read("", ends: true) == ["truncatedResponse"])
    }

    @Test func rfc9112_6_3_noBodyWhateverTheFieldsSay() {
        let length = "Content-Length: 5\r\n\r\n"
        #expect(read("HTTP/1.1 200 OK\r\n" + length, [.head]) == ["200 OK []+"])
        #expect(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", [.head]) == ["200 OK []+"])
        #expect(read("HTTP/1.1 304 Not Modified\r\n" + length) == ["304 Not Modified []+"])
        #expect(read("HTTP/1.1 204 No Content\r\n\r\n") == ["204 No Content []+"])
        #expect(read("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n") == ["204 No Content []+"])
        // Nobody knows whether they mean it.
        #expect(read("HTTP/1.1 204 No Content\r\n" + length) == ["204 No Content []"])
        #expect(read("HTTP/1.1 200 OK\r\n" + length + "hello", [.head]) == ["200 OK []+", "unaskedResponse"])
    }

    @Test func rfc9110_15_2_interimResponsesComeBefore() {
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        #expect(read("HTTP/1.1 100 Continue\r\n\r\n" + last) == ["100 Continue", "200 OK [hi]+"])
        #expect(
            read(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\nContent-Length: 9\r\n\r\n"
                    + last)
                == ["103 Early Hints", "102 Processing", "200 OK [hi]+"])
        #expect(read("HTTP/1.1 101 Switching Protocols\r\n\r\n\u{81}\u{5}hello") == ["101 Switching Protocols"])
    }

    @Test func rfc9112_6_framingThatIsDoubtfulIsRefused() {
        for (fields, error) in [
            ("Content-Length: 5\r\nContent-Length: 6", "unequalContentLengths"),
            ("Content-Length: 5, 5", "badContentLength"),
            ("Content-Length: +5", "badContentLength"), ("Content-Length: 5 5", "badContentLength"),
            ("Content-Length:", "badContentLength"), ("Content-Length: 18446744073709551616", "badContentLength"),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", "lengthAndTransferEncoding"),
            ("Transfer-Encoding: gzip", "chunkedNotLast"),
            ("Transfer-Encoding: gzip, chunked", "unknownTransferCoding"),
            ("Transfer-Encoding: chunked, chunked", "chunkedNotLast"),
            ("Transfer-Encoding: xchunked", "chunkedNotLast"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "chunkedNotLast"),
            ("Transfer-Encoding : chunked", "badFieldName"), (" Transfer-Encoding: chunked", "obsoleteFold"),
            ("A: b\r\n c", "obsoleteFold"), ("A: b\nC: d", "bareLineFeed"), ("A: b\rC: d", "bareCarriageReturn"),
            ("A: \0", "badFieldValue"), (": b", "emptyFieldName"), ("A\u{b}: b", "badFieldName"),
        ] {
            #expect(read("HTTP/1.1 200 OK\r\n\(fields)\r\n\r\n") == [error], "\(fields)")
        }
        #expect(read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") == ["transferEncodingOnHTTP10"])
        // Fields of requests are nothing in a response.
        #expect(
            read("HTTP/1.1 200 OK\r\nHost: \r\nHost: a\r\nExpect: x\r\nContent-Length: 0\r\n\r\n") == ["200 OK []+"])
    }

    @Test func rfc9112_9_3_whetherTheConnectionIsUsedAgain() {
        for (head, isReusable) in [
            ("1.1 200 OK", true), ("1.1 200 OK\r\nConnection: close", false),
            ("1.1 200 OK\r\nConnection: a, CLOSE", false),
            ("1.0 200 OK", false), ("1.0 200 OK\r\nConnection: keep-alive", true),
            ("1.0 200 OK\r\nConnection: keep-alive, close", false),
        ] {
            #expect(
                read("HTTP/\(head)\r\nContent-Length: 0\r\n\r\n") == [isReusable ? "200 OK []+" : "200 OK []"],
                "\(head)")
        }
    }

    @Test func bytesThatNobodyAskedForFail() {
        let one = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
        #expect(read(one + one) == ["200 OK [hi]+", "unaskedResponse"])
        #expect(read(one + "\r\n") == ["200 OK [hi]+", "unaskedResponse"])
        #expect(read(one + one, [.get, .get]) == ["200 OK [hi]+", "200 OK [hi]+"])
        #expect(read(one, []) == ["unaskedResponse"])
    }

    @Test func limitsHold() {
        var limits = HTTP1Limits()
        limits.headBytes = 80
        limits.fields = 3
        let start = "HTTP/1.1 200 OK\r\n"
        #expect(read("HTTP/1.1 200 \(String(repeating: "x", count: 80))\r\n\r\n", limits: limits) == ["headTooLarge"])
        #expect(read(start + "A: \(String(repeating: "x", count: 80))\r\n\r\n", limits: limits) == ["headTooLarge"])
        #expect(read(start + "A:\r\nB:\r\nC:\r\nD:\r\n\r\n", limits: limits) == ["tooManyFields"])
        #expect(read(start + "A:\r\nB:\r\nContent-Length: 0\r\n\r\n", limits: limits) == ["200 OK []+"])
    }

    /// A good response that is changed in one place, in every place and in every way that means something.
    @Test func everyChangeOfAGoodResponseIsReadTheSameInPieces() {
        let good = Array(
            "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                .utf8)
        for place in good.indices {
            for byte in [0, 9, 10, 13, 32, 48, 58, 65, 127, 200] as [UInt8] {
                for kind in 0..<3 {
                    var changed = good
                    switch kind {
                    case 0: changed[place] = byte
                    case 1: changed.insert(byte, at: place)
                    default: changed.removeSubrange(place..<min(good.count, place + Int(byte) % 7))
                    }
                    let whole = read([changed[...]])
                    let split = (place * 31 + Int(byte) * 7) % max(1, changed.count)
                    if read(changed.map { [$0][...] }) != whole
                        || read([changed[..<split], changed[split...]]) != whole
                    {
                        Issue.record("\(changed): \(whole)")
                    }
                }
            }
        }
    }
}
