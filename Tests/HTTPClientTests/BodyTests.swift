import Bytes
import HTTPClient
import Reactor
import ReactorSim
import TestSupport
import Testing

/// Bodies that are streamed, and bodies that are compressed.
@Suite struct BodyTests {
    /// What a streamed response said.
    final class Heard {
        var status: Int?
        var body: [UInt8] = []
        var ends: [HTTPClientError?] = []
        var call: HTTPCall?
    }

    private func stream(
        _ world: SimulatedServer, _ onBody: @escaping (Heard) -> Void = { _ in }
    ) throws -> Heard {
        let heard = Heard()
        let request = try HTTPClientRequest(.get, "http://example.org/")
        world.loop.execute {
            heard.call = world.client.stream(request) {
                heard.status = $0.status
                #expect($0.body.isEmpty && heard.body.isEmpty)
            } onBody: {
                for index in 0..<$0.count { heard.body.append($0[index]) }
                #expect(heard.ends.isEmpty)
                onBody(heard)
            } onEnd: {
                heard.ends.append($0)
            }
        }
        return heard
    }

    @Test(arguments: [1, 2, 3, 4])
    func aBodyIsStreamedAsItComes(_ seed: UInt64) throws {
        let world = try SimulatedServer(seed: seed, options: .unkind)
        let heard = try stream(world)
        let peer = try #require(world.accept())
        world.run(1)
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        world.run(1)
        #expect(heard.status == 200)
        #expect(heard.body == Array("hello".utf8) && heard.ends.isEmpty)
        peer.say("6\r\n world\r\n0\r\n\r\n")
        world.run(1)
        #expect(String(decoding: heard.body, as: UTF8.self) == "hello world")
        #expect(heard.ends == [nil])
        world.expectNothingIsLeft()
    }

    @Test func whoPausesGetsNoMoreAndHoldsTheServerBack() throws {
        let world = try SimulatedServer()
        let heard = try stream(world) { $0.call?.pause() }
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + String(repeating: "x", count: 1_000_000))
        world.run(5)
        let first = heard.body.count
        #expect(first > 0 && first < 200_000)
        #expect(peer.pendingBytes > 600_000)
        var rounds = 0
        while heard.ends.isEmpty, rounds < 10_000 {
            rounds += 1
            world.loop.execute { heard.call?.resume() }
            world.run(0.01)
        }
        #expect(heard.body.count == 1_000_000 && heard.ends == [nil])
        world.expectNothingIsLeft()
    }

    @Test func pausingAndResumingInOneCallIsNothing() throws {
        let world = try SimulatedServer()
        let heard = try stream(world) {
            $0.call?.pause()
            $0.call?.resume()
        }
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
        world.run()
        #expect(heard.body == Array("ab".utf8) && heard.ends == [nil])
        world.expectNothingIsLeft()
    }

    @Test func cancellingInsideTheBody() throws {
        let world = try SimulatedServer()
        let heard = try stream(world) { $0.call?.cancel() }
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
        world.run()
        #expect(heard.body == Array("a".utf8) && heard.ends == [.cancelled])
        world.expectNothingIsLeft()
    }

    @Test func rfc9112_8_aBodyThatEndsTooSoon() throws {
        let world = try SimulatedServer()
        for (fields, body) in [
            ("Content-Length: 6\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
            ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n"),
        ] {
            let answer = try world.get()
            let (peer, _) = try world.acceptRequest()
            peer.say("HTTP/1.1 200 OK\r\n\(fields)\r\n\(body)")
            world.run()
            peer.shutDownWriting()
            world.run()
            #expect(answer.error == .malformed(.truncatedResponse), "\(fields)\(body)")
        }
        let answer = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\n\r\nhello")
        peer.shutDownWriting()
        world.run()
        #expect(answer.said == "200 hello")
        let broken = try world.get()
        let (next, _) = try world.acceptRequest()
        next.say("HTTP/1.1 200 OK\r\n\r\nhello")
        world.run()
        next.reset()
        world.run()
        #expect(broken.error == .malformed(.truncatedResponse))
        world.expectNothingIsLeft()
    }

    // MARK: gzip

    /// gzip, by Python.
    static func gzip(_ code: String) throws -> [UInt8] {
        let folder = TemporaryFolder()
        let file = folder.file("gz")
        let python = try #require(Tool.python(importing: ["gzip"]))
        let outcome = try ChildProcess.run(
            python, ["-c", "import gzip; open('\(file)', 'wb').write(gzip.compress(\(code)))"])
        try #require(outcome.status == 0, "\(outcome.errors)")
        return TemporaryFolder.bytes(file)
    }

    private func answer(
        _ world: SimulatedServer, _ body: [UInt8], coding: String = "gzip", chunk: Int? = nil, limit: Int = 1 << 20
    ) throws -> SimulatedServer.Answer {
        let answer = try world.get(limit: limit)
        let (peer, request) = try world.acceptRequest()
        #expect(request.contains("Accept-Encoding: gzip\r\n"))
        if let chunk {
            peer.say("HTTP/1.1 200 OK\r\nContent-Encoding: \(coding)\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in stride(from: 0, to: body.count, by: chunk) {
                let piece = Array(body[start..<min(body.count, start + chunk)])
                peer.say(String(piece.count, radix: 16) + "\r\n")
                peer.send(piece)
                peer.say("\r\n")
            }
            peer.say("0\r\n\r\n")
        } else {
            peer.say("HTTP/1.1 200 OK\r\nContent-Encoding: \(coding)\r\nContent-Length: \(body.count)\r\n\r\n")
            peer.send(body)
        }
        world.run(2)
        peer.close()
        world.run()
        return answer
    }

    @Test(.enabled(if: Tool.python(importing: ["gzip"]) != nil, "needs python3"))
    func gzipIsDecoded() throws {
        let world = try SimulatedServer()
        let hello = try Self.gzip("b'hello'")
        #expect(try answer(world, hello).said == "200 hello")
        #expect(try answer(world, hello, coding: "X-GZip").said == "200 hello")
        #expect(try answer(world, hello, chunk: 1).said == "200 hello")
        // RFC 1952 §2.2: several members are one body.
        #expect(try answer(world, hello + hello).said == "200 hellohello")
        #expect(try answer(world, hello + hello, chunk: 1).said == "200 hellohello")
        let long = try Self.gzip("bytes(range(256)) * 2000")
        #expect(try answer(world, long).response?.body == (0..<2000).flatMap { _ in (0...255).map { UInt8($0) } })
        // Another coding is not ours to undo.
        #expect(try answer(world, Array("raw".utf8), coding: "br").said == "200 raw")
        #expect(try answer(world, hello, coding: "gzip, gzip").response?.body == hello)
        world.expectNothingIsLeft()
    }

    @Test func whoSaysWhatTheyAcceptGetsItAsItComes() throws {
        let world = try SimulatedServer()
        for fields in [["Accept-Encoding": "gzip"], ["Range": "bytes=0-3"]] as [HTTPClientFields] {
            let answer = try world.get(fields: fields)
            let (peer, request) = try world.acceptRequest()
            #expect(request.contains("Accept-Encoding") == (fields["range"] == nil))
            peer.answer("raw", fields: "Content-Encoding: gzip\r\nConnection: close\r\n")
            world.run()
            #expect(answer.said == "200 raw")
        }
        world.expectNothingIsLeft()
    }

    @Test(.enabled(if: Tool.python(importing: ["gzip"]) != nil, "needs python3"))
    func whatIsNoGzipIsNoBody() throws {
        let world = try SimulatedServer()
        let hello = try Self.gzip("b'hello' * 100")
        var broken = hello
        broken[broken.count - 6] ^= 1
        let bodies: [[UInt8]] = [
            Array(hello.dropLast()), Array(hello.dropLast(9)), Array("plain".utf8), broken, hello + [0],
            hello + hello.dropLast(3), [0x1F], [0x1F, 0x8B],
        ]
        for body in bodies {
            for chunk: Int? in [nil, 1] {
                #expect(try answer(world, body, chunk: chunk).error == .badContentCoding, "\(body.count) bytes")
            }
        }
        world.expectNothingIsLeft()
    }

    @Test(.enabled(if: Tool.python(importing: ["gzip"]) != nil, "needs python3"))
    func aBombIsBounded() throws {
        let world = try SimulatedServer()
        let bomb = try Self.gzip("bytes(50_000_000)")
        #expect(bomb.count < 60_000)
        #expect(try answer(world, bomb, limit: 100_000).error == .bodyTooLarge(limit: 100_000))
        #expect(world.client.heldBytes == 0)
        // Streamed it comes in pieces, and whoever pauses gets no more.
        let heard = try stream(world) { heard in
            if heard.body.count > 100_000 { heard.call?.pause() }
            if heard.body.count > 1_000_000 { heard.call?.cancel() }
        }
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(bomb.count)\r\n\r\n")
        peer.send(bomb)
        world.run(2)
        #expect(heard.body.count > 100_000 && heard.body.count < 120_000)
        #expect(heard.ends.isEmpty)
        for _ in 0..<100 {
            world.loop.execute { heard.call?.resume() }
            world.run(0.01)
        }
        #expect(heard.ends == [.cancelled])
        #expect(heard.body.count < 1_100_000)
        world.expectNothingIsLeft()
    }

    /// The rest of a compressed body comes after the connection has gone to another.
    @Test(.enabled(if: Tool.python(importing: ["gzip"]) != nil, "needs python3"))
    func aPausedBodyOutlivesItsConnection() throws {
        let world = try SimulatedServer()
        let body = try Self.gzip("bytes(200_000)")
        let heard = try stream(world) { $0.call?.pause() }
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(body.count)\r\n\r\n")
        peer.send(body)
        world.run()
        var rounds = 0
        while heard.ends.isEmpty, rounds < 1000 {
            rounds += 1
            world.loop.execute { heard.call?.resume() }
            world.run(0.01)
        }
        #expect(heard.body.count == 200_000 && heard.ends == [nil])
        world.expectNothingIsLeft()
    }
}
