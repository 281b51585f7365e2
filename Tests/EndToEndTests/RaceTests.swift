import KafkaClient
import TestSupport
import Testing

/// Behaviour 34 with real programs: races over REST.
@Suite(.serialized, .enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"))
struct RaceTests {
    private func broker() throws -> EmbeddedBroker {
        try EmbeddedBroker(
            topics: ["driver_locations", "trip_events", "auth_revocations", "audit_events"].map {
                TopicSpecification(name: $0, partitions: 4, replicationFactor: 1)
            })
    }

    private func fleet(_ broker: EmbeddedBroker) throws -> Fleet {
        try Fleet(
            bootstrapServers: broker.bootstrapServers,
            extra: Load.settings.merging(["CABSTAND_KAFKA_CONFIG": "fetch.wait.max.ms=10"]) { $1 })
    }

    @Test func domain34_twoRidersBookTheSameDriverAtTheSameInstantAThousandTimes() throws {
        let broker = try broker()
        defer { broker.stop() }
        let fleet = try fleet(broker)
        let driver = try Load.register(4, on: fleet)[0]
        let riders = try (0..<2).map { _ in HTTPConnection(port: fleet.httpPort, token: try fleet.guest()) }
        let car = HTTPConnection(port: fleet.httpPort, token: driver.token)
        let body =
            #"{"driver_id":"\#(driver.id)","pickup":{"lat":53.55,"lon":13.26},"dropoff":{"lat":53.56,"lon":13.27}}"#
        var winners = [0, 0]
        for round in 0..<1000 {
            for rider in riders { #expect(rider.send("POST", "/trips", body)) }
            let answers = riders.map { $0.receive() }
            guard answers.map({ $0?.status ?? 0 }).sorted() == [201, 409] else {
                Issue.record("round \(round): \(answers.map { $0?.body ?? "no answer" })\n\(fleet.logs)")
                return
            }
            guard let winner = answers.firstIndex(where: { $0?.status == 201 }), let trip = answers[winner]?.text("id")
            else { continue }
            winners[winner] += 1
            let loser = answers[1 - winner]
            #expect(loser?.text("code") == "driver-unavailable")
            #expect(loser?.body.contains(#""alternatives":[{"#) == true)
            #expect(car.request("POST", "/trips/\(trip)/complete")?.status == 200)
        }
        #expect(winners[0] + winners[1] == 1000)
    }

    @Test func domain34_aHistoryOfBookingsIsLinearizable() throws {
        let broker = try broker()
        defer { broker.stop() }
        let fleet = try fleet(broker)
        let drivers = try Load.register(6, on: fleet)
        let load = try Load(fleet, drivers: drivers, riders: 16, prefix: "h")
        for _ in 0..<150 { load.step() }
        #expect(load.unexpected == [])
        if let verdict = try load.isLinearizable() { #expect(verdict) }
        Checks.everythingToldIsThere(load, fleet)
        try Checks.everyEventArrived(load, bootstrapServers: broker.bootstrapServers)
        Checks.theListIsRight(fleet, drivers: drivers)
    }
}
