import Basics
import Testing

@Suite struct BasicsTests {
    /// The published sequence of SplitMix64 with the seed 1234567.
    @Test func splitMixGivesThePublishedNumbers() {
        var random = SplitMix(seed: 1_234_567)
        let numbers = (0..<5).map { _ in random.next() }
        #expect(
            numbers == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
    }

    /// The test vectors of the FNV authors.
    @Test(arguments: [("", 0xCBF2_9CE4_8422_2325), ("a", 0xAF63_DC4C_8601_EC8C), ("foobar", 0x8594_4171_F739_67E8)])
    func fnvGivesThePublishedHashes(text: String, hash: UInt64) {
        var fnv = FNV1a()
        fnv.add(text.utf8)
        #expect(fnv.value == hash)
    }

    @Test func aDurationIsNanosecondsWithinBounds() {
        #expect(Duration.milliseconds(1_500).nanoseconds == 1_500_000_000)
        #expect(Duration.nanoseconds(7).nanoseconds == 7)
        #expect(Duration.seconds(-1).nanoseconds == 0)
        #expect(Duration.milliseconds(-1).nanoseconds == 0)
        #expect(Duration.seconds(Int64.max).nanoseconds == .max)
    }

    @Test func aSpanIsSetAsADurationAndReadAsNanoseconds() {
        struct Limits {
            @Nanoseconds var patience: Duration = .milliseconds(1_500)
        }
        var limits = Limits()
        #expect(limits.$patience == 1_500_000_000 && limits.patience == .milliseconds(1_500))
        limits.patience = .seconds(-1)
        #expect(limits.$patience == 0 && limits.patience == .zero)
        limits.patience = .seconds(Int64.max)
        #expect(limits.$patience == UInt64(Int64.max) && limits.patience == .nanoseconds(Int64.max))
    }

    @Test func aRateLimitLetsABurstPassAndThenItsRate() {
        var limit = RateLimit(burst: 10, interval: .seconds(1))
        let burst = (0..<11).map { _ in limit.take(now: 5) }
        #expect(burst == Array(repeating: true, count: 10) + [false])
        #expect(limit.wait(now: 5) == 100_000_000)
        #expect(limit.wait(now: 50_000_005) == 50_000_000)
        let later = [100_000_004, 100_000_005, 100_000_005].map { limit.take(now: $0) }
        #expect(later == [false, true, false])
    }

    @Test func aClockThatIsSetBackOrFarAheadGivesNoMoreThanABurst() {
        var limit = RateLimit(burst: 2, interval: .seconds(1))
        let taken = [limit.take(now: .max - 1, count: 2), limit.take(now: 0)]
        #expect(taken == [true, false])
        #expect(limit.wait(now: 0) == 500_000_000)
        let tooMany = limit.take(now: .max, count: 3)
        #expect(!tooMany)
        limit.giveBack(.max)
        let back = [limit.take(now: .max, count: 2), limit.take(now: .max)]
        #expect(back == [true, false])
    }

    @Test func partsOfATokenAreCheaperAndHugeCountsAreRefused() {
        var limit = RateLimit(burst: 1, interval: .seconds(1))
        let quarters = (0..<5).map { _ in limit.take(now: 1, parts: 4) }
        #expect(quarters == [true, true, true, true, false])
        let huge = limit.take(now: .max, count: .max)
        let one = limit.take(now: .max)
        #expect(!huge && one)
    }
}
