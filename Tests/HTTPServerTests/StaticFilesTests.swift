import Bytes
import Glibc
import HTTPServer
import Reactor
import TestSupport
import Testing

private func get(_ path: String, _ fields: String = "", method: String = "GET") -> String {
    "\(method) \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
}

@Suite struct ServingFiles {
    let folder: TemporaryFolder
    let server: LiveServer
    let page = "<!doctype html>" + String(repeating: "<p>cars</p>", count: 100)

    init() throws {
        folder = TemporaryFolder()
        folder.write("index.html", page)
        precondition(unsafe mkdir(folder.file("js"), 0o755) == 0)
        folder.write("js/digits.bin", "0123456789")
        precondition(unsafe mkdir(folder.file("the docs"), 0o755) == 0)
        folder.write("the docs/index.html", "read me")
        folder.write(".hidden", "secret")
        let files = try StaticFiles(folder: folder.path)
        server = try LiveServer { _, router in
            router.fallback { request, responder in files.respond(to: request, responder) }
        }
    }

    @Test func theIndexWithItsFields() {
        let answer = Client(server.port).send(get("/")).response()
        #expect(answer.status == 200)
        #expect(answer.body == page)
        #expect(answer.field("content-type") == "text/html; charset=utf-8")
        #expect(answer.field("x-content-type-options") == "nosniff")
        #expect(answer.field("content-security-policy")?.hasPrefix("default-src 'none'") == true)
        #expect(answer.field("vary") == "Accept-Encoding")
        #expect(answer.field("content-encoding") == nil)
    }

    /// A copy from a camera, or a joker, may give a file any time that its file system can keep.
    @Test(arguments: [-9_223_372_036_854_775_808, -2_147_483_649, 0, 10_000_000_000, 9_223_372_036_854_775_807])
    func aFileOfAnyTimeIsServed(seconds: Int) throws {
        folder.write("old.txt", "old")
        let times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
        let outcome = unsafe utimensat(AT_FDCWD, folder.file("old.txt"), times, 0)
        #expect(outcome == 0)
        let files = try StaticFiles(folder: folder.path)
        let server = try LiveServer { _, router in
            router.fallback { request, responder in files.respond(to: request, responder) }
        }
        let answer = Client(server.port).send(get("/old.txt")).response()
        #expect(answer.body == "old")
        let date = answer.field("last-modified") ?? "none"
        #expect(Client(server.port).send(get("/old.txt", "If-Modified-Since: \(date)\r\n")).response().status == 304)
    }

    /// RFC 9110 §15.4.9: a relative reference, so that a proxy may serve the page under another path.
    @Test func aFolderWithAnIndexIsServedWithASlashAndRedirectedWithout() {
        let client = Client(server.port)
        #expect(client.send(get("/the%20docs/")).response().body == "read me")
        let answer = client.send(get("/the%20docs?a=b")).response()
        #expect(answer.status == 308)
        #expect(answer.field("location") == "the%20docs/")
        #expect(client.send(get("/js")).response().status == 404)
        #expect(client.send(get("//the%20docs")).response().status == 404)
    }

    @Test func rfc9110_13_1_2_entityTagsGive304() {
        let client = Client(server.port)
        let first = client.send(get("/index.html")).response()
        let tag = first.field("etag") ?? "none"
        let second = client.send(get("/index.html", "If-None-Match: \"x\", W/\(tag)\r\n")).response()
        #expect(second.status == 304)
        #expect(second.field("etag") == tag)
        #expect(second.field("content-length") == nil)
        #expect(client.send(get("/", "If-None-Match: \"x\"\r\n")).response().status == 200)
        let date = first.field("last-modified") ?? "none"
        #expect(client.send(get("/", "If-Modified-Since: \(date)\r\n")).response().status == 304)
    }

    /// RFC 9110 §13.2.2, in its order. The file is of 2001.
    @Test(
        arguments: [
            ("If-Match: TAG", 200), ("If-Match: \"x\"", 412), ("If-Match: *", 200), ("If-Match: \"x\", TAG", 200),
            ("If-Match: \"x\"\r\nIf-Match: TAG", 200), ("If-Match: W/TAG", 412), ("If-Match: ", 412),
            ("If-Unmodified-Since: Sun, 09 Sep 2001 01:46:40 GMT", 200),
            ("If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT", 412),
            ("If-Unmodified-Since: Sunday, 09-Sep-01 01:46:39 GMT", 412),
            ("If-Unmodified-Since: Sun Sep  9 01:46:39 2001", 412), ("If-Unmodified-Since: yesterday", 200),
            ("If-Match: TAG\r\nIf-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT", 200),
            ("If-Match: \"x\"\r\nIf-None-Match: TAG", 412), ("If-Match: TAG\r\nIf-None-Match: TAG", 304),
            ("If-None-Match: TAG", 304), ("If-None-Match: W/TAG", 304), ("If-None-Match: *", 304),
            ("If-None-Match: \"x\"\r\nIf-None-Match: TAG", 304), ("If-None-Match: \"x,\" , \"y\",TAG", 304),
            ("If-None-Match: \"x, TAG", 200), ("If-None-Match: \"x\"", 200), ("If-None-Match: TAGx", 304),
            ("If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT", 200),
            ("If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT", 304),
            ("If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT", 200),
            ("If-Modified-Since: Mon, 10 Sep 2001 00:00:00 GMT", 304),
            ("If-Modified-Since: Monday, 10-Sep-01 00:00:00 GMT", 304),
            ("If-Modified-Since: Mon Sep 10 00:00:00 2001", 304), ("If-Modified-Since: 1000000000", 200),
            ("If-Modified-Since: Mon Sep 10 00:00:00 2001\r\nIf-Modified-Since: Mon Sep 10 00:00:00 2001", 200),
            ("If-Unmodified-Since: Sun Sep  9 01:46:39 2001\r\nRange: bytes=0-1", 412),
            ("If-None-Match: TAG\r\nRange: bytes=0-1", 304), ("If-Match: TAG\r\nRange: bytes=0-1", 206),
            ("If-Range: TAG\r\nRange: bytes=0-1", 206), ("If-Range: W/TAG\r\nRange: bytes=0-1", 200),
            ("If-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\nRange: bytes=0-1", 206),
            ("If-Range: Sunday, 09-Sep-01 01:46:40 GMT\r\nRange: bytes=0-1", 206),
            ("If-Range: Mon, 10 Sep 2001 00:00:00 GMT\r\nRange: bytes=0-1", 200), ("If-Range: \"x\"", 200),
            ("If-Range: \"x\"\r\nRange: bytes=99-", 200), ("Range: bytes=0-1\r\nRange: bytes=0-2", 200),
        ] as [(String, Int)])
    func rfc9110_13_2_2_conditions(_ fields: String, _ status: Int) throws {
        let times = [timespec(tv_sec: 1_000_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000_000, tv_nsec: 0)]
        let outcome = unsafe utimensat(AT_FDCWD, folder.file("js/digits.bin"), times, 0)
        #expect(outcome == 0)
        let files = try StaticFiles(folder: folder.path)
        let server = try LiveServer { _, router in
            router.fallback { request, responder in files.respond(to: request, responder) }
        }
        let client = Client(server.port)
        let tag = client.send(get("/js/digits.bin")).response().field("etag") ?? "none"
        let answer = client.send(get("/js/digits.bin", fields.replacing("TAG", with: tag) + "\r\n")).response()
        #expect(answer.status == status)
        if status == 304 { #expect(answer.field("etag") == tag) }
        // For HEAD there are no ranges, and the same conditions.
        let head = get("/js/digits.bin", fields.replacing("TAG", with: tag) + "\r\n", method: "HEAD")
        let headAnswer = client.send(head).response(hasBody: false)
        #expect(headAnswer.status == (status == 206 ? 200 : status))
        if headAnswer.status == 200 { #expect(headAnswer.field("content-length") == "10") }
        // Where there is no file there is no condition to meet (RFC 9110 §13.2.1).
        #expect(client.send(get("/none", fields.replacing("TAG", with: tag) + "\r\n")).response().status == 404)
    }

    @Test func headIgnoresARangeBeyondTheEnd() {
        let head = get("/js/digits.bin", "Range: bytes=99-\r\n", method: "HEAD")
        #expect(Client(server.port).send(head).response(hasBody: false).status == 200)
    }

    @Test func gzipIsSentToThoseWhoTakeIt() {
        let client = Client(server.port)
        let packed = client.send(get("/", "Accept-Encoding: br, GZIP;q=0.5\r\n")).response()
        #expect(packed.field("content-encoding") == "gzip")
        #expect(Int(packed.field("content-length") ?? "")! < 200)
        #expect(packed.field("etag")?.hasSuffix("-gzip\"") == true)
        let lines = client.send(get("/", "Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n")).response()
        #expect(lines.field("content-encoding") == "gzip")
        for refused in ["gzip;q=0", "br", "*;q=0, br", "identity"] {
            let plain = client.send(get("/", "Accept-Encoding: \(refused)\r\n")).response()
            #expect(plain.field("content-encoding") == nil, "\(refused)")
        }
    }

    @Test(
        arguments: [
            ("bytes=0-3", 206, "0123", "bytes 0-3/10"), ("bytes=7-", 206, "789", "bytes 7-9/10"),
            ("bytes=-2", 206, "89", "bytes 8-9/10"), ("bytes=5-99", 206, "56789", "bytes 5-9/10"),
            ("bytes=10-", 416, nil, "bytes */10"), ("bytes=-0", 416, nil, "bytes */10"),
            ("bytes=3-1", 200, "0123456789", nil), ("bytes=0-1,3-4", 200, "0123456789", nil),
            ("lines=0-1", 200, "0123456789", nil), ("BYTES=0-0", 206, "0", "bytes 0-0/10"),
            ("Bytes=-1", 206, "9", "bytes 9-9/10"), ("byte\u{301}s=0-1", 200, "0123456789", nil),
            ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
            ("bytes=99999999999999999999-", 416, nil, "bytes */10"),
        ] as [(String, Int, String?, String?)])
    func rfc9110_14_ranges(_ range: String, _ status: Int, _ body: String?, _ contentRange: String?) {
        let answer = Client(server.port).send(get("/js/digits.bin", "Range: \(range)\r\n")).response()
        #expect(answer.status == status)
        if let body { #expect(answer.body == body) }
        #expect(answer.field("content-range") == contentRange)
    }

    @Test func rfc9110_13_1_5_ifRange() {
        let client = Client(server.port)
        let tag = client.send(get("/js/digits.bin")).response().field("etag") ?? ""
        #expect(client.send(get("/js/digits.bin", "Range: bytes=0-1\r\nIf-Range: \(tag)\r\n")).response().status == 206)
        #expect(client.send(get("/js/digits.bin", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n")).response().status == 200)
    }

    @Test func behaviour9_headAndOtherMethods() {
        let client = Client(server.port)
        let head = client.send(get("/", method: "HEAD")).response(hasBody: false)
        #expect(head.status == 200)
        #expect(head.field("content-length") == "\(page.utf8.count)")
        #expect(client.send(get("/", method: "POST")).response().status == 405)
        #expect(client.send(get("/none", method: "POST")).response().status == 404)
    }

    /// HAProxy's check of a server is `OPTIONS / HTTP/1.0`: it was a 405 that allowed OPTIONS.
    @Test func rfc9110_9_3_7_optionsOfAFile() {
        for path in ["/", "/index.html", "/js/digits.bin"] {
            let refused = Client(server.port).send(get(path, method: "PUT")).response()
            #expect(refused.field("allow") == "GET, HEAD, OPTIONS")
            let answer = Client(server.port).send(get(path, method: "OPTIONS")).response()
            #expect(answer.status == 204)
            #expect(answer.field("allow") == "GET, HEAD, OPTIONS")
            let check = Client(server.port).send("OPTIONS \(path) HTTP/1.0\r\n\r\n").all()
            #expect(check.status == 204)
            #expect(check.field("allow") == "GET, HEAD, OPTIONS")
        }
        #expect(Client(server.port).send(get("/none", method: "OPTIONS")).response().status == 404)
    }

    @Test(arguments: [
        "/../etc/passwd", "/%2e%2e/etc/passwd", "/js/..%2f..%2fetc/passwd", "/.hidden", "/js", "//index.html", "/js/",
        "/index.html%00.js", "/%ff", "/..", "/./index.html",
    ])
    func behaviour9_noPathEscapes(_ path: String) {
        #expect(Client(server.port).send(get(path)).response().status == 404)
    }
}
