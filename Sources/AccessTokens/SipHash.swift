/// SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012): a message authentication code for short messages, some 30 instructions
/// for each 8 bytes.
///
/// Whoever does not know the key can't tell its values from random ones, whichever messages they have had it take; they find no
/// message with a given value, nor two with the same, but by chance. Whoever knows the key may: so it is no digest to publish.
@usableFromInline
struct SipHash: Sendable {
    /// What it makes of a message.
    @usableFromInline
    struct Code: Equatable, Sendable, BitwiseCopyable {
        @usableFromInline let low: UInt64
        @usableFromInline let high: UInt64

        @usableFromInline
        init(low: UInt64, high: UInt64) {
            self.low = low
            self.high = high
        }

        /// In a time that does not tell how much of it is equal.
        @inlinable @inline(__always)
        static func == (left: Self, right: Self) -> Bool {
            (left.low ^ right.low) | (left.high ^ right.high) == 0
        }
    }

    private let key: (UInt64, UInt64)

    init(key: (UInt64, UInt64)) { self.key = key }

    /// With a new key from the system's generator of random numbers for cryptography.
    init() {
        var random = SystemRandomNumberGenerator()
        key = (random.next(), random.next())
    }

    /// The code of a message.
    @usableFromInline
    func code(of message: Span<UInt8>) -> Code {
        unsafe message.withUnsafeBytes { bytes in
            // 0xee belongs to the form with 128 bits.
            var state = State(
                v0: key.0 ^ 0x736f_6d65_7073_6575, v1: key.1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                v2: key.0 ^ 0x6c79_6765_6e65_7261, v3: key.1 ^ 0x7465_6462_7974_6573)
            var index = 0
            while index &+ 8 <= bytes.count {
                state.take(UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)))
                index &+= 8
            }
            // The last word: what is left, and the length.
            var last = UInt64(truncatingIfNeeded: bytes.count) << 56
            var shift: UInt64 = 0
            while index < bytes.count {
                last |= UInt64(unsafe bytes[index]) << shift
                index &+= 1
                shift &+= 8
            }
            state.take(last)
            return state.finish()
        }
    }

    private struct State {
        var v0: UInt64
        var v1: UInt64
        var v2: UInt64
        var v3: UInt64

        @inline(__always)
        mutating func take(_ word: UInt64) {
            v3 ^= word
            mix()
            mix()
            v0 ^= word
        }

        @inline(__always)
        mutating func finish() -> Code {
            v2 ^= 0xee
            for _ in 0..<4 { mix() }
            let low = v0 ^ v1 ^ v2 ^ v3
            v1 ^= 0xdd
            for _ in 0..<4 { mix() }
            return Code(low: low, high: v0 ^ v1 ^ v2 ^ v3)
        }

        /// One SipRound.
        @inline(__always)
        private mutating func mix() {
            v0 &+= v1
            v1 = rotated(v1, 13) ^ v0
            v0 = rotated(v0, 32)
            v2 &+= v3
            v3 = rotated(v3, 16) ^ v2
            v0 &+= v3
            v3 = rotated(v3, 21) ^ v0
            v2 &+= v1
            v1 = rotated(v1, 17) ^ v2
            v2 = rotated(v2, 32)
        }

        @inline(__always)
        private func rotated(_ word: UInt64, _ bits: UInt64) -> UInt64 { word &<< bits | word &>> (64 &- bits) }
    }
}
