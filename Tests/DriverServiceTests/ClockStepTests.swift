import Bytes
import ProtobufWire
import Reactor
import ReactorSim
import RideAPI
import RideDomain
import Storage
import Telemetry
import Testing

@testable import DriverService

/// Behaviour 53: a step of a clock, the server's or a phone's, expires nobody and freezes nobody. The driver service's rules
/// in virtual time.
@Suite struct ClockStepTests {
    private static let hour: Int64 = 3_600_000
    private static let steps = [1_000, 60_000, 61_000, 120_000, hour, 10 * 365 * 24 * hour].flatMap { [$0, -$0] }

    /// Drivers that drive north, each with a phone.
    private final class Town: DriverRepository, DriverAnnouncer {
        let network = SimulatedNetwork(seed: 53)
        let loop: EventLoop
        private(set) var book: DriverBook!
        private(set) var expired: [String] = []
        /// Positions that were dropped, by driver.
        private(set) var dropped: [Int32: [LocationDrop]] = [:]
        private(set) var isInOrder = true
        private var revision: UInt64 = 0
        private var reports: [LocationReport] = []
        /// What each phone's clock is ahead of the truth by, milliseconds.
        var phones: [Int64]
        private var metres = 0.0

        init(_ drivers: Int) throws {
            loop = try network.makeLoop()
            phones = [Int64](repeating: 0, count: drivers)
            book = DriverBook(
                loop: loop, repository: self, announcer: self, stored: StoredDrivers(), timeToLive: 60_000)
            loop.turn()
            for number in 0..<drivers {
                let vehicle = Vehicle(make: "VW", model: "ID.4", color: "white", plate: "X", category: "standard")
                let profile = DriverProfile(id: "d\(number)", name: "Ada", vehicle: vehicle)
                loop.start { [book] in _ = try? await book?.register(profile, position: home, deadline: .max) }
                reports.append(LocationReport(book: book))
            }
        }

        /// The true time, Unix milliseconds: what the server's wall clock says until it is set.
        var truth: Int64 { 1_700_000_000_000 + Int64(network.now / 1_000_000) }
        var serverIsAhead: Int64 {
            get { network.wallClockStart - 1_700_000_000_000 }
            set { network.wallClockStart = 1_700_000_000_000 + newValue }
        }

        /// Seconds in which each of `drivers` sends its position once, as an app does: a message of a stream.
        func drive(_ seconds: Int, _ drivers: Range<Int32>? = nil) throws {
            for _ in 0..<seconds {
                network.run(for: 1_000_000_000)
                loop.turn()
                metres += 10
                for slot in drivers ?? 0..<Int32(phones.count) {
                    let message = Driver_V1_ReportLocationsRequest(
                        driverID: "d\(slot)", lat: home.lat + metres / 111_195, lon: home.lon,
                        at: Google_Protobuf_Timestamp(unixMilliseconds: truth + phones[Int(slot)]))
                    let before = reports[Int(slot)].response.dropped
                    try reports[Int(slot)].take(message)
                    for (word, count) in reports[Int(slot)].response.dropped where before[word] != count {
                        dropped[slot, default: []].append(LocationDrop(rawValue: word) ?? .invalid)
                    }
                }
            }
        }

        func shown(_ slot: Int32) -> Double { (book.registry[slot].position.lat - home.lat) * 111_195 }
        var driven: Double { metres }

        // MARK: The repository and the announcer

        func insert(_ driver: Driver, deadline: UInt64?) async throws(StorageError) {}
        func saveStates(_ drivers: [Driver], deadline: UInt64?) async throws(StorageError) {}
        func saveTrips(_ trips: [TripProjection], cursor: EventCursor?, epoch: UInt64?) async throws(StorageError) {}
        func reserveRevision(_ revision: UInt64) async throws(StorageError) {}
        func probe(writing: Bool) async throws(StorageError) {}
        func close() async {}

        func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext) {
            if reason == .expired { expired.append(driver.id) }
            isInOrder = isInOrder && driver.revision > revision
            revision = driver.revision
        }
    }

    @Test(arguments: steps)
    func aServerClockThatIsSetEmptiesNoList(step: Int64) throws {
        let town = try Town(20)
        try town.drive(100)
        town.serverIsAhead = step
        try town.drive(150)
        #expect(town.book.registry.availableCount == 20 && town.expired.isEmpty)
        #expect(town.dropped.isEmpty && town.isInOrder)
        for slot in 0..<20 as Range<Int32> {
            let driver = town.book.registry[slot]
            // What is shown is the server's wall clock, whatever it says.
            #expect(abs(driver.updatedAt - town.truth - step) <= 1_200)
            #expect(driver.updatedAt - driver.measuredAt <= 1_000)
            #expect(abs(town.shown(slot) - town.driven) < 1)
        }
        town.serverIsAhead = 0
        try town.drive(150)
        #expect(town.book.registry.availableCount == 20 && town.expired.isEmpty && town.dropped.isEmpty)
    }

    @Test(arguments: steps)
    func aPhoneWhoseClockIsWrongOrSetIsFollowed(step: Int64) throws {
        let town = try Town(3)
        // One was always wrong, one is set later, one is right.
        town.phones[0] = step
        try town.drive(100)
        town.phones[1] = step
        try town.drive(100)
        #expect(town.book.registry.availableCount == 3 && town.expired.isEmpty)
        for slot in 0..<3 as Range<Int32> {
            #expect(abs(town.shown(slot) - town.driven) < 1)
            #expect(town.dropped[slot, default: []].count <= (slot == 2 ? 0 : 2), "\(town.dropped)")
        }
    }

    /// Silence is measured by the clock that nobody sets.
    @Test(arguments: steps)
    func whoIsSilentForAMinuteExpiresThenWhateverTheClockSays(step: Int64) throws {
        let town = try Town(2)
        try town.drive(10)
        town.serverIsAhead = step
        try town.drive(58, 0..<1)
        #expect(town.expired.isEmpty)
        try town.drive(4, 0..<1)
        #expect(town.expired == ["d1"])
        try town.drive(1)
        #expect(town.book.registry.availableCount == 2)
    }

    /// The wall clock is wrong when the service starts: apps go on sending what their clocks say.
    @Test(arguments: steps)
    func aServiceThatStartsWithAWrongClockFollowsItsDrivers(step: Int64) throws {
        let town = try Town(5)
        town.serverIsAhead = step
        try town.drive(100)
        #expect(town.book.registry.availableCount == 5 && town.expired.isEmpty)
        for slot in 0..<5 as Range<Int32> {
            #expect(town.dropped[slot, default: []].count <= 2)
            #expect(abs(town.shown(slot) - town.driven) < 1)
        }
    }

    /// A clock that says what no clock says ends nothing: its numbers are shown, or cut to what can be shown.
    @Test(arguments: [.min + 3_000_000_000_000, -1, 0, 253_402_300_800_000, .max - 3_000_000_000_000] as [Int64])
    func aClockAtTheEndsOfNumbersEndsNothing(wall: Int64) throws {
        let town = try Town(3)
        try town.drive(5)
        town.network.wallClockStart = wall
        try town.drive(70, 0..<2)
        #expect(town.expired == ["d2"])
        #expect(town.book.registry.availableCount == 2)
        for slot in 0..<3 as Range<Int32> {
            let driver = town.book.registry[slot]
            #expect(
                Driver_V1_Driver(driver, seenAs: .whole).encoded().count > 0
                    && Driver_V1_WatchDriverResponse(driver).encoded().count > 0)
            var event = ByteBuffer()
            DriverLocationUpdate(
                eventID: town.book.makeID(), seq: driver.revision, at: driver.updatedAt, driverID: driver.id,
                lat: driver.position.lat, lon: driver.position.lon, status: .available, reason: .location
            ).encode(into: &event)
            #expect(throws: Never.self) { try RideEvent(decoding: event.span) }
        }
        var revisions = RevisionCounter(reserved: .max, wall: wall)
        #expect(revisions.next() < RevisionCounter.bound)
    }
}

/// What only a program sends that is not ours: numbers at their ends, and what is no number.
@Suite struct HostileNumberTests {
    private static let reals =
        [
            .nan, .signalingNaN, .infinity, -.infinity, 1e308, -1e308, .leastNonzeroMagnitude, -0.0, 90.000_000_1,
            -180.000_000_1,
            9.3e18,
        ] as [Double]
    private static let instants = [
        Google_Protobuf_Timestamp(seconds: .min, nanos: .min), Google_Protobuf_Timestamp(seconds: .max, nanos: .max),
        Google_Protobuf_Timestamp(seconds: 0, nanos: .min),
        Google_Protobuf_Timestamp(seconds: 253_402_300_799, nanos: .max),
    ]

    private func makeRegistry() -> DriverRegistry {
        let now = Moment(wall: 1_700_000_000_000, monotonic: 1_000_000_000)
        var registry = DriverRegistry(revisions: RevisionCounter(reserved: 0, wall: now.wall))
        let vehicle = Vehicle(make: "VW", model: "ID.4", color: "white", plate: "X", category: "standard")
        for number in 0..<50 {
            let profile = DriverProfile(id: "d\(number)", name: "Ada", vehicle: vehicle)
            _ = registry.register(profile, position: Position(lat: Double(number), lon: Double(number)), at: now)
        }
        return registry
    }

    @Test func anAreaThatIsNoneIsRefused() throws {
        var registry = makeRegistry()
        var lists = DriverListEncoder(.whole)
        for first in Self.reals {
            for second in Self.reals + [0, 89] {
                for request in [
                    Driver_V1_FindAvailableDriversRequest(lat: first, lon: second),
                    Driver_V1_FindAvailableDriversRequest(lat: second, lon: first, radiusM: second),
                    Driver_V1_FindAvailableDriversRequest(lat: 1, lon: 1, radiusM: first),
                    Driver_V1_FindAvailableDriversRequest(
                        box: Driver_V1_Box(west: first, south: second, east: second, north: first)),
                    Driver_V1_FindAvailableDriversRequest(
                        box: Driver_V1_Box(west: 10, south: first, east: -10, north: second)),
                    Driver_V1_FindAvailableDriversRequest(limit: .max),
                ] {
                    guard let question = try? DriverRequests.find(request) else { continue }
                    let answer = registry.findAvailable(in: question.query.area, limit: question.query.limit)
                    #expect(answer.found.count <= question.query.limit)
                }
                var answer = AreaAnswer(
                    Driver_V1_ListDriversInAreasRequest(
                        areas: [Driver_V1_Box(west: first, south: second, east: first, north: second)], partial: true,
                        maxDriversPerArea: .max))
                try answer.encode(&registry, into: &lists)
                _ = try? DriverRequests.profile(
                    Driver_V1_RegisterDriverRequest(name: "Ada", lat: first, lon: second)
                ) { "d" }
            }
        }
        #expect(throws: DriverError.self) { try DriverRequests.page(Driver_V1_ListDriversRequest(pageSize: .max)) }
    }

    @Test func aPositionThatIsNoneIsDropped() {
        var registry = makeRegistry()
        var now = Moment(wall: 1_700_000_000_000, monotonic: 1_000_000_000)
        for real in Self.reals {
            for at in Self.instants {
                for message in [
                    Driver_V1_ReportLocationsRequest(driverID: "d1", lat: real, lon: 1, at: at),
                    Driver_V1_ReportLocationsRequest(driverID: "d1", lat: 1, lon: real, at: at),
                    Driver_V1_ReportLocationsRequest(driverID: "d1", lat: 1, lon: 1, heading: real, at: at),
                    Driver_V1_ReportLocationsRequest(
                        driverID: "d1", lat: 1, lon: 1, speed: real, accuracy: real, at: at),
                ] {
                    now = now.advanced(by: 1_000)
                    _ = registry.report(1, LocationPoint(message), at: now)
                    #expect(registry[1].position.isValid && registry[1].heading?.isFinite != false)
                }
            }
        }
    }
}
