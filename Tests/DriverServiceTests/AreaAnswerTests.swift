import Basics
import ProtobufWire
import RideAPI
import RideDomain
import Testing

@testable import DriverService

/// Whatever is asked for, the answer about areas is bounded in bytes and in work, and says what is missing.
@Suite struct AreaAnswerTests {
    private static let now = Moment(wall: 1_795_000_000_000, monotonic: 1)

    /// A town of free cars, about 20 km wide.
    private static func town(_ count: Int, nameLength: Int = 0) -> DriverRegistry {
        var registry = DriverRegistry(revisions: RevisionCounter(reserved: 0, wall: now.wall))
        var random = SplitMix(seed: 7)
        for number in 0..<count {
            let profile = DriverProfile(
                id: "driver-\(1_000_000 + number)",
                name: "Driver number \(number)" + String(repeating: "x", count: nameLength),
                vehicle: Vehicle(
                    make: "Volkswagen", model: "ID.3", color: "grey", plate: "B-X \(number)", category: "standard"))
            let position = Position(
                lat: 52.4 + Double.random(in: 0...0.2, using: &random),
                lon: 13.2 + Double.random(in: 0...0.3, using: &random))
            _ = registry.register(profile, position: position.rounded, at: now)
        }
        return registry
    }

    private func answer(
        _ request: Driver_V1_ListDriversInAreasRequest, _ registry: inout DriverRegistry,
        work: Int = DriverLimits.areaWork
    ) throws -> (response: Driver_V1_ListDriversInAreasResponse, bytes: Int) {
        var encoder = DriverListEncoder(.whole)
        var answer = AreaAnswer(request, work: work)
        try answer.encode(&registry, into: &encoder)
        var bytes: [UInt8] = []
        encoder.endAreas(Driver_V1_ListDriversInAreasResponse(revision: registry.revision)) { span in
            bytes = span.indices.map { span[$0] }
        }
        return (try Driver_V1_ListDriversInAreasResponse(decoding: bytes.span), bytes.count)
    }

    /// What is above 4 MiB no gRPC peer takes: the call for a whole town failed for ever. (Of 28,000 cars, or of fewer with
    /// long names.)
    @Test func issue10_aWholeTownIsRefusedOrTooMany() throws {
        var registry = Self.town(6_000, nameLength: 700)
        let earth = Driver_V1_Box(.everywhere)
        #expect(throws: DriverError.self) {
            try answer(Driver_V1_ListDriversInAreasRequest(areas: [earth]), &registry)
        }
        let partial = try answer(Driver_V1_ListDriversInAreasRequest(areas: [earth], partial: true), &registry)
        #expect(partial.response.areas.map(\.outcome) == [.tooMany] && partial.bytes < 100)
        // Nor does the list of ten thousand of them pass it.
        let found = registry.findAvailable(in: .everywhere, limit: 10_000).found
        var encoder = DriverListEncoder(.whole)
        var bytes = 0
        encoder.encode(found, of: registry, Driver_V1_FindAvailableDriversResponse()) { bytes = $0.count }
        #expect(bytes <= 4 << 20 && bytes > 4_000_000)
    }

    /// 148 kB of boxes were 500 MB of answer.
    @Test func issue10_manyWholeTownsAreBoundedInBytesAndInWork() throws {
        var registry = Self.town(2_000)
        let earth = Driver_V1_Box(.everywhere)
        let many = [Driver_V1_Box](repeating: earth, count: 4_000)
        #expect(throws: DriverError.self) {
            try DriverRequests.check(Driver_V1_ListDriversInAreasRequest(areas: many, partial: true))
        }
        let most = Array(many.prefix(DriverLimits.areas))
        #expect(throws: DriverError.self) {
            try answer(Driver_V1_ListDriversInAreasRequest(areas: most), &registry)
        }
        let partial = try answer(Driver_V1_ListDriversInAreasRequest(areas: most, partial: true), &registry)
        #expect(partial.bytes <= DriverLimits.areaAnswerBytes + most.count * 8)
        #expect(partial.response.areas.count == most.count)
        #expect(partial.response.areas.first?.drivers.count == 2_000)
        #expect(partial.response.areas.last?.outcome == .notReached)
        // Boxes without anybody cost work too: cells that are looked at count.
        let empty = [Driver_V1_Box](
            repeating: Driver_V1_Box(Box(west: -100, south: 0, east: 0, north: 50)), count: 1_000)
        let bounded = try answer(
            Driver_V1_ListDriversInAreasRequest(areas: empty, partial: true), &registry, work: 10_000)
        #expect(bounded.response.areas.first?.outcome == .unspecified)
        #expect(bounded.response.areas.last?.outcome == .notReached)
    }

    @Test func eachAreaSaysWhatBecameOfIt() throws {
        var registry = Self.town(500)
        let town = Driver_V1_Box(Box(west: 13.2, south: 52.4, east: 13.5, north: 52.6))
        let sea = Driver_V1_Box(Box(west: 0, south: 0, east: 1, north: 1))
        let wrong = Driver_V1_Box(Box(west: 0, south: 1, east: 1, north: 0))
        let request = Driver_V1_ListDriversInAreasRequest(
            areas: [town, sea, wrong, sea], partial: true, maxDriversPerArea: 499)
        let answered = try answer(request, &registry).response
        #expect(answered.areas.map(\.outcome) == [.tooMany, .unspecified, .failed, .unspecified])
        var enough = request
        enough.maxDriversPerArea = 500
        #expect(try answer(enough, &registry).response.areas.map(\.drivers.count) == [500, 0, 0, 0])
        // Who does not read outcomes gets everything or an error.
        #expect(throws: DriverError.self) {
            try answer(Driver_V1_ListDriversInAreasRequest(areas: [wrong]), &registry)
        }
    }
}
