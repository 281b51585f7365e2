import HTTP1
import Testing

/// One line of the table: the name says the section of the behaviour and what must happen.
struct RequestCase: CustomTestStringConvertible, Sendable {
    let name: String
    let script: String
    let expected: [Outcome]

    init(_ name: String, _ script: String, _ expected: Outcome...) {
        self.name = name
        self.script = script
        self.expected = expected
    }

    var testDescription: String { name }
}

private func get(_ fields: String) -> String { "GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n" }
private func post(_ fields: String, _ body: String = "") -> String {
    "POST /p HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\(body)"
}
private let chunked = "Transfer-Encoding: chunked\r\n"
private let fine = Outcome.request("GET /", body: "")

let requestTable: [RequestCase] = [
    // Well-formed
    .init("a plain GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", fine),
    .init("two pipelined", get("") + get(""), fine, fine),
    .init("an empty line in front", "\r\n" + get(""), fine),
    .init("an empty line between", get("") + "\r\n" + get(""), fine, fine),
    .init("HTTP/1.0 without Host", "GET / HTTP/1.0\r\n\r\n", fine),
    .init("a later minor version", "GET / HTTP/1.7\r\nHost: a\r\n\r\n", fine),
    .init("a fixed body", post("Content-Length: 5\r\n", "hello"), .request("POST /p", body: "hello")),
    .init("an empty body", post("Content-Length: 0\r\n") + get(""), .request("POST /p", body: ""), fine),
    .init(
        "a body, then another request", post("Content-Length: 5\r\n", "hello") + get(""),
        .request("POST /p", body: "hello"), fine),
    .init("a chunked body", post(chunked, "5\r\nhello\r\n0\r\n\r\n"), .request("POST /p", body: "hello")),
    .init(
        "several chunks, upper and lower case sizes, then another request",
        post(chunked, "A\r\n0123456789\r\n00b\r\nabcdefghijk\r\n0\r\n\r\n") + get(""),
        .request("POST /p", body: "0123456789abcdefghijk"), fine),
    .init(
        "chunk extensions and trailers are dropped",
        post(chunked, "5;a=b;c=\"d\"\r\nhello\r\n0 ;x\r\nTrailer: yes\r\nB:\r\n\r\n"),
        .request("POST /p", body: "hello")),
    .init(
        "the coding's name in any case", post("TRANSFER-encoding: , Chunked\r\n", "0\r\n\r\n"),
        .request("POST /p", body: "")),
    .init("equal lengths", post("Content-Length: 2\r\ncontent-length: 2\r\n", "ab"), .request("POST /p", body: "ab")),
    .init("white space around a value", get("A: \t b c \t \r\n"), fine),
    .init("an empty value", get("A:\r\nB: \r\n"), fine),
    .init("obs-text in a value", get("A: caf\u{e9}\r\n"), fine),
    .init("an unknown method", "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", .request("BREW /pot", body: "")),
    .init(
        "9 absolute form", "GET http://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", .request("GET http://b:80/x?y", body: "")),
    .init("9 asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", .request("OPTIONS *", body: "")),
    .init("authority form", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", .request("CONNECT a:1", body: "")),
    .init("an unfinished head", "GET / HTTP/1.1\r\nHost: a\r\n", .incomplete),
    .init("an unfinished body", post("Content-Length: 5\r\n", "hell"), .incomplete),
    .init("an unfinished chunk", post(chunked, "5\r\nhello\r\n0\r\n"), .incomplete),

    // 1: Host
    .init("1 missing Host", "GET / HTTP/1.1\r\nA: b\r\n\r\n", .refused(.missingHost)),
    .init("1 missing Host beside an absolute form", "GET http://b/ HTTP/1.1\r\n\r\n", .refused(.missingHost)),
    .init("1 repeated Host", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .refused(.repeatedHost)),
    .init("1 repeated Host on HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", .refused(.repeatedHost)),
    .init("1 empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", .refused(.invalidHost)),
    .init("1 Host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .refused(.invalidHost)),
    .init("1 Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .refused(.invalidHost)),
    .init("1 Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .refused(.invalidHost)),
    .init("1 Host with a bad port", "GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", .refused(.invalidHost)),
    .init("1 Host with a port", "GET / HTTP/1.1\r\nHost: a-b.c_d:8080\r\n\r\n", fine),
    .init("1 Host with the last port", "GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n", fine),
    .init("1 Host with a port beyond the last", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", .refused(.invalidHost)),
    .init("1 IPv6 with a port beyond", "GET / HTTP/1.1\r\nHost: [::1]:99999\r\n\r\n", .refused(.invalidHost)),
    .init("1 Host that is IPv6", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", fine),
    .init("1 Host that is unfinished IPv6", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", .refused(.invalidHost)),

    // 2 and 3: framing
    .init(
        "2 length and coding", post("Content-Length: 5\r\n" + chunked, "0\r\n\r\n"),
        .refused(.lengthAndTransferEncoding)),
    .init(
        "2 length zero and coding", post(chunked + "Content-Length: 0\r\n", "0\r\n\r\n"),
        .refused(.lengthAndTransferEncoding)),
    .init(
        "2 coding on HTTP/1.0", "POST /p HTTP/1.0\r\nHost: a\r\n" + chunked + "\r\n0\r\n\r\n",
        .refused(.transferEncodingOnHTTP10)),
    .init("3 chunked not last", post("Transfer-Encoding: chunked, gzip\r\n"), .refused(.chunkedNotLast)),
    .init("3 without chunked", post("Transfer-Encoding: gzip\r\n"), .refused(.chunkedNotLast)),
    .init("3 chunked twice", post("Transfer-Encoding: chunked, chunked\r\n"), .refused(.chunkedNotLast)),
    .init("3 chunked twice in two lines", post(chunked + chunked), .refused(.chunkedNotLast)),
    .init("3 identity", post("Transfer-Encoding: identity\r\n"), .refused(.chunkedNotLast)),
    .init("3 an empty coding", post("Transfer-Encoding:\r\n"), .refused(.chunkedNotLast)),
    .init("3 a coding with a tail", post("Transfer-Encoding: chunkedx\r\n"), .refused(.chunkedNotLast)),
    .init("3 an unknown coding", post("Transfer-Encoding: gzip, chunked\r\n"), .refused(.unknownTransferCoding)),
    .init("3 unequal lengths", post("Content-Length: 2\r\nContent-Length: 3\r\n"), .refused(.unequalContentLengths)),
    .init(
        "3 zero and another length", post("Content-Length: 0\r\nContent-Length: 3\r\n"),
        .refused(.unequalContentLengths)),
    .init("3 a list of lengths", post("Content-Length: 2, 3\r\n"), .refused(.badContentLength)),
    .init("3 negative length", post("Content-Length: -1\r\n"), .refused(.badContentLength)),
    .init("3 signed length", post("Content-Length: +1\r\n"), .refused(.badContentLength)),
    .init("3 hexadecimal length", post("Content-Length: 0x1\r\n"), .refused(.badContentLength)),
    .init("3 empty length", post("Content-Length:\r\n"), .refused(.badContentLength)),
    .init("3 length with a space inside", post("Content-Length: 1 2\r\n"), .refused(.badContentLength)),
    .init("3 overflowing length", post("Content-Length: 18446744073709551616\r\n"), .refused(.badContentLength)),
    .init("3 length beyond 63 bits", post("Content-Length: 9223372036854775808\r\n"), .refused(.badContentLength)),

    // 4: lines and characters
    .init("4 bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", .refused(.bareLineFeed)),
    .init("4 bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", .refused(.bareLineFeed)),
    .init("4 bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", .refused(.bareLineFeed)),
    .init("4 bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", .refused(.bareLineFeed)),
    .init("4 bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", .refused(.bareCarriageReturn)),
    .init("4 bare CR behind the version", "GET / HTTP/1.1\rHost: a\r\n\r\n", .refused(.bareCarriageReturn)),
    .init("4 bare CR at the end", "GET / HTTP/1.1\r\nHost: a\r\n\rX\r\n", .refused(.bareCarriageReturn)),
    .init("4 obs-fold", get("A: b\r\n c\r\n"), .refused(.obsoleteFold)),
    .init("4 obs-fold with a tab", get("A: b\r\n\tc\r\n"), .refused(.obsoleteFold)),
    .init("4 a space in front of the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", .refused(.obsoleteFold)),
    .init("4 space before the colon", get("A : b\r\n"), .refused(.badFieldName)),
    .init("4 tab before the colon", get("A\t: b\r\n"), .refused(.badFieldName)),
    .init("4 NUL in a value", get("A: b\0c\r\n"), .refused(.badFieldValue)),
    .init("4 a control character in a value", get("A: b\u{1}c\r\n"), .refused(.badFieldValue)),
    .init("4 DEL in a value", get("A: 0123456\u{7f}89\r\n"), .refused(.badFieldValue)),
    .init("4 an empty name", get(": b\r\n"), .refused(.emptyFieldName)),
    .init("4 no colon", get("Abc\r\n"), .refused(.badFieldName)),
    .init("4 a bad name", get("A(b: c\r\n"), .refused(.badFieldName)),
    .init("4 a NUL in a name", get("A\0b: c\r\n"), .refused(.badFieldName)),
    .init("4 no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badRequestLine)),
    .init("4 no version", "GET /\r\nHost: a\r\n\r\n", .refused(.badRequestLine)),
    .init("4 two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badRequestLine)),
    .init("4 a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .refused(.badVersion)),
    .init("4 a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badRequestLine)),
    .init("4 a bad method", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badRequestLine)),
    .init(
        "4 a long method", String(repeating: "G", count: 33) + " / HTTP/1.1\r\nHost: a\r\n\r\n",
        .refused(.badRequestLine)),
    .init("4 a control character in the target", "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badRequestLine)),
    .init("4 DEL in the target", "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badTarget)),
    .init("4 a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badTarget)),
    .init("4 a relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badTarget)),
    .init("4 another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badTarget)),
    .init("4 an absolute form without a host", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badTarget)),
    .init(
        "4 an absolute form with a port beyond", "GET http://a:65536/ HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badTarget)
    ),
    .init("4 an asterisk for another method", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.badTarget)),
    .init("4 a lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", .refused(.badVersion)),
    .init("4 a short version", "GET / HTTP/1\r\nHost: a\r\n\r\n", .refused(.badVersion)),
    .init("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", .refused(.unsupportedVersion)),
    .init("HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", .refused(.unsupportedVersion)),
    .init("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .refused(.unsupportedVersion)),
    .init("many empty lines", "\r\n\r\n\r\n" + get(""), .refused(.badRequestLine)),

    // 4: chunks
    .init("4 no chunk size", post(chunked, "\r\n"), .refused(.badChunkSize)),
    .init("4 a chunk size that is no number", post(chunked, "g\r\n"), .refused(.badChunkSize)),
    .init("4 a signed chunk size", post(chunked, "+5\r\nhello\r\n"), .refused(.badChunkSize)),
    .init("4 a chunk size with 0x", post(chunked, "0x5\r\nhello\r\n"), .refused(.badChunkSize)),
    .init("4 a chunk size with a trailing space", post(chunked, "5 \r\nhello\r\n"), .refused(.badChunkSize)),
    .init("4 a chunk size that overflows", post(chunked, "10000000000000000\r\n"), .refused(.chunkSizeOverflow)),
    .init("4 a chunk size with endless zeros", post(chunked, "0000000000000000\r\n"), .refused(.chunkSizeOverflow)),
    .init("4 bare LF behind a chunk size", post(chunked, "5\nhello\r\n"), .refused(.bareLineFeed)),
    .init("4 bare CR behind a chunk size", post(chunked, "5\rhello\r\n"), .refused(.bareCarriageReturn)),
    .init("4 bare LF in an extension", post(chunked, "5;a\nhello\r\n"), .refused(.bareLineFeed)),
    .init("4 NUL in an extension", post(chunked, "5;a\0\r\nhello\r\n"), .refused(.badChunkExtension)),
    .init("4 a chunk longer than said", post(chunked, "5\r\nhello!\r\n"), .refused(.badChunkTerminator)),
    .init("4 bare LF behind a chunk", post(chunked, "5\r\nhello\n0\r\n\r\n"), .refused(.badChunkTerminator)),
    .init("4 bare LF at the end of a chunked body", post(chunked, "0\r\n\n"), .refused(.bareLineFeed)),
    .init("4 a bad trailer", post(chunked, "0\r\nA b: c\r\n\r\n"), .refused(.badTrailer)),
    .init("4 a trailer without a name", post(chunked, "0\r\n: c\r\n\r\n"), .refused(.badTrailer)),
]
