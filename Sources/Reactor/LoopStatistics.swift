import Synchronization

/// What a loop has done, as of the moment of asking. Times are nanoseconds of the loop's clock.
public struct LoopStatistics: Sendable {
    /// Turns of the loop, which are its wake-ups.
    public var turns: UInt64 = 0
    /// When the last turn began: a loop that does not move here while it should is stuck.
    public var lastTurn: UInt64 = 0
    /// Connections, listeners not counted.
    public var connections: Int = 0
    /// Connections that were accepted since the start.
    public var accepted: UInt64 = 0
    /// How often accepting paused because descriptors or places had run out.
    public var acceptPauses: UInt64 = 0
    /// Accepted connections whose TLS handshake failed, timed out or was given up.
    public var handshakesFailed: UInt64 = 0
    /// Timers that are armed.
    public var timers: Int = 0
    /// Posts from other threads and jobs that wait.
    public var queued: Int = 0
    /// The longest turn so far, from its events to the end of its flush.
    public var longestTurn: UInt64 = 0
    /// The length of all turns together: what part of the time the loop was busy.
    public var turnTime: UInt64 = 0
    /// Turns by length: below 1, 2, 4 … µs, the last open-ended.
    public var turnHistogram: [UInt64] = []

    /// How many buckets the histogram of turns has.
    public static let turnHistogramBuckets = 20
    /// Turns in the buckets up to `bucket` are shorter than this, nanoseconds.
    public static func turnHistogramBound(_ bucket: Int) -> UInt64 { 1024 << UInt64(bucket) }
}

/// The counters behind `LoopStatistics`: written by the loop alone, read by anyone.
final class LoopCounters: Sendable {
    let turns = Atomic<UInt64>(0)
    let lastTurn = Atomic<UInt64>(0)
    let connections = Atomic<Int>(0)
    let accepted = Atomic<UInt64>(0)
    let acceptPauses = Atomic<UInt64>(0)
    let handshakesFailed = Atomic<UInt64>(0)
    let timers = Atomic<Int>(0)
    let queued = Atomic<Int>(0)
    let longestTurn = Atomic<UInt64>(0)
    private let turnTime = Atomic<UInt64>(0)
    private let histogram = Histogram()

    /// Adds without a locked instruction: there is one writer.
    @inline(__always)
    static func add(_ counter: borrowing Atomic<UInt64>, _ value: UInt64) {
        counter.store(counter.load(ordering: .relaxed) &+ value, ordering: .relaxed)
    }

    @inline(__always)
    static func add(_ counter: borrowing Atomic<Int>, _ value: Int) {
        counter.store(counter.load(ordering: .relaxed) &+ value, ordering: .relaxed)
    }

    @inline(__always)
    func turnEnded(_ length: UInt64) {
        if length > longestTurn.load(ordering: .relaxed) { longestTurn.store(length, ordering: .relaxed) }
        Self.add(turnTime, length)
        // Nanoseconds in units of 1,024 are near enough to microseconds for buckets that double.
        let bucket = min(UInt64.bitWidth - (length >> 10).leadingZeroBitCount, LoopStatistics.turnHistogramBuckets - 1)
        histogram.add(bucket)
    }

    func snapshot() -> LoopStatistics {
        var result = LoopStatistics()
        result.turns = turns.load(ordering: .relaxed)
        result.lastTurn = lastTurn.load(ordering: .relaxed)
        result.connections = connections.load(ordering: .relaxed)
        result.accepted = accepted.load(ordering: .relaxed)
        result.acceptPauses = acceptPauses.load(ordering: .relaxed)
        result.handshakesFailed = handshakesFailed.load(ordering: .relaxed)
        result.timers = timers.load(ordering: .relaxed)
        result.queued = queued.load(ordering: .relaxed)
        result.longestTurn = longestTurn.load(ordering: .relaxed)
        result.turnTime = turnTime.load(ordering: .relaxed)
        result.turnHistogram = histogram.values()
        return result
    }

    /// Proof of Sendable: the memory holds atomics, is initialised once and freed with the object.
    @safe private final class Histogram: @unchecked Sendable {
        private let buckets: UnsafeMutablePointer<Atomic<UInt64>>

        init() {
            unsafe buckets = .allocate(capacity: LoopStatistics.turnHistogramBuckets)
            for index in 0..<LoopStatistics.turnHistogramBuckets {
                unsafe (buckets + index).initialize(to: Atomic(0))
            }
        }

        deinit { unsafe buckets.deallocate() }

        @inline(__always)
        func add(_ bucket: Int) { unsafe LoopCounters.add(buckets[bucket], 1) }

        func values() -> [UInt64] {
            (0..<LoopStatistics.turnHistogramBuckets).map { unsafe buckets[$0].load(ordering: .relaxed) }
        }
    }
}
