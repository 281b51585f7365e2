/// Latencies in the manner of HdrHistogram: buckets whose width is at most 1/64 of their value, from a nanosecond to hours,
/// in a fixed array. Recording costs a shift and an add.
struct LatencyHistogram: Sendable {
    private static let subBits = 6
    private var counts = [UInt64](repeating: 0, count: (64 - Self.subBits) << Self.subBits)
    private(set) var total: UInt64 = 0

    mutating func record(_ nanoseconds: UInt64) {
        counts[Self.bucket(nanoseconds)] += 1
        total += 1
    }

    /// The value that `fraction` of all recorded ones do not exceed, nanoseconds.
    func percentile(_ fraction: Double) -> UInt64 {
        var left = UInt64((Double(total) * fraction).rounded(.up))
        for (bucket, count) in counts.enumerated() {
            if count >= left { return Self.highest(bucket) }
            left -= count
        }
        return 0
    }

    private static func bucket(_ value: UInt64) -> Int {
        guard value >= 1 << subBits else { return Int(value) }
        let shift = UInt64.bitWidth - value.leadingZeroBitCount - subBits - 1
        return ((shift + 1) << subBits) + Int((value >> UInt64(shift)) & ((1 << subBits) - 1))
    }

    private static func highest(_ bucket: Int) -> UInt64 {
        guard bucket >= 1 << subBits else { return UInt64(bucket) }
        let shift = UInt64(bucket >> subBits) - 1
        return ((UInt64(bucket & ((1 << subBits) - 1)) + (1 << subBits) + 1) << shift) - 1
    }
}
