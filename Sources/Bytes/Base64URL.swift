/// Base64 for addresses and file names, without padding (RFC 4648 §5), as tokens have it (RFC 7515 §2): of each value there
/// is one form, and no other is read.
public enum Base64URL {
    /// The Base64url form of `bytes`.
    public static func encode(_ bytes: Span<UInt8>) -> String {
        var output = ByteBuffer()
        Base64.encode(bytes, into: &output)
        var text = output.array()
        while text.last == UInt8(ascii: "=") { text.removeLast() }
        for index in text.indices {
            switch text[index] {
            case UInt8(ascii: "+"): text[index] = UInt8(ascii: "-")
            case UInt8(ascii: "/"): text[index] = UInt8(ascii: "_")
            default: break
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The bytes that `text` stands for; nil for padding, for a digit of another alphabet, for a number of digits that no bytes
    /// have, and for bits behind the last byte that are not 0: two texts would stand for the same bytes.
    public static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        for index in text.indices {
            switch text[index] {
            case UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="): return nil
            default: break
            }
        }
        guard let bytes = Base64.decode(text) else { return nil }
        guard let last = text.indices.last else { return bytes }
        let unused: UInt8? =
            switch text.count % 4 {
            case 2: 0x0F
            case 3: 0x03
            default: nil
            }
        if let unused, let value = Base64.value(text[last]), value & unused != 0 { return nil }
        return bytes
    }
}
