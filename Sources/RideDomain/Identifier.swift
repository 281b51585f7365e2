/// The rule for identifiers of drivers, riders and trips: 1–64 characters of `[A-Za-z0-9._-]`.
public enum Identifier {
    public static let maximumLength = 64

    /// Whether `text` is an identifier.
    public static func isValid(_ text: String) -> Bool {
        let bytes = text.utf8
        guard !bytes.isEmpty, bytes.count <= maximumLength else { return false }
        return bytes.allSatisfy(isAllowed)
    }

    /// What is wrong with `text`, as a sentence for whoever sent it; nil if it is an identifier.
    public static func violation(of name: String, _ text: String) -> String? {
        isValid(text)
            ? nil : "\(name) must be 1 to \(maximumLength) characters of A–Z, a–z, 0–9, '.', '_' and '-'."
    }

    static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
