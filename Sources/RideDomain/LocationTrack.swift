/// Which positions of one driver are believed: drops stale, out-of-order and impossible ones.
///
/// When a point was measured is judged on the phone's own clock and on the server's monotonic one (`PhoneClock`), so a phone
/// may be wrong by years and the server's wall clock may be set at any time. The wall clock is asked one thing: whether the
/// first point of a phone of which nothing is known is an old one.
///
/// A point is impossible beyond 200 m + 80 m/s · Δt from the last accepted one. A phone that was wrong and is right now
/// would be impossible for ever, and one whose clock was set back would be stale or out of order until it had caught up with
/// itself. So points that are dropped but agree with each other form a second track, and the third of them in a row is
/// accepted: the track re-anchors there.
///
///     anchored ──impossible──▶ doubting(1) ──agrees──▶ doubting(2) ──agrees──▶ anchored at the new place
///        ▲                         │  ▲──disagrees: doubting(1) from this point──┘
///        └──possible from anchor───┘
///
///     anchored ──stale, out of order──▶ suspecting(1) ──goes like a clock──▶ suspecting(2) ──…──▶ anchored by the new clock
///        ▲                                  │  ▲──does not: suspecting(1) from this point──┘
///        └──in time─────────────────────────┘
///
/// Points that were kept back and arrive in a burst are not mistaken for a clock that was set: between them the phone's
/// clock has gone on for minutes and ours for moments.
public struct LocationTrack: Hashable, Sendable {
    /// Metres that a point may always be off (bad reception between houses).
    public static let slack = 200.0
    /// Metres per second that no car exceeds (288 km/h).
    public static let maximumSpeed = 80.0
    /// Points in a row that agree with each other re-anchor the track.
    public static let pointsToReanchor = 3
    /// Milliseconds after which a measured point is too old to be shown.
    public static let staleAfter: Int64 = 60_000
    /// Milliseconds that points have to span before they tell that a clock was set: within less, a hiccup of the network
    /// looks like it.
    public static let suspicionSpan: Int64 = 200
    /// Instants beyond (30,000 years from 1970) are taken for these: no difference of two can overflow.
    static let instants: ClosedRange<Int64> = -1_000_000_000_000_000...1_000_000_000_000_000

    private struct Fix: Hashable {
        var position: Position
        /// Milliseconds of the phone's clock; nil when it did not say.
        var at: Int64?
        /// Monotonic milliseconds.
        var arrival: Int64
        /// Monotonic milliseconds at which it was measured, as far as is known; never later than `arrival`.
        var measured: Int64
    }

    /// Points in a row that were dropped and agree with each other.
    private struct Agreement: Hashable {
        let first: Fix
        private(set) var last: Fix
        private(set) var count = 1

        init(_ fix: Fix) {
            first = fix
            last = fix
        }

        mutating func add(_ fix: Fix) {
            last = fix
            count += 1
        }
    }

    private var clock = PhoneClock()
    /// The last accepted point; nil: none that says where the car can be now.
    private var anchor: Fix?
    /// Points in time that are too far from the anchor.
    private var doubt: Agreement?
    /// Points that come too late, unless the phone's clock was set.
    private var suspicion: Agreement?

    /// A track that begins at a position that is known `now`.
    public init(position: Position, at now: Moment) {
        let arrival = Self.milliseconds(now)
        anchor = Fix(position: position, at: nil, arrival: arrival, measured: arrival)
    }

    /// A track that begins wherever the first point is: where the car went while nobody looked is not known.
    public init() {}

    /// Judges a point that arrives `now`. One that is accepted carries the track on.
    ///
    /// A point without an instant was measured when it arrived.
    public mutating func judge(_ point: LocationPoint, at now: Moment) -> LocationVerdict {
        guard point.isValid else { return .dropped(.invalid) }
        if let doubt = point.doubt { return .dropped(doubt) }
        let arrival = Self.milliseconds(now)
        guard let at = point.at.map({ min(max($0, Self.instants.lowerBound), Self.instants.upperBound) }) else {
            return judgePlace(Fix(position: point.position, at: nil, arrival: arrival, measured: arrival))
        }
        let age = max(0, arrival - at - (clock.offset ?? Self.presumedOffset(now)))
        let fix = Fix(position: point.position, at: at, arrival: arrival, measured: arrival - age)
        if let drop = judgeTime(fix) { return suspect(fix, drop) }
        return judgePlace(fix)
    }

    // MARK: When

    private static func milliseconds(_ now: Moment) -> Int64 { Int64(clamping: now.monotonic / 1_000_000) }

    /// Nothing is known of the phone: its clock is presumed to be right, and so is ours.
    private static func presumedOffset(_ now: Moment) -> Int64 {
        milliseconds(now) - min(max(now.wall, instants.lowerBound), instants.upperBound)
    }

    private func judgeTime(_ fix: Fix) -> LocationDrop? {
        if fix.arrival - fix.measured > Self.staleAfter { return .stale }
        guard let anchor, let at = fix.at else { return nil }
        guard let last = anchor.at else {
            // Two clocks: the phone's first point may have been measured a little earlier than it seems.
            return clock.offset != nil && fix.measured < anchor.measured ? .outOfOrder : nil
        }
        return at <= last ? .outOfOrder : nil
    }

    /// Remembers a point that comes too late; if it and those before it go on like a clock does, the phone's was set.
    private mutating func suspect(_ fix: Fix, _ drop: LocationDrop) -> LocationVerdict {
        if let known = suspicion, Self.goesLikeAClock(known.first, fix), Self.isPossible(from: known.last, to: fix) {
            suspicion?.add(fix)
        } else {
            suspicion = Agreement(fix)
        }
        guard let suspicion, suspicion.count >= Self.pointsToReanchor,
            fix.arrival - suspicion.first.arrival >= Self.suspicionSpan
        else { return .dropped(drop) }
        // What was known of the phone's clock is void.
        clock = PhoneClock()
        var prompt = fix
        prompt.measured = fix.arrival
        return accept(prompt)
    }

    /// The phone's clock went on by about as much as ours did.
    private static func goesLikeAClock(_ first: Fix, _ fix: Fix) -> Bool {
        guard let from = first.at, let to = fix.at else { return false }
        let theirs = to - from
        let ours = fix.arrival - first.arrival
        return ours > 0 && theirs > 0 && theirs >= ours / 2 && theirs <= ours + ours / 2
    }

    // MARK: Where

    private mutating func judgePlace(_ fix: Fix) -> LocationVerdict {
        suspicion = nil
        guard let anchor, !Self.isPossible(from: anchor, to: fix) else { return accept(fix) }
        if let known = doubt, Self.isPossible(from: known.last, to: fix) {
            doubt?.add(fix)
        } else {
            doubt = Agreement(fix)
        }
        guard let doubt, doubt.count >= Self.pointsToReanchor else { return .dropped(.impossible) }
        return accept(fix)
    }

    private mutating func accept(_ fix: Fix) -> LocationVerdict {
        if let at = fix.at { clock.observe(fix.arrival - at, at: fix.arrival) }
        anchor = fix
        doubt = nil
        suspicion = nil
        return .accepted(age: fix.arrival - fix.measured)
    }

    private static func isPossible(from: Fix, to: Fix) -> Bool {
        guard let elapsed = elapsed(from: from, to: to) else { return false }
        return from.position.distance(to: to.position) <= slack + maximumSpeed * Double(elapsed) / 1_000
    }

    /// Milliseconds between two measurements; nil when the phone says that the second is not the later one.
    private static func elapsed(from: Fix, to: Fix) -> Int64? {
        guard let first = from.at, let second = to.at else { return abs(to.measured - from.measured) }
        // The phone knows best, but a clock that was set ahead must not let a car jump: beyond the time between the arrivals
        // lies at most what the first may have been late.
        return second >= first ? min(second - first, to.arrival - from.arrival + staleAfter) : nil
    }
}
