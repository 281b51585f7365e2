import HTTPServer
import Reactor
import ReactorSim
import Testing

/// Handlers that wait, on the simulated kernel.
@Suite struct AsyncHandlerTests {
    /// What the handler has seen.
    private final class Seen {
        var finished = 0
        var cancelled = 0
    }

    private func pause(_ loop: EventLoop, _ span: Duration) async {
        await withCheckedContinuation { continuation in loop.schedule(after: span) { continuation.resume() } }
    }

    /// `/cars/{id}` answers after a tenth of a second, `/slow` after a minute, of which it may have two seconds.
    private func world(_ seen: Seen = Seen(), seed: UInt64 = 1) throws -> SimulatedHTTP {
        try SimulatedHTTP(seed: seed) { loop, router in
            router.get("/cars/{id}") { request async throws(Problem) -> HTTPResponse in
                await pause(loop, .milliseconds(100))
                #expect(loop.isOnLoop)
                guard let id = request.pathParameter("id"), id != "none" else {
                    throw Problem(404, "no-car", "There is no such car.")
                }
                return .json { $0.appendJSON("id", string: id) }
            }
            router.post("/cars", bodyBytes: 4) { request async throws(Problem) -> HTTPResponse in
                await pause(loop, .milliseconds(100))
                return .text(String(decoding: request.body, as: UTF8.self), status: 201)
            }
            router.get("/slow", deadline: .seconds(2)) { _ async throws(Problem) -> HTTPResponse in
                await pause(loop, .seconds(60))
                seen.finished += 1
                if Task.isCancelled { seen.cancelled += 1 }
                return HTTPResponse(204)
            }
            router.get("/now") { _, response in response.text("now") }
            router.get("/nothing") { _ async throws(Problem) -> HTTPResponse in HTTPResponse(204) }
        }
    }

    private func get(_ path: String) -> String { "GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n" }

    @Test func answersOfTasksAndOthersComeInTheOrderOfTheRequests() throws {
        let world = try world()
        let client = world.client(
            get("/cars/7") + get("/now") + get("/cars/none") + get("/nothing")
                + "POST /cars HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nblue")
        world.run(1)
        #expect(client.statuses == [200, 200, 404, 204, 201])
        #expect(client.heard.contains(#"{"id":"7"}"#))
        #expect(client.heard.contains("application/problem+json"))
        #expect(client.heard.hasSuffix("\r\n\r\nblue"))
    }

    @Test func aTaskThatTakesTooLongIsCancelledAndAnswered504() throws {
        let seen = Seen()
        let world = try world(seen)
        let client = world.client(get("/slow") + get("/now"))
        world.run(1.9)
        #expect(client.statuses == [])
        world.run(0.2)
        #expect(client.statuses == [504, 200])
        #expect(client.heard.contains(#""code":"deadline-exceeded""#))
        // What the task answers at last is nobody's.
        world.run(60)
        #expect((seen.finished, seen.cancelled) == (1, 1))
        #expect(client.statuses == [504, 200])
    }

    @Test func aClientThatGoesAwayCancelsItsTask() throws {
        let seen = Seen()
        let world = try world(seen)
        let client = world.client(get("/slow"))
        world.run(0.5)
        client.close()
        world.run(61)
        #expect((seen.finished, seen.cancelled) == (1, 1))
        #expect(world.server.connectionCount == 0)
        #expect(world.server.heldBodyBytes == 0)
    }

    /// The timer of a deadline goes with its task: a busy server does not keep thousands of them.
    @Test func aTaskThatHasAnsweredLeavesNoTimer() throws {
        let world = try world()
        let client = world.client((0..<12).map { get("/cars/\($0)") }.joined())
        world.run(1)
        // The statistics are those of the turn before the last.
        client.say(get("/now"))
        world.run(1)
        #expect(client.statuses.count == 13)
        #expect(world.loop.statistics.timers < 12)
    }

    /// The server's drain is that of what took connections over from it, too.
    @Test func companionsDrainWithTheServer() throws {
        final class Companion: LoopService {
            var completion: (() -> Void)?
            func drain(_ completion: @escaping () -> Void) { self.completion = completion }
        }
        let companion = Companion()
        let world = try SimulatedHTTP { _, router in
            router.drains(with: companion)
            router.group("/x").drains(with: companion)
        }
        var isDrained = false
        world.server.drain { isDrained = true }
        world.run(1)
        #expect(!isDrained)
        companion.completion?()
        #expect(isDrained)
    }
}
