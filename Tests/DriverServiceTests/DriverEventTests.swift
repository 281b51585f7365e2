import GRPCRuntime
import RideAPI
import RideDomain
import Telemetry
import Testing

@testable import DriverService

/// What the driver service makes of events and silence, and what it tells: behaviours 32, 38, 39–39b.
@Suite(.serialized) struct DriverEventTests {
    func north(_ metres: Double) -> Position { Position(lat: home.lat + metres / 111_195, lon: home.lon).rounded }

    @Test func everyChangeIsAnnouncedInOrderWithAGrowingSeq() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        _ = try station.report("ada", [north(10), north(20)])
        let _: Driver_V1_UpdateDriverStatusResponse = try station.answer {
            station.client.updateDriverStatus(
                Driver_V1_UpdateDriverStatusRequest(driverID: "ada", status: .offline), $0)
        }
        station.turn("four events") { station.events(of: "ada").count >= 4 }
        let events = station.events(of: "ada")
        #expect(events.map(\.reason) == [.registered, .location, .location, .status])
        #expect(events.map(\.seq) == events.map(\.seq).sorted() && Set(events.map(\.seq)).count == 4)
        #expect(events.map(\.status) == [.available, .available, .available, .offline])
        #expect(events[2].lat == north(20).lat && Set(events.map(\.eventID)).count == 4)
    }

    /// A change that a request, a stream or an event made is announced with the trace of it.
    @Test func aChangeIsAnnouncedWithTheTraceOfWhatMadeIt() throws {
        let station = try Station()
        defer { station.close() }
        func parent(_ digit: Character) -> String { "00-\(String(repeating: digit, count: 32))-00f067aa0ba902b7-01" }
        var options = CallOptions()
        options.metadata.add("traceparent", parent("1"))
        let _: Driver_V1_RegisterDriverResponse = try station.answer {
            station.client.registerDriver(
                Driver_V1_RegisterDriverRequest(
                    id: "ada", name: "Ada", vehicle: Station.vehicle, lat: home.lat, lon: home.lon), options: options,
                $0)
        }
        _ = try station.report("ada", [north(10)])
        // What is known of trips is known by events alone: a comparison that came first would have no trace.
        station.trips.isAway = true
        let created = station.trips.add("t1", driver: "ada")
        station.publish(created, .created, trace: TraceContext(Array(parent("2").utf8).span))
        try station.wait(for: "ada") { $0.status == .unavailable }
        station.publish(try #require(station.trips.change("t1", .completed)), .completed)
        try station.wait(for: "ada") { $0.status == .available }
        options.metadata = Metadata()
        options.metadata.add("traceparent", parent("3"))
        let _: Driver_V1_UpdateDriverStatusResponse = try station.answer {
            station.client.updateDriverStatus(
                Driver_V1_UpdateDriverStatusRequest(driverID: "ada", status: .offline), options: options, $0)
        }
        station.turn("five events") { station.events.count >= 5 }
        #expect(
            station.traces.map { $0.isNone ? "" : $0.traceparent } == [parent("1"), "", parent("2"), "", parent("3")])
    }

    @Test func positionsAndTheSilenceBehindThemHaveTheTraceOfTheirStream() throws {
        let station = try Station(["CABSTAND_DRIVER_TTL_S": "1"])
        defer { station.close() }
        try station.register("ada")
        station.turn("the registration") { station.events.count == 1 }
        let parent = "00-\(String(repeating: "5", count: 32))-00f067aa0ba902b7-01"
        var options = CallOptions()
        options.metadata.add("traceparent", parent)
        for isBidirectional in [true, false] {
            let before = station.events.count
            let position = Driver_V1_ReportLocationsRequest(driverID: "ada", lat: home.lat, lon: home.lon)
            if isBidirectional {
                station.client.streamLocations(options: options, onMessage: { _ in }, onEnd: { _ in }).send(position)
            } else {
                station.client.reportLocations(options: options).send(position)
            }
            station.turn("the silence") { station.events.last?.reason == .expired && station.events.count > before + 1 }
            #expect(station.events[before...].map(\.reason) == [.location, .expired])
            #expect(station.traces[before...].map(\.traceparent) == [parent, parent])
        }
        // What has no trace takes over nobody's.
        let before = station.events.count
        _ = try station.report("ada", [home])
        station.turn("the silence") { station.events.count > before + 1 }
        #expect(station.traces[before...].map(\.isNone) == [true, true])
    }

    @Test func behaviour39_silenceExpiresOnceAndTheNextPositionReturns() throws {
        let station = try Station(["CABSTAND_DRIVER_TTL_S": "1"])
        defer { station.close() }
        try station.register("ada")
        try station.register("bob")
        _ = try station.report("ada", [north(10)])
        try station.wait(for: "ada") { $0.status == .offline }
        station.pause(2_500)
        #expect(try station.availableIDs() == ["bob"])
        #expect(station.events(of: "ada").filter { $0.reason == .expired }.count == 1)
        #expect(station.events(of: "bob").allSatisfy { $0.reason == .registered })
        _ = try station.report("ada", [north(20)])
        #expect(try station.availableIDs() == ["ada", "bob"])
    }

    @Test func behaviour39_theTimeToLiveCountsAnewAfterARestart() throws {
        let station = try Station(["CABSTAND_DRIVER_TTL_S": "3"])
        defer { station.close() }
        try station.register("ada")
        _ = try station.report("ada", [north(10)])
        station.pause(2_000)
        try station.restart()
        #expect(try station.availableIDs() == ["ada"])
        try station.wait(for: "ada") { $0.status == .offline }
    }

    @Test func behaviour39a_olderAndRepeatedEventsChangeNothing() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        let created = station.trips.add("t1", driver: "ada")
        station.publish(created, .created)
        try station.wait(for: "ada") { $0.activeTripID == "t1" && $0.status == .unavailable }
        let refused = station.refusal {
            station.client.updateDriverStatus(
                Driver_V1_UpdateDriverStatusRequest(driverID: "ada", status: .offline), $0)
        }
        #expect(refused.0 == .failedPrecondition && refused.1?.code == "driver-on-trip")
        #expect(refused.1?.metadata["active_trip_id"] == "t1")
        let completed = try #require(station.trips.change("t1", .completed))
        station.publish(completed, .completed)
        try station.wait(for: "ada") { $0.status == .available }
        station.publish(created, .created)
        station.publish(completed, .completed)
        let next = station.trips.add("t2", driver: "ada")
        station.publish(next, .created)
        try station.wait(for: "ada") { $0.activeTripID == "t2" }
        station.turn { station.events(of: "ada").last?.status == .unavailable && station.events(of: "ada").count >= 4 }
        #expect(station.events(of: "ada").map(\.status) == [.available, .unavailable, .available, .unavailable])
    }

    @Test func behaviour32_whatCannotBeReadIsSkipped() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        for bad in ["not json", "{\"type\":\"TripCreated\"}", "{\"type\":\"SomethingNew\",\"x\":1}", ""] {
            station.publish(Array(bad.utf8), key: "ada")
        }
        station.publish(station.trips.add("t1", driver: "ada"), .created)
        try station.wait(for: "ada") { $0.activeTripID == "t1" }
    }

    /// The trip and how far was read are stored together: whatever moment a kill hits, nothing is missed.
    @Test func tripsAndOffsetsSurviveAKill() throws {
        let station = try Station()
        defer { station.close() }
        for number in 0..<4 { try station.register("d\(number)") }
        for number in 0..<3 {
            station.publish(station.trips.add("t\(number)", driver: "d\(number)"), .created)
            try station.wait(for: "d\(number)") { $0.status == .unavailable }
        }
        try station.restart(afterKill: true)
        // Missed meanwhile: one trip ends, another begins.
        station.publish(try #require(station.trips.change("t0", .completed)), .completed)
        station.publish(station.trips.add("t3", driver: "d3"), .created)
        try station.wait(for: "d0") { $0.status == .available }
        try station.wait(for: "d3") { $0.activeTripID == "t3" }
        #expect(try station.driver("d1").activeTripID == "t1")
        #expect(try station.availableIDs() == ["d0"])
    }

    @Test func behaviour39b_afterANewClusterTheTripServicesListMakesItRight() throws {
        let station = try Station()
        defer { station.close() }
        for number in 0..<6 { try station.register("d\(number)") }
        station.publish(station.trips.add("old", driver: "d0"), .created)
        try station.wait(for: "d0") { $0.status == .unavailable }
        // Everything from now on happens while the driver service is away, and Kafka loses it all.
        _ = station.trips.change("old", .completed)
        for number in 1..<6 { _ = station.trips.add("t\(number)", driver: "d\(number)") }
        try station.restart(newCluster: true)
        for number in 1..<6 { try station.wait(for: "d\(number)") { $0.activeTripID == "t\(number)" } }
        try station.wait(for: "d0") { $0.status == .available }
        // The new cluster is read from its beginning.
        station.publish(try #require(station.trips.change("t1", .cancelled)), .cancelled)
        try station.wait(for: "d1") { $0.status == .available }
    }

    @Test func whileKafkaIsAwayEverythingWorksAndTheNewestStateArrivesAfterwards() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        station.turn { station.events(of: "ada").count == 1 }
        station.broker.setReachable(false)
        for step in 1...20 { _ = try station.report("ada", [north(Double(step) * 5)]) }
        #expect(try station.driver("ada").lat == north(100).lat)
        try station.register("bob")
        station.broker.setReachable(true)
        station.turn("the newest state") { station.events(of: "ada").last?.lat == north(100).lat }
        station.turn("the new driver") { !station.events(of: "bob").isEmpty }
        let seqs = station.events(of: "ada").map(\.seq)
        #expect(seqs == seqs.sorted())
    }

    @Test func revisionsGrowAcrossRestarts() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        var last: UInt64 = 0
        for _ in 0..<3 {
            let list: Driver_V1_FindAvailableDriversResponse = try station.answer {
                station.client.findAvailableDrivers(Driver_V1_FindAvailableDriversRequest(), $0)
            }
            #expect(list.revision > last)
            last = list.revision
            _ = try station.report("ada", [north(10)])
            try station.restart(afterKill: last % 2 == 0)
        }
    }
}
