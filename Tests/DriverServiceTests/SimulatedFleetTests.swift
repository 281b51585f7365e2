import DriverSimulator
import Operations
import RideAPI
import RideDomain
import Settings
import Testing

@testable import DriverService

/// Simulated drivers through the real streams.
@Suite(.serialized) struct SimulatedFleetTests {
    static let publicFolder = #filePath.split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 } + "/public"

    private func simulator(_ count: Int, _ station: Station) throws -> SimulatorServer {
        let environment = [
            "CABSTAND_SIMULATED_DRIVERS": "\(count)", "CABSTAND_PUBLIC_DIR": Self.publicFolder,
            "CABSTAND_TRIP_SERVICE": "\(station.tripAddress)", "CABSTAND_AUTH": "off",
        ]
        guard case .run(let settings) = try SettingsDeclaration.simulator.read(arguments: [], environment: environment)
        else { preconditionFailure("a help text was not asked for") }
        let server = try SimulatorServer(settings: settings, driverService: station.server.grpcAddress)
        try server.start()
        return server
    }

    private func end(_ simulator: SimulatorServer, _ station: Station) {
        let ended = Flag()
        simulator.drain { ended.set() }
        station.turn("the drivers' end") { ended.isSet }
    }

    @Test func theyDriveOnceAndARestartAddsNone() throws {
        let station = try Station()
        defer { station.close() }
        let first = try simulator(12, station)
        station.turn("all of them") { station.events.filter { $0.reason == .registered }.count == 12 }
        let start = try station.driver("sim-0001")
        try station.wait(for: "sim-0001") { $0.lat != start.lat && $0.speed != nil && $0.heading != nil }
        end(first, station)
        try station.restart()
        let second = try simulator(12, station)
        defer { end(second, station) }
        let moved = try station.driver("sim-0001")
        try station.wait(for: "sim-0001") { $0.lat != moved.lat }
        #expect(try station.availableIDs().count == 12)
    }

    @Test func aTripIsLearnedDrivenPickedUpAndCompleted() throws {
        let station = try Station()
        defer { station.close() }
        let drivers = try simulator(2, station)
        defer { end(drivers, station) }
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
