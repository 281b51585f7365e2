import Bytes
import HTTP1
import Testing

private func written(_ body: (inout ByteBuffer) -> Void) -> String {
    var buffer = ByteBuffer()
    body(&buffer)
    return String(decoding: buffer.array(), as: UTF8.self)
}

@Suite struct Writing {
    @Test func statusLines() {
        #expect(written { HTTP1Writer.statusLine(404, to: &$0) } == "HTTP/1.1 404 Not Found\r\n")
        #expect(written { HTTP1Writer.statusLine(200, to: &$0) } == "HTTP/1.1 200 OK\r\n")
        #expect(HTTP1Status.reason(422) == "Unprocessable Content")
        #expect(!HTTP1Status.allowsBody(304))
    }

    @Test(
        arguments: [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"), (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"), (-1, "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] as [(Int64, String)])
    func rfc9110_5_6_7_dates(_ seconds: Int64, _ expected: String) {
        #expect(written { HTTP1Date.append(unixSeconds: seconds, to: &$0) } == expected)
    }

    @Test func theDateIsMadeAnewOnceASecond() {
        var cache = HTTP1DateCache()
        var lines: [String] = []
        for milliseconds: Int64 in [784_111_777_000, 784_111_777_999, 784_111_778_000, 784_111_777_000] {
            var buffer = ByteBuffer()
            cache.append(to: &buffer, unixMilliseconds: milliseconds)
            lines.append(String(decoding: buffer.array(), as: UTF8.self))
        }
        #expect(lines[0] == "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
        #expect(lines[1] == lines[0])
        #expect(lines[2] == "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n")
        #expect(lines[3] == lines[0])
    }

    @Test func aFieldCannotSplitTheResponse() {
        #expect(written { HTTP1Writer.field("A", "b\r\nSet-Cookie: c", to: &$0) } == "A: b  Set-Cookie: c\r\n")
    }

    @Test func rfc9112_7_1_chunks() {
        let text = written { buffer in
            let piece = Array(repeating: UInt8(ascii: "x"), count: 300)
            HTTP1Writer.chunk(piece.span, to: &buffer)
            let empty: [UInt8] = []
            HTTP1Writer.chunk(empty.span, to: &buffer)
            let one: [UInt8] = [1]
            HTTP1Writer.chunk(one.span, to: &buffer)
            HTTP1Writer.lastChunk(to: &buffer)
        }
        #expect(text == "12c\r\n" + String(repeating: "x", count: 300) + "\r\n1\r\n\u{1}\r\n0\r\n\r\n")
    }

    @Test func rfc3986_2_1_percentDecoding() {
        func decoded(_ text: String, plus: Bool = false) -> String? {
            let bytes = Array(text.utf8)
            return PercentCoding.decode(bytes.span, plusIsSpace: plus)
        }
        #expect(decoded("a%20b%2Fc") == "a b/c")
        #expect(decoded("%C3%a9") == "é")
        #expect(decoded("a+b") == "a+b")
        #expect(decoded("a+b", plus: true) == "a b")
        #expect(decoded("%252e") == "%2e")
        #expect(decoded("%") == nil)
        #expect(decoded("%4") == nil)
        #expect(decoded("%4g") == nil)
        #expect(decoded("%ff") == nil)
        #expect(written { PercentCoding.encode("a b/é~", to: &$0) } == "a%20b%2F%C3%A9~")
    }

    @Test func queries() {
        func pairs(_ text: String) -> [String]? {
            let bytes = Array(text.utf8)
            return QueryString.decoded(bytes.span)?.map { "\($0.name)=\($0.value)" }
        }
        #expect(pairs("a=1&b&&c=x=y&d=%26+") == ["a=1", "b=", "c=x=y", "d=& "])
        #expect(pairs("") == [])
        #expect(pairs("a=%zz") == nil)
    }
}
