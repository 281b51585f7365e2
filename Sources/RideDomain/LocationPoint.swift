/// A position as a driver's app measured it.
public struct LocationPoint: Hashable, Sendable {
    public var position: Position
    /// Degrees clockwise from north; nil: not known.
    public let heading: Double?
    /// Metres per second; nil: not known.
    public let speed: Double?
    /// Metres; negative: the phone has no fix.
    public let accuracy: Double?
    /// When it was measured, Unix milliseconds of the phone's own clock; nil: when it arrived.
    public var at: Int64?

    public init(
        position: Position, heading: Double? = nil, speed: Double? = nil, accuracy: Double? = nil, at: Int64? = nil
    ) {
        self.position = position
        // What phones do not know they say by a negative number (−1 in iOS).
        self.heading = heading.flatMap { $0 < 0 ? nil : $0 }
        self.speed = speed.flatMap { $0 < 0 ? nil : $0 }
        self.accuracy = accuracy
        self.at = at
    }

    /// Metres per second at most. Reason: no car comes near it, and a number of another unit, or none, is not shown to riders.
    public static let maximumSpeed = 1000.0
    /// Metres at most: more than once around the earth says nothing.
    public static let maximumAccuracy = 100_000_000.0

    /// Every number is within its range, which is the same for all who report positions.
    public var isValid: Bool {
        position.isValid && heading.map { (0...360).contains($0) } ?? true
            && speed.map { $0 <= Self.maximumSpeed } ?? true
            && accuracy.map { $0.isFinite && $0 <= Self.maximumAccuracy } ?? true
    }

    /// Metres from which a position says too little to be shown. Reason: at 200 m the car may be two streets away.
    public static let worstAccuracy = 200.0

    /// Why nothing can be concluded from the numbers, though each is within its range; nil: they say where the car is.
    var doubt: LocationDrop? {
        if accuracy ?? 0 < 0 || (position.lat == 0 && position.lon == 0) { return .noFix }
        return accuracy ?? 0 > Self.worstAccuracy ? .inaccurate : nil
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
    /// The phone does not know where it is: 0, 0, or a negative accuracy.
    case noFix = "no_fix"
    /// Known to within more than 200 m only.
    case inaccurate
    /// A number outside its range.
    case invalid
}

/// What becomes of a position.
public enum LocationVerdict: Hashable, Sendable {
    /// It is believed; it was measured `age` milliseconds before it arrived, never less than 0.
    case accepted(age: Int64)
    case dropped(LocationDrop)
}
