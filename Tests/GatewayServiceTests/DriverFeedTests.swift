import Basics
import Bytes
import RideAPI
import RideDomain
import Testing

@testable import GatewayService

@Suite struct DriverFeedTests {
    private let here = AreaQuery(.around(Position(lat: 53.555, lon: 13.255), radius: 2_000))
    private let far = AreaQuery(.box(Box(west: 20, south: 50, east: 20.05, north: 50.05)))

    @Test func theCurrentListAtOnceNearestFirst() throws {
        let world = try FeedWorld()
        world.areas.put("near", 53.556, 13.256)
        world.areas.put("nearer", 53.5551, 13.2551)
        world.areas.put("outside", 53.9, 13.9)
        world.subscribe(1, here)
        world.run(0.05)
        let list = try #require(world.lists(1).first)
        #expect(ids(list) == ["nearer", "near"])
        #expect(list.hasPrefix("{\"type\":\"drivers\",\"version\":3,\"as_of\":\"20"))
        #expect(list.contains("\"truncated\":false,\"drivers\":["))
        #expect(list.contains("\"distance_m\":"))
        #expect(!list.contains("stale"))
        #expect(world.areas.calls.count == 1)
    }

    /// Hundredths of a degree are no binary fractions: cells must not lose who stands on their border.
    @Test func driversOnTheBordersOfCellsAreInTheirLists() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        var expected: [String] = []
        for row in 0..<20 {
            for column in 0..<20 {
                let id = "d\(100 + row * 20 + column)"
                world.areas.put(id, Double(5350 + row) / 100, Double(1320 + column) / 100)
                expected.append(id)
            }
        }
        world.subscribe(1, AreaQuery(.box(Box(west: 13.195, south: 53.495, east: 13.395, north: 53.695))))
        world.run(0.5)
        #expect(world.lists(1).last.map { ids($0).sorted() } == expected)
        world.loop.execute {
            for id in expected {
                guard let driver = world.areas.drivers[id] else { continue }
                world.tell(id, driver.lat, driver.lon)
            }
        }
        world.run(0.5)
        #expect(world.lists(1).last.map { ids($0).sorted() } == expected)
    }

    @Test func equalQueriesShareOneFrame() throws {
        let world = try FeedWorld()
        world.areas.put("a", 53.556, 13.256)
        world.subscribe(1, here)
        world.subscribe(2, here)
        world.run(0.05)
        // One list for both: subscribers share a topic.
        #expect(world.lists.frames.count == 1 && world.frames(1).count == 1 && world.frames(2).count == 1)
        #expect(world.areas.calls.count == 1)
    }

    @Test func aTriggerFetchesItsCellsAndNoOthers() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.areas.put("a", 53.556, 13.256)
        world.areas.put("z", 50.01, 20.01)
        world.feed.positioned()
        world.subscribe(1, here)
        world.subscribe(2, far)
        world.run(0.5)
        let before = world.areas.calls.count
        // Over a border of a cell: the old cell and the new one.
        world.move("a", 53.5561, 13.2602)
        world.run(0.5)
        #expect(world.areas.calls.count == before + 1)
        let areas = try #require(world.areas.calls.last)
        #expect(areas.count == 2)
        for lon in [13.256, 13.2602] {
            #expect(areas.contains { $0.contains(Position(lat: 53.556, lon: lon)) && $0.east - $0.west < 0.0101 })
        }
        #expect(world.lists(1).count == 2)
        #expect(world.lists(2).count == 1)
        #expect(world.frames(1).last?.cause ?? 0 > 0)
    }

    @Test func whatHappensWhereNobodyLooksFetchesNothing() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.subscribe(1, here)
        world.run(0.5)
        let before = world.areas.calls.count
        world.move("x", 10, 10)
        world.run(0.5)
        #expect(world.areas.calls.count == before)
    }

    @Test func theFirstTriggerAtOnceThenOneFetchPerInterval() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.areas.put("a", 53.556, 13.256)
        world.subscribe(1, here)
        world.run(1)
        let before = world.areas.calls.count
        for step in 0..<100 {
            world.move("a", 53.556 + Double(step) * 1e-5, 13.256)
            world.run(0.01)
        }
        world.run(0.5)
        let fetches = world.areas.times.dropFirst(before)
        #expect((9...13).contains(fetches.count))
        #expect(world.areas.mostUnderWay == 1)
        let last = try #require(world.lists(1).last)
        #expect(last.contains("\"lat\":53.55699"))
    }

    @Test func oneCallInFlightHoweverSlowTheServiceIs() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.areas.delay = 900_000_000
        world.subscribe(1, here)
        for step in 0..<50 {
            world.move("a", 53.556 + Double(step) * 1e-5, 13.256)
            world.run(0.05)
        }
        world.run(3)
        #expect(world.areas.mostUnderWay == 1)
        let last = try #require(world.lists(1).last)
        #expect(last.contains("\"lat\":53.55649"))
    }

    @Test func contract_anUnchangedListIsNotSentAgain() throws {
        let world = try FeedWorld(.init(pollInterval: 200, anxiousPollInterval: 200))
        world.areas.put("a", 53.556, 13.256)
        world.subscribe(1, here)
        world.run(5)
        #expect(world.areas.calls.count > 20)
        #expect(world.lists(1).count == 1)
        // The loop still hears the newest version, for a pong.
        world.areas.put("elsewhere", 1, 1)
        world.run(1)
        #expect(world.lists.updates.last?.snapshot.version == 2)
        #expect(world.lists(1).count == 1)
    }

    @Test func contract_aDriverWhoGoesLeavesTheList() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.areas.put("a", 53.556, 13.256)
        world.areas.put("b", 53.557, 13.256)
        world.subscribe(1, here)
        world.run(0.5)
        world.loop.execute {
            world.areas.remove("a")
            world.tell("a", 53.556, 13.256, .unavailable)
        }
        world.run(0.5)
        #expect(world.lists(1).map { ids($0) } == [["a", "b"], ["b"]])
        // Far away, in a place that nobody looks at: he leaves here by his old cell.
        world.move("b", 10, 10)
        world.run(0.5)
        #expect(world.lists(1).last.map { ids($0) } == [])
    }

    /// Behaviour 30: what comes before the consumer is positioned is not seen; a poll stands in, then everything is dirty once.
    @Test func behaviour30_untilPositionedAOneSecondPollRuns() throws {
        let world = try FeedWorld(.init(pollInterval: 60_000))
        world.subscribe(1, here)
        world.run(0.5)
        world.areas.put("a", 53.556, 13.256)
        world.run(1)
        #expect(world.lists(1).last.map { ids($0) } == ["a"])
        world.areas.put("b", 53.556, 13.256)
        world.loop.execute { world.feed.positioned() }
        world.run(0.05)
        #expect(world.lists(1).last.map { ids($0) } == ["a", "b"])
        let before = world.areas.calls.count
        world.run(30)
        #expect(world.areas.calls.count == before)
        world.loop.execute { world.feed.positionLost() }
        world.run(5)
        #expect(world.areas.calls.count >= before + 4)
    }

    @Test func theSlowPollRunsWithoutAnyTrigger() throws {
        let world = try FeedWorld(.init(pollInterval: 5_000))
        world.feed.positioned()
        world.subscribe(1, here)
        world.run(1)
        world.areas.put("a", 53.556, 13.256)
        world.run(5)
        #expect(world.lists(1).last.map { ids($0) } == ["a"])
    }

    @Test func aTriggerDoesNotWaitForAPollThatBroughtNothingNew() throws {
        let world = try FeedWorld(.init(pollInterval: 5_000))
        world.feed.positioned()
        world.areas.put("a", 53.556, 13.256)
        world.subscribe(1, here)
        world.run(1)
        let before = world.areas.calls.count
        for _ in 0..<1_000 where world.areas.calls.count == before { world.run(0.005) }
        #expect(world.areas.calls.count == before + 1)
        // The poll's answer is there, and was no news; the interval of 100 ms has hardly begun.
        world.run(0.005)
        world.move("a", 53.557, 13.256)
        world.run(0.01)
        #expect(world.areas.calls.count == before + 2)
        #expect(world.lists(1).count == 2)
    }

    @Test func contract_listsAreStaleWhileTheDriverServiceIsAway() throws {
        let world = try FeedWorld()
        world.areas.put("a", 53.556, 13.256)
        world.subscribe(1, here)
        world.run(0.5)
        world.areas.isAway = true
        world.run(2)
        let stale = try #require(world.lists(1).last)
        #expect(stale.contains("\"stale\":true") && ids(stale) == ["a"])
        #expect(world.lists(1).count == 2)
        // Who comes now gets the last that is known, too: here nothing.
        world.subscribe(2, far)
        world.run(0.1)
        #expect(world.lists(2).count == 1)
        #expect(world.lists(2)[0].contains("\"stale\":true"))
        world.areas.isAway = false
        world.areas.put("b", 53.557, 13.256)
        world.run(2)
        let fresh = try #require(world.lists(1).last)
        #expect(!fresh.contains("stale") && ids(fresh) == ["a", "b"])
        #expect(world.lists(2).last?.contains("stale") == false)
    }

    @Test func contract_limitOrderAndTruncation() throws {
        let world = try FeedWorld()
        for number in 0..<30 { world.areas.put("d\(number + 10)", 53.55 + Double(30 - number) * 1e-4, 13.25) }
        world.subscribe(1, AreaQuery(limit: 3))
        world.subscribe(2, AreaQuery(.around(Position(lat: 53.55, lon: 13.25), radius: nil), limit: 2))
        world.subscribe(3, AreaQuery(.box(Box(west: 13, south: 53, east: 14, north: 54)), limit: 30))
        world.run(0.5)
        #expect(world.lists(1).last.map { ids($0) } == ["d10", "d11", "d12"])
        #expect(world.lists(1).last?.contains("\"truncated\":true") == true)
        #expect(world.lists(2).last.map { ids($0) } == ["d39", "d38"])
        #expect(world.lists(3).last.map { ids($0).count } == 30)
        #expect(world.lists(3).last?.contains("\"truncated\":false") == true)
        // A box is cut behind those that are nearest to its centre, and they come first: by tiles, and by an answer of its own.
        for (number, width) in [(4, 0.02), (5, 60)] as [(UInt64, Double)] {
            let box = Box(west: 13.25 - width, south: 53.55152, east: 13.25 + width, north: 53.5525)
            world.subscribe(number, AreaQuery(.box(box), limit: 3))
            world.run(0.5)
            let list = try #require(world.lists(number).last)
            #expect(ids(list) == ["d20", "d19", "d21"] && list.contains("\"truncated\":true"), "\(list)")
            #expect(!list.contains("distance_m"))
        }
    }

    /// Behaviour 38: once things are quiet, every list equals the driver service's view.
    @Test(arguments: 0..<12 as Range<UInt64>)
    func behaviour38_quietListsEqualTheService(seed: UInt64) throws {
        var limits = FeedLimits()
        if seed >= 4 {
            // Tiles too full, views of their own and back, coarse tiles, answers in parts and calls in halves.
            limits.driversPerView = 6
            limits.tilesPerView = Int(seed % 3) * 20 + 4
            limits.tilesPerCall = 5
            limits.driversPerCall = 20
            limits.workPerTurn = 10
            limits.exactHold = 300_000_000
        }
        let world = try FeedWorld(.init(pollInterval: 600_000, limits: limits))
        if seed >= 4 { world.areas.driversPerAnswer = 8 }
        world.feed.positioned()
        var random = SplitMix(seed: seed)
        func position() -> Position {
            Position(
                lat: 53.5 + Double.random(in: 0...0.1, using: &random),
                lon: 13.2 + Double.random(in: 0...0.1, using: &random))
        }
        var queries: [UInt64: AreaQuery] = [:]
        var next: UInt64 = 1
        for _ in 0..<400 {
            switch Int.random(in: 0..<12, using: &random) {
            case 0:
                let kind = Int.random(in: 0..<4, using: &random)
                let center = position()
                let query: AreaQuery
                switch kind {
                case 0: query = AreaQuery()
                case 1: query = AreaQuery(.around(center, radius: nil), limit: 5)
                case 2: query = AreaQuery(.around(center, radius: Double.random(in: 100...4_000, using: &random)))
                default:
                    query = AreaQuery(
                        .box(
                            Box(west: center.lon, south: center.lat, east: center.lon + 0.03, north: center.lat + 0.02))
                    )
                }
                queries[next] = query
                world.subscribe(next, query)
                next += 1
            case 1:
                guard let gone = queries.keys.sorted().randomElement(using: &random) else { continue }
                queries[gone] = nil
                world.unsubscribe(gone)
            case 2:
                guard let id = world.areas.drivers.keys.sorted().randomElement(using: &random) else { continue }
                let driver = try #require(world.areas.drivers[id])
                world.loop.execute {
                    world.areas.remove(id)
                    world.tell(id, driver.lat, driver.lon, .offline)
                }
            default:
                let place = position()
                world.move("d\(Int.random(in: 10..<60, using: &random))", place.lat, place.lon)
            }
            world.run(Double.random(in: 0...0.05, using: &random))
        }
        world.run(1)
        for (number, query) in queries {
            var expected = world.areas.drivers.values.map { ($0.id, Position(lat: $0.lat, lon: $0.lon)) }
                .filter { query.area.contains($0.1) }
            if let center = query.area.center {
                expected.sort { (center.distance(to: $0.1), $0.0) < (center.distance(to: $1.1), $1.0) }
            } else {
                expected.sort { $0.0 < $1.0 }
            }
            let list = try #require(world.lists(number).last)
            #expect(ids(list) == expected.prefix(query.limit).map(\.0), "\(query)")
            #expect(list.contains("\"truncated\":\(expected.count > query.limit)") && !list.contains("stale"))
        }
    }

    @Test func recordsThatAreNoEventsAreSkipped() throws {
        let world = try FeedWorld()
        world.loop.execute {
            for text in ["", "{", "[]", "{\"type\":\"DriverLocationUpdate\"}", "{\"type\":\"Other\"}"] {
                world.feed.receive(Array(text.utf8).span, timestamp: nil)
            }
        }
        world.run(0.1)
    }

    @Test func followersGetWhatIsNewOfTheirDriverOnce() throws {
        let world = try FeedWorld()
        world.feed.follow("a", world.index)
        world.move("a", 1, 2)
        world.move("b", 1, 2)
        world.run(0.1)
        #expect(world.lists.locations.map(\.driverID) == ["a"])
        world.feed.unfollow("a", world.index)
        world.move("a", 1, 3)
        world.run(0.1)
        #expect(world.lists.locations.count == 1)
    }
}
