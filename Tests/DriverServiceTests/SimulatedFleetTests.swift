import RideAPI
import RideDomain
import Testing

@testable import DriverService

/// Simulated drivers through the real streams.
@Suite(.serialized) struct SimulatedFleetTests {
    static let publicFolder = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/public"

    @Test func theyDriveOnceAndARestartAddsNone() throws {
        let station = try Station([
            "CABSTAND_SIMULATED_DRIVERS": "12", "CABSTAND_PUBLIC_DIR": Self.publicFolder,
        ])
        defer { station.close() }
        station.turn("all of them") { station.events.filter { $0.reason == .registered }.count == 12 }
        let start = try station.driver("sim-0001")
        try station.wait(for: "sim-0001") { $0.lat != start.lat && $0.speed != nil && $0.heading != nil }
        try station.restart()
        let moved = try station.driver("sim-0001")
        try station.wait(for: "sim-0001") { $0.lat != moved.lat }
        #expect(try station.availableIDs().count == 12)
    }

    @Test func aTripIsLearnedDrivenPickedUpAndCompleted() throws {
        let station = try Station([
            "CABSTAND_SIMULATED_DRIVERS": "2", "CABSTAND_PUBLIC_DIR": Self.publicFolder,
        ])
        defer { station.close() }
        station.trips.onChange = { trip, kind in station.publish(trip, kind) }
        station.turn { station.events.filter { $0.reason == .location }.count >= 4 }
        // From where the car is to a place round the corner.
        let car = try station.driver("sim-0002")
        let pickup = Position(lat: car.lat, lon: car.lon)
        let dropoff = Position(lat: car.lat + 0.0005, lon: car.lon)
        station.publish(station.trips.add("ride", driver: "sim-0002", pickup: pickup, dropoff: dropoff), .created)
        station.turn("the pick-up") { station.trips.trips["ride"]?.pickedUpAt != nil }
        station.turn("the end") { station.trips.trips["ride"]?.status == .completed }
        try station.wait(for: "sim-0002") { $0.status == .available }
        station.trips.onChange = { _, _ in }
    }
}
