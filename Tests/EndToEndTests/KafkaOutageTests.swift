import TestSupport
import Testing

/// Kafka that is away, and Kafka without its topics, under the programs as they are shipped.
@Suite(
    .serialized,
    .enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"),
    .enabled(if: KafkaBroker.isAvailable, "\(KafkaBroker.isMissing)"))
struct KafkaOutageTests {
    @Test func issue10_bookingsReachTheDriverAndNothingSpinsWhateverBecomesOfKafka() throws {
        let broker = try KafkaBroker(options: "auto.create.topics.enable=false")
        defer { broker.stop() }
        let fleet = try Fleet(bootstrapServers: broker.bootstrapServers)
        let connection = fleet.connection()
        let vehicle = #"{"make":"Skoda","model":"Octavia","color":"white","plate":"NB-C 12","category":"standard"}"#
        let body = #"{"id":"ada","name":"Ada","vehicle":\#(vehicle),"lat":53.5573,"lon":13.2603}"#
        #expect(connection.request("POST", "/drivers", body)?.status == 201)
        let car = HTTPConnection(port: fleet.httpPort, token: try fleet.enrol(driver: "ada"))
        func driver() -> String? { connection.request("GET", "/drivers/ada")?.text("status") }
        /// As a guest who has just signed in.
        func book() throws -> String? {
            let place = #"{"lat":53.5573,"lon":13.2603}"#
            let body = #"{"driver_id":"ada","pickup":\#(place),"dropoff":\#(place)}"#
            let answer = HTTPConnection(port: fleet.httpPort, token: try fleet.guest()).request("POST", "/trips", body)
            #expect(answer?.status == 201, "\(answer?.body ?? "no answer")")
            return answer?.text("id")
        }
        func complete(_ trip: String?) throws {
            let answer = car.request("POST", "/trips/\(try #require(trip))/complete")
            #expect(answer?.status == 200)
        }
        func kafka(_ service: Fleet.Service) -> String {
            HTTPConnection(port: fleet.metricsPort(service)).request("GET", "/readyz")?.text("kafka") ?? ""
        }
        // The topics are deleted while everything runs: they are made again, as they are configured.
        let eve = try fleet.token("rider", "eve")
        let revocation = connection.request(
            "POST", "/auth/revocations", #"{"subject":"eve","reason":"lost telephone"}"#)
        #expect(revocation?.status == 201, "\(revocation?.body ?? "no answer")")
        let topics = ["trip_events", "driver_locations", "auth_revocations", "audit_events"]
        try broker.topics("--delete", "--topic", topics.joined(separator: ","))
        var trip = try book()
        #expect(waitUntil(30) { driver() == "unavailable" })
        let isMade = waitUntil(60) {
            guard let found = try? broker.topics("--describe") else { return false }
            return topics.allSatisfy { topic in
                let count = topic == "auth_revocations" ? 1 : 4
                return found.split(separator: "\n").contains {
                    $0.contains("Topic: \(topic)\t") && $0.contains("PartitionCount: \(count)")
                }
            }
        }
        #expect(isMade, "the topics were not made again")
        for service in Fleet.Service.allCases {
            #expect(waitUntil(30) { kafka(service) == "ok" }, "\(service): \(kafka(service))")
        }
        try complete(trip)
        #expect(waitUntil(30) { driver() == "available" })
        // What was revoked before is revoked for a gateway that never saw the topics of before.
        let newcomer = try fleet.anotherGateway()
        let asEve = HTTPConnection(port: newcomer.port, token: eve)
        #expect(waitUntil(30) { asEve.request("GET", "/trips")?.status == 401 }, "a revocation was lost with its topic")
        #expect(newcomer.process.terminate() == 0)

        // Kafka dies: said by everybody, and felt by nobody for long.
        broker.kill()
        trip = try book()
        #expect(waitUntil(20) { driver() == "unavailable" })
        for service in Fleet.Service.allCases {
            #expect(waitUntil(20) { !["", "ok"].contains(kafka(service)) }, "\(service): \(kafka(service))")
        }
        let before = Fleet.Service.allCases.map { fleet.process($0)?.cpuSeconds ?? 0 }
        for _ in 0..<3 {
            try complete(trip)
            #expect(waitUntil(20) { driver() == "available" })
            trip = try book()
            #expect(waitUntil(20) { driver() == "unavailable" })
        }
        for (service, seconds) in zip(Fleet.Service.allCases, before) {
            let used = (fleet.process(service)?.cpuSeconds ?? 0) - seconds
            #expect(used < 5, "\(service) used \(used) s of CPU")
        }

        try broker.start()
        try fleet.waitUntilReady(seconds: 60)
        try complete(trip)
        #expect(waitUntil(30) { driver() == "available" })
        for service in Fleet.Service.allCases { #expect(fleet.terminate(service) == 0, "\(fleet.logs)") }
    }
}
