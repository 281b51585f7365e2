import Bytes
import HTTP1

/// What a client asks for beside the path: encodings and ranges. Pure functions.
enum Negotiation {
    enum ByteRange: Equatable {
        case bytes(Range<Int>)
        case unsatisfiable
    }

    /// Whether `Accept-Encoding` takes gzip (RFC 9110 §12.5.3): named, or by `*`, and not with a weight of zero.
    static func acceptsGzip(_ head: HTTP1Head) -> Bool {
        guard let text = head.joinedText("accept-encoding") else { return false }
        var byStar = false
        for element in text.lowercased().split(separator: ",") {
            let parts = element.split(separator: ";").map { trimmed($0) }
            guard let name = parts.first else { continue }
            let isRefused = parts.dropFirst().contains { part in
                guard part.hasPrefix("q="), let weight = Double(part.dropFirst(2)) else { return false }
                return weight <= 0
            }
            if name == "gzip" || name == "x-gzip" { return !isRefused }
            if name == "*" { byStar = !isRefused }
        }
        return byStar
    }

    /// The one range of `bytes=…` (RFC 9110 §14.1.2) in a file of `size` bytes. nil: ignore the field (another unit, several
    /// ranges, or nonsense) and send everything.
    static func range(_ value: String, of size: Int) -> ByteRange? {
        guard value.hasPrefix("bytes="), !value.contains(",") else { return nil }
        let spec = trimmed(value.dropFirst(6))
        guard let dash = spec.firstIndex(of: "-") else { return nil }
        let first = spec[..<dash]
        let last = spec[spec.index(after: dash)...]
        func number(_ text: Substring) -> Int? {
            guard !text.isEmpty, text.utf8.allSatisfy({ $0 &- 48 < 10 }) else { return nil }
            return Int(text) ?? Int.max
        }
        if first.isEmpty {
            guard let suffix = number(last) else { return nil }
            if suffix == 0 || size == 0 { return .unsatisfiable }
            return .bytes(max(0, size - suffix)..<size)
        }
        guard let start = number(first) else { return nil }
        var end = size
        if !last.isEmpty {
            guard let inclusive = number(last), inclusive >= start else { return nil }
            end = inclusive >= size ? size : inclusive + 1
        }
        return start < size ? .bytes(start..<end) : .unsatisfiable
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
