/// A UUID of version 7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then random bits, so that later ones sort later.
public struct UUIDv7: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    /// Makes one from an instant (Unix milliseconds) and 74 of the random bits.
    public init(milliseconds: Int64, random: (UInt64, UInt64)) {
        high = UInt64(truncatingIfNeeded: milliseconds) << 16 | 0x7000 | random.0 & 0x0FFF
        low = 0x8000_0000_0000_0000 | random.1 & 0x3FFF_FFFF_FFFF_FFFF
    }

    /// The usual 36 characters in lower case.
    public var text: String {
        unsafe String(unsafeUninitializedCapacity: 36) { output in
            var position = 0
            for index in 0..<32 {
                if index == 8 || index == 12 || index == 16 || index == 20 {
                    unsafe output[position] = UInt8(ascii: "-")
                    position += 1
                }
                let half = index < 16 ? high : low
                let digit = UInt8(truncatingIfNeeded: half >> UInt64((15 - index % 16) * 4)) & 0xF
                unsafe output[position] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
                position += 1
            }
            return 36
        }
    }
}

/// Makes UUIDs of version 7 of which each sorts behind the one before, whatever happens to the clock: one that is set back,
/// or stands still, is carried on by counting (RFC 9562, 6.2, method 1).
public struct UUIDv7Generator: Sendable {
    /// The end of the year 9999: a clock that says more is wrong. Behind it there is room to count on in 48 bits.
    private static let latest: Int64 = 253_402_300_799_999

    /// Milliseconds and, in the twelve bits behind them, a counter that begins anew in each.
    private var last: UInt64 = 0

    public init() {}

    /// The next one. `milliseconds`: the wall clock, Unix.
    public mutating func next(milliseconds: Int64, using generator: inout some RandomNumberGenerator) -> UUIDv7 {
        let random = (generator.next(), generator.next())
        // The counter begins in its lower half: 2,048 are left before it has to borrow from the next millisecond.
        let instant = UInt64(clamping: min(milliseconds, Self.latest))
        let now = instant << 12 | random.0 & 0x07FF
        last = now > last ? now : last + 1
        return UUIDv7(milliseconds: Int64(last >> 12), random: (last & 0x0FFF, random.1))
    }
}
