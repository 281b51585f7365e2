/// A rate limit without a clock: a bucket of tokens that fills with the time that the caller tells.
struct RateLimit {
    private let interval: UInt64
    /// Nanoseconds' worth of tokens that are there.
    private var credit: UInt64
    private var last: UInt64 = 0
    private let cost: UInt64

    /// - Parameters:
    ///   - burst: how many are allowed at once.
    ///   - interval: nanoseconds in which `burst` tokens are refilled.
    init(burst: Int, interval: UInt64) {
        cost = max(interval / UInt64(clamping: max(burst, 1)), 1)
        self.interval = interval
        credit = interval
    }

    /// Takes `count` tokens, or one part of a token cut into `parts`. False: there are not enough, the limit is passed.
    mutating func take(now: UInt64, count: Int = 1, parts: UInt64 = 1) -> Bool {
        if now > last {
            let gain = now &- last
            credit = gain >= interval &- credit ? interval : credit &+ gain
            last = now
        }
        let (price, overflow) = (cost / parts).multipliedReportingOverflow(by: UInt64(clamping: count))
        guard !overflow, credit >= price else { return false }
        credit &-= price
        return true
    }

    /// Gives tokens back.
    @inline(__always)
    mutating func giveBack(_ count: UInt64 = 1) {
        credit = min(interval, credit &+ cost &* count)
    }
}
