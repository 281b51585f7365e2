import HTTPServer
import Reactor
import ReactorSim
import Testing

/// Behaviour 51: whoever sends many requests at once, or dear ones, is served over many turns; others do not wait.
@Suite struct TurnTests {
    @Test func behaviour51_aPipelineOfDearRequestsIsServedOverManyTurns() throws {
        var served = 0
        var network: SimulatedNetwork?
        let http = try SimulatedHTTP { _, router in
            router.get("/dear") { _, responder in
                network?.spend(1_000_000)
                served += 1
                responder.respond(body: "dear")
            }
            router.post("/dear") { request, responder in
                network?.spend(1_000_000)
                served += 1
                responder.respond(204)
            }
        }
        network = http.network
        let gets = String(repeating: "GET /dear HTTP/1.1\r\nHost: a\r\n\r\n", count: 200)
        let posts = String(
            repeating: "POST /dear HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n"
                + String(repeating: "x", count: 4_000), count: 50)
        let clients = [http.client(gets), http.client(posts), http.client(gets)]
        http.run(20)
        #expect(served == 450)
        #expect(clients.map(\.statuses.count) == [200, 50, 200])
        // The clock is looked at after sixteen requests; before this a read of two hundred was one turn.
        #expect(http.loop.statistics.longestTurn < 40_000_000)
    }

    /// A handler that says what its work costs is asked no more in that turn.
    @Test func behaviour51_whatIsChargedEndsTheTurn() throws {
        var network: SimulatedNetwork?
        let http = try SimulatedHTTP { loop, router in
            router.get("/dear") { _, responder in
                network?.spend(3_000_000)
                loop.charge(3_000)
                responder.respond(body: "dear")
            }
        }
        network = http.network
        let client = http.client(String(repeating: "GET /dear HTTP/1.1\r\nHost: a\r\n\r\n", count: 60))
        http.run(5)
        #expect(client.statuses.count == 60)
        #expect(http.loop.statistics.longestTurn < 10_000_000)
    }
}
