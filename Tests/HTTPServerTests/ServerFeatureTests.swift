import Bytes
import HTTP1
import HTTPServer
import Reactor
import Synchronization
import TestSupport
import Testing

private func get(_ path: String, _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: h:1\r\n\(fields)\r\n"
}

@Suite struct CrossOrigin {
    private func server(_ origins: [String]) throws -> LiveServer {
        let cors = CORSPolicy(
            origins: try OriginPolicy(origins), allowedFields: ["content-type", "idempotency-key"],
            exposedFields: ["Location", "Retry-After", "X-Request-Id"])
        return try LiveServer(cors: cors) { _, router in
            router.post("/trips") { _, responder in responder.respond(201, fields: ["Location": "/trips/1"]) }
            router.get("/late") { _, responder in
                EventLoop.current?.execute { responder.respond(body: "late") }
            }
        }
    }

    @Test func anAllowedOriginMayReadTheAnswer() throws {
        let server = try server(["https://page.example"])
        for path in ["/late", "/none"] {
            let answer = Client(server.port).send(get(path, "Origin: https://page.example\r\n")).response()
            #expect(answer.field("access-control-allow-origin") == "https://page.example")
            #expect(answer.field("access-control-expose-headers") == "Location, Retry-After, X-Request-Id")
            #expect(answer.field("vary") == "Origin")
        }
    }

    @Test func aForeignOriginMayNot() throws {
        let server = try server([])
        let answer = Client(server.port).send(get("/late", "Origin: https://page.example\r\n")).response()
        #expect(answer.field("access-control-allow-origin") == nil)
        #expect(answer.field("vary") == "Origin")
        let own = Client(server.port).send(get("/late", "Origin: http://h:1\r\n")).response()
        #expect(own.field("access-control-allow-origin") == "http://h:1")
        let lookalike = Client(server.port).send(get("/late", "Origin: http://evil-h:1\r\n")).response()
        #expect(lookalike.field("access-control-allow-origin") == nil)
    }

    @Test func preflightRequests() throws {
        let server = try server(["*"])
        let answer = Client(server.port).send(
            "OPTIONS /trips HTTP/1.1\r\nHost: a\r\nOrigin: https://x\r\nAccess-Control-Request-Method: POST\r\n\r\n"
        ).response()
        #expect(answer.status == 204)
        #expect(answer.field("access-control-allow-methods") == "POST, OPTIONS")
        #expect(answer.field("access-control-allow-headers")?.contains("idempotency-key") == true)
    }
}

@Suite struct WhatAPathTakes {
    private func server() throws -> LiveServer {
        try LiveServer { _, router in
            router.get("/a/{b}") { _, responder in responder.respond(body: "a") }
            router.post("/p") { request, responder in
                let bytes = request.body.count
                responder.respond(200, "text/plain") { $0.append(utf8: "\(bytes)") }
            }
        }
    }

    /// Whatever says that it takes OPTIONS does.
    @Test(arguments: ["1.1", "1.0"])
    func rfc9110_9_3_7_options(version: String) throws {
        let server = try server()
        for path in ["/a/x", "/p"] {
            let refused = Client(server.port).send("PUT \(path) HTTP/\(version)\r\nHost: a\r\n\r\n").response()
            #expect(refused.status == 405)
            let allow = refused.field("allow")
            #expect(allow?.hasSuffix("OPTIONS") == true)
            let answer = Client(server.port).send("OPTIONS \(path) HTTP/\(version)\r\nHost: a\r\n\r\n").response()
            #expect(answer.status == 204)
            #expect(answer.field("allow") == allow)
        }
        for target in ["*", "http://a", "HTTP://a:80"] {
            let answer = Client(server.port).send("OPTIONS \(target) HTTP/\(version)\r\nHost: a\r\n\r\n").response()
            #expect(answer.status == 204)
            #expect(answer.field("allow") == "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
        }
    }

    /// RFC 9110 §15.5.16: gzip was taken for JSON.
    @Test func aBodyInAContentCodingIs415() throws {
        let server = try server()
        let client = Client(server.port)
        func post(_ fields: String, _ path: String = "/p") -> String {
            "POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\(fields)\r\nhello"
        }
        for coding in ["gzip", "deflate", "br", "identity, gzip", "GZIP", "x", "identity\r\nContent-Encoding: gzip"] {
            // A short body is read over: the connection goes on.
            let answer = client.send(post("Content-Encoding: \(coding)\r\n")).response()
            #expect(answer.status == 415, "\(coding)")
            #expect(answer.field("accept-encoding") == "identity")
            #expect(answer.body.contains("\"code\":\"content-coding-not-supported\""))
        }
        for coding in ["identity", "", "Identity, identity"] {
            #expect(client.send(post("Content-Encoding: \(coding)\r\n")).response().body == "5")
        }
        let chunked =
            "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n0\r\n\r\n"
        #expect(client.send(chunked).response().status == 415)
        #expect(client.send(post("Content-Encoding: gzip\r\n", "/none")).response().status == 404)
        #expect(client.send(post("Content-Encoding: gzip\r\n", "/a/b")).response().status == 405)
        #expect(client.send(get("/a/b", "Content-Encoding: gzip\r\n")).response().status == 200)
        // Who waits for a 100 hears it before the body is sent.
        let waiting = Client(server.port).send(
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nContent-Encoding: gzip\r\n\r\n"
        )
        #expect(waiting.response().status == 415)
    }
}

/// Turns what it gets upside down: the other protocol of an upgrade.
private final class Upper: ConnectionHandler {
    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let text = unsafe String(decoding: bytes, as: UTF8.self).uppercased()
        unsafe EventLoop.current?.output(id)?.pointee.append(utf8: text)
        return bytes.count
    }
}

@Suite struct OtherProtocols {
    private func server() throws -> LiveServer {
        try LiveServer { loop, router in
            let upper = Upper()
            router.get("/upper") { request, responder in
                guard request.head.asksForUpgrade else { return responder.respond(426) }
                let response = Array("HTTP/1.1 101 Switching Protocols\r\n\r\n".utf8)
                let isUpgraded = responder.upgrade(to: upper, context: 7, response: response.span)
                #expect(isUpgraded)
                #expect(!responder.isOpen)
            }
            router.get("/late") { _, responder in
                loop.schedule(after: 5_000_000) { responder.respond(body: "late") }
            }
        }
    }
    private let upgrade = get("/upper", "Connection: upgrade\r\nUpgrade: upper\r\n")

    @Test func theBytesBehindTheRequestAreForTheNewProtocol() throws {
        let server = try server()
        let client = Client(server.port).send(upgrade + "abc")
        #expect(client.response().hasPrefix("HTTP/1.1 101"))
        client.send("def")
        client.finishSending()
        #expect(client.all() == "ABCDEF")
    }

    @Test func anUpgradeWaitsForTheAnswersBeforeIt() throws {
        let server = try server()
        let client = Client(server.port).send(get("/late") + upgrade + "abc")
        #expect(client.response().body == "late")
        #expect(client.response().hasPrefix("HTTP/1.1 101"))
        client.finishSending()
        #expect(client.all() == "ABC")
    }
}

@Suite struct Streaming {
    private func server() throws -> LiveServer {
        try LiveServer { loop, router in
            router.get("/stream") { _, responder in
                let stream = responder.stream(200, "text/plain")
                func piece(_ number: Int) {
                    let text = Array("piece \(number);".utf8)
                    stream.write(text.span)
                    if number == 3 { return stream.finish() }
                    loop.execute { piece(number + 1) }
                }
                piece(1)
            }
            router.get("/late") { _, responder in
                loop.schedule(after: 5_000_000) { responder.respond(body: "late") }
            }
        }
    }

    @Test func rfc9112_7_1_pieceByPiece() throws {
        let server = try server()
        let client = Client(server.port).send(get("/stream"))
        client.finishSending()
        let answer = client.all()
        #expect(answer.field("transfer-encoding") == "chunked")
        #expect(answer.body == "8\r\npiece 1;\r\n8\r\npiece 2;\r\n8\r\npiece 3;\r\n0\r\n\r\n")
        #expect(Client(server.port).send("GET /stream HTTP/1.0\r\n\r\n").all().body == "piece 1;piece 2;piece 3;")
    }

    @Test func aStreamWaitsForItsTurn() throws {
        let server = try server()
        let client = Client(server.port).send(get("/late") + get("/stream") + get("/late", "Connection: close\r\n"))
        #expect(client.response().body == "late")
        let rest = client.all()
        #expect(rest.contains("piece 3;\r\n0\r\n\r\nHTTP/1.1 200 OK"))
        #expect(rest.hasSuffix("late"))
    }
}

@Suite struct Stopping {
    @Test func drainingAnswersWhatIsInFlightAndClosesTheRest() throws {
        let isHeld = Atomic<Bool>(false)
        let isDrained = Atomic<Bool>(false)
        let server = try LiveServer { loop, router in
            router.get("/held") { _, responder in
                isHeld.store(true, ordering: .relaxed)
                loop.schedule(after: 50_000_000) { responder.respond(body: "at last") }
            }
        }
        let quiet = Client(server.port)
        let busy = Client(server.port).send(get("/held"))
        while !isHeld.load(ordering: .relaxed) {}
        server.onServer { $0.drain { isDrained.store(true, ordering: .relaxed) } }
        #expect(quiet.all() == "")
        let wasDrained = isDrained.load(ordering: .relaxed)
        #expect(!wasDrained)
        let answer = busy.all()
        #expect(answer.body == "at last")
        #expect(answer.field("connection") == "close")
        while !isDrained.load(ordering: .relaxed) {}
    }

    @Test func rfc9112_9_6_anAnnouncedEndIsInEveryAnswer() throws {
        let server = try LiveServer { _, router in router.get("/") { _, responder in responder.respond(body: "here") } }
        let quiet = Client(server.port).send(get("/"))
        #expect(quiet.response().field("connection") == nil)
        let isAnnounced = Atomic<Bool>(false)
        server.onServer {
            $0.announceEnd()
            isAnnounced.store(true, ordering: .relaxed)
        }
        #expect(waitUntil(10) { isAnnounced.load(ordering: .relaxed) })
        // Whoever comes is let in, and told.
        for path in ["/", "/nothing"] {
            let answer = Client(server.port).send(get(path)).all()
            #expect(answer.field("connection") == "close")
            #expect(answer.status == (path == "/" ? 200 : 404))
        }
        // Who was quiet is answered whenever he asks.
        let answer = quiet.send(get("/")).all()
        #expect(answer.body == "here")
        #expect(answer.field("connection") == "close")
    }

    @Test func quietConnectionsAreAnsweredWhileTheyAreKept() throws {
        let isDrained = Atomic<Bool>(false)
        let server = try LiveServer { _, router in router.get("/") { _, responder in responder.respond(body: "here") } }
        let late = Client(server.port).send(get("/"))
        let silent = Client(server.port).send(get("/"))
        #expect(late.response().body == "here" && silent.response().body == "here")
        let isDraining = Atomic<Bool>(false)
        server.onServer {
            $0.drain(keepingQuietFor: .seconds(2)) { isDrained.store(true, ordering: .relaxed) }
            isDraining.store(true, ordering: .relaxed)
        }
        #expect(waitUntil(10) { isDraining.load(ordering: .relaxed) })
        let answer = late.send(get("/")).all()
        #expect(answer.body == "here")
        #expect(answer.field("connection") == "close")
        #expect(silent.all() == "")
        #expect(waitUntil(10) { isDrained.load(ordering: .relaxed) })
    }

    @Test func whoWaitsToBeAcceptedIsNotReset() throws {
        let isHeld = Atomic<Bool>(false)
        let isFull = Atomic<Bool>(false)
        let server = try LiveServer { _, router in router.get("/") { _, responder in responder.respond(body: "here") } }
        server.onServer {
            isHeld.store(true, ordering: .relaxed)
            _ = waitUntil(10) { isFull.load(ordering: .relaxed) }
            $0.drain(keepingQuietFor: .seconds(2))
        }
        #expect(waitUntil(10) { isHeld.load(ordering: .relaxed) })
        // The loop does not turn: the system has taken these connections, and nobody has accepted them.
        let clients = (0..<100).map { _ in Client(server.port).send(get("/")) }
        isFull.store(true, ordering: .relaxed)
        for client in clients { #expect(client.all().body == "here") }
    }

    @Test func outputThatNobodyTakesStopsTheReading() throws {
        let count = Atomic<Int>(0)
        let server = try LiveServer { _, router in
            let block = SharedBytes([UInt8](repeating: 120, count: 1 << 20))
            router.get("/big") { _, responder in
                count.add(1, ordering: .relaxed)
                responder.respond(200, "text/plain", shared: block)
            }
        }
        let client = Client(server.port)
        for _ in 0..<64 { client.send(get("/big")) }
        for _ in 0..<64 { #expect(client.response().utf8.count > 1 << 20) }
        let answered = count.load(ordering: .relaxed)
        #expect(answered == 64)
    }
}
