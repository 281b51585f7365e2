import Basics
import RideDomain
import Testing

@Suite struct TripProjectionTests {
    func fact(_ seq: UInt64, _ trip: String, active: Bool, driver: String = "d0") -> TripFact {
        TripFact(driverID: driver, tripID: trip, seq: seq, isActive: active)
    }

    @Test func behaviour39a_anOlderOrRepeatedEventChangesNothing() {
        var registry = registry(1)
        #expect(registry.apply(fact(5, "a", active: true), at: firstMoment) == .changed(0))
        let before = registry[0]
        #expect(registry.apply(fact(5, "a", active: true), at: firstMoment.advanced(by: 1)) == .old)
        #expect(registry.apply(fact(4, "z", active: false), at: firstMoment.advanced(by: 1)) == .old)
        #expect(registry[0] == before && registry.revision == before.revision)
        // Picked up: newer, nothing to see.
        #expect(registry.apply(fact(6, "a", active: true), at: firstMoment.advanced(by: 1)) == .noted(0))
        #expect(registry.revision == before.revision && registry[0].tripSeq == 6)
        #expect(registry.apply(fact(7, "a", active: false), at: firstMoment.advanced(by: 1)) == .changed(0))
        #expect(registry[0].status == .available)
        #expect(registry.apply(fact(6, "a", active: true), at: firstMoment) == .old)
        #expect(registry.apply(fact(8, "b", active: true, driver: "nobody"), at: firstMoment) == .unknownDriver)
    }

    /// Behaviour 39a: the driver was booked when he set himself offline, and the event came afterwards.
    @Test func behaviour39a_offlineSetWhileBookedTakesEffectWhenTheTripEnds() throws {
        var registry = registry(1)
        _ = try registry.setPresent(0, false, at: firstMoment)
        _ = registry.apply(fact(1, "a", active: true), at: firstMoment)
        #expect(registry[0].status == .unavailable)
        _ = registry.apply(fact(2, "a", active: false), at: firstMoment)
        #expect(registry[0].status == .offline)
    }

    @Test func silenceDuringATripTakesEffectWhenItEnds() {
        var registry = registry(1)
        _ = registry.report(0, LocationPoint(position: home), at: firstMoment)
        _ = registry.apply(fact(1, "a", active: true), at: firstMoment)
        #expect(registry.expire(at: firstMoment.advanced(by: 60_000)) == [0])
        #expect(registry[0].status == .unavailable)
        _ = registry.apply(fact(2, "a", active: false), at: firstMoment.advanced(by: 61_000))
        #expect(registry[0].status == .offline)
        _ = registry.report(0, LocationPoint(position: home), at: firstMoment.advanced(by: 62_000))
        #expect(registry[0].status == .available)
    }

    @Test func reconciliationSetsWhatWasMissedAndClearsWhatHasEnded() {
        var registry = registry(4)
        _ = registry.apply(fact(1, "gone", active: true, driver: "d0"), at: firstMoment)
        _ = registry.apply(fact(2, "kept", active: true, driver: "d1"), at: firstMoment)
        let since = registry.tripStamp
        // The list is older than the last event.
        _ = registry.apply(fact(9, "newer", active: true, driver: "d3"), at: firstMoment)
        let changed = registry.reconcile(
            inProgress: [
                fact(2, "kept", active: true, driver: "d1"), fact(5, "missed", active: true, driver: "d2"),
                fact(6, "x", active: true, driver: "nobody"),
            ], asOf: 7, since: since, at: firstMoment)
        #expect(changed.sorted() == [0, 2])
        #expect(registry[0].activeTripID == nil && registry[0].tripSeq == 7)
        #expect(registry[1].activeTripID == "kept" && registry[2].activeTripID == "missed")
        #expect(registry[3].activeTripID == "newer")
        // What the list knew of is old now.
        #expect(registry.apply(fact(3, "gone", active: false, driver: "d0"), at: firstMoment) == .old)
    }

    @Test func aTripDatabaseThatWasReplacedIsBelieved() {
        var registry = registry(3)
        _ = registry.apply(fact(100, "old", active: true, driver: "d0"), at: firstMoment)
        _ = registry.apply(fact(101, "old2", active: true, driver: "d1"), at: firstMoment)
        let changed = registry.reconcile(
            inProgress: [fact(2, "new", active: true, driver: "d1")], asOf: 3, since: registry.tripStamp,
            at: firstMoment)
        #expect(changed.sorted() == [0, 1])
        #expect(registry[0].activeTripID == nil && registry[1].activeTripID == "new")
        #expect(registry.apply(fact(4, "next", active: true, driver: "d0"), at: firstMoment) == .changed(0))
    }

    /// A trip service with random trips; its events arrive late, repeated, out of order between drivers, or never; lists
    /// arrive old. Whatever happens: a driver never shows a trip older than one seen before, and after a last list (or
    /// all events in order) everything is right.
    @Test func behaviour39b_afterLostEventsAListMakesEverythingRight() {
        for seed in 0..<300 {
            var random = SplitMix(seed: UInt64(seed))
            var registry = registry(6)
            var truth: [String: (trip: String, seq: UInt64)] = [:]
            var seq: UInt64 = 0
            var log: [TripFact] = []
            var snapshots: [(asOf: UInt64, trips: [TripFact])] = [(0, [])]
            var shown: [String: UInt64] = [:]
            func snapshot() -> (asOf: UInt64, trips: [TripFact]) {
                (
                    seq,
                    truth.map { TripFact(driverID: $0.key, tripID: $0.value.trip, seq: $0.value.seq, isActive: true) }
                )
            }
            for step in 0..<200 {
                let now = firstMoment.advanced(by: Int64(step))
                switch Int.random(in: 0..<6, using: &random) {
                case 0, 1:  // the trip service commits something
                    let driver = "d\(Int.random(in: 0..<6, using: &random))"
                    seq += 1
                    if let trip = truth[driver] {
                        let ends = Bool.random(using: &random)
                        log.append(TripFact(driverID: driver, tripID: trip.trip, seq: seq, isActive: !ends))
                        truth[driver] = ends ? nil : (trip.trip, seq)
                    } else {
                        truth[driver] = ("t\(seq)", seq)
                        log.append(TripFact(driverID: driver, tripID: "t\(seq)", seq: seq, isActive: true))
                    }
                case 2, 3:  // some event arrives, perhaps again, perhaps before older ones
                    if let event = log.randomElement(using: &random) { _ = registry.apply(event, at: now) }
                case 4: snapshots.append(snapshot())
                default:  // a list arrives that was asked for when no more was known than it knows
                    let newest = registry.drivers.reduce(0) { max($0, $1.tripSeq) }
                    if let list = snapshots.last(where: { $0.asOf >= newest }) {
                        _ = registry.reconcile(
                            inProgress: list.trips, asOf: list.asOf, since: registry.tripStamp, at: now)
                    }
                }
                for driver in registry.drivers {
                    #expect(driver.tripSeq >= shown[driver.id] ?? 0, "seed \(seed)")
                    shown[driver.id] = driver.tripSeq
                }
            }
            if Bool.random(using: &random) {
                for event in log { _ = registry.apply(event, at: firstMoment) }
            } else {
                let list = snapshot()
                _ = registry.reconcile(
                    inProgress: list.trips, asOf: list.asOf, since: registry.tripStamp, at: firstMoment)
            }
            for driver in registry.drivers {
                #expect(driver.activeTripID == truth[driver.id]?.trip, "seed \(seed)")
            }
        }
    }

    @Test func reconciliationInPartsIsTheSameAsAtOnce() {
        var whole = registry(10)
        for driver in 0..<10 {
            _ = whole.apply(fact(UInt64(driver + 1), "t\(driver)", active: true, driver: "d\(driver)"), at: firstMoment)
        }
        let list = (4..<8).map { fact(UInt64(20 + $0), "n\($0)", active: true, driver: "d\($0)") }
        // The second one knows less than was known.
        for asOf in [30, 5] as [UInt64] {
            var once = whole
            var parts = whole
            let changed = once.reconcile(inProgress: list, asOf: asOf, since: once.tripStamp, at: firstMoment)
            var comparison = parts.compare(inProgress: list, asOf: asOf, epoch: 0, since: parts.tripStamp)
            var inParts: [Int32] = []
            var turns = 0
            while !comparison.isFinished(in: parts) {
                inParts += parts.reconcile(&comparison, limit: 3, at: firstMoment)
                turns += 1
            }
            #expect(turns == 4 && inParts == changed)
            #expect(
                (0..<10).allSatisfy {
                    once[$0].tripSeq == parts[$0].tripSeq && once[$0].activeTripID == parts[$0].activeTripID
                })
        }
    }
}
