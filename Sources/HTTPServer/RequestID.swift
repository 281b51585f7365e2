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
        let id = UUIDv7(milliseconds: unixMilliseconds, random: (random.next(), random.next()))
        count = 36
        var span = bytes.mutableSpan
        id.write(to: &span)
    }
}
