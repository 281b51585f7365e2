import Bytes
import HTTPServer
import Reactor
import ReactorSim
import TestSupport
import Testing

private func get(_ path: String, _ version: String = "1.1") -> String {
    "GET \(path) HTTP/\(version)\r\nHost: a\r\n\r\n"
}

/// Bodies that functions write piece by piece, on the simulated kernel.
@Suite struct BodyWriterTests {
    private struct Mishap: Error {}

    /// What functions have seen and done.
    private final class Seen {
        var pieces = 0
        var ends = 0
        var cancelled = 0
        var mostPending = 0
        var held: HTTPResponder?
    }

    private func world(
        _ seen: Seen = Seen(), seed: UInt64 = 1, options: SimulationOptions = .init(), limits: HTTPLimits = .init()
    ) throws -> SimulatedHTTP {
        try SimulatedHTTP(seed: seed, options: options, limits: limits) { loop, router in
            router.get("/three") { _, response in
                response.stream(200, "text/plain", fields: ["X-Kind": "pieces"]) { body in
                    defer { seen.ends += 1 }
                    for number in 1...3 {
                        await loop.pause(.milliseconds(100))
                        #expect(loop.isOnLoop)
                        try await body.write("piece \(number);")
                        try await body.write([])
                        seen.pieces += 1
                    }
                }
            }
            router.get("/endless") { request, response in
                let connection = request.connection
                response.stream(200, "text/plain") { body in
                    defer { seen.ends += 1 }
                    do {
                        while true {
                            try await body.write { $0.append([UInt8](repeating: 0x78, count: 10_000)) }
                            seen.pieces += 1
                            seen.mostPending = max(seen.mostPending, loop.pendingOutput(connection))
                        }
                    } catch {
                        if Task.isCancelled { seen.cancelled += 1 }
                        throw error
                    }
                }
            }
            router.get("/half") { _, response in
                response.stream(200, "text/plain") { body in
                    try await body.write("half of it")
                    await loop.pause(.seconds(1))
                    throw Mishap()
                }
            }
            router.get("/refused") { _, response in
                response.stream(200, "text/plain") { _ in
                    await loop.pause(.milliseconds(1))
                    throw Problem(409, "not-now", "Not now.")
                }
            }
            router.get("/mishap") { _, response in response.stream(200, "text/plain") { _ in throw Mishap() } }
            router.get("/nothing") { _, response in response.stream(200, "text/plain") { _ in } }
            router.get("/empty") { _, response in
                response.stream(204, "text/plain") { body in try await body.write("not sent") }
            }
            for (path, begins) in [("/silent", true), ("/mute", false)] {
                router.get(path) { _, response in
                    response.stream(200, "text/plain") { body in
                        defer { seen.ends += 1 }
                        if begins { try await body.write("at first") }
                        await loop.pause(.seconds(300))
                        if Task.isCancelled { seen.cancelled += 1 }
                        try await body.write("too late")
                    }
                }
            }
            router.get("/thrown") { request, response in
                let held = HeldRequest(request)
                response.wait(for: held) { () async throws(Problem) in
                    response.stream(200, "text/plain").write(Array("half".utf8).span)
                    await loop.pause(.seconds(1))
                    throw Problem(500, "broken", "It broke.")
                }
            }
            router.get("/held") { _, response in seen.held = response }
            router.get("/now") { _, response in response.text("now") }
        }
    }

    // MARK: Whole bodies

    @Test(arguments: 0..<6 as Range<UInt64>)
    func rfc9112_7_1_aBodyIsChunkedAndTheConnectionGoesOn(seed: UInt64) throws {
        let seen = Seen()
        let world = try world(seen, seed: seed, options: seed % 2 == 0 ? .init() : .unkind)
        let client = world.client(get("/three") + get("/now"))
        world.run(0.05)
        #expect(client.heard == "")
        world.run(5)
        #expect(client.statuses == [200, 200] && client.heard.hasSuffix("now"))
        #expect(client.heard.contains("Transfer-Encoding: chunked\r\n") && client.heard.contains("X-Kind: pieces\r\n"))
        #expect(
            client.heard.contains("\r\n\r\n8\r\npiece 1;\r\n8\r\npiece 2;\r\n8\r\npiece 3;\r\n0\r\n\r\nHTTP/1.1 200"))
        #expect(seen.pieces == 3 && seen.ends == 1)
    }

    @Test func rfc9112_6_3_onHTTP10ABodyLastsUpToTheEnd() throws {
        let world = try world()
        let client = world.client(get("/three", "1.0"))
        world.run(2)
        #expect(client.heard.hasSuffix("\r\n\r\npiece 1;piece 2;piece 3;"))
        #expect(client.heard.contains("Connection: close\r\n") && !client.heard.contains("Transfer-Encoding"))
        #expect(client.reason == .peer)
    }

    @Test func rfc9110_9_3_2_toAHeadTheFunctionRunsUpToItsFirstPiece() throws {
        let seen = Seen()
        let world = try world(seen)
        let client = world.client(
            "HEAD /three HTTP/1.1\r\nHost: a\r\n\r\n" + "HEAD /refused HTTP/1.1\r\nHost: a\r\n\r\n")
        client.say(get("/now"))
        world.run(2)
        #expect(client.statuses == [200, 409, 200])
        #expect(!client.heard.contains("piece 1") && client.heard.contains("X-Kind: pieces\r\n"))
        #expect(seen.pieces == 0 && seen.ends == 1)
    }

    @Test func bodiesWithNothingInThem() throws {
        let world = try world()
        let client = world.client(get("/nothing") + get("/empty") + get("/now"))
        world.run(1)
        #expect(client.statuses == [200, 204, 200] && client.heard.contains("\r\n\r\n0\r\n\r\nHTTP/1.1 204"))
        let empty = client.heard.firstRange(of: "HTTP/1.1 204").map { client.heard[$0.lowerBound...] } ?? ""
        #expect(!empty.contains("Transfer-Encoding") && !empty.contains("not sent"))
    }

    @Test func aBodyWaitsForItsTurnAndHoldsNothingMeanwhile() throws {
        let seen = Seen()
        let world = try world(seen)
        let client = world.client(get("/held") + get("/endless"), readRate: 100_000)
        world.run(5)
        #expect(seen.pieces == 0 && world.server.heldAnswerBytes == 0 && client.heard == "")
        seen.held?.respond(body: "at last")
        world.run(5)
        #expect(client.statuses == [200, 200] && seen.pieces > 30)
    }

    // MARK: Back-pressure

    /// Memory is bounded, and the body goes on as the client takes it.
    @Test(arguments: 0..<4 as Range<UInt64>) func aSlowReaderSlowsTheFunctionDown(seed: UInt64) throws {
        let seen = Seen()
        var limits = HTTPLimits()
        limits.outputHighWater = 20_000
        let world = try world(seen, seed: seed, options: seed % 2 == 0 ? .init() : .unkind, limits: limits)
        let client = world.client(get("/endless"), readRate: 10_000)
        world.run(10)
        let early = seen.pieces
        #expect(seen.mostPending <= 20_000 + 10_100)
        world.run(10)
        #expect(seen.pieces >= early + 3 && seen.pieces < early + 30)
        client.close()
        world.run(5)
        #expect(seen.ends == 1 && seen.cancelled == 1 && world.server.connectionCount == 0)
    }

    /// Answers that wait behind it are no reason to hold it up.
    @Test func whatWaitsBehindABodyDoesNotStopIt() throws {
        var limits = HTTPLimits()
        limits.outputHighWater = 2000
        let seen = Seen()
        let world = try world(seen, limits: limits)
        let client = world.client(get("/endless") + String(repeating: get("/now"), count: 15), readRate: 100_000)
        world.run(10)
        #expect(seen.pieces > 50 && client.statuses == [200])
    }

    // MARK: Ends

    @Test func aClientThatGoesAwayCancelsTheFunction() throws {
        let seen = Seen()
        let world = try world(seen)
        let clients = [
            world.client(get("/endless"), readRate: 1), world.client(get("/held") + get("/endless")),
            world.client(get("/silent")),
        ]
        world.run(1)
        #expect(world.server.connectionCount == clients.count)
        world.network.resetConnections(of: world.clients)
        world.run(1)
        #expect(seen.ends == 2 && seen.cancelled == 2)
        world.run(300)
        #expect(seen.ends == 3 && seen.cancelled == 3 && world.server.connectionCount == 0)
    }

    @Test(arguments: ["1.1", "1.0"]) func aFunctionThatFailsInTheMiddleNeverLooksWhole(version: String) throws {
        let world = try world()
        let client = world.client(get("/half", version) + get("/now", version))
        world.run(3)
        #expect(client.heard.contains("half of it") && !client.heard.contains("now"))
        #expect(!client.heard.hasSuffix("0\r\n\r\n") && world.server.connectionCount == 0)
        if version == "1.0" {
            guard case .reset = client.reason else {
                Issue.record("the end of half a body: \(String(describing: client.reason))")
                return
            }
        }
    }

    @Test func whatIsThrownBeforeTheFirstPieceIsTheAnswer() throws {
        let world = try world()
        let client = world.client(get("/refused") + get("/mishap") + get("/now"))
        world.run(1)
        #expect(client.statuses == [409, 500, 200])
        #expect(client.heard.contains(#""code":"not-now""#) && client.heard.contains(#""code":"internal""#))
    }

    @Test func aFunctionThatKeepsItsClientWaitingIsCancelled() throws {
        let seen = Seen()
        let world = try world(seen)
        let silent = world.client(get("/silent"))
        let mute = world.client(get("/mute") + get("/now"))
        world.run(49)
        #expect(silent.endedAt == nil && silent.heard.hasSuffix("at first\r\n") && mute.heard == "")
        world.run(2)
        #expect(silent.endedAt != nil && !silent.heard.hasSuffix("0\r\n\r\n"))
        #expect(mute.statuses == [504, 200])
        world.run(300)
        #expect(seen.ends == 2 && seen.cancelled == 2)
    }

    /// A slow client is no silence of the function's.
    @Test func aFunctionThatWaitsForItsClientIsNotSilent() throws {
        let seen = Seen()
        let world = try world(seen)
        let client = world.client(get("/endless"), readRate: 10_000)
        world.run(200)
        #expect(client.endedAt == nil && seen.ends == 0)
        client.close()
        world.run(1)
        #expect(seen.ends == 1)
    }

    @Test func aTaskThatFailsBehindTheBeginningOfAStreamCutsItOff() throws {
        let world = try world()
        let client = world.client(get("/thrown"))
        world.run(2)
        #expect(client.heard.hasSuffix("4\r\nhalf\r\n") && client.endedAt != nil && world.server.connectionCount == 0)
    }

    @Test func aDrainWaitsForABody() throws {
        let world = try world()
        let client = world.client(get("/three"))
        world.run(0.15)
        var isDrained = false
        world.server.drain { isDrained = true }
        world.run(0.05)
        #expect(!isDrained)
        world.run(2)
        #expect(isDrained && client.heard.hasSuffix("0\r\n\r\n"))
    }

    // MARK: The kernel's own end

    @Test func onTheRealKernelHalfABodyOfHTTP10EndsByAReset() throws {
        let server = try LiveServer { loop, router in
            router.get("/half") { _, response in
                response.stream(200, "text/plain") { body in
                    try await body.write("half of it")
                    await loop.pause(.milliseconds(20))
                    throw Mishap()
                }
            }
            router.get("/whole") { _, response in
                response.stream(200, "text/plain") { body in try await body.write("all of it") }
            }
        }
        #expect(Client(server.port).send(get("/half", "1.0")).all().hasSuffix("RESET"))
        #expect(Client(server.port).send(get("/whole", "1.0")).all().hasSuffix("all of it"))
        #expect(Client(server.port).send(get("/half")).all().hasSuffix("a\r\nhalf of it\r\n"))
    }
}

/// Values as answers.
@Suite struct JSONAnswerTests {
    private struct Speed: Encodable {
        let car: String
        let speed: Double
    }

    @Test func anyValueIsAnAnswer() throws {
        let world = try SimulatedHTTP { _, router in
            router.get("/cars") { (_, response) throws(Problem) in
                try response.json([Speed(car: "a", speed: 1.5)], fields: ["X-Cars": "1"])
            }
            router.get("/broken") { (_, response) throws(Problem) in
                try response.json(["a/b~": [Speed(car: "a", speed: .nan)]])
            }
            router.post("/cars") { _ async throws(Problem) -> HTTPResponse in
                try .json(Speed(car: "b", speed: 2), status: 201)
            }
        }
        let client = world.client(
            get("/cars") + "POST /cars HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + get("/broken"))
        world.run(1)
        #expect(client.statuses == [200, 201, 500])
        #expect(client.heard.contains("X-Cars: 1\r\n\r\n[{\"car\":\"a\",\"speed\":1.5}]"))
        #expect(
            client.heard.contains("Content-Type: application/json\r\n")
                && client.heard.contains(#"{"car":"b","speed":2}"#))
        #expect(client.heard.contains(#""pointer":"/a~1b~0/0/speed","detail":"JSON has no number for nan.""#))
    }
}
