import Glibc
import KafkaClient
import TestSupport
import Testing

/// SIGTERM, with real programs: two gateways in front of the same services, and one of them ends.
@Suite(.serialized, .enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"))
struct DrainTests {
    private func gateway(_ fleet: Fleet, delay: Int, grace: Int) throws -> (process: ChildProcess, port: UInt16) {
        try fleet.anotherGateway([
            "CABSTAND_EVENT_LOOPS": "2", "CABSTAND_DRAIN_DELAY_S": "\(delay)", "CABSTAND_GRACE_S": "\(grace)",
        ])
    }

    private func world() throws -> (EmbeddedBroker, Fleet) {
        let broker = try EmbeddedBroker(
            topics: ["driver_locations", "trip_events", "auth_revocations", "audit_events"].map {
                TopicSpecification(name: $0, partitions: 2, replicationFactor: 1)
            })
        return (broker, try Fleet(bootstrapServers: broker.bootstrapServers, extra: Load.settings))
    }

    @Test func notOneRequestFailsWhileOneOfTwoGatewaysEnds() throws {
        let (broker, fleet) = try world()
        defer { broker.stop() }
        let drivers = try Load.register(4, on: fleet)
        let (process, port) = try gateway(fleet, delay: 2, grace: 24)
        // Everybody asks with a token of their own.
        let tokens = try (0..<16).map { index in
            switch index % 4 {
            case 2: drivers[index / 4].token
            case 3: try fleet.guest()
            default: try fleet.token("rider", "reader-\(index)")
            }
        }
        var clients = tokens.map { HTTPConnection(port: port, token: $0) }
        let quiet = (0..<8).map { _ in HTTPConnection(port: port) }
        let silent = Client(port).send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(silent.response().status == 200)
        for connection in quiet { #expect(connection.request("GET", "/healthz")?.status == 200) }
        let socket = Client(port).send(upgrade("/ws/drivers/available"))
        #expect(socket.response().status == 101)

        var failures: [String] = []
        var moved = 0
        /// Trips that riders have booked and not yet cancelled, by client.
        var trips: [Int: String] = [:]
        func round(_ number: Int, _ accident: () -> Void = {}) {
            for (index, client) in clients.enumerated() {
                let isSent =
                    switch index % 4 {
                    case 0: client.send("GET", "/")
                    case 1: client.send("GET", "/drivers/available?lat=53.55&lon=13.26&radius_m=5000")
                    case 2: client.send("PATCH", "/drivers/\(drivers[index / 4].id)/status", #"{"status":"available"}"#)
                    default:
                        if let trip = trips[index] {
                            client.send("POST", "/trips/\(trip)/cancel")
                        } else {
                            client.send(
                                "POST", "/trips",
                                #"{"pickup":{"lat":53.55,"lon":13.26},"dropoff":{"lat":53.56,"lon":13.27}}"#)
                        }
                    }
                if !isSent { failures.append("round \(number), client \(index): not sent") }
            }
            accident()
            for (index, client) in clients.enumerated() {
                guard let answer = client.receive() else {
                    failures.append("round \(number), client \(index): no answer")
                    continue
                }
                if index % 4 == 3 { trips[index] = answer.status == 201 ? answer.text("id") : nil }
                // All cars may be taken, or on a trip: that is an answer.
                if ![200, 201, 409].contains(answer.status) {
                    failures.append("round \(number), client \(index): \(answer.status) \(answer.body)")
                }
                if answer.head.lowercased().contains("connection: close") {
                    moved += 1
                    clients[index] = HTTPConnection(port: fleet.httpPort, token: tokens[index])
                }
            }
        }
        for number in 0..<50 { round(number) }
        #expect(moved == 0)
        round(50) { process.signal(SIGTERM) }
        // Ready no more, but still accepting.
        let probe = HTTPConnection(port: port)
        let readiness = probe.request("GET", "/readyz")
        #expect(readiness?.status == 503)
        #expect(readiness?.head.lowercased().contains("connection: close") == true)
        #expect(Client(port).send(upgrade("/ws/drivers/available")).response().status == 503)
        var number = 51
        // The delay is over when nobody new gets in; those who are there still do, once.
        let isClosed = waitUntil(20) {
            round(number)
            number += 1
            return HTTPConnection(port: port).request("GET", "/healthz") == nil
        }
        #expect(isClosed)
        #expect(moved == 16)
        for connection in quiet {
            let answer = connection.request("GET", "/healthz")
            #expect(answer?.status == 200)
            #expect(answer?.head.lowercased().contains("connection: close") == true)
        }
        // Who says nothing is half-closed, not reset.
        #expect(waitUntil(20) { silent.all() == "" })
        // A close frame's 1001 and reason; the second byte of the code is no UTF-8.
        #expect(socket.all().contains("\u{03}\u{FFFD}the server is stopping"))
        round(number)
        #expect(process.waitForExit(20) == 0, "\(process.errors)")
        #expect(failures == [])
    }

    /// A request that never ends and a WebSocket that never answers a Close. The program itself exits 1 when the grace
    /// period is over, so 0 says that it was in time.
    @Test func whoHoldsOnIsCutOffWithinTheGracePeriod() throws {
        let (broker, fleet) = try world()
        defer { broker.stop() }
        let (process, port) = try gateway(fleet, delay: 1, grace: 4)
        let endless = Client(port).send("POST /trips HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{")
        let deaf = Client(port).send(upgrade("/ws/drivers/available"))
        #expect(deaf.response().status == 101)
        process.signal(SIGTERM)
        #expect(process.waitForExit(30) == 0, "\(process.errors)")
        _ = endless.all()
    }

    @Test func aSecondSignalExitsAtOnce() throws {
        let (broker, fleet) = try world()
        defer { broker.stop() }
        let (process, _) = try gateway(fleet, delay: 600, grace: 600)
        process.signal(SIGTERM)
        try process.waitForOutput("ending")
        process.signal(SIGTERM)
        #expect(process.waitForExit(20) == 1)
    }

    /// The services end while calls and streams are open: what was promised is kept, and Kafka has it.
    @Test func servicesFinishTheirCallsAndTellKafkaEverything() throws {
        let (broker, fleet) = try world()
        defer { broker.stop() }
        let drivers = try Load.register(6, on: fleet)
        let load = try Load(fleet, drivers: drivers, riders: 12, prefix: "d")
        for _ in 0..<10 { load.step() }
        // Streams from the gateway to both services.
        let uplink = Client(fleet.httpPort).send(upgrade("/ws/drivers/\(drivers[0].id)/location", drivers[0].token))
        #expect(uplink.response().status == 101)
        var status: Int32 = -1
        load.step { status = fleet.terminate(.trip) }
        #expect(status == 0)
        #expect(fleet.terminate(.driver) == 0)
        try Checks.everyEventArrived(load, bootstrapServers: broker.bootstrapServers)
        #expect(fleet.terminate(.gateway) == 0)
    }

    private func upgrade(_ path: String, _ token: String? = nil) -> String {
        "GET \(path) HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            + (token.map { "Authorization: Bearer \($0)\r\n" } ?? "") + "\r\n"
    }
}
