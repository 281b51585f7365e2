/// An instant, given by whoever has a clock: the loop samples one per turn.
///
/// Two clocks in one value: the wall clock is what the outside sees, the monotonic one measures silence, so that a
/// stepped wall clock makes nobody expire.
public struct Moment: Hashable, Sendable {
    /// The Unix milliseconds that RFC 3339 can write: the years 1970 to 9999. What is outside is stored nowhere.
    public static let walls: ClosedRange<Int64> = 0...253_402_300_799_999

    /// Unix milliseconds.
    public var wall: Int64
    /// Monotonic nanoseconds.
    public var monotonic: UInt64

    public init(wall: Int64, monotonic: UInt64) {
        self.wall = wall
        self.monotonic = monotonic
    }

    /// The moment `milliseconds` later, or earlier.
    public func advanced(by milliseconds: Int64) -> Moment {
        Moment(wall: wall &+ milliseconds, monotonic: monotonic &+ UInt64(bitPattern: milliseconds) &* 1_000_000)
    }
}
