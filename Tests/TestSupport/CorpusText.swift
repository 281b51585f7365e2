/// The bytes of a message as the files of a corpus write them.
public enum CorpusText {
    /// What `text` stands for: \r \n \t \\ \xHH, and \{20*b} for twenty times b; nil: it is not well written.
    public static func bytes(_ text: some StringProtocol) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                bytes.append(byte)
                continue
            }
            switch rest.popFirst() {
            case UInt8(ascii: "r"): bytes.append(13)
            case UInt8(ascii: "n"): bytes.append(10)
            case UInt8(ascii: "t"): bytes.append(9)
            case UInt8(ascii: "\\"): bytes.append(UInt8(ascii: "\\"))
            case UInt8(ascii: "x"):
                guard let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
                bytes.append(value)
                rest = rest.dropFirst(2)
            case UInt8(ascii: "{"):
                let digits = rest.prefix { $0 &- 48 < 10 }
                rest = rest.dropFirst(digits.count + 1)
                guard let count = Int(String(decoding: digits, as: UTF8.self)), let repeated = rest.popFirst(),
                    rest.popFirst() == UInt8(ascii: "}")
                else { return nil }
                bytes += [UInt8](repeating: repeated, count: count)
            default: return nil
            }
        }
        return bytes
    }
}
