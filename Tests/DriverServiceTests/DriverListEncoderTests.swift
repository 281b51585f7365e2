import ProtobufWire
import RideAPI
import RideDomain
import Testing

@testable import DriverService

/// Lists that are put together from encoded parts are, byte for byte, the messages that they stand for.
@Suite struct DriverListEncoderTests {
    private let now = Moment(wall: 1_795_000_000_000, monotonic: 1)

    private func registry() -> DriverRegistry {
        var registry = DriverRegistry(revisions: RevisionCounter(reserved: 0, wall: now.wall))
        for number in 0..<5 {
            let profile = DriverProfile(
                id: "d\(number)", name: number == 1 ? "" : String(repeating: "Ä", count: number * 40),
                vehicle: Vehicle(make: "Škoda", model: "", color: "grey", plate: "B-\(number)", category: "standard"))
            _ = registry.register(profile, position: Position(lat: number == 2 ? 0 : 52.5, lon: 13.4), at: now)
        }
        let point = LocationPoint(position: Position(lat: 52.500001, lon: 13.4), heading: 90, speed: 0)
        #expect(registry.report(3, point, at: now) == nil)
        _ = registry.apply(TripFact(driverID: "d4", tripID: "t1", seq: 1, isActive: true), at: now)
        return registry
    }

    @Test func foundDriversAreTheBytesOfTheMessage() {
        var registry = registry()
        var encoder = DriverListEncoder(.whole)
        // The second time from what the first has kept.
        for area in [Area.everywhere, .around(Position(lat: 52.51, lon: 13.4), radius: nil), .everywhere] {
            let found = registry.findAvailable(in: area, limit: 10).found
            #expect(found.count == 4)
            var response = Driver_V1_FindAvailableDriversResponse(
                revision: registry.revision, asOf: Google_Protobuf_Timestamp(unixMilliseconds: now.wall),
                truncated: true)
            var bytes: [UInt8] = []
            encoder.encode(found, of: registry, response) { span in bytes = span.indices.map { span[$0] } }
            response.drivers = found.map { choice in
                var driver = Driver_V1_Driver(registry[choice.slot], seenAs: .whole)
                driver.distanceM = choice.distance.map { ($0 * 10).rounded() / 10 }
                return driver
            }
            #expect(bytes == response.encoded())
        }
    }

    @Test func areasAreTheBytesOfTheMessage() {
        let registry = registry()
        var encoder = DriverListEncoder(.whole)
        let areas: [[Int32]] = [[0, 1, 2], [], [4], [0, 1, 2, 3, 4]]
        var response = Driver_V1_ListDriversInAreasResponse(revision: registry.revision)
        var bytes: [UInt8] = []
        encoder.beginAreas()
        for slots in areas {
            let fits = encoder.appendArea(slots, of: registry, maximumBytes: 1 << 20)
            #expect(fits)
        }
        // An area that does not fit leaves nothing behind.
        let fits = encoder.appendArea([0, 1, 2, 3, 4], of: registry, maximumBytes: 900)
        #expect(!fits)
        encoder.appendArea(.notReached)
        encoder.endAreas(response) { span in bytes = span.indices.map { span[$0] } }
        response.areas = areas.map { slots in
            Driver_V1_DriversInArea(drivers: slots.map { Driver_V1_Driver(registry[$0], seenAs: .whole) })
        }
        response.areas.append(Driver_V1_DriversInArea(outcome: .notReached))
        #expect(bytes == response.encoded())
    }

    /// Every gRPC peer takes 4 MiB: a list that would be longer is cut, and says so.
    @Test func aListNeverPassesWhatAMessageMayHold() throws {
        var registry = registry()
        var encoder = DriverListEncoder(.whole)
        let found = registry.findAvailable(in: .everywhere, limit: 10).found
        let response = Driver_V1_FindAvailableDriversResponse(revision: registry.revision)
        var bytes: [UInt8] = []
        encoder.encode(found, of: registry, response, maximumBytes: 400) { span in
            bytes = span.indices.map { span[$0] }
        }
        let cut = try Driver_V1_FindAvailableDriversResponse(decoding: bytes.span)
        #expect(cut.truncated && cut.drivers.count < found.count && !cut.drivers.isEmpty && bytes.count < 450)
    }
}
