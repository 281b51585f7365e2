import Basics
import Bytes
import HTTPServer
import Reactor
import ReactorSim
import Testing

private func get(_ path: String, _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
}

private func routes(_ loop: EventLoop, _ router: Router) {
    router.get("/") { _, responder in responder.respond(body: "hello") }
    router.get("/after/{seconds}") { request, responder in
        let seconds = Double(request.pathParameter("seconds") ?? "") ?? 0
        loop.schedule(after: UInt64(seconds * 1e9)) { responder.respond(body: "late") }
    }
    router.get("/bytes/{count}") { request, responder in
        let count = Int(request.pathParameter("count") ?? "") ?? 0
        responder.respond(200, "text/plain") { $0.append([UInt8](repeating: 0x78, count: count)) }
    }
    router.post("/") { _, responder in responder.respond(204) }
}

/// Load balancers keep a connection for 60 s, most of them: this end must not be the first to close it.
@Suite struct KeepAliveTests {
    @Test func behaviour6_aQuietConnectionHas75Seconds() throws {
        let world = try SimulatedHTTP { _, router in
            router.get("/") { _, responder in responder.respond(body: "x") }
        }
        let client = world.client("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        world.run(74.5)
        #expect(client.endedAt == nil)
        client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        world.run(74.5)
        #expect(client.endedAt == nil)
        #expect(client.statuses == [200, 200])
        world.run(2)
        #expect(client.endedAt != nil)
    }
}

@Suite struct DeadlineTests {
    /// Each read ended one head and began the next, which inherited the first one's deadline: 408 after 10 s.
    @Test func eachHeadHasItsOwnDeadlineFromItsOwnFirstByte() throws {
        let world = try SimulatedHTTP(routes)
        let client = world.client("GET / HTTP/1.1\r\n")
        for _ in 0..<30 {
            world.run(1)
            client.say("Host: a\r\n\r\nGET / HTTP/1.1\r\n")
        }
        world.run(1)
        #expect(client.statuses == Array(repeating: 200, count: 30))
        world.run(12)
        #expect(client.statuses.last == 408 && client.endedAt != nil)
    }

    @Test func aDripDoesNotRenewAHeadsDeadline() throws {
        let world = try SimulatedHTTP(routes)
        let client = world.client(get("/") + "G")
        let start = world.network.now
        for byte in "ET / HTTP/1.1\r\nHost: abcdefghijklmnopqrst" {
            world.run(0.5)
            if client.statuses.count == 2 { break }
            client.say(String(byte))
        }
        #expect(client.statuses == [200, 408])
        #expect((9.9...11).contains(world.seconds(since: start)))
    }

    /// The deadline of what came before went on behind `Connection: close`, and ended the connection before its answer.
    @Test(arguments: [get("/"), "", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"])
    func anAnswerThatTakesItsTimeIsNotCutOff(before: String) throws {
        for last in [get("/after/70", "Connection: close\r\n"), "GET /after/70 HTTP/1.0\r\n\r\n", get("/after/70")] {
            for middle in [last.startIndex, last.index(last.startIndex, offsetBy: 9)] {
                let world = try SimulatedHTTP(routes)
                let client = world.client(before)
                world.run(55)
                client.say(String(last[..<middle]))
                world.run(1)
                client.say(String(last[middle...]))
                world.run(75)
                #expect(client.heard.hasSuffix("late"))
                #expect(client.statuses.last == 200)
            }
        }
    }

    /// A body that was answered and is longer than what is read over ended the reading and not the connection: a client
    /// heard nothing for ten seconds.
    @Test func aConnectionEndsWithItsLastAnswer() throws {
        let long = String(repeating: "x", count: 70_000)
        let post = "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n11170\r\n\(long)\r\n"
        for first in ["", get("/"), get("/after/1"), get("/after/1") + get("/")] {
            let world = try SimulatedHTTP(routes)
            let client = world.client(first + post + get("/"))
            world.run(3.5)
            #expect(client.statuses.last == 404)
            #expect(client.endedAt != nil && world.server.connectionCount == 0)
        }
    }

    /// Discarded bodies of every kind, at every place of a pipeline, however they are split: answers come at once.
    @Test(arguments: 0..<30 as Range<UInt64>)
    func aPipelineGoesOnBehindADiscardedBody(seed: UInt64) throws {
        let options: SimulationOptions = seed % 3 == 0 ? .init() : seed % 3 == 1 ? .byteByByte : .unkind
        let world = try SimulatedHTTP(seed: seed, options: options, routes)
        var random = SplitMix(seed: seed)
        var script = ""
        var expected: [Int] = []
        for _ in 0..<Int.random(in: 2...24, using: &random) {
            let size = Int.random(in: 0...300, using: &random)
            let body = String(repeating: "b", count: size)
            let path = Bool.random(using: &random) ? "/" : "/none"
            switch Int.random(in: 0...3, using: &random) {
            case 0: script += "POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n\(body)"
            case 1:
                script += "POST \(path) HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                if size > 0 { script += String(size, radix: 16) + "\r\n\(body)\r\n" }
                script += "0\r\nA: b\r\n\r\n"
            case 2:
                script += get("/after/0.05")
                expected.append(200)
                continue
            default:
                script += get("/")
                expected.append(200)
                continue
            }
            expected.append(path == "/" ? 204 : 404)
        }
        let client = world.client(script)
        world.run(4)
        #expect(client.statuses == expected)
    }

    @Test func aDiscardedBodyThatDripsEndsTheConnectionWithoutASecondAnswer() throws {
        let world = try SimulatedHTTP(routes)
        let client = world.client("POST /none HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
        for _ in 0..<20 {
            world.run(1)
            client.say("x")
        }
        #expect(client.statuses == [404])
        #expect(client.endedAt != nil)
    }
}

/// How fast a client must take its answer: the same in every state of a connection.
@Suite struct WriteRateTests {
    private static let asking = [
        get("/bytes/1000000"), get("/bytes/1000000", "Connection: close\r\n"), "GET /bytes/1000000 HTTP/1.0\r\n\r\n",
    ]

    /// `Connection: close` and its like had 15 s for the whole answer, however steadily they read.
    @Test(arguments: asking, [false, true])
    func whoReadsSteadilyGetsTheWholeAnswer(request: String, tls: Bool) throws {
        let world = try SimulatedHTTP(tls: tls, routes)
        let client = world.client(request, readRate: 12_000)
        world.run(30)
        world.server.drain()
        world.run(70)
        #expect(client.heard.hasSuffix(String(repeating: "x", count: 1000)))
        #expect(client.heard.utf8.count > 1_000_000 && client.endedAt != nil)
        world.run(30)
        #expect(world.server.connectionCount == 0 && world.loop.statistics.connections == 0)
    }

    /// One byte a minute kept 256 KiB for ever, and nothing at all 15 s to an hour.
    @Test(arguments: asking, [0, 1, 60])
    func aDripOfReadingEndsAConnection(request: String, perMinute: Int) throws {
        for state in ["open", "TLS", "draining", "asking"] {
            let world = try SimulatedHTTP(tls: state == "TLS", routes)
            let client = world.client(request)
            client.stopsReadingAt = 1000
            world.run(1)
            switch state {
            case "draining": world.server.drain()
            case "asking": client.say(get("/bytes/1000") + get("/bytes/1000"))
            default: break
            }
            for _ in 0..<2 * max(1, perMinute) {
                world.run(60 / Double(max(1, perMinute)))
                if perMinute > 0 { client.readOne() }
            }
            #expect(world.server.connectionCount == 0 && world.loop.statistics.connections == 0, "\(state)")
        }
    }
}
