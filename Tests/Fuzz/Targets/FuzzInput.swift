/// The fuzzer's bytes, read as decisions. Behind the end every decision is 0, so that any prefix of an input is one, too.
struct FuzzInput {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isEmpty: Bool { offset >= bytes.count }

    mutating func byte() -> UInt8 {
        guard offset < bytes.count else { return 0 }
        offset += 1
        return bytes[offset - 1]
    }

    mutating func bool() -> Bool { byte() & 1 == 1 }

    /// One of `count` choices.
    mutating func choice(_ count: Int) -> Int { Int(byte()) % count }

    mutating func uint16() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }

    mutating func uint32() -> UInt32 { UInt32(uint16()) << 16 | UInt32(uint16()) }

    mutating func uint64() -> UInt64 { UInt64(uint32()) << 32 | UInt64(uint32()) }

    /// A run of bytes with its length in front: at most 255, or 65,535 when `long`.
    mutating func run(long: Bool = false) -> [UInt8] {
        let count = min(long ? Int(uint16()) : Int(byte()), bytes.count - offset)
        defer { offset += count }
        return Array(bytes[offset..<(offset + count)])
    }

    /// All that is left.
    mutating func rest() -> [UInt8] {
        defer { offset = bytes.count }
        return offset < bytes.count ? Array(bytes[offset...]) : []
    }
}

/// Cuts `bytes` where a seed says: pieces of one byte up to all.
func pieces(_ bytes: [UInt8], seed: UInt8) -> [ArraySlice<UInt8>] {
    if seed == 0 { return bytes.indices.map { bytes[$0...$0] } }
    var result: [ArraySlice<UInt8>] = []
    var state = UInt32(seed)
    var start = 0
    while start < bytes.count {
        state = state &* 1_664_525 &+ 1_013_904_223
        let count = 1 + Int(state >> 24) % (1 + Int(seed))
        let end = min(bytes.count, start + count)
        result.append(bytes[start..<end])
        start = end
    }
    return result
}
