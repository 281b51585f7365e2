import Bytes

/// Walks the `name=value` pairs of a query string, as ranges into it: `a=1&b&c=` gives three. Empty pieces are left out.
public struct QueryString {
    /// One pair, still percent-encoded.
    public struct Pair: Equatable, Sendable {
        /// Where the name lies, as it was sent.
        public let name: Range<Int>
        /// Empty when there is no `=`, or nothing behind it.
        public let value: Range<Int>
    }

    private var offset = 0

    /// At the beginning of a query.
    public init() {}

    /// The next pair of `query`, or nil at its end.
    public mutating func next(in query: Span<UInt8>) -> Pair? {
        while offset < query.count {
            let start = offset
            var equals = -1
            while offset < query.count && query[offset] != UInt8(ascii: "&") {
                if equals < 0 && query[offset] == UInt8(ascii: "=") { equals = offset }
                offset += 1
            }
            let end = offset
            offset += 1
            if start == end { continue }
            return equals < 0
                ? Pair(name: start..<end, value: end..<end) : Pair(name: start..<equals, value: (equals + 1)..<end)
        }
        return nil
    }

    /// All pairs of `query`, decoded; nil if one can't be decoded.
    public static func decoded(_ query: Span<UInt8>) -> [(name: String, value: String)]? {
        var pairs: [(name: String, value: String)] = []
        var walk = QueryString()
        while let pair = walk.next(in: query) {
            guard let name = PercentCoding.decode(query.extracting(pair.name), plusIsSpace: true),
                let value = PercentCoding.decode(query.extracting(pair.value), plusIsSpace: true)
            else { return nil }
            pairs.append((name, value))
        }
        return pairs
    }
}
