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
        var byStar = false
        var index = head.index(of: "accept-encoding")
        while index >= 0 {
            let line = head.value(at: index)
            var list = HTTP1List(count: line.count)
            while let range = list.next(in: line) {
                let element = line.extracting(range)
                var end = 0
                while end < element.count && element[end] != UInt8(ascii: ";") { end += 1 }
                let name = trimmed(element, 0..<end)
                if ASCII.equalsIgnoringCase(name, "gzip") || ASCII.equalsIgnoringCase(name, "x-gzip") {
                    return !isRefused(element, end)
                }
                if ASCII.equalsIgnoringCase(name, "*") { byStar = !isRefused(element, end) }
            }
            index = head.index(of: "accept-encoding", from: index + 1)
        }
        return byStar
    }

    /// Whether the parameters behind `start` have a weight of zero (RFC 9110 §12.4.2).
    private static func isRefused(_ element: Span<UInt8>, _ start: Int) -> Bool {
        var start = start + 1
        while start < element.count {
            var end = start
            while end < element.count && element[end] != UInt8(ascii: ";") { end += 1 }
            let parameter = trimmed(element, start..<end)
            if parameter.count > 2, ASCII.equalsIgnoringCase(parameter.extracting(0..<2), "q="),
                isZero(parameter.extracting(2..<parameter.count))
            {
                return true
            }
            start = end + 1
        }
        return false
    }

    private static func isZero(_ weight: Span<UInt8>) -> Bool {
        if weight[0] != UInt8(ascii: "0") { return false }
        for index in 1..<weight.count where weight[index] != (index == 1 ? UInt8(ascii: ".") : UInt8(ascii: "0")) {
            return false
        }
        return true
    }

    @_lifetime(copy text)
    private static func trimmed(_ text: Span<UInt8>, _ range: Range<Int>) -> Span<UInt8> {
        var (lower, upper) = (range.lowerBound, range.upperBound)
        while lower < upper, text[lower] == 32 || text[lower] == 9 { lower += 1 }
        while lower < upper, text[upper - 1] == 32 || text[upper - 1] == 9 { upper -= 1 }
        return text.extracting(lower..<upper)
    }

    /// Bytes of a range that is looked at. Reason: `bytes=`, and two numbers of 19 digits.
    private static let rangeBytes = 64

    /// The one range of `bytes=…` (RFC 9110 §14.1.2) in a file of `size` bytes. nil: ignore the field (another unit, several
    /// ranges, or nonsense, at any length) and send everything.
    static func range(_ value: String, of size: Int) -> ByteRange? {
        // Units know no case (RFC 9110 §14.1).
        guard value.utf8.count <= rangeBytes, value.utf8.allSatisfy({ $0 < 0x80 }),
            value.prefix(6).lowercased() == "bytes=", !value.contains(",")
        else { return nil }
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
