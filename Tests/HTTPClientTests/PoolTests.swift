import HTTPClient
import Reactor
import ReactorSim
import Testing

/// Which connection a request gets, and what becomes of connections.
@Suite struct PoolTests {
    @Test func aConnectionIsUsedAgain() throws {
        let world = try SimulatedServer()
        let first = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.answer("one")
        world.run()
        #expect(first.said == "200 one")
        let second = try world.get("http://example.org/two")
        world.run()
        #expect(world.heard(peer).hasPrefix("GET /two "))
        peer.answer("two")
        world.run()
        #expect(second.said == "200 two")
        #expect(world.accept() == nil)
        #expect(world.client.openConnections == 1)
        world.expectNothingIsLeft()
    }

    @Test func anOriginHasItsOwnConnections() throws {
        let world = try SimulatedServer()
        let first = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.answer("one")
        world.run()
        let second = try world.get("http://other.example/")
        let (other, request) = try world.acceptRequest()
        #expect(request.contains("Host: other.example\r\n"))
        other.answer("two")
        world.run()
        #expect(first.said == "200 one" && second.said == "200 two")
        world.expectNothingIsLeft()
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 1\r\n\r\nx",
    ])
    func aConnectionThatEndsIsNotUsedAgain(_ response: String) throws {
        let world = try SimulatedServer()
        let first = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.say(response)
        world.run()
        #expect(first.said == "200 x")
        #expect(peer.hasEnded)
        let second = try world.get()
        let (next, _) = try world.acceptRequest()
        next.answer("y")
        world.run()
        #expect(second.said == "200 y")
        world.expectNothingIsLeft()
    }

    @Test func connectionsAndWaitingHaveBounds() throws {
        var limits = HTTPClientLimits()
        limits.connectionsPerOrigin = 2
        limits.waitingRequests = 3
        let world = try SimulatedServer(limits: limits)
        let answers = try (0..<5).map { _ in try world.get() }
        world.run()
        // All in one turn: none has a connection yet.
        #expect(answers.map { $0.error != nil } == [false, false, false, true, true])
        guard case .busy = answers[3].error else { throw HTTPClientError.closed }
        let (first, _) = try world.acceptRequest()
        let (second, _) = try world.acceptRequest()
        #expect(world.accept() == nil)
        #expect(world.client.waitingRequests == 1)
        second.answer("b")
        world.run()
        #expect(world.heard(second).hasPrefix("GET "))
        second.answer("c")
        first.answer("a")
        world.run()
        #expect(answers.prefix(3).compactMap(\.said).sorted() == ["200 a", "200 b", "200 c"])
        world.expectNothingIsLeft()
    }

    @Test func allConnectionsTogetherHaveABound() throws {
        var limits = HTTPClientLimits()
        limits.connections = 2
        let world = try SimulatedServer(limits: limits)
        for name in ["a", "b", "c", "d"] { world.network.names[name] = [.loopback(port: 0)] }
        var peers: [SimulatedPeer] = []
        for name in ["a", "b"] {
            let answer = try world.get("http://\(name)/")
            let (peer, _) = try world.acceptRequest()
            peer.answer(name)
            world.run()
            #expect(answer.said == "200 \(name)")
            peers.append(peer)
        }
        // The one that was idle longest goes.
        let third = try world.get("http://c/")
        let (peer, _) = try world.acceptRequest()
        #expect(peers[0].hasEnded && !peers[1].hasEnded)
        let fourth = try world.get("http://b/")
        let fifth = try world.get("http://d/")
        world.run()
        guard case .busy = fifth.error else { throw HTTPClientError.closed }
        peer.answer("c")
        peers[1].answer("b again")
        world.run()
        #expect(third.said == "200 c" && fourth.said == "200 b again")
        world.expectNothingIsLeft()
    }

    @Test(arguments: [("", 30.0), ("Keep-Alive: timeout=5, max=100\r\n", 4), ("Keep-Alive: timeout=600\r\n", 30)])
    func anIdleConnectionIsClosed(_ fields: String, _ seconds: Double) throws {
        let world = try SimulatedServer()
        let answer = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.answer("x", fields: fields)
        world.run(seconds - 0.5)
        #expect(answer.said == "200 x")
        #expect(!peer.hasEnded)
        world.run(1)
        #expect(peer.hasEnded)
        world.expectNothingIsLeft()
    }

    @Test func aConnectionThatTheServerClosesIsForgotten() throws {
        let world = try SimulatedServer()
        _ = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.answer("x")
        world.run()
        #expect(world.client.openConnections == 1)
        peer.close()
        world.run()
        #expect(world.client.openConnections == 0)
        world.expectNothingIsLeft()
    }

    // MARK: Repeating (RFC 9112 §9.3.1, RFC 9110 §9.2.2)

    /// A connection that was used once, and a request on it whose response will not come.
    private func keptConnection(_ world: SimulatedServer, _ method: HTTP1Method) throws -> (
        SimulatedPeer, SimulatedServer.Answer
    ) {
        _ = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.answer("x")
        world.run()
        let answer = world.send(try HTTPClientRequest(method, "http://example.org/again"))
        world.run()
        #expect(world.heard(peer).contains(" /again "))
        return (peer, answer)
    }

    @Test(arguments: [HTTP1Method.get, .head, .put, .delete, .options])
    func aRequestOnAConnectionThatWasClosedIsRepeatedOnce(_ method: HTTP1Method) throws {
        let world = try SimulatedServer()
        let (peer, answer) = try keptConnection(world, method)
        peer.reset()
        let (next, request) = try world.acceptRequest()
        #expect(request.contains(" /again "))
        next.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        world.run()
        #expect(answer.said == "200 ")
        world.expectNothingIsLeft()
    }

    @Test func theSecondTimeIsTheLast() throws {
        let world = try SimulatedServer()
        let (peer, answer) = try keptConnection(world, .get)
        peer.close()
        let (next, _) = try world.acceptRequest()
        next.close()
        world.run()
        guard case .lost = answer.error else { throw HTTPClientError.closed }
        #expect(world.accept() == nil)
        world.expectNothingIsLeft()
    }

    /// Not on another that was kept: it has died, too, most likely.
    @Test func itIsRepeatedOnANewConnection() throws {
        var limits = HTTPClientLimits()
        limits.connectionsPerOrigin = 2
        let world = try SimulatedServer(limits: limits)
        _ = try world.get()
        _ = try world.get()
        let (first, _) = try world.acceptRequest()
        let (second, _) = try world.acceptRequest()
        first.answer("a")
        second.answer("b")
        world.run()
        let answer = try world.get("http://example.org/again")
        world.run()
        let (used, spare) = world.heard(first).isEmpty ? (second, first) : (first, second)
        used.reset()
        let (next, request) = try world.acceptRequest()
        #expect(request.hasPrefix("GET /again "))
        #expect(world.heard(spare).isEmpty)
        next.answer("new")
        world.run()
        #expect(answer.said == "200 new")
        world.expectNothingIsLeft()
    }

    @Test(arguments: [HTTP1Method.post, .patch])
    func whatMustNotBeDoneTwiceIsNotRepeated(_ method: HTTP1Method) throws {
        let world = try SimulatedServer()
        let (peer, answer) = try keptConnection(world, method)
        peer.close()
        world.run()
        guard case .lost = answer.error else { throw HTTPClientError.closed }
        #expect(world.accept() == nil)
        world.expectNothingIsLeft()
    }

    @Test func aResponseThatHasBegunIsNotRepeated() throws {
        let world = try SimulatedServer()
        let (peer, answer) = try keptConnection(world, .get)
        peer.say("H")
        world.run()
        peer.close()
        world.run()
        #expect(answer.error == .malformed(.truncatedResponse))
        #expect(world.accept() == nil)
        world.expectNothingIsLeft()
    }

    /// RFC 9110 §15.5.9: "you were quiet for too long" crosses the next request.
    @Test func a408OnAKeptConnectionMeansTheOneBefore() throws {
        let world = try SimulatedServer()
        let (peer, answer) = try keptConnection(world, .get)
        peer.answer("", fields: "Connection: close\r\n", status: "408 Request Timeout")
        let (next, _) = try world.acceptRequest()
        next.answer("", fields: "Connection: close\r\n", status: "408 Request Timeout")
        world.run()
        #expect(answer.said == "408 ")
        world.expectNothingIsLeft()
    }

    // MARK: What nobody has asked for

    @Test(arguments: ["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "\r\n", "x"])
    func bytesBehindAResponseNeverReachTheNextRequest(_ excess: String) throws {
        for whole in [true, false] {
            var limits = HTTPClientLimits()
            limits.connectionsPerOrigin = 1
            let world = try SimulatedServer(limits: limits)
            let first = try world.get()
            // Waits for the same connection.
            let second = try world.get("http://example.org/second")
            let (peer, _) = try world.acceptRequest()
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + (whole ? excess : ""))
            if !whole { peer.say(excess) }
            let (next, request) = try world.acceptRequest()
            #expect(request.hasPrefix("GET /second "))
            next.answer("second")
            world.run()
            #expect(first.said == "200 good")
            #expect(second.said == "200 second")
            world.expectNothingIsLeft()
        }
    }

    @Test func bytesOnAnIdleConnectionEndIt() throws {
        let world = try SimulatedServer()
        _ = try world.get()
        let (peer, _) = try world.acceptRequest()
        peer.answer("x")
        world.run()
        peer.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
        world.run()
        #expect(peer.hasEnded || peer.isBroken)
        let next = try world.get()
        let (fresh, _) = try world.acceptRequest()
        fresh.answer("y")
        world.run()
        #expect(next.said == "200 y")
        world.expectNothingIsLeft()
    }

    /// A server that speaks first is another kind of server.
    @Test func aGreetingIsNoResponse() throws {
        let world = try SimulatedServer(
            options: {
                var o = SimulationOptions()
                o.delay = 1000...2000
                return o
            }())
        let answer = try world.get()
        let peer = try #require(world.accept())
        peer.say("220 mail.example ESMTP\r\n")
        world.run()
        guard case .malformed = answer.error else { throw HTTPClientError.closed }
        world.expectNothingIsLeft()
    }

    // MARK: Connecting

    @Test func nobodyListens() throws {
        let world = try SimulatedServer()
        world.stopListening()
        let answers = try (0..<20).map { _ in try world.get() }
        world.run(1)
        for answer in answers {
            guard case .unreachable("example.org", .connectFailed) = answer.error else { throw HTTPClientError.closed }
        }
        world.expectNothingIsLeft()
    }

    @Test func aNameWithoutAnAddress() throws {
        let world = try SimulatedServer()
        let answer = try world.get("http://nobody.example/")
        world.run()
        guard case .unresolved(let why) = answer.error else { throw HTTPClientError.closed }
        #expect(why.contains("nobody.example"))
        world.expectNothingIsLeft()
    }

    @Test func theNextAddressIsTried() throws {
        let world = try SimulatedServer()
        world.network.names["two.example"] = [SocketAddress(ipv4: 0x0A00_0001, port: 0), .loopback(port: 0)]
        let answer = try world.get("http://two.example/")
        world.run(3)
        let (peer, _) = try world.acceptRequest()
        peer.answer("x")
        world.run()
        #expect(answer.said == "200 x")
        world.expectNothingIsLeft()
    }

    /// Without a bound the client would connect as fast as it can.
    @Test func aServerThatOnlyClosesIsNotStormed() throws {
        let world = try SimulatedServer()
        let answer = try world.get()
        var accepted = 0
        for _ in 0..<10_000 {
            world.run(0.0001)
            while let peer = world.acceptNow() {
                accepted += 1
                peer.close()
            }
        }
        #expect(accepted >= 1 && accepted <= 2)
        guard case .lost = answer.error else { throw HTTPClientError.closed }
        world.expectNothingIsLeft()
    }
}
