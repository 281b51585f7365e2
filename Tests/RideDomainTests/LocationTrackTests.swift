import Basics
import RideDomain
import Testing

extension LocationTrack {
    /// Judges a point that arrives at `now`, Unix milliseconds, both of the server's clocks going on alike; nil: accepted.
    mutating func judge(_ point: LocationPoint, now: Int64) -> LocationDrop? {
        switch judge(point, at: firstMoment.advanced(by: now - firstMoment.wall)) {
        case .accepted: nil
        case .dropped(let drop): drop
        }
    }
}

@Suite struct LocationTrackTests {
    static let home = Position(lat: 53.5600, lon: 13.2600)
    /// Points north of home, in metres.
    func north(_ metres: Double) -> Position { Position(lat: Self.home.lat + metres / 111_195, lon: Self.home.lon) }
    let start = firstMoment.wall

    func track() -> LocationTrack { LocationTrack(position: Self.home, at: firstMoment) }

    @Test func pointsWithinReachAreAccepted() {
        var track = track()
        #expect(track.judge(LocationPoint(position: north(199)), now: start) == nil)
        #expect(track.judge(LocationPoint(position: north(199 + 279)), now: start + 1_000) == nil)
        #expect(track.judge(LocationPoint(position: north(199 + 279 + 281)), now: start + 2_000) == .impossible)
        #expect(track.judge(LocationPoint(position: north(199 + 279 + 281)), now: start + 3_000) == nil)
    }

    @Test func whatAPhoneDoesNotKnowIsNegative() {
        let point = LocationPoint(position: north(1), heading: -1, speed: -1, accuracy: 5)
        #expect(point.heading == nil && point.speed == nil && point.isValid)
        let still = LocationPoint(position: north(1), heading: 0, speed: 0, accuracy: 0)
        #expect(still.heading == 0 && still.speed == 0 && still.isValid)
        var track = track()
        #expect(track.judge(point, now: start) == nil)
        #expect(track.judge(LocationPoint(position: north(2), heading: 361), now: start) == .invalid)
        for number in [Double.nan, .infinity] {
            #expect(track.judge(LocationPoint(position: north(2), speed: number), now: start) == .invalid)
            #expect(track.judge(LocationPoint(position: north(2), accuracy: number), now: start) == .invalid)
        }
    }

    @Test func aPhoneWithoutAFixSaysNothing() {
        for (accuracy, drop) in [
            (-1, .noFix), (0, nil), (200, nil), (200.1, .inaccurate), (1e8, .inaccurate),
        ] as [(Double, LocationDrop?)] {
            var track = track()
            #expect(track.judge(LocationPoint(position: north(1), accuracy: accuracy), now: start) == drop)
        }
        let nowhere = Position(lat: 0, lon: 0)
        var track = LocationTrack()
        for second in 0...5 as ClosedRange<Int64> {
            #expect(track.judge(LocationPoint(position: nowhere, accuracy: 5), now: start + second * 1_000) == .noFix)
        }
        // Which leaves no trace: the first position that says something is taken wherever it is.
        #expect(track.judge(LocationPoint(position: north(1)), now: start + 6_000) == nil)
        // On the equator, or on Greenwich's meridian, there are roads.
        for road in [Position(lat: 0, lon: 9.45), Position(lat: 51.4779, lon: 0)] {
            var track = LocationTrack()
            #expect(track.judge(LocationPoint(position: road), now: start) == nil)
        }
    }

    /// An app measures, registers its driver, and sends what it measured before the answer came.
    @Test func aFirstPositionFromBeforeTheRegistrationIsTaken() {
        for phone in [0, 30_000, -30_000] as [Int64] {
            var track = track()
            let now = start + 500
            let first = LocationPoint(position: north(20), at: start - 5_000 + phone)
            #expect(track.judge(first, now: now) == nil, "a phone that is \(phone) ms ahead")
            #expect(track.judge(LocationPoint(position: north(40), at: start - 3_000 + phone), now: now) == nil)
            #expect(track.judge(LocationPoint(position: north(60), at: start + phone), now: now) == nil)
            #expect(track.judge(first, now: now) == .outOfOrder)
        }
    }

    @Test func staleAndOutOfOrderPointsAreDropped() {
        var track = track()
        let now = start + 100_000
        #expect(track.judge(LocationPoint(position: Self.home, at: now - 60_001), now: now) == .stale)
        #expect(track.judge(LocationPoint(position: Self.home, at: now - 59_000), now: now) == nil)
        #expect(track.judge(LocationPoint(position: Self.home, at: now - 59_000), now: now) == .outOfOrder)
        #expect(track.judge(LocationPoint(position: Self.home, at: now - 59_500), now: now) == .outOfOrder)
        #expect(track.judge(LocationPoint(position: Self.home, at: now - 58_000), now: now) == nil)
    }

    @Test func aClockThatRunsAheadIsTakenBack() {
        var track = track()
        for second in 1...5 as ClosedRange<Int64> {
            let point = LocationPoint(position: north(Double(second) * 10), at: start + 3_600_000 + second * 1_000)
            #expect(track.judge(point, at: firstMoment.advanced(by: second * 1_000)) == .accepted(age: 0))
        }
    }

    @Test func pointsWithoutAnInstantInOneTurnAreAllAccepted() {
        var track = track()
        for step in 1...5 {
            #expect(track.judge(LocationPoint(position: north(Double(step) * 20)), now: start + 1_000) == nil)
        }
        var setBack = firstMoment.advanced(by: 2_000)
        setBack.wall -= 5_000
        #expect(track.judge(LocationPoint(position: north(120)), at: setBack) == .accepted(age: 0))
    }

    @Test func threePointsThatAgreeReanchorTheTrack() {
        var track = track()
        #expect(track.judge(LocationPoint(position: north(50_000)), now: start + 1_000) == .impossible)
        #expect(track.judge(LocationPoint(position: north(50_010)), now: start + 2_000) == .impossible)
        #expect(track.judge(LocationPoint(position: north(50_020)), now: start + 3_000) == nil)
        #expect(track.judge(LocationPoint(position: north(50_030)), now: start + 4_000) == nil)
        #expect(track.judge(LocationPoint(position: Self.home), now: start + 5_000) == .impossible)
    }

    @Test func pointsThatDisagreeNeverReanchorAndAGoodOneEndsTheDoubt() {
        var track = track()
        for step in 1...21 {
            let far = north(step % 2 == 0 ? 50_000 : -50_000)
            #expect(track.judge(LocationPoint(position: far), now: start + Int64(step) * 1_000) == .impossible)
        }
        #expect(track.judge(LocationPoint(position: north(50_000)), now: start + 22_000) == .impossible)
        #expect(track.judge(LocationPoint(position: north(50_000)), now: start + 23_000) == .impossible)
        #expect(track.judge(LocationPoint(position: north(20)), now: start + 24_000) == nil)
        #expect(track.judge(LocationPoint(position: north(50_000)), now: start + 25_000) == .impossible)
    }

    @Test func numbersOutsideTheirRangeAreInvalid() {
        var track = track()
        let bad = [
            LocationPoint(position: Position(lat: 91, lon: 0)), LocationPoint(position: Position(lat: .nan, lon: 0)),
            LocationPoint(position: Self.home, heading: 361), LocationPoint(position: Self.home, heading: .nan),
            LocationPoint(position: Self.home, speed: .nan), LocationPoint(position: Self.home, speed: .infinity),
            LocationPoint(position: Self.home, speed: 1e308), LocationPoint(position: Self.home, speed: 1000.1),
            LocationPoint(position: Self.home, accuracy: .nan), LocationPoint(position: Self.home, accuracy: 1e9),
        ]
        for point in bad { #expect(track.judge(point, now: start + 1_000) == .invalid) }
        let full = LocationPoint(position: Self.home, heading: 360, speed: 0, accuracy: 0, at: start + 900)
        #expect(track.judge(full, now: start + 1_000) == nil)
    }

    /// A car that really drives, seen through a phone that sometimes errs: the track never loses it for long.
    @Test func aSimulatedPhoneIsFollowedWhateverItDoes() {
        for seed in 0..<200 {
            var random = SplitMix(seed: UInt64(seed))
            var track = track()
            var metres = 0.0
            var lost = 0
            var wasLate = false
            for second in 1...300 {
                metres += Double.random(in: 0...40, using: &random)
                let now = start + Int64(second) * 1_000
                var kind = Int.random(in: 0..<20, using: &random)
                // Three late ones in a row that come as fast as time goes by would be a clock that was set.
                if kind == 1 && wasLate { kind = 3 }
                wasLate = kind == 1
                switch kind {
                case 0:  // a wild point
                    let wild = north(metres + Double.random(in: 5_000...90_000, using: &random))
                    #expect(track.judge(LocationPoint(position: wild, at: now), now: now) != nil)
                case 1:  // a late duplicate
                    #expect(track.judge(LocationPoint(position: north(metres), at: now - 70_000), now: now) == .stale)
                case 2: metres += 30_000  // the phone was off on the motorway while its clock said one second
                default:
                    let point = LocationPoint(position: north(metres), at: now)
                    lost = track.judge(point, now: now) == nil ? 0 : lost + 1
                    #expect(lost < 10, "seed \(seed), second \(second)")
                }
            }
        }
    }
}
