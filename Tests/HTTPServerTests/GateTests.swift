import Bytes
import HTTP1
import HTTPServer
import Reactor
import ReactorSim
import Testing

/// Who asks, as a gate has found out.
private struct Name: Equatable {
    let text: String
}

/// Lets in who says a name, and tells the handler.
private struct NameGate: Gate {
    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        guard let name = request.text("x-name") else { throw Problem(401, "unauthorized", "Say X-Name.") }
        request.attach(Name(text: name))
        request.addResponseField("X-Greeted", name)
        return .pass
    }
}

/// Answers in the handler's place.
private struct TeaGate: Gate {
    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        guard request.text("x-tea") != nil else { return .pass }
        responder.respond(429, "text/plain", body: "tea")
        return .answered
    }
}

/// Decides 20 ms later.
private final class SlowGate: AsyncGate {
    let loop: EventLoop
    var asked = 0
    var cancelled = 0
    /// The copies that it was shown.
    var copies: [HeldRequest] = []

    init(loop: EventLoop) { self.loop = loop }

    func admit(_ request: HeldRequest, _ responder: HTTPResponder) async throws(Problem) -> Admission {
        asked += 1
        copies.append(request)
        await withCheckedContinuation { continuation in
            loop.schedule(after: 20_000_000) { continuation.resume() }
        }
        if Task.isCancelled { cancelled += 1 }
        guard let name = request.text("x-name") else { throw Problem(401, "unauthorized", "Say X-Name.") }
        request.attach(Name(text: name))
        request.view { request in request.addResponseField("X-Greeted", name) }
        return .pass
    }
}

private final class Listening: ConnectionHandler {
    var heard = ""
    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        heard += unsafe String(decoding: bytes, as: UTF8.self)
        return bytes.count
    }
}

private final class World {
    let other = Listening()
    private(set) var slow: SlowGate!
    private(set) var http: SimulatedHTTP!
    /// What handlers were told, in order.
    var seen: [String] = []

    init(seed: UInt64 = 1, options: SimulationOptions = .init()) throws {
        http = try SimulatedHTTP(seed: seed, options: options) { [unowned self] loop, router in
            slow = SlowGate(loop: loop)
            let greet: HTTPHandler = { [unowned self] request, responder in
                let body = unsafe request.body.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
                let name = request[Name.self]?.text ?? "nobody"
                seen.append("\(request.method.name) \(name) \(request.pathParameter("id") ?? "-") \(body)")
                responder.respond(200, "text/plain", fields: [:]) { $0.append(utf8: "hello \(name)") }
            }
            let upgrade: HTTPHandler = { [unowned self] _, responder in
                let response = Array("HTTP/1.1 101 Switching Protocols\r\n\r\n".utf8)
                seen.append("upgrade \(responder.upgrade(to: other, context: 7, response: response.span))")
            }
            router.get("/open", greet)
            router.get("/throws") { (_, _) throws(Problem) in throw Problem(409, "conflict", "No.") }
            let named = router.group(["", "/v1"], gates: [NameGate()])
            named.get("/hello/{id}", greet)
            named.get("/ws", upgrade)
            named.group("/tea", gates: [TeaGate()]).get("/{id}", greet)
            let late = router.group("/slow", gates: [TeaGate()]).group(gate: slow)
            late.get("/hello/{id}", greet)
            late.post("/hello/{id}", greet)
            late.get("/ws", upgrade)
            late.group(gate: slow).post("/twice/{id}", greet)
            late.group(gates: [TeaGate()]).get("/throws") { (_, _) throws(Problem) in
                throw Problem(409, "conflict", "No.")
            }
            router.group(gates: [NameGate()]).fallback(greet)
        }
    }

    func get(_ path: String, _ fields: String = "X-Name: ada\r\n") -> String {
        "GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
    }
}

private let asks = "Connection: Upgrade\r\nUpgrade: other\r\n"

@Suite struct GateTests {
    @Test func aGateRefusesAttachesAndAddsFields() throws {
        let world = try World()
        let client = world.http.client(
            world.get("/hello/7") + world.get("/v1/hello/8", "") + world.get("/v1/hello/9", "X-Name: bob\r\n")
                + world.get("/open") + world.get("/throws"))
        world.http.run(1)
        #expect(client.statuses == [200, 401, 200, 200, 409])
        // What was attached to one request is not found by the next.
        #expect(world.seen == ["GET ada 7 ", "GET bob 9 ", "GET nobody - "])
        #expect(
            client.heard.components("X-Greeted: ada\r\n") == 1 && client.heard.components("X-Greeted: bob\r\n") == 1)
    }

    @Test func aGateMayAnswerAndGroupsNest() throws {
        let world = try World()
        let client = world.http.client(
            world.get("/tea/1", "X-Name: ada\r\nX-Tea: 1\r\n") + world.get("/tea/2", "X-Tea: 1\r\n")
                + world.get("/tea/3"))
        world.http.run(1)
        #expect(client.statuses == [429, 401, 200])
        #expect(world.seen == ["GET ada 3 "])
    }

    @Test func gatesStandBeforeFilesAndHandshakes() throws {
        let world = try World()
        let files = world.http.client(world.get("/any/file", "") + world.get("/any/file"))
        let refused = world.http.client(world.get("/ws", asks))
        let admitted = world.http.client(world.get("/ws", asks + "X-Name: ada\r\n") + "frames")
        world.http.run(1)
        #expect(files.statuses == [401, 200] && refused.statuses == [401] && admitted.statuses == [101])
        #expect(world.other.heard == "frames")
    }

    @Test(arguments: 0..<9 as Range<UInt64>)
    func anAsyncGateHoldsItsRequestAndAnswersStayInOrder(seed: UInt64) throws {
        let world = try World(
            seed: seed, options: seed % 3 == 0 ? .init() : seed % 3 == 1 ? .byteByByte : .unkind)
        let client = world.http.client(
            world.get("/slow/hello/1") + world.get("/open") + world.get("/slow/hello/2", "")
                + "POST /slow/hello/3 HTTP/1.1\r\nHost: a\r\nX-Name: bob\r\nContent-Length: 4\r\n\r\nbody"
                + world.get("/slow/throws") + world.get("/slow/hello/4", "X-Tea: 1\r\nX-Name: ada\r\n"))
        world.http.run(5)
        #expect(client.statuses == [200, 200, 401, 200, 409, 429])
        #expect(Set(world.seen) == ["GET nobody - ", "GET ada 1 ", "POST bob 3 body"])
        #expect(
            client.heard.components("X-Greeted: ada\r\n") == 2 && client.heard.components("X-Greeted: bob\r\n") == 1)
        client.close()
        world.http.run(1)
        #expect(world.http.server.connectionCount == 0 && world.http.server.heldAnswerBytes == 0)
    }

    /// The bytes behind the handshake wait until it is decided whose they are.
    @Test(arguments: 0..<9 as Range<UInt64>)
    func anUpgradeBehindAnAsyncGate(seed: UInt64) throws {
        let world = try World(
            seed: seed, options: seed % 3 == 0 ? .init() : seed % 3 == 1 ? .byteByByte : .unkind)
        let admitted = world.http.client(
            world.get("/open") + world.get("/slow/ws", asks + "X-Name: ada\r\n") + "GET frames")
        let refused = world.http.client(world.get("/slow/ws", asks) + world.get("/open"))
        world.http.run(5)
        #expect(admitted.statuses == [200, 101] && world.other.heard == "GET frames")
        #expect(refused.statuses == [401, 200])
        #expect(world.seen.contains("upgrade true") && !world.seen.contains("upgrade false"))
    }

    @Test func anEndedConnectionCancelsTheTask() throws {
        let world = try World()
        _ = world.http.client(world.get("/slow/hello/1"))
        world.http.run(0.01)
        #expect(world.slow.asked == 1)
        world.http.server.closeAll()
        world.http.run(1)
        #expect(world.slow.cancelled == 1 && world.seen.isEmpty && world.http.server.connectionCount == 0)
    }

    /// Copies of requests are on the connection's account: whoever sends many that wait is not read further.
    @Test func requestsThatWaitAreCountedAndBounded() throws {
        let world = try World()
        let post = "POST /slow/hello/3 HTTP/1.1\r\nHost: a\r\nX-Name: bob\r\nContent-Length: 60000\r\n\r\n"
        let client = world.http.client(String(repeating: post + String(repeating: "x", count: 60_000), count: 40))
        world.http.run(0.01)
        #expect(world.http.server.heldBodyBytes > 60_000)
        #expect(world.http.server.heldBodyBytes < HTTPLimits().outputHighWater + 200_000)
        world.http.run(5)
        #expect(client.statuses == [Int](repeating: 200, count: 40))
        #expect(world.http.server.heldBodyBytes == 0)
    }

    /// One copy serves all gates that wait, and is counted while they do.
    @Test func gatesThatWaitShareACopy() throws {
        let world = try World()
        let post = "POST /slow/twice/3 HTTP/1.1\r\nHost: a\r\nX-Name: bob\r\nContent-Length: 6000\r\n\r\n"
        let client = world.http.client(post + String(repeating: "x", count: 6000))
        world.http.run(0.01)
        let held = world.http.server.heldBodyBytes
        #expect(held > 6000)
        world.http.run(0.02)
        #expect(world.slow.asked == 2 && world.http.server.heldBodyBytes == held)
        #expect(world.slow.copies.count == 2 && world.slow.copies[0] === world.slow.copies[1])
        world.http.run(1)
        #expect(client.statuses == [200] && world.seen == ["POST bob 3 " + String(repeating: "x", count: 6000)])
        #expect(world.http.server.heldBodyBytes == 0)
    }

    /// However long a head may be, its copy is accepted like the head.
    @Test func theLongestHeadCanBeHeld() throws {
        let world = try World()
        let limit = HTTP1Limits()
        var head = "GET /slow/hello/1 HTTP/1.1\r\nHost:a\r\nX-Name:ada\r\n"
        for index in 0..<(limit.fields - 3) { head += "X-\(index):\r\n" }
        head += "X-Filler:" + String(repeating: "x", count: limit.headBytes - head.utf8.count - 13) + "\r\n\r\n"
        let client = world.http.client(head)
        world.http.run(1)
        #expect(client.statuses == [200])
    }
}

extension String {
    /// How often it contains `part`.
    fileprivate func components(_ part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
