/// A UUID of version 7 (RFC 9562, 5.7): 48 bits of Unix milliseconds, then random bits, so that later ones sort later.
public struct UUIDv7: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    /// Makes one from an instant (Unix milliseconds) and 74 of the random bits.
    public init(milliseconds: Int64, random: (UInt64, UInt64)) {
        high = UInt64(truncatingIfNeeded: milliseconds) << 16 | 0x7000 | random.0 & 0x0FFF
        low = 0x8000_0000_0000_0000 | random.1 & 0x3FFF_FFFF_FFFF_FFFF
    }

    /// Makes one from an instant (Unix milliseconds) and a source of randomness.
    public init(milliseconds: Int64, using generator: inout some RandomNumberGenerator) {
        self.init(milliseconds: milliseconds, random: (generator.next(), generator.next()))
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
