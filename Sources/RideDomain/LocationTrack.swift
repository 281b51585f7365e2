/// A position as a driver's app measured it.
public struct LocationPoint: Hashable, Sendable {
    public var position: Position
    /// Degrees clockwise from north.
    public var heading: Double?
    /// Metres per second.
    public var speed: Double?
    /// Metres.
    public var accuracy: Double?
    /// Unix milliseconds at which it was measured; nil: when it arrived.
    public var at: Int64?

    public init(
        position: Position, heading: Double? = nil, speed: Double? = nil, accuracy: Double? = nil, at: Int64? = nil
    ) {
        self.position = position
        self.heading = heading
        self.speed = speed
        self.accuracy = accuracy
        self.at = at
    }

    /// Every number is within its range.
    public var isValid: Bool {
        position.isValid && heading.map { (0...360).contains($0) } ?? true
            && speed.map { $0 >= 0 && $0.isFinite } ?? true && accuracy.map { $0 >= 0 && $0.isFinite } ?? true
    }
}

/// Why a position was dropped.
public enum LocationDrop: String, Sendable, Hashable, CaseIterable {
    /// Measured too long ago.
    case stale
    /// Measured before, or at the same instant as, one that was accepted.
    case outOfOrder = "out_of_order"
    /// Farther from the last accepted one than any car can have come.
    case impossible
    /// A number outside its range.
    case invalid
}

/// Which positions of one driver are believed: drops stale, out-of-order and impossible ones.
///
/// A point is impossible beyond 200 m + 80 m/s · Δt from the last accepted one. A phone that was wrong and is right now
/// would be impossible for ever, so points that are dropped as impossible but agree with each other form a second
/// track, and the third of them in a row is accepted: the track re-anchors there.
///
///     anchored ──impossible──▶ doubting(1) ──agrees──▶ doubting(2) ──agrees──▶ anchored at the new place
///        ▲                         │  ▲──disagrees: doubting(1) from this point──┘
///        └──possible from anchor───┘
public struct LocationTrack: Hashable, Sendable {
    /// Metres that a point may always be off (bad reception between houses).
    public static let slack = 200.0
    /// Metres per second that no car exceeds (288 km/h).
    public static let maximumSpeed = 80.0
    /// Points in a row that agree with each other re-anchor the track.
    public static let pointsToReanchor = 3
    /// Milliseconds after which a measured point is too old to be shown.
    public static let staleAfter: Int64 = 60_000

    private struct Fix: Hashable {
        var position: Position
        var at: Int64
    }

    private var anchor: Fix
    private var doubt: Fix?
    private var doubts = 0

    /// Unix milliseconds of the last accepted point.
    public var anchoredAt: Int64 { anchor.at }

    /// A track that begins at a known position (`at`: Unix milliseconds).
    public init(position: Position, at: Int64) { anchor = Fix(position: position, at: at) }

    /// Judges a point that arrived at `now` (Unix milliseconds); nil: it is accepted, and the track goes on from there.
    ///
    /// A point without an instant was measured when it arrived. A device clock that runs ahead is taken back to `now`.
    public mutating func judge(_ point: LocationPoint, now: Int64) -> LocationDrop? {
        guard point.isValid else { return .invalid }
        let at: Int64
        if let measured = point.at, measured < now {
            if measured < now - Self.staleAfter { return .stale }
            if measured <= anchor.at { return .outOfOrder }
            at = measured
        } else {
            // Several points may arrive in one turn of the loop, and the wall clock may have been set back.
            at = max(now, anchor.at)
        }
        let fix = Fix(position: point.position, at: at)
        if Self.isPossible(from: anchor, to: fix) {
            accept(fix)
            return nil
        }
        if let doubt, at >= doubt.at, Self.isPossible(from: doubt, to: fix) {
            doubts += 1
        } else {
            doubts = 1
        }
        doubt = fix
        guard doubts >= Self.pointsToReanchor else { return .impossible }
        accept(fix)
        return nil
    }

    private mutating func accept(_ fix: Fix) {
        anchor = fix
        doubt = nil
        doubts = 0
    }

    private static func isPossible(from: Fix, to: Fix) -> Bool {
        let seconds = Double(to.at - from.at) / 1_000
        return from.position.distance(to: to.position) <= slack + maximumSpeed * seconds
    }
}
