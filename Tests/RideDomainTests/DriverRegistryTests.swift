import Basics
import RideDomain
import Testing

let firstMoment = Moment(wall: 1_700_000_000_000, monotonic: 5_000_000_000_000)
let home = Position(lat: 53.56, lon: 13.26)

func profile(_ id: String) -> DriverProfile {
    DriverProfile(
        id: id, name: "Anna",
        vehicle: Vehicle(make: "VW", model: "ID.4", color: "white", plate: "X", category: "standard"))
}

func emptyRegistry() -> DriverRegistry {
    DriverRegistry(revisions: RevisionCounter(reserved: 0, wall: firstMoment.wall))
}

/// A registry with the drivers d0, d1, … at home.
func registry(_ count: Int) -> DriverRegistry {
    var registry = emptyRegistry()
    for number in 0..<count { _ = registry.register(profile("d\(number)"), position: home, at: firstMoment) }
    return registry
}

extension DriverRegistry {
    mutating func availableIDs(_ area: Area = .everywhere, limit: Int = 1_000) -> [String] {
        findAvailable(in: area, limit: limit).found.map { self[$0.slot].id }
    }
}

@Suite struct DriverRegistryTests {
    /// The nearest of a rare category is found behind hundreds of nearer cars of another one.
    @Test func onlyCarsOfACategoryAreFound() {
        var registry = emptyRegistry()
        for number in 0..<400 {
            let id = "\(1_000 + number)"
            let vehicle = Vehicle(
                make: "m", model: "m", color: "c", plate: "p", category: number % 100 == 99 ? "van" : "standard")
            let place = Position(lat: home.lat + Double(number) / 10_000, lon: home.lon)
            _ = registry.register(DriverProfile(id: id, name: "n", vehicle: vehicle), position: place, at: firstMoment)
        }
        for area in [.around(home, radius: nil), .box(.everywhere), .everywhere] as [Area] {
            func ids(_ category: String?, _ limit: Int) -> (ids: [String], truncated: Bool) {
                let answer = registry.findAvailable(in: area, limit: limit, category: category)
                return (answer.found.map { registry[$0.slot].id }, answer.truncated)
            }
            #expect(Set(ids("van", 4).ids) == ["1099", "1199", "1299", "1399"] && !ids("van", 4).truncated)
            #expect(ids("van", 3).ids.count == 3 && ids("van", 3).truncated)
            #expect(ids("standard", 1_000).ids.count == 396 && ids(nil, 1_000).ids.count == 400)
            #expect(ids("boat", 10).ids.isEmpty && !ids("boat", 10).truncated)
        }
        let near = registry.findAvailable(in: .around(home, radius: 2_300), limit: 10, category: "van").found
        #expect(near.map { registry[$0.slot].id } == ["1099", "1199"])
    }

    /// A slot stays when its driver is removed; everybody else's place in lists does not depend on it.
    @Test func removedDriversAreNowhereAndLeaveNoGap() {
        var registry = registry(6)
        for id in ["d0", "d3", "d5"] {
            let slot = registry.slot(of: id)
            registry.remove(slot ?? -1, at: firstMoment)
            #expect(registry.isRemoved(slot ?? -1) && registry.slot(of: id) == nil)
        }
        let again = registry.register(profile("d3"), position: home, at: firstMoment)
        #expect(again.created && again.slot == 6 && registry.count == 4 && registry.slotCount == 7)
        let box = Area.box(Box(around: home, radius: 100))
        for area in [Area.everywhere, .around(home, radius: 100), box] {
            #expect(registry.availableIDs(area) == ["d1", "d2", "d3", "d4"])
        }
        #expect(
            registry.page(status: nil, after: nil, limit: 9).slots.map { registry[$0].id } == ["d1", "d2", "d3", "d4"])
        // Trips are of the driver who is there now.
        let trips = [TripFact(driverID: "d3", tripID: "t", seq: 9, isActive: true)]
        #expect(registry.reconcile(inProgress: trips, asOf: 9, since: 0, at: firstMoment) == [6])
        #expect(registry[3].activeTripID == nil && registry[6].activeTripID == "t")
        #expect(registry.expire(at: Moment(wall: firstMoment.wall, monotonic: .max)) == [])
    }

    @Test func suspensionIsStrongerThanPresence() throws {
        var registry = registry(2)
        let suspension = Suspension(reason: "storm", at: 1)
        #expect(registry.suspend(0, suspension, at: firstMoment) && !registry.suspend(0, suspension, at: firstMoment))
        #expect(registry.availableIDs() == ["d1"] && registry.isBarred(0) && !registry.isRemoved(0))
        #expect(throws: DriverRegistry.Refusal.suspended(suspension)) {
            try registry.setPresent(0, true, at: firstMoment)
        }
        // As a crash may have left it.
        var restarted = emptyRegistry()
        var stored = registry[0]
        stored.presence = .present
        restarted.restore([stored, registry[1]], at: firstMoment)
        #expect(restarted.availableIDs() == ["d1"] && restarted.isBarred(0))
        #expect(registry.suspend(0, nil, at: firstMoment) && registry.availableIDs() == ["d1"])
        #expect(try registry.setPresent(0, true, at: firstMoment) && registry.availableIDs() == ["d0", "d1"])
    }

    @Test func registrationIsIdempotent() {
        var registry = emptyRegistry()
        let first = registry.register(profile("a"), position: home, at: firstMoment)
        let revision = registry.revision
        let again = registry.register(profile("a"), position: Position(lat: 1, lon: 1), at: firstMoment)
        #expect(first.created && !again.created && first.slot == again.slot)
        #expect(registry[first.slot].position == home && registry.revision == revision)
        #expect(registry[first.slot].status == .available)
    }

    @Test func listsAreByIDOrNearestFirstAndSayWhenTheyAreCut() {
        var registry = emptyRegistry()
        for number in [3, 1, 2, 5, 4] {
            let position = Position(lat: home.lat + Double(number) * 0.01, lon: home.lon)
            _ = registry.register(profile("d\(number)"), position: position, at: firstMoment)
        }
        #expect(registry.availableIDs() == ["d1", "d2", "d3", "d4", "d5"])
        let north = Position(lat: home.lat + 0.06, lon: home.lon)
        #expect(registry.availableIDs(.around(north, radius: nil)) == ["d5", "d4", "d3", "d2", "d1"])
        #expect(registry.availableIDs(.around(home, radius: 2_500)) == ["d1", "d2"])
        let cut = registry.findAvailable(in: .around(north, radius: nil), limit: 2)
        #expect(cut.truncated && cut.found.map { registry[$0.slot].id } == ["d5", "d4"])
        let box = Box(west: 13, south: home.lat + 0.015, east: 14, north: home.lat + 0.0455)
        #expect(registry.availableIDs(.box(box)) == ["d3", "d4", "d2"])
        #expect(registry.availableIDs(.box(box), limit: 1) == ["d3"])
        let page = registry.page(status: .available, after: "d2", limit: 2)
        #expect(page.slots.map { registry[$0].id } == ["d3", "d4"] && page.more)
        #expect(registry.page(status: .offline, after: nil, limit: 2).slots.isEmpty)
    }

    @Test func statusIsSetByHandAndSettingItAgainChangesNothing() throws {
        var registry = registry(2)
        #expect(try registry.setPresent(0, false, at: firstMoment))
        #expect(registry[0].status == .offline && registry.availableIDs() == ["d1"])
        let revision = registry.revision
        #expect(try !registry.setPresent(0, false, at: firstMoment))
        #expect(registry.revision == revision)
        #expect(try registry.setPresent(0, true, at: firstMoment))
        #expect(registry.availableIDs() == ["d0", "d1"])
    }

    @Test func aDriverOnATripCannotBeSetByHand() {
        var registry = registry(1)
        let fact = TripFact(driverID: "d0", tripID: "t", seq: 1, isActive: true)
        #expect(registry.apply(fact, at: firstMoment) == .changed(0))
        #expect(registry[0].status == .unavailable && registry.availableIDs().isEmpty)
        for wanted in [true, false] {
            #expect(throws: DriverRegistry.Refusal.onTrip(tripID: "t")) {
                try registry.setPresent(0, wanted, at: firstMoment)
            }
        }
    }

    /// Behaviour 39: silence after streaming, one expiry, and the return with the next position.
    @Test func behaviour39_aStreamingDriverThatFallsSilentExpiresOnceAndReturns() {
        var registry = registry(2)
        #expect(registry.report(0, LocationPoint(position: home), at: firstMoment.advanced(by: 1_000)) == nil)
        #expect(registry.expire(at: firstMoment.advanced(by: 60_999)).isEmpty)
        #expect(registry.expire(at: firstMoment.advanced(by: 61_000)) == [0])
        #expect(registry[0].status == .offline)
        #expect(registry.expire(at: firstMoment.advanced(by: 200_000)).isEmpty)
        // d1 never streamed.
        #expect(registry.availableIDs() == ["d1"])
        #expect(registry.report(0, LocationPoint(position: home), at: firstMoment.advanced(by: 300_000)) == nil)
        #expect(registry.availableIDs() == ["d0", "d1"])
        #expect(registry.expire(at: firstMoment.advanced(by: 360_001)) == [0])
    }

    @Test func behaviour39_theTimeToLiveCountsAnewAfterARestart() {
        var before = registry(3)
        for slot in [0, 1] as [Int32] {
            #expect(before.report(slot, LocationPoint(position: home), at: firstMoment) == nil)
        }
        _ = before.expire(at: firstMoment.advanced(by: 60_000))
        #expect(before.report(0, LocationPoint(position: home), at: firstMoment.advanced(by: 60_000)) == nil)
        var after = DriverRegistry(revisions: RevisionCounter(reserved: 0, wall: firstMoment.wall))
        let restart = Moment(wall: firstMoment.wall + 3_600_000, monotonic: 1_000_000_000)
        after.restore(before.drivers, at: restart)
        #expect(after.availableIDs() == ["d0", "d2"])
        #expect(after.expire(at: restart.advanced(by: 59_999)).isEmpty)
        #expect(after.expire(at: restart.advanced(by: 60_000)) == [0])
        #expect(after.availableIDs() == ["d2"])
    }

    @Test func positionsOfAnOfflineDriverAreTakenAndLeaveHimOffline() throws {
        var registry = registry(1)
        _ = try registry.setPresent(0, false, at: firstMoment)
        let point = LocationPoint(position: Position(lat: home.lat + 0.001, lon: home.lon))
        #expect(registry.report(0, point, at: firstMoment.advanced(by: 1_000)) == nil)
        #expect(registry[0].status == .offline && registry[0].position == point.position)
        #expect(registry.expire(at: firstMoment.advanced(by: 100_000)).isEmpty)
        // Set available again after having streamed: silence counts from now.
        _ = try registry.setPresent(0, true, at: firstMoment.advanced(by: 100_000))
        #expect(registry.expire(at: firstMoment.advanced(by: 159_999)).isEmpty)
        #expect(registry.expire(at: firstMoment.advanced(by: 160_000)) == [0])
    }

    @Test func droppedPositionsChangeNothing() {
        var registry = registry(1)
        let before = registry[0]
        let far = LocationPoint(position: Position(lat: 10, lon: 10))
        #expect(registry.report(0, far, at: firstMoment.advanced(by: 1_000)) == .impossible)
        #expect(registry[0] == before && registry.revision == before.revision)
    }

    @Test func aSteppedWallClockMakesNobodyExpire() {
        var registry = registry(1)
        #expect(registry.report(0, LocationPoint(position: home), at: firstMoment) == nil)
        let stepped = Moment(wall: firstMoment.wall + 86_400_000, monotonic: firstMoment.monotonic + 1_000_000_000)
        #expect(registry.expire(at: stepped).isEmpty)
    }

    @Test func revisionsOnlyGrowAcrossRestartsAndLostDatabases() {
        var counter = RevisionCounter(reserved: 0, wall: 1_000)
        #expect(counter.current == 1_000_000)
        let reserved = counter.reservation()!
        for _ in 0..<1_000 { _ = counter.next() }
        #expect(counter.reservation() == nil)
        // Restart with a wall clock that was set back.
        let restarted = RevisionCounter(reserved: reserved, wall: 0)
        #expect(restarted.current >= counter.current)
        // Restart a little later with an empty disk: at most one number a microsecond was used.
        #expect(RevisionCounter(reserved: 0, wall: 1_002).current > counter.current)
        // The year 2100 lies below the bound.
        #expect(RevisionCounter(reserved: 0, wall: 4_102_444_800_000).current < RevisionCounter.bound)
    }

    @Test func revisionsCountOnWhateverTheClockAndTheDiskSay() {
        for wall in [Int64.min, -1, 0, 7_000_000_000_000, 9_007_199_254_740, 9_007_199_254_741, .max] {
            for reserved in [0, 1_700_000_000_000_000, RevisionCounter.bound - 1, RevisionCounter.bound, .max]
                as [UInt64]
            {
                var counter = RevisionCounter(reserved: reserved, wall: wall)
                let start = counter.current
                #expect(start >= min(reserved, RevisionCounter.latestStart))
                #expect(counter.next() == start + 1 && counter.current < RevisionCounter.bound)
                #expect(counter.reservation() ?? 0 < RevisionCounter.bound)
            }
        }
    }

    @Test func reservationsComeInTimeWhateverTheRate() {
        var random = SplitMix(seed: 9)
        var counter = RevisionCounter(reserved: 0, wall: 0)
        var onDisk: UInt64 = counter.reservation()!
        for _ in 0..<40 {
            for _ in 0..<Int.random(in: 1...1_000_000, using: &random) { _ = counter.next() }
            if let reservation = counter.reservation() { onDisk = reservation }
            #expect(onDisk > counter.current)
        }
    }
}
