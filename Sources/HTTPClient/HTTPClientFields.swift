import Bytes
import HTTP1

/// Field lines of a request or of a response, in their order. Names are the same in any case (RFC 9110 §5.1).
public struct HTTPClientFields: Sendable, ExpressibleByDictionaryLiteral {
    /// The lines, as they were given or received.
    public private(set) var lines: [(name: String, value: String)] = []

    /// No fields.
    public init() {}

    /// Fields in the order given.
    public init(dictionaryLiteral fields: (String, String)...) {
        for (name, value) in fields { add(name, value) }
    }

    /// Those of a parsed head. What is not UTF-8 in a value becomes U+FFFD.
    init(_ head: borrowing HTTP1Head) {
        lines.reserveCapacity(head.fieldCount)
        for index in 0..<head.fieldCount {
            lines.append((String(utf8: head.name(at: index)), String(utf8: head.value(at: index))))
        }
    }

    /// Adds a line.
    public mutating func add(_ name: String, _ value: String) { lines.append((name, value)) }

    /// Removes all lines of that name.
    public mutating func remove(_ name: String) { lines.removeAll { Self.isEqual($0.name, name) } }

    /// The value of the first line of that name.
    public subscript(_ name: String) -> String? { lines.first { Self.isEqual($0.name, name) }?.value }

    /// The values of all lines of that name.
    public func values(of name: String) -> [String] {
        lines.lazy.filter { Self.isEqual($0.name, name) }.map(\.value)
    }

    private static func isEqual(_ one: String, _ other: String) -> Bool {
        one.utf8.count == other.utf8.count
            && zip(one.utf8, other.utf8).allSatisfy { ASCII.lowercased($0) == ASCII.lowercased($1) }
    }

    // MARK: Requests

    /// What the client itself says, because the framing and the life of the connection hang on it.
    private static let own = [
        "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding",
        "upgrade",
    ]

    /// Why they can't be sent; nil if they can.
    var fault: String? {
        for (name, value) in lines {
            guard !name.isEmpty, name.utf8.allSatisfy(Self.isTokenByte) else {
                return "\"\(name.clipped(to: 40))\" is no field name"
            }
            if Self.own.contains(where: { Self.isEqual($0, name) }) { return "the client itself says \(name)" }
            guard value.utf8.allSatisfy({ $0 >= 32 && $0 != 127 || $0 == 9 }) else {
                return "the value of \(name) has a control character"
            }
        }
        return nil
    }

    /// RFC 9110 §5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        case UInt8(ascii: "!"), UInt8(ascii: "#")...UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"),
            UInt8(ascii: "-"),
            UInt8(ascii: "."), UInt8(ascii: "^")...UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    // MARK: Freshness

    /// How long a response with these fields stays fresh, from now: `max-age` of Cache-Control less Age (RFC 9111 §4.2, §5.2.2).
    /// Zero with `no-store` and `no-cache`, and where it says something that is no age; nil: it says nothing.
    public var maximumAge: Duration? {
        var seconds: Int?
        for directive in values(of: "cache-control").flatMap(Self.directives) {
            let equals = UInt8(ascii: "=")
            let parts = directive.utf8.split(separator: equals, maxSplits: 1, omittingEmptySubsequences: false)
            // A longer name is none of these.
            let name = Substring(parts[0]).clipped(to: 20).lowercased()
            // With names of fields it is about these alone.
            if name == "no-store" || name == "no-cache" && parts.count == 1 { return .zero }
            guard name == "max-age" else { continue }
            // Of two that differ the shorter one is safe.
            seconds = min(seconds ?? .max, parts.count == 2 ? Self.seconds(Substring(parts[1])) ?? 0 : 0)
        }
        guard let seconds else { return nil }
        let age = values(of: "age").first.flatMap { Self.seconds($0[...]) } ?? 0
        return .seconds(max(0, seconds - age))
    }

    /// Without the quotes that some put around it. More than 2³¹ counts as that (RFC 9111 §1.2.2).
    private static func seconds(_ text: Substring) -> Int? {
        guard text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
        let digits = text.hasPrefix("\"") && text.hasSuffix("\"") && text.count > 1 ? text.dropFirst().dropLast() : text
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 &- 48 < 10 }) else { return nil }
        return min(Int(digits) ?? .max, 1 << 31)
    }

    /// The members of a list whose values may be quoted, commas included.
    private static func directives(_ value: String) -> [Substring] {
        var isQuoted = false
        return value.utf8.split { byte in
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            return byte == UInt8(ascii: ",") && !isQuoted
        }.map { part in
            var part = part.drop { $0 == 0x20 || $0 == 0x09 }
            while part.last == 0x20 || part.last == 0x09 { part.removeLast() }
            return Substring(part)
        }.filter { !$0.isEmpty }
    }
}
