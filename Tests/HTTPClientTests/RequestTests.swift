import Bytes
import HTTPClient
import Reactor
import ReactorSim
import Testing

/// What is sent, and what comes back.
@Suite struct RequestTests {
    @Test func aGetAndItsResponse() throws {
        let world = try SimulatedServer()
        let answer = try world.get("http://Example.ORG/a?b=c#d", fields: ["Accept": "text/plain"])
        let (peer, request) = try world.acceptRequest()
        #expect(
            request
                == "GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nAccept: text/plain\r\nUser-Agent: test\r\nAccept-Encoding: gzip\r\n\r\n"
        )
        peer.answer("hello", fields: "Cache-Control: max-age=60\r\nX-A: 1\r\nx-a: 2\r\n")
        world.run()
        let response = try #require(answer.response)
        #expect(response.status == 200 && response.isSuccess)
        #expect(response.text == "hello")
        #expect(response.fields["x-A"] == "1")
        #expect(response.fields.values(of: "X-a") == ["1", "2"])
        #expect(response.fields.maximumAge == .seconds(60))
        #expect("\(response.url)" == "http://example.org/a?b=c")
        world.expectNothingIsLeft()
    }

    @Test func aBodyAndItsLength() throws {
        let world = try SimulatedServer()
        let answer = world.send(try HTTPClientRequest(.post, "http://example.org", body: Array("hello".utf8)))
        let (peer, request) = try world.acceptRequest()
        #expect(request.hasPrefix("POST / HTTP/1.1\r\n"))
        #expect(request.hasSuffix("\r\nContent-Length: 5\r\n\r\nhello"))
        peer.answer("", status: "201 Created")
        world.run()
        #expect(answer.said == "201 ")
        // RFC 9110 §8.6: a method that means to send something says that it sends nothing.
        for (method, says) in [(HTTP1Method.put, true), (.patch, true), (.delete, false), (.options, false)] {
            let next = world.send(try HTTPClientRequest(method, "http://example.org"))
            world.run()
            #expect(world.heard(peer).contains("Content-Length: 0\r\n") == says, "\(method)")
            peer.answer("")
            world.run()
            #expect(next.said == "200 ")
        }
        world.expectNothingIsLeft()
    }

    @Test func aLargeBodyGoesThroughSmallWindows() throws {
        let world = try SimulatedServer(options: .unkind)
        let body = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let answer = world.send(try HTTPClientRequest(.put, "http://example.org/", body: body))
        let peer = try #require(world.accept())
        world.run(20)
        let request = peer.takeReceived()
        #expect(Array(request.suffix(body.count)) == body)
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\n\r\n")
        peer.send(body)
        world.run(20)
        #expect(answer.response?.body == body)
        world.expectNothingIsLeft()
    }

    @Test func whatCannotBeSentIsRefused() throws {
        var limits = HTTPClientLimits()
        limits.requestBytes = 10
        let world = try SimulatedServer(limits: limits)
        for (fields, says) in [
            (["Host": "a"], "the client itself says Host"),
            (["Transfer-Encoding": "chunked"], "the client itself says"),
            (["CONTENT-LENGTH": "5"], "the client itself says"), (["Upgrade": "x"], "the client itself says"),
            (["A B": "c"], "no field name"), (["": "c"], "no field name"), (["A": "b\r\nC: d"], "control character"),
            (["A": "b\u{0}"], "control character"), (["A:": "b"], "no field name"),
        ] as [(HTTPClientFields, String)] {
            let answer = try world.get(fields: fields)
            world.run()
            #expect(answer.said?.contains(says) == true, "\(fields.lines): \(answer.said ?? "nothing")")
        }
        for (method, body) in [
            (HTTP1Method.connect, nil), (.other, nil), (.trace, [1]), (.post, [UInt8](repeating: 0, count: 11)),
        ]
            as [(HTTP1Method, [UInt8]?)]
        {
            let answer = world.send(try HTTPClientRequest(method, "http://example.org/", body: body))
            world.run()
            guard case .badRequest = answer.error else {
                Issue.record("\(method): \(answer.said ?? "nothing")")
                continue
            }
        }
        let secure = try world.get("https://example.org/")
        world.run()
        #expect(secure.error == .noTLS)
        #expect(world.accept() == nil)
        world.expectNothingIsLeft()
    }

    @Test func rfc9110_9_3_2_theAnswerToHeadHasNoBody() throws {
        let world = try SimulatedServer()
        let head = world.send(try HTTPClientRequest(.head, "http://example.org/"))
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\nContent-Encoding: gzip\r\n\r\n")
        world.run()
        #expect(head.said == "200 ")
        let next = try world.get()
        world.run()
        #expect(world.heard(peer).hasPrefix("GET / "))
        peer.answer("next")
        world.run()
        #expect(next.said == "200 next")
        world.expectNothingIsLeft()
    }

    @Test func rfc9110_15_2_interimResponsesAreLeftOut() throws {
        let world = try SimulatedServer()
        let answer = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        world.run()
        #expect(answer.said == nil)
        peer.answer("hello")
        world.run()
        #expect(answer.said == "200 hello")
        for hostile in [
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 17),
        ] {
            let refused = try world.get()
            world.run()
            let last = world.accept() ?? peer
            last.say(hostile)
            world.run()
            #expect(refused.error == .malformed(.unaskedResponse))
            #expect(last.hasEnded || last.isBroken)
        }
        world.expectNothingIsLeft()
    }

    @Test func bodiesHaveALimit() throws {
        let world = try SimulatedServer()
        for (fields, body) in [
            ("Content-Length: 6\r\n", ""), ("Transfer-Encoding: chunked\r\n", "6\r\nhello!"),
            ("Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n3\r\nlo!"), ("", "hello!"),
        ] {
            let answer = try world.get(limit: 5)
            let (peer, _) = try world.acceptRequest()
            peer.say("HTTP/1.1 200 OK\r\n\(fields)\r\n\(body)")
            world.run()
            #expect(answer.error == .bodyTooLarge(limit: 5), "\(fields)")
            #expect(peer.hasEnded || peer.isBroken)
        }
        let answer = try world.get(limit: 5)
        let (peer, _) = try world.acceptRequest()
        peer.answer("hello")
        world.run()
        #expect(answer.said == "200 hello")
        world.expectNothingIsLeft()
    }

    @Test func everythingThatIsHeldHasALimitTogether() throws {
        var limits = HTTPClientLimits()
        limits.heldBytes = 1000
        let world = try SimulatedServer(limits: limits)
        let first = world.send(
            try HTTPClientRequest(.post, "http://example.org/", body: [UInt8](repeating: 1, count: 600)))
        let second = world.send(
            try HTTPClientRequest(.post, "http://example.org/", body: [UInt8](repeating: 1, count: 600)))
        let (peer, _) = try world.acceptRequest()
        guard case .busy = second.error else { throw HTTPClientError.closed }
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 401\r\n\r\n" + String(repeating: "x", count: 401))
        world.run()
        guard case .busy = first.error else { throw HTTPClientError.closed }
        world.expectNothingIsLeft()
    }
}
