#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The machine's clocks, for code that has no loop to ask; what runs on a loop asks `loop.now`, which a simulation can set.
/// Thread-safe; no system call (vDSO).
public enum SystemClock {
    /// Nanoseconds of the monotonic clock: for deadlines and durations.
    @inline(__always)
    public static func monotonicNanoseconds() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(bitPattern: Int64(time.tv_sec)) &* 1_000_000_000 &+ UInt64(bitPattern: Int64(time.tv_nsec))
    }

    /// The time since the beginning of 1970 in UTC (Unix time): whole seconds and the nanoseconds behind them. It may be set at
    /// any time, also back, and to any year.
    public static func unixTime() -> (seconds: Int64, nanoseconds: Int64) {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return (Int64(time.tv_sec), Int64(time.tv_nsec))
    }

    /// The same in milliseconds.
    public static func unixMilliseconds() -> Int64 {
        let (seconds, nanoseconds) = unixTime()
        return seconds &* 1000 &+ nanoseconds / 1_000_000
    }
}
