/// Masking (RFC 6455 §5.3): XOR with a key of four bytes, in place, as many bytes at once as a register holds.
public enum Masking {
    /// Masks or unmasks `bytes`. `key` holds the key's first byte in its lowest bits. Returns all resulting bytes OR-ed
    /// together, eight abreast: no high bit in it means that the result is ASCII, which saves a second look at it.
    @inlinable
    @discardableResult
    public static func apply(_ key: UInt32, to bytes: UnsafeMutableRawBufferPointer) -> UInt64 {
        guard let base = bytes.baseAddress else { return 0 }
        let count = bytes.count
        let wide = UInt64(key) | UInt64(key) << 32
        var seen: UInt64 = 0
        var index = 0
        if count >= 32 {
            let four = SIMD4<UInt64>(repeating: wide.littleEndian)
            var seenFour = SIMD4<UInt64>(repeating: 0)
            while index &+ 32 <= count {
                let value = unsafe base.loadUnaligned(fromByteOffset: index, as: SIMD4<UInt64>.self) ^ four
                unsafe base.storeBytes(of: value, toByteOffset: index, as: SIMD4<UInt64>.self)
                seenFour |= value
                index &+= 32
            }
            seen = seenFour[0] | seenFour[1] | seenFour[2] | seenFour[3]
        }
        while index &+ 8 <= count {
            let value = unsafe base.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ wide.littleEndian
            unsafe base.storeBytes(of: value, toByteOffset: index, as: UInt64.self)
            seen |= value
            index &+= 8
        }
        var rest = wide
        while index < count {
            let value =
                unsafe base.load(fromByteOffset: index, as: UInt8.self) ^ UInt8(truncatingIfNeeded: rest)
            unsafe base.storeBytes(of: value, toByteOffset: index, as: UInt8.self)
            seen |= UInt64(value)
            rest &>>= 8
            index &+= 1
        }
        return seen
    }

    /// The key as it stands after `count` bytes were masked with it.
    @inlinable
    public static func advance(_ key: UInt32, by count: Int) -> UInt32 {
        let shift = UInt32(truncatingIfNeeded: count & 3) &* 8
        return key &>> shift | key &<< ((32 &- shift) & 31)
    }
}
