import Bytes
import Glibc
import HTTPServer
import Reactor
import Synchronization
import TestSupport
import Testing

private func get(_ path: String, _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
}

private func hello() throws -> LiveServer {
    try LiveServer { _, router in
        router.get("/") { _, responder in responder.respond(body: "Hello, World!") }
        router.post("/echo", bodyBytes: 100_000) { request, responder in
            responder.respond(200, "application/octet-stream", body: request.body)
        }
        router.post("/small", bodyBytes: 10) { _, responder in responder.respond(204) }
        router.get("/a/{one}/b/{two}") { request, responder in
            let text = "\(request.pathParameter("one") ?? "?") \(request.pathParameter("two") ?? "?")"
            responder.respond(200, "text/plain") { $0.append(utf8: text) }
        }
    }
}

@Suite struct Serving {
    @Test func keepAliveAnswersOneAfterTheOther() throws {
        let server = try hello()
        let client = Client(server.port)
        for _ in 0..<3 {
            let answer = client.send(get("/")).response()
            #expect(answer.status == 200)
            #expect(answer.body == "Hello, World!")
            #expect(answer.field("content-length") == "13")
            #expect(answer.field("date")?.hasSuffix(" GMT") == true)
            #expect(answer.field("connection") == nil)
        }
    }

    @Test func rfc9112_9_6_connectionCloseIsHonoured() throws {
        let server = try hello()
        let answer = Client(server.port).send(get("/", "Connection: close\r\n")).all()
        #expect(answer.hasSuffix("Hello, World!"))
        #expect(answer.field("connection") == "close")
    }

    @Test func http10ClosesUnlessItIsAskedToStay() throws {
        let server = try hello()
        #expect(Client(server.port).send("GET / HTTP/1.0\r\n\r\n").all().field("connection") == "close")
        let client = Client(server.port).send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        #expect(client.response().field("connection") == "keep-alive")
        #expect(client.send("GET / HTTP/1.0\r\n\r\n").all().status == 200)
    }

    @Test func bodiesArriveHoweverTheyAreSent() throws {
        let server = try hello()
        let client = Client(server.port)
        let long = String(repeating: "x", count: 99_999)
        #expect(
            client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").response().body == "hello")
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n")
        #expect(client.send(long).response().body == long)
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        #expect(client.send("lo\r\n1\r\n!\r\n0\r\n\r\n").response().body == "hello!")
        #expect(client.send(get("/")).response().status == 200)
    }

    @Test func pathParametersAreDecodedOnce() throws {
        let server = try hello()
        let client = Client(server.port)
        #expect(client.send(get("/a/x%2Fy%2525/b/2")).response().body == "x/y%25 2")
        #expect(client.send(get("/%61/1/b/2")).response().body == "1 2")
        #expect(client.send(get("/a//b/2")).response().status == 404)
        #expect(client.send(get("/a/1/b/2/")).response().status == 404)
    }

    @Test func requestIdentifiersAreEchoedOrMade() throws {
        let server = try hello()
        let client = Client(server.port)
        #expect(client.send(get("/", "X-Request-ID: abc-1.2_3\r\n")).response().field("x-request-id") == "abc-1.2_3")
        let made = client.send(get("/", "x-request-id: no spaces please\r\n")).response().field("x-request-id") ?? ""
        #expect(made.count == 36)
        // A UUID of version 7 and variant 1, from this very hour.
        let parts = made.split(separator: "-")
        #expect(parts.map(\.count) == [8, 4, 4, 4, 12])
        #expect(made.allSatisfy { $0 == "-" || "0123456789abcdef".contains($0) })
        #expect(parts[2].first == "7" && "89ab".contains(parts[3].first ?? "?"))
        let milliseconds = UInt64(parts[0] + parts[1], radix: 16) ?? 0
        #expect(abs(Double(milliseconds) / 1000 - Double(time(nil))) < 3600)
        let problem = client.send(get("/none", "x-request-id: r1\r\n")).response()
        #expect(problem.field("x-request-id") == "r1")
        #expect(problem.body.contains("\"request_id\":\"r1\""))
    }

    @Test func problemsAreRFC9457() throws {
        let server = try hello()
        let answer = Client(server.port).send(get("/none")).response()
        #expect(answer.field("content-type") == "application/problem+json")
        #expect(
            answer.body.hasPrefix(
                #"{"type":"urn:example:problem:not-found","code":"not-found","title":"Not found","status":404,"#))
    }
}

@Suite struct Behaviour {
    @Test func behaviour1to4_refusalsAreAnsweredAndClosedInOrder() throws {
        let server = try hello()
        for (script, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\nHost: a\n\n", 400),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ] {
            let client = Client(server.port).send(get("/") + script)
            #expect(client.response().status == 200)
            let answer = client.all()
            #expect(answer.status == status)
            #expect(answer.field("connection") == "close")
            #expect(!answer.hasSuffix("RESET") && !answer.hasSuffix("TIMEOUT"))
        }
    }

    @Test func behaviour5_limits() throws {
        let server = try hello()
        let long = String(repeating: "v", count: 20_000)
        #expect(Client(server.port).send(get("/", "A: \(long)\r\n")).all().status == 431)
        #expect(Client(server.port).send(get("/\(long)")).all().status == 414)
        let tooLong = "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"
        // 413 comes before the body was read.
        let answer = Client(server.port).send(tooLong).response()
        #expect(answer.status == 413)
        #expect(answer.field("connection") == "close")
        let chunked =
            "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\nworld!\r\n"
        #expect(Client(server.port).send(chunked).response().status == 413)
    }

    @Test func behaviour6_aDrippedHeadEndsAtItsDeadline() throws {
        var limits = HTTPLimits()
        limits.headTime = .milliseconds(50)
        let server = try LiveServer(limits: limits) { _, router in
            router.get("/") { _, responder in responder.respond(204) }
        }
        let answer = Client(server.port).send("GET / HT").all()
        #expect(answer.status == 408)
        #expect(answer.field("connection") == "close")
    }

    @Test func behaviour6_aSlowBodyEndsAndAnIdleConnectionToo() throws {
        var limits = HTTPLimits()
        limits.bodyGrace = .milliseconds(20)
        limits.idleTime = .milliseconds(50)
        let server = try LiveServer(limits: limits) { _, router in
            router.post("/") { _, responder in responder.respond(204) }
        }
        #expect(
            Client(server.port).send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1").all().status == 408)
        #expect(Client(server.port).all() == "")
    }

    @Test func behaviour7_lateAnswersComeInOrder() throws {
        // Held answers are given in reverse order once four requests are there.
        let server = try LiveServer { _, router in
            var held: [(String, HTTPResponder)] = []
            router.get("/later/{n}") { request, responder in
                held.append((request.pathParameter("n") ?? "", responder))
                guard held.count == 4 else { return }
                for (number, responder) in held.reversed() {
                    responder.respond(200, "text/plain") { $0.append(utf8: number) }
                }
                held = []
            }
            router.get("/now") { _, responder in responder.respond(body: "now") }
        }
        let client = Client(server.port)
        client.send(
            get("/later/1") + get("/now") + get("/later/2", "X-Request-Id: two\r\n") + get("/later/3") + get("/now")
                + get("/later/4") + get("/now"))
        var bodies: [String] = []
        for index in 0..<7 {
            let answer = client.response()
            bodies.append(answer.body)
            if index == 2 { #expect(answer.field("x-request-id") == "two") }
        }
        #expect(bodies == ["1", "now", "2", "3", "now", "4", "now"])
    }

    @Test func behaviour7_readingPausesAtSixteen() throws {
        let seen = Atomic<Int>(0)
        final class Held { var responders: [HTTPResponder] = [] }
        let server = try LiveServer { loop, router in
            let held = Held()
            router.get("/held") { _, responder in
                held.responders.append(responder)
                seen.add(1, ordering: .relaxed)
                // The seventeenth is not looked at before one of these is answered.
                if held.responders.count == 16 {
                    loop.schedule(after: 20_000_000) {
                        #expect(held.responders.count == 16)
                        for responder in held.responders { responder.respond(204) }
                        held.responders = []
                    }
                } else if seen.load(ordering: .relaxed) > 16 {
                    loop.schedule(after: 1_000_000) {
                        for responder in held.responders { responder.respond(204) }
                        held.responders = []
                    }
                }
            }
        }
        let client = Client(server.port)
        for _ in 0..<20 { client.send(get("/held")) }
        for _ in 0..<20 { #expect(client.response().status == 204) }
        #expect(seen.load(ordering: .relaxed) == 20)
    }

    @Test func behaviour7_expectations() throws {
        let server = try hello()
        let client = Client(server.port)
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        #expect(client.response().hasPrefix("HTTP/1.1 100 Continue\r\n\r\n"))
        #expect(client.send("ok").response().body == "ok")
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 200-ok\r\n\r\nok")
        #expect(client.response().status == 417)
        // A refusal before the 100: the client keeps its body, and the connection ends.
        let refused = Client(server.port).send(
            "POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        #expect(refused.all().status == 404)
    }

    @Test func behaviour8_anUnreadBodyIsDrainedWithoutAReset() throws {
        let server = try hello()
        let client = Client(server.port)
        client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        client.send(String(repeating: "x", count: 500_000))
        let answer = client.all()
        #expect(answer.status == 413)
        #expect(!answer.hasSuffix("RESET") && !answer.hasSuffix("TIMEOUT"))
    }

    /// A reset of one connection ends a `kubectl port-forward` for everybody in it.
    @Test func behaviour8_aBodyOfMegabytesThatIsSentToItsEndIsDrainedWithoutAReset() throws {
        let server = try hello()
        let client = Client(server.port)
        client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000\r\n\r\n")
        for _ in 0..<6 { client.send(String(repeating: "x", count: 1_000_000)) }
        let answer = client.all()
        #expect(answer.status == 413)
        #expect(!answer.hasSuffix("RESET") && !answer.hasSuffix("TIMEOUT"))
    }

    @Test func behaviour8_aShortUnwantedBodyKeepsTheConnection() throws {
        let server = try hello()
        let client = Client(server.port)
        client.send("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get("/"))
        #expect(client.response().status == 404)
        #expect(client.response().body == "Hello, World!")
    }

    @Test func behaviour9_headHasNoBody() throws {
        let server = try hello()
        let client = Client(server.port).send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = client.response(hasBody: false)
        #expect(answer.field("content-length") == "13")
        #expect(answer.body == "")
        #expect(client.send(get("/")).response().body == "Hello, World!")
    }

    @Test func behaviour9_methods() throws {
        let server = try hello()
        let client = Client(server.port)
        let refused = client.send("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n").response()
        #expect(refused.status == 405)
        #expect(refused.field("allow") == "GET, HEAD, OPTIONS")
        #expect(client.send("POST / HTTP/1.1\r\nHost: a\r\n\r\n").response().status == 405)
        #expect(client.send("BREW / HTTP/1.1\r\nHost: a\r\n\r\n").response().status == 501)
        #expect(client.send("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n").response().status == 501)
        let star = client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").response()
        #expect(star.status == 204)
        #expect(star.field("content-length") == nil)
        #expect(client.send("OPTIONS /small HTTP/1.1\r\nHost: a\r\n\r\n").response().field("allow") == "POST, OPTIONS")
    }

    @Test func behaviour9_absoluteFormAndUnknownUpgrade() throws {
        let server = try hello()
        let client = Client(server.port)
        #expect(client.send("GET http://other/ HTTP/1.1\r\nHost: a\r\n\r\n").response().body == "Hello, World!")
        let upgrade = "Connection: Upgrade\r\nUpgrade: chess\r\n"
        #expect(client.send(get("/", upgrade)).response().body == "Hello, World!")
        #expect(client.send(get("/")).response().body == "Hello, World!")
    }

    @Test func aHalfClosedClientIsAnswered() throws {
        let server = try hello()
        let client = Client(server.port).send(get("/") + get("/"))
        client.finishSending()
        let answer = client.all()
        #expect(answer.ranges(of: "Hello, World!").count == 2)
    }
}
