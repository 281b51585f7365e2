import HTTPClient
import ReactorSim
import Testing

/// RFC 9110 §15.4, and what must not follow a redirect.
@Suite struct RedirectTests {
    private let secret: HTTPClientFields = [
        "Authorization": "Bearer secret", "Cookie": "secret", "Proxy-Authorization": "secret", "X-Other": "kept",
        "Content-Type": "text/plain",
    ]

    @Test func theyAreResponsesUnlessSaidOtherwise() throws {
        let world = try SimulatedServer()
        let answer = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.answer("moved", fields: "Location: http://other.example/\r\n", status: "302 Found")
        world.run()
        #expect(answer.said == "302 moved")
        #expect(answer.response?.fields["location"] == "http://other.example/")
        world.expectNothingIsLeft()
    }

    @Test func aRedirectIsFollowedOnTheSameConnection() throws {
        let world = try SimulatedServer()
        let answer = try world.get("http://example.org/a/b?c", fields: secret, redirects: 3)
        let (peer, _) = try world.acceptRequest()
        peer.answer("moved", fields: "Location: ../x?y#z\r\n", status: "301 Moved Permanently")
        world.run()
        let next = world.heard(peer)
        #expect(next.hasPrefix("GET /x?y HTTP/1.1\r\n"))
        #expect(next.contains("Bearer secret"))
        peer.answer("there")
        world.run()
        #expect(answer.said == "200 there")
        #expect(answer.response.map { "\($0.url)" } == "http://example.org/x?y")
        #expect(world.accept() == nil)
        world.expectNothingIsLeft()
    }

    @Test func anotherOriginGetsNoCredentials() throws {
        let world = try SimulatedServer()
        let answer = try world.get(fields: secret, redirects: 3)
        let (peer, _) = try world.acceptRequest()
        peer.answer("", fields: "Location: http://other.example/x\r\n", status: "307 Temporary Redirect")
        let (other, request) = try world.acceptRequest()
        #expect(request.hasPrefix("GET /x HTTP/1.1\r\nHost: other.example\r\n"))
        #expect(!request.contains("secret"))
        #expect(request.contains("X-Other: kept"))
        // Nor does the first one get them back.
        other.answer("", fields: "Location: http://example.org/back\r\n", status: "302 Found")
        world.run()
        let back = world.heard(peer)
        #expect(back.hasPrefix("GET /back ") && !back.contains("secret"))
        peer.answer("end")
        world.run()
        #expect(answer.said == "200 end")
        world.expectNothingIsLeft()
    }

    @Test(arguments: [
        (301, HTTP1Method.post, "GET", false), (302, .post, "GET", false), (303, .post, "GET", false),
        (303, .put, "GET", false), (303, .head, "HEAD", false), (307, .post, "POST", true), (308, .post, "POST", true),
        (301, .put, "PUT", true), (302, .delete, "DELETE", true), (301, .head, "HEAD", true),
    ])
    func theMethodAndTheBody(_ status: Int, _ method: HTTP1Method, _ next: String, _ keeps: Bool) throws {
        let world = try SimulatedServer()
        let hasBody = method != .head
        let answer = world.send(
            try HTTPClientRequest(
                method, "http://example.org/", fields: secret, body: hasBody ? Array("body".utf8) : nil, redirects: 1))
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 \(status) X\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n")
        world.run()
        let request = world.heard(peer)
        #expect(request.hasPrefix("\(next) /next HTTP/1.1\r\n"))
        #expect(request.hasSuffix("\r\n\r\nbody") == (keeps && hasBody))
        #expect(request.contains("Content-Type") == (keeps || method == .head))
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        world.run()
        #expect(answer.said == "200 ")
        #expect(world.client.heldBytes == 0)
        world.expectNothingIsLeft()
    }

    @Test func thereIsALimit() throws {
        let world = try SimulatedServer()
        let answer = try world.get(redirects: 2)
        let (peer, _) = try world.acceptRequest()
        for _ in 0..<3 {
            peer.answer("", fields: "Location: /\r\n", status: "302 Found")
            world.run()
        }
        guard case .badRedirect = answer.error else { throw HTTPClientError.closed }
        world.expectNothingIsLeft()
    }

    @Test(arguments: [
        "Location: ftp://example.org/\r\n", "Location: http://user@example.org/\r\n", "Location: http://\r\n",
        "Location: a b\r\n", "Location: /a\r\nLocation: /b\r\n", "Location: javascript:x\r\n",
    ])
    func whereNobodyGoes(_ fields: String) throws {
        let world = try SimulatedServer()
        let answer = try world.get(redirects: 3)
        let (peer, _) = try world.acceptRequest()
        peer.answer("", fields: fields, status: "302 Found")
        world.run()
        guard case .badRedirect = answer.error else { throw HTTPClientError.closed }
        world.expectNothingIsLeft()
    }

    @Test func aRedirectWithoutALocationIsAResponse() throws {
        let world = try SimulatedServer()
        let answer = try world.get(redirects: 3)
        let (peer, _) = try world.acceptRequest()
        peer.answer("choose", status: "300 Multiple Choices")
        world.run()
        #expect(answer.said == "300 choose")
        world.expectNothingIsLeft()
    }

    /// A large page about it is not worth its connection.
    @Test(arguments: [
        ("Content-Length: 100\r\n\r\n", 100, false), ("Content-Length: 100000\r\n\r\n", 100_000, true),
        ("\r\n", 5, true),
    ])
    func whatARedirectSaysIsReadOver(_ fields: String, _ count: Int, _ isNew: Bool) throws {
        let world = try SimulatedServer()
        let answer = try world.get(redirects: 1)
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 302 Found\r\nLocation: /next\r\n\(fields)" + String(repeating: "x", count: count))
        // The first may not be free yet when the next is asked for.
        let next = world.accept() ?? peer
        world.run()
        #expect(world.heard(next).hasPrefix("GET /next "))
        next.answer("x")
        world.run()
        #expect(answer.said == "200 x")
        #expect(!isNew || peer.hasEnded || peer.isBroken)
        world.expectNothingIsLeft()
    }

    /// Redirects share the time of the request.
    @Test func aChainOfRedirectsHasOneDeadline() throws {
        let world = try SimulatedServer()
        let answer = try world.get(timeout: .seconds(1), redirects: 100)
        let (peer, _) = try world.acceptRequest()
        for _ in 0..<20 {
            peer.answer("", fields: "Location: /\r\n", status: "302 Found")
            world.run(0.1)
        }
        #expect(answer.error == .timedOut(.sent))
        world.expectNothingIsLeft()
    }
}
