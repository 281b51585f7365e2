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
    mutating func mint(unixMilliseconds: Int64, _ random: inout RandomBits) {
        let noise = random.next()
        let high = UInt64(truncatingIfNeeded: unixMilliseconds) << 16 | 0x7000 | (noise & 0x0FFF)
        let low = 0x8000_0000_0000_0000 | (random.next() >> 2)
        count = 36
        var offset = 0
        for index in 0..<32 {
            if index == 8 || index == 12 || index == 16 || index == 20 {
                bytes[offset] = UInt8(ascii: "-")
                offset += 1
            }
            let word = index < 16 ? high : low
            let digit = UInt8(truncatingIfNeeded: word >> UInt64(60 - (index & 15) * 4)) & 15
            bytes[offset] = digit < 10 ? digit + 48 : digit + 87
            offset += 1
        }
    }
}

/// SplitMix64: fast bits for identifiers. Not for secrets.
struct RandomBits {
    var state: UInt64

    init() {
        var generator = SystemRandomNumberGenerator()
        state = generator.next()
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
