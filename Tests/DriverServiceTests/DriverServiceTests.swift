import GRPCRuntime
import RideAPI
import RideDomain
import TestSupport
import Testing

@testable import DriverService

/// driver.v1 over real connections: what each method answers, and what it refuses.
@Suite(.serialized) struct DriverServiceTests {
    func north(_ metres: Double) -> Position { Position(lat: home.lat + metres / 111_195, lon: home.lon).rounded }

    @Test func registrationIsIdempotentDurableAndMakesAnIDWhenNoneIsGiven() throws {
        let station = try Station()
        defer { station.close() }
        let first = try station.register("ada")
        #expect(first.created && first.driver?.status == .available && first.driver?.lat == home.lat)
        let again = try station.register("ada", at: north(500))
        #expect(!again.created && again.driver?.lat == home.lat)
        let made = try #require(try station.register(nil).driver)
        #expect(made.id.count == 36 && made.present)
        try station.restart(afterKill: true)
        #expect(try station.driver("ada").vehicle == Station.vehicle)
        #expect(try station.availableIDs() == [made.id, "ada"].sorted())
        #expect(try !station.register("ada").created)
    }

    @Test func aBadRegistrationNamesEveryFieldThatIsWrong() throws {
        let station = try Station()
        defer { station.close() }
        let request = Driver_V1_RegisterDriverRequest(
            id: "a b", name: " ",
            vehicle: Driver_V1_Vehicle(make: "VW", model: "", color: "x", plate: "y", category: "z"),
            lat: 91, lon: .nan)
        let (code, problem) = station.refusal { station.client.registerDriver(request, $0) }
        #expect(code == .invalidArgument && problem?.code == "invalid-body")
        #expect(problem?.violations.map(\.pointer) == ["/id", "/name", "/vehicle/model", "/lat", "/lon"])
        #expect(problem?.violations[3].detail == "lat is 91; it must be between -90 and 90.")
    }

    @Test func anIDOfADriverWithAnotherProfileIsRefused() throws {
        let station = try Station()
        defer { station.close() }
        var other = Driver_V1_RegisterDriverRequest(
            id: "ada", name: "Ada", vehicle: Station.vehicle, lat: home.lat, lon: home.lon)
        // Both are on their way before one is stored: the first is taken.
        var first: Result<Driver_V1_RegisterDriverResponse, RPCError>?
        station.client.registerDriver(other) { first = $0 }
        other.vehicle?.plate = "NB-X 1"
        func refused() {
            let (code, problem) = station.refusal { station.client.registerDriver(other, $0) }
            #expect(code == .alreadyExists && problem?.code == "driver-exists")
            #expect(problem?.violations.map(\.pointer) == ["/id"])
        }
        refused()
        #expect(try first?.get().created == true)
        refused()
        other.vehicle = Station.vehicle
        other.name = "Ada L"
        refused()
        #expect(try station.driver("ada").name == "Ada" && station.driver("ada").vehicle == Station.vehicle)
        try station.restart(afterKill: true)
        refused()
        #expect(try !station.register("ada").created)
    }

    @Test func aDriverThatCouldNotBeAskedForIsNotRegistered() throws {
        let station = try Station()
        defer { station.close() }
        for word in Identifier.reserved {
            #expect {
                try station.register(word)
            } throws: { error in
                (error as? RPCError)?.code == .invalidArgument
            }
        }
        #expect(try station.availableIDs().isEmpty)
    }

    /// The service would not have started again on the file of an earlier version.
    @Test func aDriverWhoWasStoredBeforeAWordWasReservedIsStillRead() throws {
        let folder = TemporaryFolder()
        let path = folder.file("driver.db")
        let wall: Int64 = 1_700_000_000_000
        let loop = try EventLoop()
        let (repository, _) = try SQLiteDriverRepository.open(path: path, loop: loop, wall: wall)
        let driver = Driver(
            profile: DriverProfile(id: "available", name: "Ada", vehicle: Vehicle(Station.vehicle)),
            position: Position(lat: 53.55, lon: 13.26), measuredAt: wall, presence: .present, updatedAt: wall,
            revision: 1)
        loop.start {
            try? await repository.insert(driver, deadline: nil)
            await repository.close()
            loop.stop()
        }
        loop.run()
        let (again, stored) = try SQLiteDriverRepository.open(path: path, loop: loop, wall: wall)
        #expect(stored.drivers.map(\.id) == ["available"])
        again.writer.close()
        again.writer.waitUntilClosed()
    }

    @Test func anUnknownDriverIsNotFoundEverywhere() throws {
        let station = try Station()
        defer { station.close() }
        let get = station.refusal { station.client.getDriver(Driver_V1_GetDriverRequest(driverID: "nobody"), $0) }
        #expect(get.0 == .notFound && get.1?.code == "driver-not-found")
        let status = station.refusal {
            station.client.updateDriverStatus(
                Driver_V1_UpdateDriverStatusRequest(driverID: "nobody", status: .offline), $0)
        }
        #expect(status.0 == .notFound)
        #expect(throws: RPCError.self) { try station.report("nobody", [home]) }
        var end: RPCError??
        _ = station.client.watchDriver(
            Driver_V1_WatchDriverRequest(driverID: "nobody"), onMessage: { _ in }, onEnd: { end = .some($0) })
        station.turn { end != nil }
        #expect(end??.code == .notFound)
    }

    @Test func listsAreNearestFirstOrByIDAndSayWhenTheyAreCut() throws {
        let station = try Station()
        defer { station.close() }
        for number in [3, 1, 2] { try station.register("d\(number)", at: north(Double(number) * 300)) }
        func find(_ request: Driver_V1_FindAvailableDriversRequest) throws -> Driver_V1_FindAvailableDriversResponse {
            try station.answer { station.client.findAvailableDrivers(request, $0) }
        }
        let near = try find(
            Driver_V1_FindAvailableDriversRequest(lat: home.lat, lon: home.lon, radiusM: 700))
        #expect(near.drivers.map(\.id) == ["d1", "d2"] && !near.truncated)
        #expect(abs((near.drivers[0].distanceM ?? 0) - 300) < 0.5)
        let cut = try find(Driver_V1_FindAvailableDriversRequest(limit: 2))
        #expect(cut.drivers.map(\.id) == ["d1", "d2"] && cut.truncated && cut.drivers[0].distanceM == nil)
        #expect(cut.revision > 0 && cut.revision < 1 << 53 && cut.asOf != nil)
        let box = Box(around: north(760), radius: 200)
        let boxed = try find(Driver_V1_FindAvailableDriversRequest(box: Driver_V1_Box(box)))
        #expect(boxed.drivers.map(\.id) == ["d3", "d2"] && boxed.drivers[0].distanceM == nil)
        let areas: Driver_V1_ListDriversInAreasResponse = try station.answer {
            station.client.listDriversInAreas(
                Driver_V1_ListDriversInAreasRequest(areas: [
                    Driver_V1_Box(box), Driver_V1_Box(Box(west: 0, south: 0, east: 1, north: 1)),
                    Driver_V1_Box(.everywhere),
                ]), $0)
        }
        #expect(areas.areas.map { $0.drivers.map(\.id) } == [["d2", "d3"], [], ["d1", "d2", "d3"]])
    }

    @Test func aBadQuestionNamesTheParameter() throws {
        let station = try Station()
        defer { station.close() }
        let box = Driver_V1_Box(Box(west: 0, south: 1, east: 1, north: 0))
        let questions: [(Driver_V1_FindAvailableDriversRequest, String)] = [
            (.init(lat: 1), "lon"), (.init(lon: 1), "lat"), (.init(lat: 91, lon: 0), "lat"),
            (.init(lat: 0, lon: -181), "lon"), (.init(radiusM: 5), "radius_m"),
            (.init(lat: 0, lon: 0, radiusM: 0.5), "radius_m"), (.init(lat: 0, lon: 0, radiusM: 100_001), "radius_m"),
            (.init(lat: .nan, lon: 0), "lat"), (.init(limit: 0), "limit"), (.init(limit: 10_001), "limit"),
            (.init(box: box), "bbox"), (.init(lat: 0, lon: 0, box: Driver_V1_Box(.everywhere)), "bbox"),
        ]
        for (request, parameter) in questions {
            let (code, problem) = station.refusal { station.client.findAvailableDrivers(request, $0) }
            #expect(code == .invalidArgument && problem?.code == "invalid-parameter")
            #expect(problem?.metadata["parameter"] == parameter, "\(problem?.detail ?? "")")
        }
    }

    @Test func pagesGoThroughAllDriversAndTokensAreBoundToTheirFilter() throws {
        let station = try Station()
        defer { station.close() }
        for number in 1...5 { try station.register("d\(number)") }
        func page(_ request: Driver_V1_ListDriversRequest) throws -> Driver_V1_ListDriversResponse {
            try station.answer { station.client.listDrivers(request, $0) }
        }
        var ids: [String] = []
        var token: String?
        repeat {
            let answer = try page(Driver_V1_ListDriversRequest(pageSize: 2, pageToken: token))
            ids += answer.drivers.map(\.id)
            token = answer.nextPageToken
        } while token != nil
        #expect(ids == ["d1", "d2", "d3", "d4", "d5"])
        #expect(try page(Driver_V1_ListDriversRequest(status: .offline)).drivers.isEmpty)
        let first = try page(Driver_V1_ListDriversRequest(pageSize: 1))
        for bad in [first.nextPageToken, "x", "1.offline.d 1"] {
            let request = Driver_V1_ListDriversRequest(status: .offline, pageToken: bad)
            let (code, problem) = station.refusal { station.client.listDrivers(request, $0) }
            #expect(code == .invalidArgument && problem?.metadata["parameter"] == "page_token")
        }
        let size = station.refusal { station.client.listDrivers(Driver_V1_ListDriversRequest(pageSize: 101), $0) }
        #expect(size.1?.metadata["parameter"] == "page_size")
    }

    @Test func aStatusSetByHandIsDurableAndCannotBeUnavailable() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        func set(_ status: Driver_V1_DriverStatus) throws -> Driver_V1_UpdateDriverStatusResponse {
            try station.answer {
                station.client.updateDriverStatus(
                    Driver_V1_UpdateDriverStatusRequest(driverID: "ada", status: status), $0)
            }
        }
        #expect(try set(.offline).driver?.status == .offline)
        #expect(try set(.offline).driver?.present == false)
        try station.restart(afterKill: true)
        #expect(try station.driver("ada").status == .offline)
        #expect(try station.availableIDs().isEmpty)
        #expect(try set(.available).driver?.status == .available)
        for status in [Driver_V1_DriverStatus.unavailable, .unspecified] {
            let (code, _) = station.refusal {
                station.client.updateDriverStatus(
                    Driver_V1_UpdateDriverStatusRequest(driverID: "ada", status: status), $0)
            }
            #expect(code == .invalidArgument)
        }
    }

    @Test func aStreamOfPositionsCountsWhatBecameOfThem() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        let counts = try station.report(
            "ada", [north(20), north(40), north(50_000), north(60), Position(lat: 91, lon: 0), north(80)])
        #expect(counts.accepted == 4 && counts.dropped == ["impossible": 1, "invalid": 1])
        let driver = try station.driver("ada")
        #expect(driver.lat == north(80).lat)
        #expect(throws: RPCError.self) {
            let _: Driver_V1_ReportLocationsResponse = try station.answer { completion in
                let stream = station.client.reportLocations()
                stream.send(Driver_V1_ReportLocationsRequest(driverID: "ada", lat: home.lat, lon: home.lon))
                stream.send(Driver_V1_ReportLocationsRequest(driverID: "bob", lat: home.lat, lon: home.lon))
                stream.finish(completion)
            }
        }
    }

    @Test func aWatchShowsTheDriverAtOnceAndAfterEachChangeAndEndsWithTheService() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        var seen: [Driver_V1_WatchDriverResponse] = []
        var end: RPCError??
        _ = station.client.watchDriver(
            Driver_V1_WatchDriverRequest(driverID: "ada"), onMessage: { seen.append($0) }, onEnd: { end = .some($0) })
        station.turn { seen.count == 1 }
        #expect(seen[0].lat == home.lat && seen[0].status == .available && seen[0].activeTripID == nil)
        _ = try station.report("ada", [north(10)])
        station.turn { seen.count == 2 }
        #expect(seen[1].lat == north(10).lat && seen[1].revision > seen[0].revision)
        station.publish(station.trips.add("t1", driver: "ada"), .created)
        station.turn { seen.count == 3 }
        #expect(seen[2].status == .unavailable && seen[2].activeTripID == "t1")
        let finished = Flag()
        station.server.drain { finished.set() }
        station.turn { end != nil && finished.isSet }
        #expect(end??.code == .unavailable)
        try station.restartAfterDrain()
    }
}
