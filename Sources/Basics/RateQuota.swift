/// How much of something is allowed: the generic cell rate algorithm (GCRA; ITU-T I.371, annex A) with time as a parameter.
///
///     let quota = RateQuota(50, per: .seconds(1), burst: 100)
///     var arrival: UInt64 = 0                        // all that is kept of somebody who is limited
///     let decision = quota.take(&arrival, now: loop.now)
///
/// What is kept is one number, the theoretical arrival time: the monotonic nanoseconds at which everything that was taken is
/// paid for at the steady rate. As long as that is no more than a burst away, one more is let through. An arrival time that has
/// passed says the same as none.
@frozen
public struct RateQuota: Sendable, Hashable {
    /// Nanoseconds in which one is paid for.
    public let interval: UInt64
    /// Nanoseconds' worth that may be owed: a whole burst.
    public let tolerance: UInt64

    /// - Parameters:
    ///   - count: how many in `span`; at least 1.
    ///   - burst: how many at once; `count`, unless it is said.
    public init(_ count: Int, per span: Duration, burst: Int? = nil) {
        interval = min(max(span.nanoseconds / UInt64(clamping: max(count, 1)), 1), Self.century)
        let burst = UInt64(clamping: max(burst ?? count, 1))
        let (product, overflow) = interval.multipliedReportingOverflow(by: burst)
        // Beyond a century nobody waits, and the sums below stay clear of the end of the numbers.
        tolerance = overflow ? Self.century : max(min(product, Self.century), interval)
    }

    private init(interval: UInt64, tolerance: UInt64) {
        self.interval = interval
        self.tolerance = tolerance
    }

    private static let century: UInt64 = 3_155_760_000_000_000_000

    /// The same burst times `factor`, and as much faster.
    public func times(_ factor: Int) -> RateQuota {
        let factor = UInt64(clamping: max(factor, 1))
        let interval = max(interval / factor, 1)
        let (product, overflow) = interval.multipliedReportingOverflow(by: burst)
        let (all, over) = product.multipliedReportingOverflow(by: factor)
        return RateQuota(interval: interval, tolerance: overflow || over ? Self.century : min(all, Self.century))
    }

    /// How many are let through at once.
    public var burst: UInt64 { tolerance / interval }

    /// Takes one, if that is allowed.
    ///
    /// - Parameters:
    ///   - arrival: the theoretical arrival time; it stays as it is when nothing is taken.
    ///   - now: monotonic nanoseconds.
    @inlinable
    @inline(__always)
    public func take(_ arrival: inout UInt64, now: UInt64) -> RateDecision {
        let owed = arrival > now ? arrival &- now : 0
        guard owed <= tolerance &- interval else { return RateDecision(isAdmitted: false, debt: owed) }
        let debt = owed &+ interval
        let (next, overflow) = now.addingReportingOverflow(debt)
        arrival = overflow ? .max : next
        return RateDecision(isAdmitted: true, debt: debt)
    }

    /// How many more are let through at the moment of `decision`.
    public func remaining(_ decision: RateDecision) -> UInt64 {
        (tolerance &- min(decision.debt, tolerance)) / interval
    }

    /// Nanoseconds until one more is let through; 0: at once.
    public func wait(_ decision: RateDecision) -> UInt64 {
        let bearable = tolerance &- interval
        return decision.debt > bearable ? decision.debt &- bearable : 0
    }
}

/// What became of a question for one.
@frozen
public struct RateDecision: Sendable, Hashable {
    /// Whether it may be done.
    public let isAdmitted: Bool
    /// Nanoseconds until everything that was taken is paid for, this one included if it was taken.
    public let debt: UInt64

    @inlinable
    @inline(__always)
    init(isAdmitted: Bool, debt: UInt64) {
        self.isAdmitted = isAdmitted
        self.debt = debt
    }
}
