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
        func driver() -> String? { connection.request("GET", "/drivers/ada")?.text("status") }
        func book(_ rider: String) -> String? {
            let place = #"{"lat":53.5573,"lon":13.2603}"#
            let body = #"{"rider_id":"\#(rider)","driver_id":"ada","pickup":\#(place),"dropoff":\#(place)}"#
            let answer = connection.request("POST", "/trips", body)
            #expect(answer?.status == 201, "\(answer?.body ?? "no answer")")
            return answer?.text("id")
        }
        func complete(_ trip: String?) throws {
            let answer = connection.request("POST", "/trips/\(try #require(trip))/complete")
            #expect(answer?.status == 200)
        }
        func kafka(_ service: Fleet.Service) -> String {
            HTTPConnection(port: fleet.metricsPort(service)).request("GET", "/readyz")?.text("kafka") ?? ""
        }
        let vehicle = #"{"make":"Skoda","model":"Octavia","color":"white","plate":"NB-C 12","category":"standard"}"#
        let body = #"{"id":"ada","name":"Ada","vehicle":\#(vehicle),"lat":53.5573,"lon":13.2603}"#
        #expect(connection.request("POST", "/drivers", body)?.status == 201)

        // The topics are deleted while everything runs: they are made again, as they are configured.
        for topic in ["trip_events", "driver_locations"] { try broker.topics("--delete", "--topic", topic) }
        var trip = book("r1")
        #expect(waitUntil(30) { driver() == "unavailable" })
        let isMade = waitUntil(60) {
            guard let topics = try? broker.topics("--describe") else { return false }
            return topics.contains(/Topic: trip_events\s.*PartitionCount: 4/)
                && topics.contains(/Topic: driver_locations\s.*PartitionCount: 4/)
        }
        #expect(isMade, "the topics were not made again")
        for service in Fleet.Service.allCases {
            #expect(waitUntil(30) { kafka(service) == "ok" }, "\(service): \(kafka(service))")
        }
        try complete(trip)
        #expect(waitUntil(30) { driver() == "available" })

        // Kafka dies: said by everybody, and felt by nobody for long.
        broker.kill()
        trip = book("r2")
        #expect(waitUntil(20) { driver() == "unavailable" })
        for service in Fleet.Service.allCases {
            #expect(waitUntil(20) { !["", "ok"].contains(kafka(service)) }, "\(service): \(kafka(service))")
        }
        let before = Fleet.Service.allCases.map { fleet.process($0)?.cpuSeconds ?? 0 }
        for rider in 0..<3 {
            try complete(trip)
            #expect(waitUntil(20) { driver() == "available" })
            trip = book("r3-\(rider)")
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
