/// Requests, good and bad, for a server with small limits: what comes of them must not depend on how their bytes are split.
///
/// Every bound is there three times: met, just passed, and passed by something that is wrong besides.
public struct HTTP1Corpus: Sendable {
    public let name: String
    public let script: String

    /// The limits, small enough that every split of every script can be tried.
    public static let headBytes = 200
    public static let targetBytes = 40
    public static let fieldLines = 5
    public static let methodBytes = 8
    public static let chunkExtensionBytes = 12
    public static let trailerBytes = 24
    /// Bytes of a body that are taken, and of one that are read over.
    public static let bodyBytes = 20

    public static let all: [HTTP1Corpus] =
        requestLines + fields + heads + lengths + chunks + trailers + pipelines

    private static func made(_ group: String, _ scripts: [String]) -> [HTTP1Corpus] {
        scripts.enumerated().map { HTTP1Corpus(name: "\(group) \($0)", script: $1) }
    }

    private static func some(_ count: Int, _ text: String = "x") -> String { String(repeating: text, count: count) }

    private static let requestLines = made(
        "request line",
        [
            "GET / HTTP/1.1", "GET / HTTP/1.0", "GET / HTTP/1.9", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/3.x",
            "GET / HTTP/1.", "GET / HTTP/1", "GET / HTTP", "GET / ", "GET /", "GET ", "GET", "GET / http/1.1",
            "GET / HTTP/11", "GET / HTTP/1.10", "GET / HTTP/1.1 ", "GET  / HTTP/1.1", " GET / HTTP/1.1",
            "GET\t/ HTTP/1.1", "GET / HTTP/1.1\n", "GET / HTTP/1.1\rX", "GET /\n", "GET\n", "\n", "GET / \n",
            "G\0T / HTTP/1.1", "GET /\0 HTTP/1.1", "GET / HTTP\0", "\0", "G@T / HTTP/1.1", "G\u{e9}T / HTTP/1.1",
            "GET /a#b HTTP/1.1", "GET /\u{7f} HTTP/1.1", "GET /\u{e9} HTTP/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1",
            "OPTIONS * HTTP/1.1", "GET http://b/c?d HTTP/1.1", "GET http:// HTTP/1.1", "GET ftp://b/ HTTP/1.1",
            "GET /?a=b&c HTTP/1.1", "GET /%zz HTTP/1.1", "CONNECT a:1 HTTP/1.1", "TRACE / HTTP/1.1", "HEAD / HTTP/1.1",
            "BREW / HTTP/1.1", some(8, "G") + " / HTTP/1.1", some(9, "G") + " / HTTP/1.1", some(9, "G"),
            some(8, "G") + "@ / HTTP/1.1", "GET /" + some(39) + " HTTP/1.1", "GET /" + some(40) + " HTTP/1.1",
            "GET /" + some(39) + "# HTTP/1.1", "GET /" + some(40) + "#", "GET /" + some(39) + "\n",
            "GET /" + some(300), some(300), "GET /" + some(300, "?") + " HTTP/1.1", "G " + some(300, "/"),
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}", "PRI * HTTP/2.0",
            "GET / HTTP/1.1 " + some(300, "a b"),
        ].map { $0 + "\r\nHost: a\r\n\r\n" })

    private static let fields = made(
        "field",
        [
            "A: b", "A:b", "A:", "A: \t b \t", "A : b", "A\t: b", " A: b", "\tA: b", ": b", ":", "A", "A b: c",
            "A(b: c",
            "A\0: b", "A: \0", "A: b\u{1}", "A: \u{7f}", "A: caf\u{e9}", "\u{e9}: b", "A: b\r\n c", "A: b\r\n\tc",
            "A: b\rc", "A: b\nC: d", "A\n", "A\r\n", "A: b\r", "A: b\n", "\n", "\rX", "A: b\r\n\n", "A: b\r\n\rX",
            "Host: b", "Host:", "Content-Length: x", "Expect: 200-ok", "Connection: close", "A(" + some(300),
            some(300), "A: " + some(300), "A: " + some(300) + "\0", "A" + some(300) + " : b", "\0" + some(300),
            "A: b\r\n " + some(300), "Host : " + some(300), some(300, "\r"), some(300, " "), some(300, ":"),
        ].map { "GET / HTTP/1.1\r\nHost: a\r\n\($0)\r\n\r\n" })

    private static let heads: [HTTP1Corpus] = {
        let start = "GET / HTTP/1.1\r\nHost: a\r\n"
        // "A: " and CR LF twice are seven bytes.
        let room = headBytes - start.utf8.count - 7
        var scripts: [String] = []
        for size in [room - 1, room, room + 1, room + 2, room + 3, room + 4, room + 5] {
            scripts.append("\(start)A: \(some(size))\r\n\r\n")
            scripts.append("\(start)A: \(some(size))\0\r\n\r\n")
            scripts.append("\(start)A: \(some(size))\n\r\n\r\n")
            scripts.append("\(start)A: \(some(size))\r\rX\r\n\r\n")
        }
        for count in 3...6 {
            scripts.append(start + some(count, "A: b\r\n") + "\r\n")
            scripts.append(start + some(count, "A: b\r\n") + "A : b\r\n\r\n")
            scripts.append(start + some(count, "A: b\r\n") + "A: \(some(room))")
        }
        for lines in 0...4 { scripts.append(some(lines, "\r\n") + start + "\r\n") }
        scripts += ["\r", "\r\n\r", "\rX", "\r\n\n", "\n", "", start, start + "\r", "GET", "GET / HTTP/1.1\r"]
        scripts += ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", start + "Host: a\r\n\r\n"]
        scripts += ["GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "GET / HTTP/1.1\r\nHost: " + some(300)]
        scripts += ["GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
        return made("head", scripts)
    }()

    private static func post(_ fields: String, _ body: String) -> String {
        "POST /p HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n\(body)GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    }

    private static let lengths = made(
        "length",
        [
            post("Content-Length: 5", "hello"), post("Content-Length: 0", ""), post("Content-Length: 005", "hello"),
            post("Content-Length: +5", "hello"), post("Content-Length: 5 ", "hello"), post("Content-Length: -1", ""),
            post("Content-Length: 5\r\nContent-Length: 5", "hello"),
            post("Content-Length: 5\r\nContent-Length: 6", "hello"), post("Content-Length: 5, 5", "hello"),
            post("Content-Length: 99999999999999999999", "hello"), post("Content-Length: 9223372036854775807", "hello"),
            post("Content-Length: 20", some(20)), post("Content-Length: 21", some(21)),
            post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
            post("Transfer-Encoding: chunked, gzip", "0\r\n\r\n"),
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello",
            "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ])

    private static let chunks = made(
        "chunk",
        [
            "5\r\nhello\r\n0\r\n\r\n", "005\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "\r\n", "g\r\n",
            "+5\r\n", "0x5\r\n",
            "-1\r\n", "5\nhello\r\n", "5\rhello", "5\r\nhello!\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello0\r\n\r\n",
            "5;\(some(11))\r\nhello\r\n0\r\n\r\n", "5;\(some(12))\r\nhello\r\n0\r\n\r\n", "5;\(some(300))",
            "5;\(some(11))\0\r\n", "5;\(some(12))\0\r\n", "5;a\nhello\r\n", "5;a\rhello\r\n",
            "1;xxxx\r\na\r\n1;xxxx\r\nb\r\n0;x\r\n\r\n", "1;xxxx\r\na\r\n1;xxxx\r\nb\r\n0;xxx\r\n\r\n",
            some(15, "0") + "\r\n\r\n",
            some(16, "0") + "\r\n\r\n", "fffffffffffffff\r\n", "ffffffffffffffff\r\n", "14\r\n\(some(20))\r\n0\r\n\r\n",
            "15\r\n\(some(21))\r\n0\r\n\r\n", "a\r\n\(some(10))\r\nb\r\n\(some(11))\r\n0\r\n\r\n", "5\r\nhel",
            "15\r\n\(some(21))!!0\r\n\r\n",
        ].map { post("Transfer-Encoding: chunked", $0) })

    private static let trailers = made(
        "trailer",
        [
            "A: b\r\n\r\n", "A:\r\n\r\n", "A : b\r\n\r\n", ": b\r\n\r\n", " A: b\r\n\r\n", "A\r\n\r\n", "\n", "\rX",
            "A: b\n\r\n", "A: b\rc\r\n\r\n",
            "A: \0\r\n\r\n", "A: b\r\n c\r\n\r\n", "A: \(some(17))\r\n\r\n", "A: \(some(18))\r\n\r\n",
            "A: \(some(19))\r\n\r\n",
            "A: \(some(20))\r\n\r\n", "A: \(some(300))", "A: \(some(19))\0", "A\(some(300))", "A: b\r\nB: c\r\n\r\n",
            "A(" + some(300),
        ].map { post("Transfer-Encoding: chunked", "0\r\n" + $0) })

    private static let pipelines = made(
        "pipeline",
        [
            some(3, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + some(300), "GET / HTTP/1.1\r\nHost: a\r\n\r\nG\0",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /late HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nG\0",
            "GET /late HTTP/1.1\r\nHost: a\r\n\r\n" + post("Content-Length: 21", some(21)),
            post("Content-Length: 5", "hello") + post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n") + "\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        ])
}
