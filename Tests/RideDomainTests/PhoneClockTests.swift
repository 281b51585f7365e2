import Basics
import RideDomain
import Testing

private let second: Int64 = 1_000
private let minute: Int64 = 60 * second
private let hour: Int64 = 60 * minute
private let year: Int64 = 365 * 24 * hour
/// What clocks are set by, or wrong by, in these tests.
private let steps: [Int64] = {
    let sizes: [Int64] = [second, 30 * second, minute, 2 * minute, hour, year, 30 * year]
    return sizes + sizes.map { -$0 }
}()

/// A car that drives north, and the phone in it.
private struct Drive {
    var track = LocationTrack(position: home, at: firstMoment)
    /// Milliseconds since `firstMoment`.
    var time: Int64 = 0
    /// What the phone's clock and the server's wall clock are ahead of the truth by.
    var phone: Int64 = 0
    var server: Int64 = 0
    var accepted = 0
    var dropped: [LocationDrop: Int] = [:]
    /// Points in a row that were dropped.
    var lost = 0

    var total: Int { dropped.values.reduce(0, +) }

    func place(_ time: Int64) -> Position {
        Position(lat: home.lat + Double(time) * 15 / 1_000 / 111_195, lon: home.lon)
    }

    /// A second on, and a point that is `delay` on its way.
    @discardableResult
    mutating func step(_ span: Int64 = second, delay: Int64 = 0) -> LocationVerdict {
        time += span
        return arrive(measured: time - delay)
    }

    /// A point that was measured at `measured` of the true time arrives now.
    @discardableResult
    mutating func arrive(measured: Int64) -> LocationVerdict {
        var now = firstMoment.advanced(by: time)
        now.wall += server
        let point = LocationPoint(position: place(measured), at: firstMoment.wall + measured + phone)
        let verdict = track.judge(point, at: now)
        switch verdict {
        case .accepted:
            accepted += 1
            lost = 0
        case .dropped(let drop):
            dropped[drop, default: 0] += 1
            lost += 1
        }
        return verdict
    }
}

/// Behaviour 53: a step of a clock, the server's or a phone's, freezes nobody.
@Suite struct PhoneClockTests {
    @Test(arguments: steps)
    func aPhoneThatIsWrongIsFollowed(by offset: Int64) {
        var drive = Drive()
        drive.phone = offset
        for _ in 0..<600 { drive.step(delay: Int64.random(in: 0...300)) }
        // One that seems too old is believed when the third goes on like a clock does; the others at once.
        #expect(drive.total <= (offset <= -minute ? 2 : 0), "\(drive.dropped)")
        #expect(drive.dropped.keys.allSatisfy { $0 == .stale })
        guard case .accepted(let age) = drive.step() else { return #expect(Bool(false)) }
        #expect(age < second)
    }

    @Test(arguments: steps)
    func aPhoneWhoseClockIsSetIsFollowed(by step: Int64) {
        var drive = Drive()
        drive.phone = 17 * minute
        for _ in 0..<60 { drive.step(delay: Int64.random(in: 0...300)) }
        drive.phone += step
        for _ in 0..<120 { drive.step(delay: Int64.random(in: 0...300)) }
        // Set ahead it costs nothing; set back, the third point in a row that goes on like a clock is believed.
        #expect(drive.total <= (step < 0 ? 4 : 0), "\(drive.dropped)")
        #expect(drive.lost == 0)
        guard case .accepted(let age) = drive.step() else { return #expect(Bool(false)) }
        #expect(age < 2 * second)
    }

    @Test(arguments: steps)
    func aServerClockThatIsSetDropsNothing(by step: Int64) {
        var drive = Drive()
        for _ in 0..<60 { drive.step(delay: 100) }
        drive.server = step
        for _ in 0..<60 { drive.step(delay: 100) }
        drive.server = 0
        for _ in 0..<60 { drive.step(delay: 100) }
        #expect(drive.total == 0 && drive.accepted == 180)
    }

    /// The clocks of both are wrong before the first point: a restart of the service on a machine with a bad clock.
    @Test(arguments: steps)
    func aServerThatStartsWithAWrongClockFollowsSoon(by step: Int64) {
        var drive = Drive()
        drive.track = LocationTrack()
        drive.server = step
        for _ in 0..<60 { drive.step(delay: 100) }
        #expect(drive.total <= 2)
    }

    @Test func positionsThatWereKeptBackAreNoClockThatWasSet() {
        var drive = Drive()
        for _ in 0..<60 { drive.step() }
        // Five minutes in a tunnel; then all of them within a second, then as before.
        let entry = drive.time
        drive.time += 5 * minute
        for kept in 1...300 as ClosedRange<Int64> {
            if kept % 50 == 0 { drive.time += 160 }
            drive.arrive(measured: entry + kept * second)
        }
        #expect(drive.dropped == [.stale: 240])
        #expect(drive.accepted == 120)
        for _ in 0..<10 { #expect(drive.step() == .accepted(age: 0)) }
    }

    @Test func duplicatesAndLatecomersAreDroppedWhateverThePhoneCallsTheTime() {
        for offset in [0, -30 * second, 2 * minute, -hour, year] {
            var drive = Drive()
            drive.phone = offset
            for _ in 0..<10 { drive.step() }
            drive.dropped = [:]
            for _ in 0..<5 {
                drive.step()
                #expect(drive.arrive(measured: drive.time) == .dropped(.outOfOrder))
                #expect(drive.arrive(measured: drive.time - 10 * second) == .dropped(.outOfOrder))
                #expect(drive.arrive(measured: drive.time - 61 * second) == .dropped(.stale))
            }
            #expect(drive.dropped == [.outOfOrder: 10, .stale: 5])
        }
    }

    @Test func theSameInstantAgainAndAgainIsNoClock() {
        var drive = Drive()
        for _ in 0..<10 { drive.step() }
        let stuck = drive.time
        for _ in 0..<300 {
            drive.time += second
            #expect(drive.arrive(measured: stuck) != .accepted(age: 0))
        }
        #expect(drive.lost == 300)
        #expect(drive.step() == .accepted(age: 0))
    }

    @Test func aPositionWithoutAnInstantWasMeasuredWhenItArrived() {
        var track = LocationTrack(position: home, at: firstMoment)
        for step in 1...20 as ClosedRange<Int64> {
            var now = firstMoment.advanced(by: step * second)
            now.wall -= step * hour
            // Every second one says when, by a clock that is a day behind.
            let at = step % 2 == 0 ? firstMoment.wall + step * second - 24 * hour : nil
            let verdict = track.judge(LocationPoint(position: home, at: at), at: now)
            if at == nil || step > 2 { continue }
            #expect(verdict == .dropped(.stale))
        }
        #expect(
            track.judge(LocationPoint(position: home), at: firstMoment.advanced(by: 21 * second)) == .accepted(age: 0))
    }

    @Test func aClockThatIsSetAheadLetsNoCarJump() {
        var track = LocationTrack(position: home, at: firstMoment)
        let far = Position(lat: home.lat + 0.5, lon: home.lon)
        _ = track.judge(LocationPoint(position: home, at: firstMoment.wall + 1), at: firstMoment.advanced(by: 1))
        let jump = LocationPoint(position: far, at: firstMoment.wall + hour)
        #expect(track.judge(jump, at: firstMoment.advanced(by: second)) == .dropped(.impossible))
    }

    @Test func aSlowPathIsForgottenWithTheFirstPromptPoint() {
        var drive = Drive()
        for _ in 0..<30 { drive.step(delay: 20 * second) }
        #expect(drive.total == 0)
        #expect(drive.step(delay: 0) == .accepted(age: 0))
        // Now it is known how late they were.
        #expect(drive.step(30 * second, delay: 20 * second) == .accepted(age: 20 * second))
    }

    @Test func aPhoneThatGoesSlowIsFollowedForADay() {
        var drive = Drive()
        for step in 0..<8_640 {
            // 200 parts in a million: 17 s a day.
            drive.phone = -Int64(step) * 2
            drive.step(10 * second, delay: Int64.random(in: 0...200))
        }
        #expect(drive.total == 0)
        guard case .accepted(let age) = drive.step() else { return #expect(Bool(false)) }
        #expect(age < 500)
    }

    /// Nothing that a phone or a clock can say traps.
    @Test func anyInstantOfAnyClockIsJudged() {
        var random = SplitMix(seed: 53)
        let walls: [Int64] = [.min, -1, 0, firstMoment.wall, .max]
        let instants: [Int64?] = [.min, -1, 0, nil, firstMoment.wall, .max - 1, .max]
        let monotonic: [UInt64] = [0, 1, firstMoment.monotonic, .max - 1, .max]
        for _ in 0..<2_000 {
            var registry = emptyRegistry()
            _ = registry.register(profile("d"), position: home, at: firstMoment)
            for _ in 0..<20 {
                let now = Moment(
                    wall: walls.randomElement(using: &random) ?? 0,
                    monotonic: monotonic.randomElement(using: &random) ?? 0)
                let at = Bool.random(using: &random) ? Int64.random(in: .min ... .max, using: &random) : nil
                let point = LocationPoint(
                    position: randomPosition(&random, near: home, degrees: 0.1),
                    at: at ?? instants.randomElement(using: &random) ?? nil)
                _ = registry.report(0, point, at: now)
                _ = registry.expire(at: now)
                _ = registry.availableIDs()
            }
        }
    }

    /// A town of phones with clocks of their own, some of which are set now and then, and a server whose clock is, too:
    /// whoever sends stays in the list, and where he is is known.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func nobodyExpiresAndNobodyFreezesByAStep(seed: UInt64) throws {
        struct Phone {
            var offset: Int64
            var every: Int64
            var metres = 0.0
        }
        var random = SplitMix(seed: seed)
        var registry = registry(30)
        var phones = (0..<30).map { _ in
            Phone(
                offset: steps.randomElement(using: &random) ?? 0,
                every: [1, 1, 5, 20].randomElement(using: &random) ?? 1)
        }
        var server: Int64 = 0
        var revision = registry.revision
        for tick in 1...1_800 as ClosedRange<Int64> {
            if Int.random(in: 0..<100, using: &random) == 0 { server += steps.randomElement(using: &random) ?? 0 }
            for index in phones.indices {
                phones[index].metres += 12
                if Int.random(in: 0..<900, using: &random) == 0 {
                    phones[index].offset += steps.randomElement(using: &random) ?? 0
                }
                guard tick % phones[index].every == 0 else { continue }
                var now = firstMoment.advanced(by: tick * second)
                now.wall += server
                let delay = Int64.random(in: 0...200, using: &random)
                let at = firstMoment.wall + tick * second - delay + phones[index].offset
                let place = Position(lat: home.lat + phones[index].metres / 111_195, lon: home.lon)
                _ = registry.report(Int32(index), LocationPoint(position: place, at: at), at: now)
            }
            var now = firstMoment.advanced(by: tick * second)
            now.wall += server
            #expect(registry.expire(at: now).isEmpty, "seed \(seed), second \(tick)")
            #expect(registry.revision >= revision)
            revision = registry.revision
        }
        #expect(registry.availableIDs().count == 30)
        for (index, phone) in phones.enumerated() {
            let shown = (registry[Int32(index)].position.lat - home.lat) * 111_195
            // Set twice in a row, a clock costs a few more points.
            #expect(phone.metres - shown <= 12 * Double(phone.every) * 6, "seed \(seed), phone \(index)")
        }
    }

    @Test func silenceStillExpires() {
        var registry = registry(2)
        for tick in 1...10 as ClosedRange<Int64> {
            for slot in 0...1 as ClosedRange<Int32> {
                let now = firstMoment.advanced(by: tick * second)
                #expect(registry.report(slot, LocationPoint(position: home, at: now.wall - hour), at: now) != .invalid)
            }
        }
        // One goes on to send what is too old to be shown: he is there. What is no position says nothing.
        let last = firstMoment.advanced(by: 10 * second)
        let nowhere = LocationPoint(position: Position(lat: .nan, lon: 0))
        for tick in 1...59 as ClosedRange<Int64> {
            let now = last.advanced(by: tick * second)
            let late = LocationPoint(position: home, at: firstMoment.wall - 2 * hour)
            #expect(registry.report(0, late, at: now) == .stale)
            #expect(registry.report(1, nowhere, at: now) == .invalid)
            #expect(registry.expire(at: now).isEmpty)
        }
        #expect(registry.expire(at: last.advanced(by: 60 * second)) == [1])
        #expect(registry.availableIDs() == ["d0"])
    }
}
