import GRPCRuntime
import KafkaClient
import Reactor
import RideAPI
import RideDomain
import TestSupport
import Testing

@testable import DriverService

/// What a Kafka outage costs drivers and those who look at them.
@Suite(.serialized) struct KafkaOutageTests {
    /// It took up to a minute.
    @Test func issue10_whileKafkaIsAwayADriverHearsOfABookingWithinSeconds() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        // Events arrive: there is nothing to be asked for.
        station.publish(station.trips.add("t0", driver: "ada"), .created)
        try station.wait(for: "ada") { $0.activeTripID == "t0" }
        _ = station.trips.change("t0", .cancelled)
        station.broker.setReachable(false)
        // The first booking may come before anybody knows of the outage. Each wait gives up long before a minute is over.
        for round in 1...3 {
            _ = station.trips.add("t\(round)", driver: "ada")
            try station.wait(for: "ada") { $0.activeTripID == "t\(round)" }
            _ = station.trips.change("t\(round)", .completed)
            try station.wait(for: "ada") { $0.status == .available }
        }
        station.broker.setReachable(true)
        // Positioned again: one more comparison, then once a minute.
        var isQuiet = false
        for _ in 0..<10 where !isQuiet {
            let lists = station.trips.lists
            station.pause(3_000)
            isQuiet = station.trips.lists == lists
        }
        #expect(isQuiet)
    }

    @Test func issue10_whileTheTripServiceIsAwayTooItIsAskedLessAndLessOften() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        station.broker.setReachable(false)
        station.trips.isAway = true
        station.pause(2_000)
        let before = station.trips.lists
        station.pause(10_000)
        // 1, 2, 4, 5 s.
        #expect((1...6).contains(station.trips.lists - before))
        station.trips.isAway = false
        _ = station.trips.add("t1", driver: "ada")
        try station.wait(for: "ada") { $0.activeTripID == "t1" }
    }

    /// Nobody else moves: it was silent until somebody did.
    @Test func issue10_aRefusedAnnouncementIsTriedAgainByItself() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        station.turn("the first event") { station.events(of: "ada").count == 1 }
        // MSG_SIZE_TOO_LARGE, TOPIC_AUTHORIZATION_FAILED.
        station.broker.failProduceRequests([10, 29, 10])
        _ = try station.report("ada", [Position(lat: home.lat + 0.0001, lon: home.lon)])
        station.turn("the newest state") { station.events(of: "ada").last?.lat == home.lat + 0.0001 }
    }

    /// Whoever announces while it is refused is merged, in bounds, and seen in the gauge; the order of a driver holds.
    @Test func issue10_whatWaitsIsConflatedCountedAndSentInOrder() throws {
        let broker = try EmbeddedBroker(topics: [
            TopicSpecification(name: "driver_locations", partitions: 2, replicationFactor: 1)
        ])
        defer { broker.stop() }
        broker.failTopic("driver_locations", 3)
        let loop = try EventLoop()
        let configuration = KafkaConfiguration(
            bootstrapServers: broker.bootstrapServers,
            properties: EmbeddedBroker.properties + [KafkaProperty("topic.metadata.propagation.max.ms", "0")])
        let producer = try KafkaProducer(loop: loop, configuration: configuration)
        let announcer = KafkaAnnouncer(loop: loop, producer: producer)
        var drivers = (0..<1_000).map { number in
            let profile = DriverProfile(
                id: "d\(number)", name: "Ada",
                vehicle: Vehicle(make: "Skoda", model: "Octavia", color: "white", plate: "", category: "standard"))
            return Driver(profile: profile, position: home, measuredAt: 1, updatedAt: 1, revision: 1)
        }
        announcer.driver = { drivers[Int($0)] }
        func announceAll() {
            for slot in drivers.indices {
                drivers[slot].revision += 1
                announcer.announce(Int32(slot), drivers[slot], .location, .none)
            }
        }
        func turn(_ nanoseconds: UInt64, until isDone: () -> Bool = { false }) {
            var isOver = false
            let timer = loop.schedule(after: nanoseconds) { isOver = true }
            while !isOver && !isDone() { loop.turn() }
            loop.cancel(timer)
        }
        var newest: [String: UInt64] = [:]
        var isInOrder = true
        let consumer = try KafkaConsumer(
            loop: loop, configuration: configuration, topic: "driver_locations", start: .beginning)
        consumer.onRecord = { record in
            guard case .driverLocationUpdate(let update)? = try? RideEvent(decoding: record.value) else { return }
            if newest[update.driverID, default: 0] >= update.seq { isInOrder = false }
            newest[update.driverID] = update.seq
        }

        announceAll()
        turn(3_000_000_000) { announcer.backlog == 1_000 }
        let handedOver = announcer.metrics.events.value
        let busy = loop.statistics.turnTime
        for _ in 0..<5 {
            turn(1_000_000_000)
            announceAll()
            #expect(announcer.backlog == 1_000)
            #expect(announcer.metrics.backlog.value == 1_000)
        }
        #expect(announcer.metrics.mergedEvents.value >= 4_900)
        // A few as a probe after each back-off.
        #expect(announcer.metrics.events.value - handedOver <= 12 * 8)
        #expect(loop.statistics.turnTime - busy < 3_000_000_000)
        broker.failTopic("driver_locations", 0)
        turn(30_000_000_000) { newest.count == 1_000 && newest.values.allSatisfy { $0 == 7 } }
        #expect(newest.count == 1_000 && newest.values.allSatisfy { $0 == 7 })
        #expect(isInOrder)
        #expect(announcer.backlog == 0 && announcer.metrics.backlog.value == 0)
        var isClosed = false
        producer.close(timeout: .zero) { _ in consumer.close { isClosed = true } }
        turn(10_000_000_000) { isClosed }
    }
}
