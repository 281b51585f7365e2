/// A position as a driver's app measured it.
public struct LocationPoint: Hashable, Sendable {
    public var position: Position
    /// Degrees clockwise from north.
    public var heading: Double?
    /// Metres per second.
    public var speed: Double?
    /// Metres.
    public var accuracy: Double?
    /// When it was measured, Unix milliseconds of the phone's own clock; nil: when it arrived.
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

/// What becomes of a position.
public enum LocationVerdict: Hashable, Sendable {
    /// It is believed; it was measured `age` milliseconds before it arrived, never less than 0.
    case accepted(age: Int64)
    case dropped(LocationDrop)
}
