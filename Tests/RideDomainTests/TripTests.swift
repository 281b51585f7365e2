import Basics
import RideDomain
import Testing

@Suite struct TripTests {
    func trip(createdAt: Int64 = 1_000) -> Trip {
        Trip(
            id: "t", riderID: "r",
            driver: DriverProfile(
                id: "d", name: "Anna",
                vehicle: Vehicle(make: "VW", model: "ID.4", color: "white", plate: "NB-A 1", category: "standard")),
            pickup: Position(lat: 53.56, lon: 13.26), dropoff: Position(lat: 53.55, lon: 13.25), createdAt: createdAt)
    }

    @Test func theWholeRideSetsItsInstants() throws {
        var trip = trip()
        #expect(try trip.apply(.pickUp, at: 2_000) == .pickedUp)
        #expect(trip.status == .inProgress && trip.pickedUpAt == 2_000 && trip.endedAt == nil)
        #expect(try trip.apply(.complete, at: 3_000) == .completed)
        #expect(trip.status == .completed && trip.endedAt == 3_000)
    }

    @Test func repeatedActionsChangeNothing() throws {
        var trip = trip()
        _ = try trip.apply(.pickUp, at: 2_000)
        #expect(try trip.apply(.pickUp, at: 9_000) == nil)
        _ = try trip.apply(.complete, at: 3_000)
        let before = trip
        #expect(try trip.apply(.complete, at: 9_000) == nil)
        #expect(trip == before)
        var other = self.trip()
        _ = try other.apply(.cancel, at: 2_000)
        #expect(try other.apply(.cancel, at: 9_000) == nil)
        #expect(other.endedAt == 2_000)
    }

    @Test func anEndedTripRefusesEverythingElse() throws {
        var completed = trip()
        _ = try completed.apply(.complete, at: 2_000)
        #expect(throws: TripRefusal.alreadyEnded(.completed)) { try completed.apply(.cancel, at: 3_000) }
        #expect(throws: TripRefusal.alreadyEnded(.completed)) { try completed.apply(.pickUp, at: 3_000) }
        var cancelled = trip()
        _ = try cancelled.apply(.cancel, at: 2_000)
        #expect(throws: TripRefusal.alreadyEnded(.cancelled)) { try cancelled.apply(.complete, at: 3_000) }
        #expect(throws: TripRefusal.alreadyEnded(.cancelled)) { try cancelled.apply(.pickUp, at: 3_000) }
    }

    @Test func anOperatorEndsWhatIsInProgress() throws {
        var ended = trip()
        #expect(try ended.apply(.end(reason: "storm"), at: 2_000) == .cancelled)
        #expect(ended.status == .cancelled && ended.endReason == "storm" && ended.endedAt == 2_000)
        #expect(try ended.apply(.end(reason: "other"), at: 3_000) == nil)
        #expect(ended.endReason == "storm")
        var cancelled = trip()
        _ = try cancelled.apply(.cancel, at: 2_000)
        #expect(try cancelled.apply(.end(reason: "storm"), at: 3_000) == nil && cancelled.endReason == nil)
        var completed = trip()
        _ = try completed.apply(.complete, at: 2_000)
        #expect(throws: TripRefusal.alreadyEnded(.completed)) {
            try completed.apply(.end(reason: "storm"), at: 3_000)
        }
    }

    @Test func instantsNeverLieBeforeTheOnesTheyFollow() throws {
        var trip = trip(createdAt: 5_000)
        _ = try trip.apply(.pickUp, at: 4_000)
        #expect(trip.pickedUpAt == 5_000)
        _ = try trip.apply(.complete, at: 1_000)
        #expect(trip.endedAt == 5_000)
    }

    /// Behaviour 35: whatever is tried in whatever order, the status and the instants never move back.
    @Test func behaviour35_aTripOnlyMovesForward() {
        for seed in 0..<2_000 {
            var random = SplitMix(seed: UInt64(seed))
            var trip = trip()
            for step in 0..<12 {
                let before = trip
                let action = [TripAction.pickUp, .complete, .cancel, .end(reason: "storm")].randomElement(
                    using: &random)!
                let event = try? trip.apply(action, at: Int64(2_000 + step))
                if before.status.isEnded { #expect(trip == before && event == nil) }
                if let at = before.pickedUpAt { #expect(trip.pickedUpAt == at) }
                #expect((trip == before) == (event == nil))
                #expect(trip.status.isEnded == (trip.endedAt != nil))
            }
        }
    }

    @Test func statusWordsGoBothWays() {
        for status in TripStatus.allCases { #expect(TripStatus(word: status.word) == status) }
        #expect(TripStatus(word: "IN_PROGRESS") == nil)
    }
}

@Suite struct MatchingTests {
    @Test func theNearest16Within10KilometresAreTriedInOrder() {
        var random = SplitMix(seed: 7)
        let found = (0..<40).map { Matching.Candidate(driverID: "d\($0)", distance: Double($0) * 400) }
        let order = Matching.order(found.shuffled(using: &random), excluding: ["d0", "d3"])
        #expect(order.map(\.driverID) == (1...17).filter { $0 != 3 }.map { "d\($0)" })
        let far = Matching.order([.init(driverID: "far", distance: 10_000.1)], excluding: [])
        #expect(far.isEmpty)
    }

    @Test func alternativesAreTheNearestThreeThatAreFree() {
        let found = [5.0, 1, 3, 2, 4].map { Matching.Candidate(driverID: "d\(Int($0))", distance: $0) }
        #expect(Matching.alternatives(found, excluding: ["d2"]).map(\.driverID) == ["d1", "d3", "d4"])
        let same = ["b", "a"].map { Matching.Candidate(driverID: $0, distance: 1) }
        #expect(Matching.alternatives(same, excluding: []).map(\.driverID) == ["a", "b"])
    }
}

@Suite struct IdentifierTests {
    @Test func theRuleIsTheContracts() {
        for good in ["a", "sim-0001", "A.b_c-9", String(repeating: "x", count: 64)] {
            #expect(Identifier.isValid(good))
        }
        for bad in ["", "a b", "ä", "a/b", "a\n", String(repeating: "x", count: 65)] {
            #expect(!Identifier.isValid(bad) && !Identifier.isWellFormed(bad))
            #expect(Identifier.violation(of: "id", bad) != nil)
        }
    }

    @Test func whatMeansSomethingElseInAPathIsNone() {
        for word in [".", "..", "available"] {
            #expect(!Identifier.isValid(word) && Identifier.isWellFormed(word))
            #expect(
                Identifier.violation(of: "id", word)
                    == "id is \"\(word)\", which means something else in a path; take another one.")
        }
        for good in ["...", ".a", "a.", "Available", "available-1", "-", "_"] { #expect(Identifier.isValid(good)) }
    }

    @Test func rfc9562_5_7_versionVariantAndOrder() {
        let first = UUIDv7(milliseconds: 0x0192_3456_789A, random: (.max, .max)).text
        #expect(first == "01923456-789a-7fff-bfff-ffffffffffff")
        var random = SplitMix(seed: 1)
        var generator = UUIDv7Generator()
        let later = generator.next(milliseconds: 0x0192_3456_789B, using: &random).text
        #expect(later.count == 36 && Identifier.isValid(later))
        #expect(first < later)
        let zero = UUIDv7(milliseconds: 0, random: (0, 0)).text
        #expect(zero == "00000000-0000-7000-8000-000000000000")
    }

    /// A clock that stands still, is set back by an hour or to before 1970, or is years ahead: the next one sorts behind.
    @Test func rfc9562_6_2_eachSortsBehindTheOneBeforeWhateverTheClockSays() {
        var random = SplitMix(seed: 2)
        var generator = UUIDv7Generator()
        var last = ""
        let now: Int64 = 1_700_000_000_000
        for wall in [now, now + 1, now - 3_600_000, 0, -1, .min, now + 2, now + 400 * 86_400_000, now + 3, .max, 0] {
            for _ in 0..<6_000 {
                let next = generator.next(milliseconds: wall, using: &random).text
                #expect(
                    next > last && next.dropFirst(14).first == "7" && "89ab".contains(next.dropFirst(19).first ?? " "))
                last = next
            }
        }
        // While the clock goes on as it should, its milliseconds are those of the identifier.
        var fresh = UUIDv7Generator()
        for step in 0..<100 as Range<Int64> {
            let text = fresh.next(milliseconds: 0x0192_3456_0000 + step, using: &random).text
            #expect(text.hasPrefix("01923456-00" + (step < 16 ? "0" : "") + String(step, radix: 16)))
        }
    }
}
