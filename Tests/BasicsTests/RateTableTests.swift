import Basics
import Testing

@Suite struct RateTableTests {
    private static let second: UInt64 = 1_000_000_000

    @Test func aQuotaLetsABurstPassAndThenItsRate() {
        let quota = RateQuota(10, per: .seconds(60), burst: 3)
        var arrival: UInt64 = 0
        let start = 5 * Self.second
        let burst = (0..<4).map { _ in quota.take(&arrival, now: start) }
        #expect(burst.map(\.isAdmitted) == [true, true, true, false])
        #expect(burst.map(quota.remaining) == [2, 1, 0, 0])
        #expect(burst.map { quota.wait($0) / Self.second } == [0, 0, 6, 6])
        #expect(burst.map { $0.debt / Self.second } == [6, 12, 18, 18])
        // Refused to the last nanosecond, then one each six seconds.
        let next = [6 * Self.second - 1, 6 * Self.second, 6 * Self.second, 12 * Self.second]
            .map { quota.take(&arrival, now: start + $0).isAdmitted }
        #expect(next == [false, true, false, true])
        #expect(arrival == start + 30 * Self.second)
    }

    @Test func quotasKeepClearOfTheEndOfTheNumbers() {
        for quota in [
            RateQuota(1, per: .seconds(Int64.max)), RateQuota(.max, per: .nanoseconds(1)),
            RateQuota(0, per: .zero, burst: .max), RateQuota(1, per: .seconds(1 << 40), burst: .max).times(.max),
        ] {
            var arrival: UInt64 = 0
            for now in [0, .max - 1, .max, 0, 1] as [UInt64] {
                let decision = quota.take(&arrival, now: now)
                _ = (quota.remaining(decision), quota.wait(decision))
            }
            #expect(quota.burst >= 1)
        }
        let crowd = RateQuota(10, per: .seconds(1), burst: 30).times(20)
        #expect(crowd.burst == 600 && crowd.interval == 5_000_000)
    }

    /// Random keys, times and quotas against a dictionary of exact arrival times.
    @Test func aTableWithRoomDecidesAsAnExactModelDoes() {
        let quotas = [
            RateQuota(50, per: .seconds(1)), RateQuota(10, per: .seconds(60), burst: 2), RateQuota(1, per: .seconds(1)),
        ]
        for seed in 0..<20 as Range<UInt64> {
            var random = SplitMix(seed: seed)
            let table = RateTable(capacity: 1 << 16)
            let keys = (0..<200).map { _ in random.next() }
            var model: [UInt64: UInt64] = [:]
            var now: UInt64 = 0
            for _ in 0..<5_000 {
                now += random.chance(0.5) ? 0 : random.next() % 40_000_000
                let index = Int(random.next() % 200)
                let (key, quota) = (keys[index], quotas[index % 3])
                let owed = max(model[key] ?? 0, now) - now + quota.interval
                let isAdmitted = owed <= quota.tolerance
                if isAdmitted { model[key] = now + owed }
                #expect(table.take(key, quota, now: now).isAdmitted == isAdmitted)
            }
            #expect(table.forgiven == 0 && table.usedPlaces == model.count)
        }
    }

    /// One bucket of four: the fifth key takes the place of one that has paid, however long ago that was asked.
    @Test func whoHasPaidGoesFirstAndNothingIsForgottenByThat() {
        let table = RateTable(capacity: 4)
        let quota = RateQuota(2, per: .seconds(2))
        for key in 1...4 as ClosedRange<UInt64> { _ = table.take(key, quota, now: 0) }
        _ = table.take(1, quota, now: 0)
        // Key 1 owes for one more second, the others have paid.
        let now = Self.second
        for key in 5...7 as ClosedRange<UInt64> { #expect(table.take(key, quota, now: now).isAdmitted) }
        #expect(table.forgiven == 0 && table.usedPlaces == 4 && table.indebted(now: now) == 4)
        #expect(table.take(1, quota, now: now).isAdmitted)
        #expect(!table.take(1, quota, now: now).isAdmitted)
    }

    /// Whoever is new is let in when everybody is in debt; who owes most stays.
    @Test func inAFullTableTheLeastDebtIsForgiven() {
        let table = RateTable(capacity: 4)
        let quota = RateQuota(1, per: .seconds(1), burst: 10)
        for key in 1...4 as ClosedRange<UInt64> {
            for _ in 0..<(key == 2 ? 10 : 5) { _ = table.take(key, quota, now: 0) }
        }
        for key in 5...1000 as ClosedRange<UInt64> { #expect(table.take(key, quota, now: 0).isAdmitted) }
        #expect(table.forgiven == 996)
        #expect(!table.take(2, quota, now: 0).isAdmitted)
        #expect(table.take(1, quota, now: 0).isAdmitted == true && table.capacity == 4)
    }

    /// A million keys that are used once each: the memory stays, everybody is let in, and who is at the limit stays there.
    @Test func aMillionAddressesLockNobodyOut() {
        let table = RateTable(capacity: 1 << 16)
        let quota = RateQuota(1, per: .seconds(1), burst: 20)
        var random = SplitMix(seed: 7)
        let greedy = random.next()
        for _ in 0..<20 { _ = table.take(greedy, quota, now: 0) }
        var refused = 0
        for _ in 0..<1_000_000 where !table.take(random.next(), quota, now: 0).isAdmitted { refused += 1 }
        #expect(refused == 0 && table.usedPlaces == 1 << 16)
        #expect(!table.take(greedy, quota, now: 0).isAdmitted)
        #expect(table.indebted(now: 0) == 1 << 16 && table.indebted(now: 30 * Self.second) == 0)
    }

    /// Threads that take for the same keys let through what one would.
    @Test func threadsShareEachLimit() async {
        let table = RateTable(capacity: 1 << 10)
        let quota = RateQuota(1, per: .seconds(1), burst: 1_000)
        let keys = (1...8).map { UInt64($0) << 60 }
        for key in keys { _ = table.take(key, quota, now: 0) }
        let admitted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    (0..<8_000).count { table.take(keys[$0 % 8], quota, now: 0).isAdmitted }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(admitted == 8 * 999)
    }
}
