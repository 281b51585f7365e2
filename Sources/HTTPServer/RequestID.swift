import Basics
import Bytes

/// The identifier of a request, in place: the client's, if it is one, or a UUIDv7 made here.
struct RequestID {
    static let maximum = 64
    var count = 0
    var bytes = InlineArray<64, UInt8>(repeating: 0)

    var text: String {
        let span = bytes.span
        return unsafe span.withUnsafeBufferPointer { unsafe String(decoding: $0.prefix(count), as: UTF8.self) }
    }

    /// Takes over a client's identifier: 1 to 64 of `[A-Za-z0-9._-]`. Anything else is not taken: it would go into logs and
    /// into other services' metadata.
    mutating func adopt(_ value: Span<UInt8>) -> Bool {
        guard value.count > 0, value.count <= Self.maximum else { return false }
        for index in 0..<value.count {
            let byte = value[index]
            let isFine =
                ASCII.lowercased(byte) &- 97 < 26 || byte &- 48 < 10 || byte == UInt8(ascii: ".")
                || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
            guard isFine else { return false }
            bytes[index] = byte
        }
        count = value.count
        return true
    }

    /// Makes a UUIDv7 (RFC 9562 §5.7) of an instant and 74 random bits.
    mutating func mint(unixMilliseconds: Int64, _ random: inout SplitMix) {
        let noise = random.next()
        let high = UInt64(truncatingIfNeeded: unixMilliseconds) << 16 | 0x7000 | (noise & 0x0FFF)
        let low = 0x8000_0000_0000_0000 | (random.next() >> 2)
        count = 36
        // Groups of 8, 4, 4, 4 and 12 digits; each half is written as two words of eight digits.
        let first = Self.hexDigits(UInt32(truncatingIfNeeded: high >> 32))
        let second = Self.hexDigits(UInt32(truncatingIfNeeded: high))
        let third = Self.hexDigits(UInt32(truncatingIfNeeded: low >> 32))
        let fourth = Self.hexDigits(UInt32(truncatingIfNeeded: low))
        let dash = UInt8(ascii: "-")
        var span = bytes.mutableSpan
        // Proof: 64 bytes are there and the last store ends at 36.
        unsafe span.withUnsafeMutableBytes { output in
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
