/// A rate limit without a clock: a bucket of tokens that fills with the time that its caller tells. 32 bytes; a decision is a
/// few additions.
///
///     var limit = RateLimit(burst: 10, interval: .seconds(1))      // ten at once, ten a second
///     guard limit.take(now: loop.now) else { return refuse() }
///
/// Belongs to one thread.
@frozen
public struct RateLimit: Sendable {
    @usableFromInline let interval: UInt64
    /// Nanoseconds' worth of tokens that are there.
    @usableFromInline var credit: UInt64
    @usableFromInline var last: UInt64 = 0
    @usableFromInline let cost: UInt64

    /// A full bucket.
    ///
    /// - Parameters:
    ///   - burst: how many are allowed at once; at least 1.
    ///   - interval: the time in which `burst` tokens are filled in again.
    public init(burst: Int, interval: Duration) { self.init(burst: burst, nanoseconds: interval.nanoseconds) }

    /// The same with nanoseconds.
    @inlinable
    public init(burst: Int, nanoseconds interval: UInt64) {
        cost = max(interval / UInt64(clamping: max(burst, 1)), 1)
        self.interval = interval
        credit = interval
    }

    /// Takes `count` tokens, or one part of a token cut into `parts`. False: there are not enough, and none was taken.
    ///
    /// - Parameter now: monotonic nanoseconds. An earlier instant than the last one counts as that one.
    @inlinable
    public mutating func take(now: UInt64, count: Int = 1, parts: UInt64 = 1) -> Bool {
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

    /// Nanoseconds after `now` until a token is there; 0: there is one. For `Retry-After`.
    public func wait(now: UInt64) -> UInt64 {
        let gained = credit.addingReportingOverflow(now > last ? now &- last : 0)
        let there = gained.overflow ? interval : min(interval, gained.partialValue)
        return there >= cost ? 0 : cost &- there
    }

    /// Gives tokens back, up to a full bucket.
    @inlinable
    public mutating func giveBack(_ count: UInt64 = 1) {
        let (gift, overflow) = cost.multipliedReportingOverflow(by: count)
        let (sum, over) = credit.addingReportingOverflow(gift)
        credit = overflow || over ? interval : min(interval, sum)
    }
}
