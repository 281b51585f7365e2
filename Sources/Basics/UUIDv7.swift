/// A UUID of version 7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then random bits, so that later ones sort later.
@frozen
public struct UUIDv7: Hashable, Sendable {
    @usableFromInline let high: UInt64
    @usableFromInline let low: UInt64

    /// Makes one from an instant (Unix milliseconds) and 74 of the random bits.
    @inlinable
    @inline(__always)
    public init(milliseconds: Int64, random: (UInt64, UInt64)) {
        high = UInt64(truncatingIfNeeded: milliseconds) << 16 | 0x7000 | random.0 & 0x0FFF
        low = 0x8000_0000_0000_0000 | random.1 & 0x3FFF_FFFF_FFFF_FFFF
    }

    /// The usual 36 characters in lower case.
    public var text: String {
        var bytes = InlineArray<36, UInt8>(repeating: 0)
        var span = bytes.mutableSpan
        write(to: &span)
        let digits = bytes.span
        return unsafe digits.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Writes the 36 characters to the beginning of `output`, which has room for them.
    @inlinable
    @inline(__always)
    public func write(to output: inout MutableSpan<UInt8>) {
        precondition(output.count >= 36, "a UUID takes 36 characters")
        // Groups of 8, 4, 4, 4 and 12 digits; each half is written as two words of eight digits.
        let first = Self.hexDigits(UInt32(truncatingIfNeeded: high >> 32))
        let second = Self.hexDigits(UInt32(truncatingIfNeeded: high))
        let third = Self.hexDigits(UInt32(truncatingIfNeeded: low >> 32))
        let fourth = Self.hexDigits(UInt32(truncatingIfNeeded: low))
        let dash = UInt8(ascii: "-")
        // Proof: 36 bytes are there, and the last store ends there.
        unsafe output.withUnsafeMutableBytes { output in
            unsafe output.storeBytes(of: first.littleEndian, toByteOffset: 0, as: UInt64.self)
            unsafe output.storeBytes(of: dash, toByteOffset: 8, as: UInt8.self)
            unsafe output.storeBytes(
                of: UInt32(truncatingIfNeeded: second).littleEndian, toByteOffset: 9, as: UInt32.self)
            unsafe output.storeBytes(of: dash, toByteOffset: 13, as: UInt8.self)
            unsafe output.storeBytes(
                of: UInt32(truncatingIfNeeded: second >> 32).littleEndian, toByteOffset: 14, as: UInt32.self)
            unsafe output.storeBytes(of: dash, toByteOffset: 18, as: UInt8.self)
            unsafe output.storeBytes(
                of: UInt32(truncatingIfNeeded: third).littleEndian, toByteOffset: 19, as: UInt32.self)
            unsafe output.storeBytes(of: dash, toByteOffset: 23, as: UInt8.self)
            unsafe output.storeBytes(
                of: UInt32(truncatingIfNeeded: third >> 32).littleEndian, toByteOffset: 24, as: UInt32.self)
            unsafe output.storeBytes(of: fourth.littleEndian, toByteOffset: 28, as: UInt64.self)
        }
    }

    /// The eight hexadecimal digits of `value`, the most significant in the lowest byte.
    @inlinable
    @inline(__always)
    static func hexDigits(_ value: UInt32) -> UInt64 {
        // Spread the nibbles over bytes, then add 48, and 39 more to those above nine.
        var nibbles = UInt64(value.byteSwapped)
        nibbles = (nibbles | nibbles << 16) & 0x0000_FFFF_0000_FFFF
        nibbles = (nibbles | nibbles << 8) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles >> 4 & 0x000F_000F_000F_000F) | (nibbles << 8 & 0x0F00_0F00_0F00_0F00)
        let letters = (nibbles &+ 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return nibbles &+ 0x3030_3030_3030_3030 &+ letters &* 39
    }
}

/// Makes UUIDs of version 7 of which each sorts behind the one before, whatever happens to the clock: one that is set back,
/// or stands still, is carried on by counting (RFC 9562, 6.2, method 1).
public struct UUIDv7Generator: Sendable {
    /// The end of the year 9999: a clock that says more is wrong. Behind it there is room to count on in 48 bits.
    private static let latest: Int64 = 253_402_300_799_999

    /// Milliseconds and, in the twelve bits behind them, a counter that begins anew in each.
    private var last: UInt64 = 0

    /// A generator that has made none.
    public init() {}

    /// The next one. `milliseconds`: the wall clock, Unix.
    public mutating func next(milliseconds: Int64, using generator: inout some RandomNumberGenerator) -> UUIDv7 {
        next(milliseconds: milliseconds, random: (generator.next(), generator.next()))
    }

    /// The next one, of random bits that its maker has. `milliseconds`: the wall clock, Unix.
    public mutating func next(milliseconds: Int64, random: (UInt64, UInt64)) -> UUIDv7 {
        // The counter begins in its lower half: 2,048 are left before it has to borrow from the next millisecond.
        let instant = UInt64(clamping: min(milliseconds, Self.latest))
        let now = instant << 12 | random.0 & 0x07FF
        last = now > last ? now : last + 1
        return UUIDv7(milliseconds: Int64(last >> 12), random: (last & 0x0FFF, random.1))
    }
}
