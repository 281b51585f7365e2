/// Base64 with padding (RFC 4648 §4).
public enum Base64 {
    /// Appends the Base64 form of `bytes` to `output`.
    public static func encode(_ bytes: Span<UInt8>, into output: inout ByteBuffer) {
        output.reserve((bytes.count + 2) / 3 * 4)
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let group =
                UInt32(bytes[index]) << 16
                | (left > 1 ? UInt32(bytes[index + 1]) << 8 : 0)
                | (left > 2 ? UInt32(bytes[index + 2]) : 0)
            output.append(digit(group >> 18))
            output.append(digit(group >> 12))
            output.append(left > 1 ? digit(group >> 6) : UInt8(ascii: "="))
            output.append(left > 2 ? digit(group) : UInt8(ascii: "="))
            index += 3
        }
    }

    /// The bytes that `text` stands for. Padding may be missing at the end (gRPC `-bin` metadata leaves it out); nil for
    /// anything that is not Base64.
    public static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        var count = text.count
        while count > 0 && text[count - 1] == UInt8(ascii: "=") && text.count - count < 2 { count -= 1 }
        guard count % 4 != 1 else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(count * 3 / 4)
        var group: UInt32 = 0
        var bits = 0
        for index in 0..<count {
            guard let value = value(text[index]) else { return nil }
            group = group << 6 | UInt32(value)
            bits += 6
            if bits >= 8 {
                bits -= 8
                result.append(UInt8(truncatingIfNeeded: group >> UInt32(bits)))
            }
        }
        return result
    }

    private static func digit(_ bits: UInt32) -> UInt8 {
        switch UInt8(truncatingIfNeeded: bits & 63) {
        case let value where value < 26: value + 65
        case let value where value < 52: value + 71
        case let value where value < 62: value - 4
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }

    static func value(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 65...90: byte - 65
        case 97...122: byte - 71
        case 48...57: byte + 4
        case UInt8(ascii: "+"), UInt8(ascii: "-"): 62
        case UInt8(ascii: "/"), UInt8(ascii: "_"): 63
        default: nil
        }
    }
}
