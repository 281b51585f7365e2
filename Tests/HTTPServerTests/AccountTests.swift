import Bytes
import HTTPServer
import Reactor
import ReactorSim
import Testing

private func get(_ path: String, _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
}

/// Watches what one connection makes its server hold, and how much is done for it in one turn.
private final class Watched {
    private(set) var http: SimulatedHTTP!
    var responders: [HTTPResponder] = []
    var streams: [HTTPBodyStream] = []
    private(set) var connection: ConnectionID?
    private(set) var called = 0
    private(set) var mostPerTurn = 0
    private(set) var mostHeld = 0
    private var turn: UInt64 = 0
    private var inTurn = 0

    init(seed: UInt64 = 1, options: SimulationOptions = .init(), limits: HTTPLimits = .init()) throws {
        http = try SimulatedHTTP(seed: seed, options: options, limits: limits) { [unowned self] loop, router in
            func count(_ connection: ConnectionID) {
                if turn != loop.now { inTurn = 0 }
                turn = loop.now
                inTurn += 1
                called += 1
                self.connection = connection
                mostPerTurn = max(mostPerTurn, inTurn)
                mostHeld = max(mostHeld, loop.pendingOutput(connection))
            }
            router.get("/small") { request, responder in
                count(request.connection)
                responder.respond(body: "x")
            }
            router.get("/big") { request, responder in
                responder.respond(200, "text/plain") { $0.append([UInt8](repeating: 0x78, count: 400_000)) }
                count(request.connection)
            }
            router.get("/held") { [unowned self] request, responder in
                count(request.connection)
                responders.append(responder)
            }
            let shared = SharedBytes([UInt8](repeating: 0x79, count: 400_000))
            router.get("/shared") { request, responder in
                count(request.connection)
                responder.respond(200, "text/plain", shared: shared)
            }
            router.get("/stream") { [unowned self] request, responder in
                count(request.connection)
                streams.append(responder.stream(200, "text/plain"))
            }
            router.post("/post") { _, responder in responder.respond(204) }
        }
    }

    func answerHeld() {
        let held = responders
        responders = []
        for responder in held {
            responder.respond(200, "text/plain") { $0.append([UInt8](repeating: 0x7A, count: 400_000)) }
        }
    }
}

@Suite struct AccountTests {
    // MARK: Memory

    /// 1.2 kB of requests made 6 MB of answers that waited for the first one's.
    @Test func answersThatWaitForAnEarlierOneAreBounded() throws {
        let watched = try Watched()
        let client = watched.http.client(get("/held") + String(repeating: get("/big"), count: 40))
        watched.http.run(1)
        // The first answer is not there: one more than the high-water mark, and no further request is looked at.
        #expect(watched.called == 2)
        watched.answerHeld()
        watched.http.run(20)
        #expect(client.statuses == Array(repeating: 200, count: 41))
    }

    /// The same, answered late, when all sixteen were handed out already.
    @Test func answersThatAreGivenLateAreBounded() throws {
        for order in ["forwards", "backwards"] {
            let watched = try Watched()
            let client = watched.http.client(String(repeating: get("/held"), count: 16), readRate: 1)
            watched.http.run(1)
            #expect(watched.responders.count == 16)
            if order == "backwards" { watched.responders.reverse() }
            let id = try #require(watched.connection)
            watched.answerHeld()
            #expect(watched.http.loop.pendingOutput(id) <= 1_048_576 + 400_000 + 16_000)
            // The sixteen answers of 400 kB are not there: the rest were 503.
            #expect(watched.http.loop.pendingOutput(id) + watched.http.server.heldAnswerBytes < 1_300_000)
            client.close()
            watched.http.run(1)
            #expect(watched.http.server.heldAnswerBytes == 0 && watched.http.server.connectionCount == 0)
        }
    }

    @Test func whoReadsGetsThe503AndTheEnd() throws {
        let watched = try Watched()
        let client = watched.http.client(String(repeating: get("/held"), count: 16))
        watched.http.run(1)
        watched.answerHeld()
        watched.http.run(10)
        #expect(Set(client.statuses) == [200, 503] && client.statuses.last == 503)
        #expect(client.statuses.count < 16 && client.endedAt != nil)
    }

    /// Bytes that many answers share are not copied for each of them.
    @Test func sharedAnswersThatWaitCostNothing() throws {
        let watched = try Watched()
        let client = watched.http.client(get("/held") + String(repeating: get("/shared"), count: 15))
        watched.http.run(1)
        #expect(watched.called == 16 && watched.http.server.heldAnswerBytes < 10_000)
        watched.answerHeld()
        watched.http.run(20)
        #expect(client.statuses == Array(repeating: 200, count: 16))
        #expect(client.heard.utf8.count > 16 * 400_000)
    }

    /// A client that takes nothing, and a handler that goes on telling.
    @Test func aStreamThatIsNotTakenIsCutOff() throws {
        for first in ["", get("/held")] {
            let watched = try Watched()
            let client = watched.http.client(first + get("/stream"), readRate: 1)
            watched.http.run(1)
            let stream = try #require(watched.streams.first)
            let piece = [UInt8](repeating: 0x70, count: 50_000)
            var pieces = 0
            while stream.isOpen && pieces < 1000 {
                stream.write(piece.span)
                pieces += 1
                watched.http.run(0.01)
            }
            #expect((20...26).contains(pieces))
            stream.finish()
            watched.http.run(1)
            #expect(watched.http.server.connectionCount == 0 && watched.http.server.heldAnswerBytes == 0)
            _ = client
        }
    }

    /// Every kind of unfinished request: what is held is about what was sent, and nothing is left behind.
    @Test(arguments: [
        "GET /small HTTP/1.1\r\nHost: a\r\nX: ", "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n",
        "POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nE000\r\n",
    ])
    func whatIsHeldIsWhatWasSent(beginning: String) throws {
        let watched = try Watched()
        let client = watched.http.client(beginning)
        for _ in 0..<15 {
            client.say(String(repeating: "x", count: 1000))
            watched.http.run(0.1)
            #expect(watched.http.server.heldBodyBytes <= 2 * client.sent + 4096)
        }
        client.close()
        watched.http.run(1)
        #expect(watched.http.server.heldBodyBytes == 0 && watched.http.server.connectionCount == 0)
    }

    // MARK: Work

    /// One read of 64 KiB holds two thousand requests.
    @Test(arguments: [SimulationOptions(), .unkind])
    func aPipelineIsTakenInPortions(options: SimulationOptions) throws {
        let watched = try Watched(options: options)
        let client = watched.http.client(String(repeating: get("/small"), count: 1500))
        watched.http.run(20)
        #expect(client.statuses.count == 1500 && watched.called == 1500)
        // An event and what was kept may both be presented in one turn.
        #expect(watched.mostPerTurn <= 2 * 64)
    }

    /// What was sent before the client's end is answered, however long the pipeline, also when it waits for a slow answer.
    @Test(arguments: 0..<6 as Range<UInt64>)
    func aHalfClosedPipelineIsAnsweredToItsEnd(seed: UInt64) throws {
        let watched = try Watched(seed: seed, options: seed % 2 == 0 ? .init() : .unkind)
        let client = watched.http.client(
            String(repeating: get("/small"), count: 100) + get("/held") + String(repeating: get("/small"), count: 100))
        client.finishSending()
        watched.http.run(2)
        #expect(watched.responders.count == 1)
        for responder in watched.responders { responder.respond(body: "late") }
        watched.responders = []
        watched.http.run(8)
        #expect(watched.called == 201 && watched.http.server.connectionCount == 0)
        _ = client
    }

    @Test func thousandsAreClosedAndDrainedInPortions() throws {
        for drains in [false, true] {
            let watched = try Watched()
            let clients = (0..<600).map { number in watched.http.client(number % 2 == 0 ? "" : get("/small")) }
            watched.http.run(2)
            #expect(watched.http.server.connectionCount == 600)
            var isDrained = false
            if drains { watched.http.server.drain { isDrained = true } } else { watched.http.server.closeAll() }
            watched.http.run(5)
            #expect(watched.http.server.connectionCount == 0 && clients.allSatisfy { $0.endedAt != nil })
            #expect(isDrained == drains)
        }
    }

    /// What becomes quiet, or begins, after the quiet ones were ended ends by itself, not with its idle time.
    @Test func drainingWaitsForNobodyWhoIsQuiet() throws {
        let watched = try Watched()
        let client = watched.http.client(get("/stream"))
        let half = watched.http.client("GET /small HTT")
        watched.http.run(1)
        var isDrained = false
        watched.http.server.drain { isDrained = true }
        watched.http.run(1)
        half.say("P/1.1\r\nHost: a\r\n\r\n")
        watched.streams[0].finish()
        watched.http.run(3)
        #expect(client.statuses == [200] && half.statuses == [200] && isDrained)
    }

    /// A range, and a long file behind a short one: neither was shared, and a connection held a copy of the long one.
    @Test(arguments: ["/part", "/slip"]) func whatManyShareIsNotCopied(_ first: String) throws {
        let whole = SharedBytes((0..<2_000_000).map { UInt8(97 + $0 % 26) })
        var connection = ConnectionID.none
        let http = try SimulatedHTTP { _, router in
            router.get("/part") { _, responder in
                responder.respond(206, "text/plain", shared: whole.slice(1..<1_900_001))
            }
            router.get("/slip") { _, responder in responder.respond(200, "text/plain", shared: whole.slice(0..<5000)) }
            router.get("/whole") { request, responder in
                connection = request.connection
                responder.respond(200, "text/plain", shared: whole)
            }
        }
        let requests = get(first) + get("/whole") + get("/slip")
        let client = http.client(requests)
        client.stopsReadingAt = 0
        http.run(2)
        // Of a part it is not asked for the whole as long as that is not taken.
        let isAsked = connection != .none
        let copied = isAsked ? unsafe http.loop.output(connection)?.pointee.count ?? 0 : 0
        #expect(isAsked == (first == "/slip") && copied < 10_000)
        client.stopsReadingAt = .max
        client.goOnReading()
        http.run(10)
        #expect(client.statuses == [first == "/part" ? 206 : 200, 200, 200])
        let part = whole.withSpan { bytes in String(utf8: bytes.extracting(first == "/part" ? 1..<1_900_001 : 0..<5000))
        }
        let text = whole.withSpan { String(utf8: $0) }
        // Each body, from the empty line to the next answer.
        let answers = client.heard.split(separator: "HTTP/1.1 ")
        for (answer, body) in zip(answers, [part, text]) {
            let end = try #require(answer.utf8.firstRange(of: "\r\n\r\n".utf8))
            #expect(answer.utf8[end.upperBound...].elementsEqual(body.utf8))
        }
    }
}
