import HTTPClient
import Reactor
import ReactorSim
import Testing

/// Ends before the end: deadlines, cancelling, closing.
@Suite struct DeadlineTests {
    @Test func aRequestHasOneDeadlineForAllItTakes() throws {
        var limits = HTTPClientLimits()
        limits.connectionsPerOrigin = 1
        let world = try SimulatedServer(limits: limits)
        let sent = try world.get(timeout: .seconds(2))
        let (peer, _) = try world.acceptRequest()
        let waiting = try world.get(timeout: .seconds(1))
        world.run(0.85)
        #expect(waiting.said == nil)
        world.run(0.3)
        #expect(waiting.error == .timedOut(.waiting))
        #expect(!peer.hasEnded)
        world.run(1)
        #expect(sent.error == .timedOut(.sent))
        #expect(peer.hasEnded || peer.isBroken)

        let slow = try world.get(timeout: .seconds(2))
        let (next, _) = try world.acceptRequest()
        next.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in 0..<40 {
            next.say("x")
            world.run(0.05)
        }
        #expect(slow.error == .timedOut(.body))
        #expect(next.hasEnded || next.isBroken)
        world.expectNothingIsLeft()
    }

    @Test func aHeadThatDripsIsNoExcuse() throws {
        let world = try SimulatedServer()
        let answer = try world.get(timeout: .seconds(5))
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nA: ")
        for _ in 0..<60 {
            peer.say("x")
            world.run(0.1)
        }
        #expect(answer.error == .timedOut(.sent))
        world.expectNothingIsLeft()
    }

    /// An address from which nothing comes back, and no time of the request's own that matters.
    @Test func connectingHasItsOwnTime() throws {
        var limits = HTTPClientLimits()
        limits.connectTime = .seconds(3)
        let world = try SimulatedServer(
            options: {
                var o = SimulationOptions()
                o.delay = 4_000_000_000...4_000_000_001
                return o
            }(), limits: limits)
        let answer = try world.get(timeout: .seconds(60))
        world.run(2.9)
        #expect(answer.said == nil)
        world.run(0.2)
        #expect(answer.error == .unreachable("example.org", .connectTimeout))
        world.expectNothingIsLeft()
    }

    @Test func cancellingEndsARequestWhereverItIs() throws {
        var limits = HTTPClientLimits()
        limits.connectionsPerOrigin = 1
        let world = try SimulatedServer(limits: limits)
        let first = try world.get()
        let (peer, _) = try world.acceptRequest()
        let waiting = try world.get()
        let other = try world.get("http://example.org/other")
        world.run()
        world.loop.execute { waiting.call?.cancel() }
        world.run()
        #expect(waiting.error == .cancelled)
        #expect(waiting.call?.isEnded == true)
        world.loop.execute { first.call?.cancel() }
        let (next, request) = try world.acceptRequest()
        #expect(first.error == .cancelled)
        #expect(peer.hasEnded || peer.isBroken)
        #expect(request.hasPrefix("GET /other "))
        next.say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        world.run()
        world.loop.execute { other.call?.cancel() }
        world.run()
        #expect(other.error == .cancelled)
        world.loop.execute {
            // A second time is nothing.
            other.call?.cancel()
            first.call?.resume()
            first.call?.pause()
        }
        world.expectNothingIsLeft()
    }

    @Test func cancellingWhileConnecting() throws {
        let world = try SimulatedServer()
        let answer = try world.get()
        world.loop.execute { answer.call?.cancel() }
        world.run()
        #expect(answer.error == .cancelled)
        world.expectNothingIsLeft()
    }

    @Test func cancellingInsideTheEndOfAnother() throws {
        let world = try SimulatedServer()
        let second = try world.get("http://example.org/second")
        let (peer, _) = try world.acceptRequest()
        let first = SimulatedServer.Answer()
        world.loop.execute {
            let request = try? HTTPClientRequest(.get, "http://example.org/first")
            guard let request else { return }
            first.call = world.client.send(request) {
                first.result = $0
                second.call?.cancel()
                world.client.close()
            }
        }
        let (other, _) = try world.acceptRequest()
        other.answer("x")
        world.run()
        #expect(first.said == "200 x")
        #expect(second.error == .cancelled)
        #expect(peer.hasEnded || peer.isBroken)
        world.expectNothingIsLeft()
    }

    @Test func closingEndsEverything() throws {
        var limits = HTTPClientLimits()
        limits.connectionsPerOrigin = 1
        let world = try SimulatedServer(limits: limits)
        let answers = [try world.get(), try world.get()]
        let (peer, _) = try world.acceptRequest()
        world.loop.execute { world.client.close() }
        world.run()
        let late = try world.get()
        world.run()
        #expect((answers + [late]).map(\.error) == [.closed, .closed, .closed])
        #expect(peer.hasEnded || peer.isBroken)
        #expect(world.accept() == nil)
        world.expectNothingIsLeft()
    }

    // MARK: Tasks

    @Test func aTaskWaitsForItsResponse() throws {
        let world = try SimulatedServer()
        let found = Found()
        let bound = LoopBound((world.client, found), loop: world.loop)
        world.loop.spawn {
            let (client, found) = bound.value
            do throws(HTTPClientError) {
                let response = try await client.get(
                    "http://example.org/jwks.json", limit: 64 << 10, timeout: .seconds(5))
                bound.value.1.text = "\(response.status) \(response.text)"
            } catch {
                found.text = "\(error)"
            }
        }
        let (peer, request) = try world.acceptRequest()
        #expect(request.hasPrefix("GET /jwks.json "))
        peer.answer("{}")
        world.run()
        #expect(found.text == "200 {}")
        world.expectNothingIsLeft()
    }

    @Test func cancellingTheTaskCancelsTheRequest() throws {
        let world = try SimulatedServer()
        let found = Found()
        let bound = LoopBound((world.client, found), loop: world.loop)
        let task = world.loop.spawn {
            let client = bound.value.0
            do throws(HTTPClientError) {
                _ = try await client.get("http://example.org/")
                bound.value.1.text = "a response"
            } catch {
                bound.value.1.text = "\(error)"
            }
        }
        let (peer, _) = try world.acceptRequest()
        task.cancel()
        world.run()
        #expect(found.text == "cancelled")
        #expect(peer.hasEnded || peer.isBroken)
        world.expectNothingIsLeft()
    }

    @Test func aTaskReadsABodyAtItsOwnPace() throws {
        let world = try SimulatedServer()
        let found = Found()
        let bound = LoopBound((world.client, found, world.loop), loop: world.loop)
        world.loop.spawn {
            let (client, found, _) = bound.value
            do throws(HTTPClientError) {
                let stream = try await client.open(try HTTPClientRequest(.get, "http://example.org/"))
                found.text = "\(stream.response.status)"
                while found.isHeld { await Task.yield() }
                while let piece = try await stream.next() { found.count += piece.count }
                found.text += " end"
            } catch {
                found.text = "\(error)"
            }
        }
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + String(repeating: "x", count: 3_000_000))
        world.network.run(for: 50_000_000)
        #expect(found.text == "200" && found.count == 0)
        // The windows are full.
        #expect(peer.pendingBytes > 2_000_000)
        found.isHeld = false
        world.run(20)
        #expect(found.text == "200 end")
        #expect(found.count == 3_000_000)
        world.expectNothingIsLeft()
    }

    @Test func lettingGoOfAStreamCancelsIt() throws {
        let world = try SimulatedServer()
        let found = Found()
        let bound = LoopBound((world.client, found), loop: world.loop)
        world.loop.spawn {
            let (client, found) = bound.value
            do throws(HTTPClientError) {
                let stream = try await client.open(try HTTPClientRequest(.get, "http://example.org/"))
                found.count = try await stream.next()?.count ?? 0
                found.text = "enough"
            } catch {
                found.text = "\(error)"
            }
        }
        let (peer, _) = try world.acceptRequest()
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        world.run()
        #expect(found.text == "enough" && found.count > 0)
        #expect(peer.hasEnded || peer.isBroken)
        world.expectNothingIsLeft()
    }
}

/// What a task has found. It belongs to the loop.
private final class Found {
    var text = ""
    var count = 0
    var isHeld = true
}
