/// What stands around DEFLATE data (RFC 1951).
public enum CompressionFormat: Sendable, Hashable {
    /// Nothing, as in permessage-deflate (RFC 7692). The window's size in bits, 9 to 15: zlib has no smaller one for data without its
    /// own header.
    case raw(windowBits: UInt8)
    /// A header, and a trailer with a checksum (RFC 1952); the window is the largest.
    case gzip

    /// The window, in bits.
    var bits: Int32 {
        switch self {
        case .raw(let bits): Int32(min(max(bits, 9), 15))
        case .gzip: 15
        }
    }

    /// The window as zlib is told of it: negative without a wrapper, 16 more for that of gzip.
    var windowBits: Int32 {
        switch self {
        case .raw: -bits
        case .gzip: bits + 16
        }
    }

    /// Bytes of memory that inflating takes, as zlib's documentation says: 7 KiB, and from the first output on the window.
    public var inflatingMemory: Int { 7 << 10 + 1 << Int(bits) }

    /// How much zlib keeps for finding repetitions: with a small window, less is enough.
    var memoryLevel: Int32 { min(8, bits - 6) }
}
