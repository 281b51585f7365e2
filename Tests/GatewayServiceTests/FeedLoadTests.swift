import ReactorSim
import RideDomain
import Testing

@testable import GatewayService

/// Behaviour 52: a live view costs others nothing. Tiles are fetched once, in bounded calls; what fails is stale alone.
@Suite struct FeedLoadTests {
    private let street = AreaQuery(.around(Position(lat: 52.505, lon: 13.355), radius: 1_000))

    /// A zoomed-out view of the town; no two are the same.
    private func wide(_ number: Int, limit: Int = 1_000) -> AreaQuery {
        let shift = Double(number) * 1e-4
        return AreaQuery(
            .box(Box(west: 13.0 - shift, south: 52.3 - shift, east: 13.7 + shift, north: 52.7 + shift)), limit: limit)
    }

    /// One call asked for every wide view whole, passed 4 MiB, failed, and was repeated for ever.
    @Test func issue10_thirtyWideViewsOfATownShareItsTiles() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(1_550)
        world.subscribe(100, street)
        for number in 0..<30 { world.subscribe(UInt64(number), wide(number)) }
        world.run(2)
        for number in 0..<30 { #expect(world.isCurrent(UInt64(number), wide(number))) }
        #expect(world.isCurrent(100, street))
        // The town was sent once for all thirty, and the street once more.
        #expect(world.areas.sent < 1_550 * 2 && world.areas.exactCalls.isEmpty)
        let (calls, sent) = (world.areas.callCount, world.areas.sent)
        world.move("d100000", 52.5051, 13.3551)
        world.run(1)
        #expect(world.areas.callCount <= calls + 3)
        #expect(world.areas.sent - sent < 1_550 * 2)
        for number in 0..<30 { #expect(world.isCurrent(UInt64(number), wide(number))) }
        #expect(world.isCurrent(100, street))
    }

    /// 28,000 free cars were above 4 MiB: one bare subscription made everybody stale.
    @Test func issue10_aBareSubscriptionCostsItsLimit() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(28_000)
        world.subscribe(1, AreaQuery())
        world.run(0.5)
        #expect(world.isCurrent(1, AreaQuery()))
        #expect(world.areas.exactCalls.count == 1 && world.areas.calls.isEmpty && world.areas.sent == 1_000)
        world.subscribe(2, street)
        world.run(0.5)
        #expect(world.isCurrent(2, street))
        // A wide view finds its tiles too full, and costs its limit as well.
        let nearest = AreaQuery(.around(Position(lat: 52.5, lon: 13.35), radius: 50_000), limit: 100)
        world.subscribe(3, nearest)
        world.run(0.5)
        #expect(world.isCurrent(3, nearest))
        let sent = world.areas.sent
        world.move("d100000", 52.5051, 13.3551)
        world.run(0.5)
        #expect((1_100...1_250).contains(world.areas.sent - sent))
        #expect(world.isCurrent(1, AreaQuery()) && world.isCurrent(2, street) && world.isCurrent(3, nearest))
    }

    /// From a thousand wide views on, small views got nothing, and nothing said so.
    @Test func issue10_smallViewsStayLiveBesideAThousandWideOnes() throws {
        var limits = FeedLimits()
        limits.driversPerView = 100
        let world = try FeedWorld(.init(pollInterval: 600_000, limits: limits))
        world.feed.positioned()
        world.fillTown(400)
        for number in 0..<1_200 { world.subscribe(UInt64(number), wide(number, limit: 5)) }
        world.run(0.02)
        world.subscribe(5_000, street)
        var latest: UInt64 = 0
        for step in 0..<40 {
            let began = world.loop.now
            let lat = Double(5_250_500 + step) / 100_000
            world.move("d100007", lat, 13.355)
            world.run(0.12)
            let list = try #require(world.frames(5_000).last)
            #expect(FakeLoop.text(list.frame).contains("\"lat\":\(lat),"))
            if list.at > began { latest = max(latest, list.at - began) }
        }
        #expect(latest < 110_000_000)
        #expect(world.areas.mostUnderWay <= limits.tileCalls + limits.exactCalls)
        // And each of the wide ones has its turn.
        world.run(8)
        for number in 0..<1_200 where !world.isCurrent(UInt64(number), wide(number, limit: 5)) {
            Issue.record("view \(number) is not current")
        }
        #expect(world.lists.live.budget.mostInATurn <= limits.workPerTurn + 2_000)
    }

    /// One call fails whenever it asks for one place: it is found, and views over other places do not notice.
    @Test(arguments: [true, false])
    func issue10_onlyViewsOverAFailingTileAreStale(failsWholeCalls: Bool) throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(300)
        let queries = (0..<20).map { number in
            AreaQuery(.around(Position(lat: 52.41 + Double(number) * 0.009, lon: 13.355), radius: 500))
        }
        for (number, query) in queries.enumerated() { world.subscribe(UInt64(number), query) }
        world.run(1)
        let place = Position(lat: 52.5001, lon: 13.3551)
        if failsWholeCalls { world.areas.poison = place } else { world.areas.failing = place }
        func isOver(_ query: AreaQuery) -> Bool {
            query.box.flatMap { LiveTile.cover($0, atMost: 128) }?.contains { $0.box.contains(place) } ?? false
        }
        world.loop.execute { world.feed.everythingIsDirty(isPoll: true) }
        world.run(0.9)
        world.move("d100000", 52.4551, 13.3551)
        world.run(0.5)
        #expect(queries.contains(where: isOver) && !queries.allSatisfy(isOver))
        for (number, query) in queries.enumerated() {
            let list = try #require(world.lists(UInt64(number)).last)
            #expect(list.contains("\"stale\":true") == isOver(query), "\(number)")
            if !isOver(query) { #expect(world.isCurrent(UInt64(number), query), "\(number)") }
        }
        // Who comes now sees what is known, marked, and not nothing.
        let over = AreaQuery(.around(place, radius: 400))
        world.subscribe(100, over)
        world.run(1)
        #expect(world.lists(100).last?.contains("\"stale\":true") == true)
        world.areas.poison = nil
        world.areas.failing = nil
        world.run(2.5)
        for (number, query) in queries.enumerated() { #expect(world.isCurrent(UInt64(number), query), "\(number)") }
        #expect(world.isCurrent(100, over))
    }

    /// An older driver service fails as a whole where a tile has too many drivers.
    @Test func aTileThatIsMoreThanAnAnswerHoldsIsLeftForViewsOfTheirOwn() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(300)
        world.areas.poison = Position(lat: 52.505, lon: 13.355)
        world.areas.poisonCode = .resourceExhausted
        let beside = AreaQuery(.around(Position(lat: 52.45, lon: 13.255), radius: 500))
        world.subscribe(1, street)
        world.subscribe(2, beside)
        world.run(1)
        #expect(world.isCurrent(1, street) && world.isCurrent(2, beside))
        #expect(world.areas.exactCalls.allSatisfy { $0 == street } && !world.areas.exactCalls.isEmpty)
    }

    /// What does not fit into one answer comes with the next ones.
    @Test func anAnswerInPartsIsAskedForUntilItIsWhole() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(600)
        world.areas.driversPerAnswer = 40
        let town = AreaQuery(.box(Box(west: 13.2, south: 52.4, east: 13.5, north: 52.6)))
        world.subscribe(1, town)
        world.run(1)
        #expect(world.isCurrent(1, town))
        #expect(world.lists(1).count == 1)
        #expect(world.areas.calls.count < 40)
    }

    /// Sixty lists of a whole town were made in one turn of 28 ms.
    @Test func issue10_listsAreMadeWithinABudgetPerTurn() throws {
        let limits = FeedLimits()
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(1_550)
        for number in 0..<60 { world.subscribe(UInt64(number), wide(number)) }
        world.run(1)
        let before = world.lists.frames.count
        world.move("d100000", 52.5051, 13.3551)
        world.run(0.2)
        let made = world.lists.frames[before...]
        #expect(made.count == 60)
        let turns = Dictionary(grouping: made, by: \.at).mapValues(\.count)
        #expect((turns.values.max() ?? 0) <= 2 && turns.count >= 30)
        // A portion of a list may exceed what is left, once.
        let most = LiveListMaker.portion + FeedLimits.workPerList + 1
        #expect(world.lists.live.budget.mostInATurn <= limits.workPerTurn + most)
        #expect(world.feed.budget.mostInATurn <= limits.workPerTurn + 64)
        // In the order in which they became due: nobody twice before everybody once.
        #expect(Set(made.map(\.number)).count == 60)
    }

    /// Ten thousand cars were looked at, sorted and written in one turn.
    @Test(arguments: [
        AreaQuery(limit: 10_000), AreaQuery(.around(Position(lat: 52.5, lon: 13.35), radius: nil), limit: 10_000),
        AreaQuery(.around(Position(lat: 52.5, lon: 13.35), radius: 50_000), limit: 9_000),
        AreaQuery(.box(Box(west: 13.1, south: 52.3, east: 13.6, north: 52.7)), limit: 10_000),
    ])
    func behaviour51_aLongLiveListIsMadeInPortions(query: AreaQuery) throws {
        let limits = FeedLimits()
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(10_000)
        world.subscribe(1, query)
        world.subscribe(2, street)
        world.run(1)
        #expect(world.isCurrent(1, query) && world.isCurrent(2, street))
        for step in 0..<3 {
            world.move("d100007", 52.505, 13.355 + Double(step) * 1e-4)
            world.run(1)
            #expect(world.isCurrent(1, query) && world.isCurrent(2, street))
        }
        // Who leaves while their list is made, and who comes then.
        world.move("d100007", 52.506, 13.356)
        world.run(0.013)
        world.unsubscribe(1)
        world.subscribe(3, query)
        world.run(1)
        #expect(world.isCurrent(3, query) && world.isCurrent(2, street))
        let most = LiveListMaker.portion + limits.tilesPerView + FeedLimits.workPerList
        #expect(world.lists.live.budget.mostInATurn <= limits.workPerTurn + most)
    }

    @Test func aSlowViewHoldsNobodyBackAndIsNotHurried() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.areas.put("a", 52.505, 13.355)
        world.areas.put("b", 40.005, 10.005)
        let far = AreaQuery(.around(Position(lat: 40, lon: 10), radius: 1_000))
        world.subscribe(1, street, interval: 60_000)
        world.subscribe(2, far, interval: 50)
        // The same street for another one, a little larger: the same tiles.
        let larger = AreaQuery(.around(Position(lat: 52.505, lon: 13.355), radius: 1_010))
        world.subscribe(3, larger, interval: 200)
        world.run(0.5)
        let calls = world.areas.calls.count
        for step in 0..<100 {
            world.move("a", 52.505 + Double(step) * 1e-5, 13.355)
            world.move("b", 40.005 + Double(step) * 1e-5, 10.005)
            world.run(0.02)
        }
        world.run(0.3)
        // The first change after its list waits for its interval.
        #expect(world.lists(1).count == 1)
        #expect((32...46).contains(world.lists(2).count))
        #expect((9...13).contains(world.lists(3).count))
        #expect(world.areas.calls.count - calls < 60)
        // Whoever joins the slow view sees the current list, not the one of a minute ago.
        world.subscribe(4, street, interval: 60_000)
        world.run(0.1)
        #expect(world.isCurrent(4, street) && world.isCurrent(3, larger))
    }

    @Test func aViewGoesToItsOwnAnswerAndBackAsTheTownFillsAndEmpties() throws {
        var limits = FeedLimits()
        limits.driversPerView = 50
        limits.exactHold = 1_000_000_000
        let world = try FeedWorld(.init(pollInterval: 1_000, limits: limits))
        world.feed.positioned()
        world.fillTown(40)
        let query = wide(0, limit: 45)
        world.subscribe(1, query)
        world.run(1)
        #expect(world.isCurrent(1, query) && world.areas.exactCalls.isEmpty)
        world.fillTown(200, seed: 12)
        world.run(3)
        #expect(world.isCurrent(1, query))
        let exact = world.areas.exactCalls.count
        #expect(exact > 0)
        for number in 20..<200 { world.areas.remove("d\(100_000 + number)") }
        world.run(4)
        #expect(world.isCurrent(1, query))
        let (tiles, own) = (world.areas.calls.count, world.areas.exactCalls.count)
        world.run(3)
        #expect(world.areas.exactCalls.count == own && world.areas.calls.count > tiles)
    }

    @Test func everythingIsFreedWhenViewersLeave() throws {
        let world = try FeedWorld(.init(pollInterval: 600_000))
        world.feed.positioned()
        world.fillTown(1_000)
        for round in 0..<2 {
            for number in 0..<50 {
                world.subscribe(UInt64(number), wide(number))
                world.subscribe(UInt64(100 + number), AreaQuery(street.area, limit: number + 1))
                world.subscribe(UInt64(200 + number), AreaQuery(limit: number + 1))
            }
            world.run(round == 0 ? 2 : 0.001)
            #expect(world.lists.live.viewCount == 150)
            for number in 0..<300 { world.unsubscribe(UInt64(number)) }
            world.run(1)
            #expect(world.lists.live.viewCount == 0 && world.lists.live.unitCount == 0)
            #expect(world.lists.live.frameBytes == 0 && world.lists.gone.count == 150 * (round + 1))
            #expect(world.feed.units.count == 0 && world.feed.units.driverCount == 0)
            let calls = world.areas.callCount
            world.move("d100000", 52.5051, 13.3551)
            world.run(1)
            #expect(world.areas.callCount == calls)
        }
        world.subscribe(1, street)
        world.run(0.5)
        #expect(world.isCurrent(1, street))
    }

    /// A unit may be left, watched and left again before it is forgotten: that must not forget its successor.
    @Test func aUnitIsForgottenOnceAndNeverAnotherInItsPlace() throws {
        var units = FeedUnits()
        let budget = TurnBudget(loop: try SimulatedNetwork(seed: 1).makeLoop(), perTurn: 100)
        let tile = LiveUnit.tile(LiveTile(level: 0, row: 1, column: 2))
        let old = units.find(orMake: tile)
        _ = units.remove(old, budget)
        #expect(units.isEmpty)
        let new = units.find(orMake: tile)
        new.watch(0, Pace(number: 1))
        _ = units.remove(old, budget)
        _ = units.remove(new, budget)
        #expect(units.units[tile] === new && old !== new)
    }

    @Test func aViewMoreThanThereIsRoomForIsRefused() throws {
        var limits = FeedLimits()
        limits.views = 3
        let world = try FeedWorld(.init(limits: limits))
        for number in 0..<4 { world.subscribe(UInt64(number), wide(number)) }
        #expect(world.refusals as? [LiveRefusal] == [.tooManyViews])
        // Who looks at what others look at costs nothing more.
        world.subscribe(5, wide(0))
        #expect(world.refusals.count == 1)
        world.unsubscribe(1)
        world.run(0.1)
        world.subscribe(6, wide(6))
        #expect(world.refusals.count == 1 && world.lists.live.viewCount == 3)
        limits.frameBytes = 10
        let full = try FeedWorld(.init(limits: limits))
        full.subscribe(1, wide(1))
        full.run(0.1)
        full.subscribe(2, wide(2))
        #expect(full.refusals as? [LiveRefusal] == [.tooManyBytes])
    }

    /// No room for more tiles: a view is fetched on its own, and as right.
    @Test func aViewWithoutRoomForItsTilesIsFetchedOnItsOwn() throws {
        var limits = FeedLimits()
        limits.units = 130
        let world = try FeedWorld(.init(limits: limits))
        world.fillTown(200)
        world.subscribe(1, street)
        world.subscribe(2, wide(0))
        world.run(0.5)
        #expect(world.areas.exactCalls == [wide(0)])
        #expect(world.isCurrent(1, street) && world.isCurrent(2, wide(0)))
    }
}
