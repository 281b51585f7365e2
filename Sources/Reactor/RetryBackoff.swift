import Basics

/// How long to wait before something that failed is tried again: a short time at first, twice as long after each further
/// failure, up to a bound. Each wait varies by a fifth, so that many who failed together do not come back together.
///
///     backoff.failed(at: loop.now) ──▶ nanoseconds to wait ──▶ try ──▶ succeeded(), or failed again
///
/// Every loop that tries again asks one of these: whatever fails, and however fast it fails, the number of tries in a time
/// is bounded. Belongs to one loop; time is a parameter.
public struct RetryBackoff: Sendable {
    /// Nanoseconds of the first wait.
    public let first: UInt64
    /// Nanoseconds that no wait exceeds by more than a fifth.
    public let last: UInt64
    /// Failures in a row.
    public private(set) var failures = 0
    /// A day: whoever asks for more means for ever, and sums with it must not overflow.
    private static let longest: UInt64 = 86_400_000_000_000
    private var lastFailure: UInt64 = 0
    private var random: SplitMix

    /// - Parameters:
    ///   - first: nanoseconds of the first wait; at least a millisecond, because a wait of nothing is a spin.
    ///   - last: nanoseconds of the longest wait.
    ///   - seed: of the variation.
    public init(first: UInt64, last: UInt64, seed: UInt64 = .random(in: .min ... .max)) {
        self.first = max(1_000_000, min(first, Self.longest))
        self.last = max(self.first, min(last, Self.longest))
        random = SplitMix(seed: seed)
    }

    /// Takes note of a failure at `now` (nanoseconds) and answers how many nanoseconds to wait.
    ///
    /// A failure that comes long after the last one, twice the longest wait, is the first of a new row, also if nobody said
    /// that something succeeded in between.
    public mutating func failed(at now: UInt64) -> UInt64 {
        if failures > 0, now > lastFailure, now - lastFailure > 2 * last { failures = 0 }
        lastFailure = now
        var wait = first
        for _ in 0..<failures where wait < last { wait = wait > last / 2 ? last : wait * 2 }
        failures += 1
        return varied(wait)
    }

    /// The next failure is the first of a new row.
    public mutating func succeeded() { failures = 0 }

    /// Four fifths to six fifths of a wait.
    private mutating func varied(_ wait: UInt64) -> UInt64 {
        let fifth = wait / 5
        return wait - fifth + random.next() % (2 * fifth + 1)
    }
}
