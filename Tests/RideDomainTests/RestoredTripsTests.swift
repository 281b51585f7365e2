import Basics
import RideDomain
import Testing

/// Behaviour 54: a trip database that goes back to an older copy is recognised, whatever its numbers are.
@Suite struct RestoredTripsTests {
    private func registry(_ count: Int) -> DriverRegistry {
        var registry = DriverRegistry(revisions: RevisionCounter(reserved: 0, wall: 1))
        for number in 0..<count {
            let vehicle = Vehicle(make: "m", model: "m", color: "c", plate: "p", category: "standard")
            _ = registry.register(
                DriverProfile(id: "d\(number)", name: "n", vehicle: vehicle), position: Position(lat: 53, lon: 13),
                at: now)
        }
        return registry
    }
    private let now = Moment(wall: 1_000_000, monotonic: 1_000_000_000_000)

    private func fact(
        _ driver: String, _ trip: String, _ seq: UInt64, _ epoch: UInt64, active: Bool = true
    ) -> TripFact { TripFact(driverID: driver, tripID: trip, seq: seq, isActive: active, epoch: epoch) }

    /// The restored numbers have overtaken the old ones before anybody compared.
    @Test func behaviour54_numbersThatOvertookTheOldOnesHideNothing() {
        var registry = registry(3)
        _ = registry.reconcile(inProgress: [], asOf: 0, epoch: 10, since: registry.tripStamp, at: now)
        _ = registry.apply(fact("d0", "lost", 900, 10), at: now)
        _ = registry.apply(fact("d1", "ended", 901, 10, active: false), at: now)
        // In the copy d0 is free, and d1 on a trip that began at a lower number; it counts to 1,000 by now.
        let changed = registry.reconcile(
            inProgress: [fact("d1", "new", 600, 20)], asOf: 1_000, epoch: 20, since: registry.tripStamp,
            at: now)
        #expect(changed.sorted() == [0, 1])
        #expect(registry[0].activeTripID == nil && registry[1].activeTripID == "new")
        // What is left of the old history in Kafka is old, however high its numbers.
        #expect(registry.apply(fact("d0", "lost", 5_000, 10), at: now) == .old)
        #expect(registry.apply(fact("d1", "new", 1_001, 20, active: false), at: now) == .changed(1))
    }

    @Test func anEventOfTheNewEpochBeatsEveryNumberOfTheOldOneBeforeAnyComparison() {
        var registry = registry(1)
        _ = registry.apply(fact("d0", "lost", 900, 10), at: now)
        #expect(registry.apply(fact("d0", "new", 600, 20), at: now) == .changed(0))
        #expect(registry.apply(fact("d0", "lost", 950, 10), at: now) == .old)
        #expect(registry[0].activeTripID == "new")
    }

    /// The list of a new epoch is asked for, and while it is under way a driver is booked.
    @Test func whatHappenedAfterTheListIsNotUndoneByIt() {
        var registry = registry(2)
        _ = registry.apply(fact("d0", "lost", 900, 10), at: now)
        let since = registry.tripStamp
        _ = registry.apply(fact("d1", "young", 601, 20), at: now)
        _ = registry.reconcile(inProgress: [], asOf: 600, epoch: 20, since: since, at: now)
        #expect(registry[0].activeTripID == nil && registry[1].activeTripID == "young")
    }

    @Test func aClockThatWasSetBackBeforeTheRestoreChangesNothing() {
        var registry = registry(1)
        _ = registry.reconcile(
            inProgress: [fact("d0", "lost", 900, 50)], asOf: 900, epoch: 50, since: registry.tripStamp, at: now)
        _ = registry.reconcile(inProgress: [], asOf: 100, epoch: 40, since: registry.tripStamp, at: now)
        #expect(registry[0].activeTripID == nil)
        #expect(registry.apply(fact("d0", "new", 101, 40), at: now) == .changed(0))
    }

    /// Who writes no epoch (an older version, somebody by hand) is believed as before.
    @Test func eventsWithoutAnEpochAreComparedByTheirNumber() {
        var registry = registry(1)
        _ = registry.reconcile(inProgress: [], asOf: 10, epoch: 5, since: registry.tripStamp, at: now)
        #expect(registry.apply(TripFact(driverID: "d0", tripID: "t", seq: 10, isActive: true), at: now) == .old)
        #expect(registry.apply(TripFact(driverID: "d0", tripID: "t", seq: 11, isActive: true), at: now) == .changed(0))
        #expect(registry[0].tripEpoch == 5)
    }

    /// A record that nobody of the service has written: its number, or its epoch, is higher than all that will ever come.
    @Test(arguments: [(1 << 53 - 1, 20), (1, 1 << 53 - 1)] as [(UInt64, UInt64)])
    func issue10_aRecordFromNowhereIsMendedByTheNextList(seq: UInt64, epoch: UInt64) {
        var registry = registry(3)
        _ = registry.reconcile(inProgress: [], asOf: 0, epoch: 20, since: registry.tripStamp, at: now)
        _ = registry.apply(fact("d0", "real", 1, 20), at: now)
        _ = registry.apply(fact("d0", "real", seq, epoch), at: now)
        // While the list is under way, somebody else is booked.
        let since = registry.tripStamp
        _ = registry.apply(fact("d1", "young", 5, 20), at: now)
        let changed = registry.reconcile(inProgress: [], asOf: 4, epoch: 20, since: since, at: now)
        #expect(changed == [0])
        #expect(registry[0].activeTripID == nil && registry[1].activeTripID == "young")
        // From now on she is like everybody.
        #expect(registry.apply(fact("d0", "next", 6, 20), at: now) == .changed(0))
    }

    /// Random trips, restarts and restores of a trip service; its events arrive in order but late, all of them or up to
    /// some point; lists arrive when they like. After a last list everybody is right, and stays right through what is left.
    @Test func behaviour54_afterAnyRestoreAListMakesEverythingRight() {
        for seed in 0..<400 {
            var random = SplitMix(seed: UInt64(seed))
            var registry = registry(5)
            struct Database {
                var trips: [String: (trip: String, seq: UInt64)] = [:]
                var seq: UInt64 = 0
                var epoch: UInt64 = 1
            }
            var database = Database()
            var backups = [database]
            var log: [TripFact] = []
            var read = 0
            var clock: UInt64 = 1
            var names = 0
            func list() -> [TripFact] {
                database.trips.map { fact($0.key, $0.value.trip, $0.value.seq, database.epoch) }
            }
            for _ in 0..<300 {
                switch Int.random(in: 0..<20, using: &random) {
                case 0: backups.append(database)
                case 1:
                    database = backups.randomElement(using: &random) ?? database
                    clock += 1
                    database.epoch = clock
                case 2:
                    clock += 1
                    database.epoch = clock
                case 3, 4:
                    _ = registry.reconcile(
                        inProgress: list(), asOf: database.seq, epoch: database.epoch,
                        since: registry.tripStamp, at: now)
                case 5..<12:
                    let driver = "d\(Int.random(in: 0..<5, using: &random))"
                    database.seq += 1
                    if let trip = database.trips[driver] {
                        database.trips[driver] = nil
                        log.append(fact(driver, trip.trip, database.seq, database.epoch, active: false))
                    } else {
                        names += 1
                        database.trips[driver] = ("t\(names)", database.seq)
                        log.append(fact(driver, "t\(names)", database.seq, database.epoch))
                    }
                default:
                    if read < log.count {
                        _ = registry.apply(log[read], at: now)
                        read += 1
                    }
                }
            }
            _ = registry.reconcile(
                inProgress: list(), asOf: database.seq, epoch: database.epoch, since: registry.tripStamp,
                at: now)
            for driver in registry.drivers {
                #expect(driver.activeTripID == database.trips[driver.id]?.trip, "seed \(seed)")
            }
            for event in log[read...] { _ = registry.apply(event, at: now) }
            for driver in registry.drivers {
                #expect(driver.activeTripID == database.trips[driver.id]?.trip, "seed \(seed): what was left in Kafka")
            }
        }
    }

    @Test func aWallClockOrAReservationOfNoSenseDoesNotTrap() {
        for wall in [Int64.min, -1, 0, .max, .max / 1_000] {
            var counter = RevisionCounter(reserved: 7, wall: wall)
            #expect(counter.next() > 7 && counter.current < RevisionCounter.bound)
        }
    }
}
