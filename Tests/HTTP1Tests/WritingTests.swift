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

    private func parsed(_ text: String, now: Int64 = 784_111_777) -> Int64? {
        HTTP1Date.parse(Array(text.utf8).span, now: now)
    }

    @Test func rfc9110_5_6_7_allThreeFormsOfADateAreRead() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            #expect(parsed(text) == 784_111_777, "\(text)")
        }
        #expect(parsed("Tue, 29 Feb 2000 00:00:00 GMT") == 951_782_400)
        #expect(parsed("Wed, 31 Dec 1969 23:59:59 GMT") == -1)
        #expect(parsed("Sat, 31 Dec 2016 23:59:60 GMT") == 1_483_228_800)
        for month in ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"] {
            #expect(parsed("Mon, 28 \(month) 2011 10:20:30 GMT") != nil)
        }
        for seconds in stride(from: Int64(-62_167_219_200), through: 253_402_300_799, by: 9_876_543_210) {
            #expect(parsed(written { HTTP1Date.append(unixSeconds: seconds, to: &$0) }) == seconds)
        }
    }

    /// RFC 9110 §5.6.7: what appears to lie more than fifty years ahead is of the century before.
    @Test func aYearOfTwoDigitsIsAtMostFiftyYearsAhead() {
        let inThisYear: Int64 = 1_788_000_000  // 2026
        #expect(parsed("Sunday, 06-Nov-94 08:49:37 GMT", now: inThisYear) == 784_111_777)
        #expect(parsed("Friday, 06-Nov-76 00:00:00 GMT", now: inThisYear) == parsed("Fri, 06 Nov 2076 00:00:00 GMT"))
        #expect(parsed("Sunday, 06-Nov-77 00:00:00 GMT", now: inThisYear) == parsed("Sun, 06 Nov 1977 00:00:00 GMT"))
        #expect(parsed("Sunday, 06-Nov-77 00:00:00 GMT", now: .max) != nil)
        #expect(parsed("Sunday, 06-Nov-77 00:00:00 GMT", now: .min) != nil)
    }

    @Test(arguments: [
        "", "now", "784111777", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, DD Nov YYYY hh:mm:ss GMT", "Sun, 06 ### 1994 08:49:37 GMT", "Sun,  6 Nov 1994 08:49:37 GMT",
        "Sun Nov _6 08:49:37 1994", "Sun, 06-Nov-94 08:49:37 GMT", "Sundaysunday, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ", "1un, 06 Nov 1994 08:49:37 GMT",
    ])
    func whatIsNoDateIsNone(text: String) {
        #expect(parsed(text) == nil)
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
