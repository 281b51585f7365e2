/// The rule for identifiers of drivers, riders and trips: 1–64 characters of `[A-Za-z0-9._-]`, and none of the words that mean
/// something else where an identifier stands in a path.
public enum Identifier {
    public static let maximumLength = 64

    /// How the identifiers of simulated drivers begin: programs that bring some along may register and enrol those alone.
    public static let simulatedDriverPrefix = "sim-"

    /// What `/drivers/…` and `/trips/…` could not be asked for: clients resolve dot segments before they send a path (RFC 3986
    /// §5.2.4), and a route goes before an identifier.
    public static let reserved = [".", "..", "available"]

    /// Whether `text` is an identifier.
    public static func isValid(_ text: String) -> Bool { isWellFormed(text) && !reserved.contains(text) }

    /// Whether `text` has the form of an identifier: for what is read back from a file or from Kafka, where an earlier version
    /// may have left a reserved word.
    public static func isWellFormed(_ text: String) -> Bool {
        let bytes = text.utf8.span
        guard 1...maximumLength ~= bytes.count else { return false }
        for index in bytes.indices where !isAllowed(bytes[index]) { return false }
        return true
    }

    /// What is wrong with `text`, as a sentence for whoever sent it; nil if it is an identifier.
    public static func violation(of name: String, _ text: String) -> String? {
        if isValid(text) { return nil }
        guard isWellFormed(text) else {
            return "\(name) must be 1 to \(maximumLength) characters of A–Z, a–z, 0–9, '.', '_' and '-'."
        }
        return "\(name) is \"\(text)\", which means something else in a path; take another one."
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
