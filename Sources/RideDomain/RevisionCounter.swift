/// The number that every change of any driver gets: it only grows, across restarts too, and stays below 2⁵³, so that
/// JavaScript can hold it.
///
/// It starts at what was reserved on disk, or at the wall clock in microseconds when that is more (a lost database must
/// not take it back), and reserves ahead in blocks. Microseconds reach 2⁵³ in the year 2255: a clock, or a disk, that says
/// more than `latestStart` is wrong and is not believed.
public struct RevisionCounter: Sendable {
    /// Numbers reserved at once. Reason: at 100,000 positions a second one write in 100 seconds.
    public static let block: UInt64 = 10_000_000
    /// Numbers stay below it.
    public static let bound: UInt64 = 1 << 53
    /// The highest number that a start begins at (the year 2219). Reason: it leaves more numbers than can be used up.
    public static let latestStart: UInt64 = bound - 1 << 50

    /// The number of the last change.
    public private(set) var current: UInt64
    /// What is known to be on disk: a restart begins there.
    private var reserved: UInt64

    /// `reserved` is what the disk holds (0: nothing); `wall` are Unix milliseconds.
    public init(reserved: UInt64, wall: Int64) {
        let (microseconds, overflowed) = UInt64(max(0, wall)).multipliedReportingOverflow(by: 1_000)
        let known = overflowed || microseconds > Self.latestStart ? 0 : microseconds
        current = max(min(reserved, Self.latestStart), known)
        self.reserved = current
    }

    /// The number of the next change.
    public mutating func next() -> UInt64 {
        current += 1
        precondition(current < Self.bound, "the revision has reached 2^53")
        return current
    }

    /// The reservation that is to be written to disk now, or nil while the last one suffices for half a block.
    ///
    /// Asking is reserving: the caller writes what it is given. (Numbers are not held back until the write is done: if
    /// the disk lies still for half a block, the wall clock keeps the order over a restart.)
    public mutating func reservation() -> UInt64? {
        guard current + Self.block / 2 >= reserved else { return nil }
        reserved = current + Self.block
        return reserved
    }
}
