import Reactor
import Testing

@Suite struct RetryBackoffTests {
    @Test func eachWaitIsTwiceTheLastUpToTheBoundAndVariesByAFifth() {
        for seed in 0..<50 as Range<UInt64> {
            var backoff = RetryBackoff(first: 100_000_000, last: 1_000_000_000, seed: seed)
            var now: UInt64 = 0
            for expected in [100, 200, 400, 800, 1_000, 1_000, 1_000] as [UInt64] {
                let wait = backoff.failed(at: now)
                #expect((expected * 800_000...expected * 1_200_000).contains(wait))
                now += wait
            }
            #expect(backoff.failures == 7)
            backoff.succeeded()
            #expect(backoff.failed(at: now) <= 120_000_000)
        }
    }

    @Test func whoeverWaitsAsToldNeverTriesOften() {
        var backoff = RetryBackoff(first: 250_000_000, last: 5_000_000_000, seed: 7)
        var now: UInt64 = 0
        var tries = 0
        while now < 60_000_000_000 {
            tries += 1
            now += backoff.failed(at: now)
        }
        #expect(tries < 25)
        // Also if every try succeeds a little and then fails.
        now = 0
        tries = 0
        while now < 5_000_000_000 {
            tries += 1
            backoff.succeeded()
            now += backoff.failed(at: now)
        }
        #expect(tries <= 25)
    }

    @Test func aFailureLongAfterTheLastBeginsANewRow() {
        var backoff = RetryBackoff(first: 1_000_000, last: 8_000_000, seed: 1)
        for _ in 0..<10 { _ = backoff.failed(at: 0) }
        #expect(backoff.failed(at: 16_000_000) > 2_000_000)
        #expect(backoff.failed(at: 16_000_000 + 16_000_001) <= 1_200_000)
    }

    @Test func noValuesTrapOrMakeItSpin() {
        for (first, last) in [(0, 0), (UInt64.max, UInt64.max), (UInt64.max, 0), (1, .max)] as [(UInt64, UInt64)] {
            var backoff = RetryBackoff(first: first, last: last, seed: .max)
            for now in [0, .max, 0, 1, .max] as [UInt64] {
                for _ in 0..<100 { #expect(backoff.failed(at: now) >= 800_000) }
            }
        }
    }
}
