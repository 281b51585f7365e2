import Bytes
import HTTP1
import Testing

@Suite struct RequestParsing {
    @Test(arguments: requestTable)
    func theTable(_ request: RequestCase) {
        #expect(outcomes(request.script) == request.expected)
    }

    @Test(arguments: requestTable)
    func everySplitPointGivesTheSame(_ request: RequestCase) {
        let bytes = Array(request.script.utf8)
        for split in 1..<bytes.count {
            let found = outcomes([bytes[..<split], bytes[split...]])
            #expect(found == request.expected, "split at \(split)")
        }
        #expect(outcomes(bytes.map { [$0][...] }) == request.expected, "byte by byte")
    }

    /// RFC 9110 §4.2.3, RFC 9112 §3.2.4.
    @Test(arguments: [
        ("GET http://a", "/", ""), ("GET http://a?x=y", "/", "x=y"), ("GET https://a:1/", "/", ""),
        ("OPTIONS http://a", "", ""), ("OPTIONS http://a?x", "/", "x"), ("OPTIONS http://a/", "/", ""),
        ("GET http://a/b?", "/b", ""), ("GET http://a?/b", "/", "/b"), ("OPTIONS *", "*", ""),
    ])
    func anAbsoluteFormWithoutAPath(line: String, path: String, query: String) {
        let table = HTTP1HeadTable()
        var parser = HTTP1Parser()
        let bytes = Array("\(line) HTTP/1.1\r\nHost: b\r\n\r\n".utf8)
        guard case .head = parser.next(bytes.span, into: table) else {
            Issue.record("refused")
            return
        }
        let head = HTTP1Head(bytes: bytes.span, table: table)
        #expect(unsafe head.path.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } == path)
        #expect(unsafe head.query.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } == query)
    }

    @Test func severalLinesOfAListAreOne() {
        let table = HTTP1HeadTable()
        var parser = HTTP1Parser()
        let bytes = Array("GET / HTTP/1.1\r\nHost: b\r\nA: 1\r\nB: x\r\na: 2, 3\r\n\r\n".utf8)
        _ = parser.next(bytes.span, into: table)
        let head = HTTP1Head(bytes: bytes.span, table: table)
        #expect(head.joinedText("a") == "1,2, 3")
        #expect(head.joinedText("b") == "x")
        #expect(head.joinedText("c") == nil)
    }

    @Test func behaviour5_aHeadOver16KiBIs431() {
        let value = String(repeating: "v", count: 16 * 1024)
        expectEverywhere("GET / HTTP/1.1\r\nHost: a\r\nA: \(value)\r\n\r\n", .refused(.headTooLarge))
        let fitting = String(repeating: "v", count: 16 * 1024 - 33)
        expectEverywhere("GET / HTTP/1.1\r\nHost: a\r\nAB: \(fitting)\r\n\r\n", .request("GET /", body: ""))
        expectEverywhere("GET / HTTP/1.1\r\nHost: a\r\nABC: \(fitting)\r\n\r\n", .refused(.headTooLarge))
    }

    @Test func behaviour5_overAHundredFieldsAre431() {
        let fields = String(repeating: "a: b\r\n", count: 99)
        expectEverywhere("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n", .request("GET /", body: ""))
        expectEverywhere("GET / HTTP/1.1\r\nHost: a\r\n\(fields)c: d\r\n\r\n", .refused(.tooManyFields))
    }

    @Test func behaviour5_aTargetOver8KiBIs414() {
        let path = "/" + String(repeating: "p", count: 8 * 1024 - 1)
        expectEverywhere("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n", .request("GET \(path)", body: ""))
        expectEverywhere("GET \(path)p HTTP/1.1\r\nHost: a\r\n\r\n", .refused(.targetTooLong))
        expectEverywhere("GET \(path)\(path)\(path)", .refused(.targetTooLong))
    }

    @Test func behaviour4_chunkExtensionsAndTrailersAreBounded() {
        let start = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        let long = String(repeating: "x", count: 4096)
        expectEverywhere(start + "1;\(long)\r\na\r\n0\r\n\r\n", .refused(.chunkExtensionsTooLong))
        let many = String(repeating: "1;xxxxxxxxxxxxxxx\r\na\r\n", count: 257)
        expectEverywhere(start + many, .refused(.chunkExtensionsTooLong))
        expectEverywhere(start + "0\r\nA: \(long)\(long)\r\n\r\n", .refused(.trailerTooLarge))
    }

    @Test func everyByteInAHostIsJudgedWherever() {
        // In the middle of eight bytes that are judged at once, and behind them.
        let allowed = Set("abcxyzABCXYZ0189-._~%!$&'()*+,;=".utf8)
        for byte in UInt8(33)...126 where byte != UInt8(ascii: ":") {
            let isAllowed =
                allowed.contains(byte) || (byte | 0x20) &- 97 < 26 || byte &- 48 < 10
            let character = String(decoding: [byte], as: UTF8.self)
            for host in ["abc\(character)efghij", "abcdefgh\(character)"] {
                let found = outcomes("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")
                #expect(found == [isAllowed ? .request("GET /", body: "") : .refused(.invalidHost)], "\(host)")
            }
        }
    }

    @Test func everyByteInAFieldNameIsJudgedWherever() {
        let allowed = Set("!#$%&'*+-.^_`|~".utf8)
        for byte in UInt8(33)...255 where byte != UInt8(ascii: ":") {
            let isAllowed = allowed.contains(byte) || (byte | 0x20) &- 97 < 26 && byte < 128 || byte &- 48 < 10
            for (before, after) in [("Abc", "Defghijk"), ("Abcdefghi", "")] {
                let head = Array("GET / HTTP/1.1\r\nHost: a\r\n\(before)".utf8)
                let bytes = head + [byte] + Array("\(after): x\r\n\r\n".utf8)
                let found = outcomes([bytes[...]])
                #expect(found == [isAllowed ? .request("GET /", body: "") : .refused(.badFieldName)], "byte \(byte)")
            }
        }
    }

    @Test func fieldsBehindTheSixtyThirdAreJudgedToo() {
        let many = String(repeating: "a: b\r\n", count: 70)
        let found = outcomes("GET / HTTP/1.1\r\n\(many)From: x y\r\nHost: a\r\nDate: ?\r\n\r\n")
        #expect(found == [.request("GET /", body: "")])
        let twice = outcomes("GET / HTTP/1.1\r\nHost: a\r\n\(many)Host: a\r\n\r\n")
        #expect(twice == [.refused(.repeatedHost)])
        let length = outcomes("GET / HTTP/1.1\r\nHost: a\r\n\(many)Content-Length: x\r\n\r\n")
        #expect(length == [.refused(.badContentLength)])
    }

    @Test func theSameHeadAgainIsTheSameRequest() {
        let one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
        let two = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
        let post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
        let found = outcomes(one + one + two + one + post + "x" + post + "y" + one + one)
        let names = ["GET /1", "GET /1", "GET /2", "GET /1", "POST /p", "POST /p", "GET /1", "GET /1"]
        #expect(found == zip(names, ["", "", "", "", "x", "y", "", ""]).map { .request($0, body: $1) })
    }

    @Test func aDrippedHeadIsJudgedLineByLineAndNotAgain() {
        // The last line is unfinished: the error in an earlier one is found all the same, without the head's end.
        var feeder = Feeder()
        for byte in "GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n".utf8 { feeder.feed([byte]) }
        #expect(feeder.outcomes == [.refused(.badFieldName)])
    }

    @Test func theStatusOfEveryErrorIsAClientOrServerError() {
        for error in HTTP1Error.allCases { #expect((400..<506).contains(error.status)) }
        #expect(HTTP1Error.unknownTransferCoding.status == 501)
        #expect(HTTP1Error.targetTooLong.status == 414)
        #expect(HTTP1Error.tooManyFields.status == 431)
    }

    private func expectEverywhere(_ script: String, _ expected: Outcome) {
        let bytes = Array(script.utf8)
        #expect(outcomes([bytes[...]]) == [expected])
        for split in stride(from: 1, to: bytes.count, by: 509) {
            #expect(outcomes([bytes[..<split], bytes[split...]]) == [expected], "split at \(split)")
        }
    }
}

/// `#expect` can't look into a view that can't escape: the condition is made outside it.
private func check(_ condition: Bool, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(condition, sourceLocation: sourceLocation)
}

@Suite struct HeadView {
    @Test func partsOfTheRequestLine() {
        let event = withHead("PATCH /a%20b/c?x=1&y HTTP/1.1\r\nHost: h:1\r\n\r\n") { head in
            let parts = [text(head.methodName), text(head.path), text(head.query), text(head.authority)]
            #expect(parts == ["PATCH", "/a%20b/c", "x=1&y", "h:1"])
            check(head.method == .patch)
            check(head.minorVersion == 1)
        }
        #expect(event == .head(bytes: 44))
    }

    @Test func behaviour9_absoluteFormTakesItsAuthorityFromTheTarget() {
        _ = withHead("GET HTTP://b:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n") { head in
            let parts = [text(head.authority), text(head.path), text(head.query)]
            #expect(parts == ["b:80", "/x", "y"])
        }
        _ = withHead("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n") { head in
            let parts = [text(head.authority), text(head.path), text(head.query)]
            #expect(parts == ["b", "/", ""])
        }
    }

    @Test func everyMethodHasItsName() {
        for method in HTTP1Method.allCases where method != .other && method != .connect {
            _ = withHead("\(method.name) / HTTP/1.1\r\nHost: a\r\n\r\n") { check($0.method == method) }
        }
        _ = withHead("get / HTTP/1.1\r\nHost: a\r\n\r\n") { check($0.method == .other) }
    }

    @Test func fieldsAreFoundInAnyCase() {
        _ = withHead("GET / HTTP/1.1\r\nHOST: a\r\nX-One: 1\r\nx-one: 2\r\nx-two:  t w o \r\n\r\n") { head in
            check(head.text("x-one") == "1")
            check(head.count(of: "x-one") == 2)
            check(head.text("x-two") == "t w o")
            check(head.text("x-six") == nil)
            check(head.has("host"))
            check(head.fieldCount == 4)
        }
    }

    @Test func tokensOfListsAreFoundInEveryLine() {
        let script =
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\nUpgrade: ,WebSocket ,\r\n\r\n"
        _ = withHead(script) { head in
            check(head.hasToken("connection", "upgrade"))
            check(head.hasToken("connection", "keep-alive"))
            check(!head.hasToken("connection", "close"))
            check(head.hasToken("upgrade", "websocket"))
            check(!head.hasToken("upgrade", "web"))
            check(head.asksForUpgrade)
        }
    }

    @Test func rfc9112_9_3_persistence() {
        func persists(_ version: String, _ connection: String) -> Bool {
            var result = false
            _ = withHead("GET / HTTP/\(version)\r\nHost: a\r\nConnection: \(connection)\r\n\r\n") {
                result = $0.isKeepAlive
            }
            return result
        }
        #expect(persists("1.1", ""))
        #expect(!persists("1.1", "Close"))
        #expect(!persists("1.0", ""))
        #expect(persists("1.0", "Keep-Alive"))
        #expect(!persists("1.0", "keep-alive, close"))
    }

    @Test func behaviour7_expectations() {
        func expectation(_ version: String, _ value: String) -> (Bool, Bool) {
            var result = (false, false)
            _ = withHead("GET / HTTP/\(version)\r\nHost: a\r\nExpect: \(value)\r\n\r\n") {
                result = ($0.expectsContinue, $0.hasUnknownExpectation)
            }
            return result
        }
        #expect(expectation("1.1", "100-Continue") == (true, false))
        #expect(expectation("1.1", "200-ok") == (false, true))
        #expect(expectation("1.0", "100-continue") == (false, false))
    }
}
