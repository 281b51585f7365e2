import Bytes

/// Percent-encoding (RFC 3986 §2.1).
public enum PercentCoding {
    /// The text that `bytes` stands for, decoded once; nil for a broken escape or for bytes that are not UTF-8.
    ///
    /// - Parameter plusIsSpace: in query strings, forms write a space as `+`.
    public static func decode(_ bytes: Span<UInt8>, plusIsSpace: Bool = false) -> String? {
        var plain = true
        for index in 0..<bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "%") || byte >= 128 || (plusIsSpace && byte == UInt8(ascii: "+")) {
                plain = false
                break
            }
        }
        if plain { return unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) } }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(bytes.count)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "%") {
                guard index + 2 < bytes.count, let high = ASCII.hexValue(bytes[index + 1]),
                    let low = ASCII.hexValue(bytes[index + 2])
                else { return nil }
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(plusIsSpace && byte == UInt8(ascii: "+") ? 32 : byte)
                index += 1
            }
        }
        return String(validating: decoded, as: UTF8.self)
    }

    /// Appends `text` with everything but unreserved characters (RFC 3986 §2.3) escaped: fit for a path segment.
    public static func encode(_ text: String, to output: inout ByteBuffer) {
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                output.append(byte)
            default:
                output.append(UInt8(ascii: "%"))
                for digit in [byte >> 4, byte & 15] { output.append(digit < 10 ? digit + 48 : digit + 55) }
            }
        }
    }
}
