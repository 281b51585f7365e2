import Bytes
import HTTP1
import Reactor

/// The proxies in front of a server whose word counts. They end TLS, and say how a request came to them, and from whom: in
/// `Forwarded` (RFC 7239), or in `X-Forwarded-Proto` and `X-Forwarded-For`. From anybody else these fields mean nothing, because anybody can send them.
///
/// The fields are read from their end, where the proxy next to the server has written, and no further than the first sender that is
/// no trusted proxy: what the client has put in front of that costs a look at its bytes for quotation marks, and nothing else.
public struct TrustedProxies: Sendable {
    /// A text that stands for no addresses.
    public struct InvalidAddresses: Error, CustomStringConvertible, Hashable {
        /// What was given.
        public let text: String
        public var description: String {
            "\"\(text.prefix(100))\" is no address and no block of addresses: give 10.0.0.1, 10.0.0.0/8 or fd00::/8"
        }
    }

    /// Trusted proxies that a request is followed back over; the last of them stands for what is behind it. Reason: an installation
    /// has two or three of them, and each costs reading an address.
    static let maximumHops = 32

    private let blocks: [AddressBlock]

    /// Nobody's word counts.
    public init() { blocks = [] }

    /// - Parameter addresses: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`.
    /// - Throws: the first that is none.
    public init(_ addresses: [String]) throws(InvalidAddresses) {
        var blocks: [AddressBlock] = []
        for text in addresses {
            guard let block = AddressBlock(text) else { throw InvalidAddresses(text: text) }
            blocks.append(block)
        }
        self.blocks = blocks
    }

    /// Whether an address is one of theirs.
    public func isTrusted(_ address: SocketAddress) -> Bool { blocks.contains { $0.contains(address) } }

    // MARK: How

    /// How the client has sent a request that `peer` has sent here.
    ///
    /// Without any trusted proxy, what came in the clear may have been TLS up to one that nobody has named. With some, it was
    /// in the clear unless one of them says something else.
    func scheme(of head: HTTP1Head, from peer: @autoclosure () -> SocketAddress?, isTLS: Bool) -> OriginPolicy.Scheme {
        if blocks.isEmpty { return isTLS ? .https : .unknown }
        guard let peer = peer(), isTrusted(peer) else { return isTLS ? .https : .http }
        let one = forwarded(head)
        let other = forwardedByOwnFields(head)
        // Where they differ, the client has sent one of them past a proxy that writes the other: the stricter one.
        if one == .https || other == .https { return .https }
        return one ?? other ?? (isTLS ? .https : .unknown)
    }

    /// What the first trusted proxy says in `Forwarded`: each adds an element about whom it heard from, so that the way leads
    /// from the last to the first as long as that is a trusted one, too.
    private func forwarded(_ head: HTTP1Head) -> OriginPolicy.Scheme? {
        Self.withList(head, "forwarded") { text -> OriginPolicy.Scheme? in
            guard Self.isBalanced(text) else { return nil }
            var scheme: OriginPolicy.Scheme?
            var elements = ListFromEnd(0..<text.count, UInt8(ascii: ","))
            for _ in 0..<Self.maximumHops {
                guard let element = elements.nextFilled(in: text) else { break }
                var pairs = ListFromEnd(element, UInt8(ascii: ";"))
                while let pair = pairs.next(in: text) {
                    guard let value = Self.value(behind: "proto=", text, pair) else { continue }
                    guard let said = Self.scheme(text.extracting(Self.unquoted(text, value))) else { continue }
                    scheme = said
                    break
                }
                guard let sender = Self.sender(text, element), isTrusted(text, sender) else { break }
            }
            return scheme
        } ?? nil
    }

    /// The same by `X-Forwarded-Proto`; whom each heard from is in `X-Forwarded-For`.
    private func forwardedByOwnFields(_ head: HTTP1Head) -> OriginPolicy.Scheme? {
        guard head.has("x-forwarded-proto") else { return nil }
        let hops = Self.withList(head, "x-forwarded-for") { trustedSenders($0) } ?? 0
        return Self.withList(head, "x-forwarded-proto") { text -> OriginPolicy.Scheme? in
            var schemes = ListFromEnd(0..<text.count, UInt8(ascii: ","))
            guard var last = schemes.nextFilled(in: text) else { return nil }
            for _ in 0..<hops {
                guard let earlier = schemes.nextFilled(in: text) else { break }
                last = earlier
            }
            return Self.scheme(text.extracting(last))
        } ?? nil
    }

    /// How many senders at the end of `X-Forwarded-For` are trusted.
    private func trustedSenders(_ text: Span<UInt8>) -> Int {
        var elements = ListFromEnd(0..<text.count, UInt8(ascii: ","))
        var count = 0
        while count < Self.maximumHops, let sender = elements.nextFilled(in: text), isTrusted(text, sender) {
            count += 1
        }
        return count
    }

    private func isTrusted(_ text: Span<UInt8>, _ sender: Range<Int>) -> Bool {
        Self.address(text.extracting(Self.unquoted(text, sender))).map(isTrusted) ?? false
    }

    // MARK: Who

    /// Whom a request comes from that `peer` has sent here: the first on the way back that is no trusted proxy. What stands
    /// further left in the fields was written by the client, or before it.
    ///
    /// A proxy that hides whom it heard from (`unknown`, `_name`), or says what can't be read, stands for them itself. So does
    /// the last one where the two fields name different clients: somebody has sent one of them past a proxy that writes the
    /// other.
    func client(of head: HTTP1Head, from peer: SocketAddress) -> SocketAddress {
        if blocks.isEmpty || !isTrusted(peer) { return peer }
        let one = Self.withList(head, "forwarded") { firstUntrusted($0, isForwarded: true, from: peer) }
        let other = Self.withList(head, "x-forwarded-for") { firstUntrusted($0, isForwarded: false, from: peer) }
        guard let one, let other else { return one ?? other ?? peer }
        return one == other ? one : peer
    }

    private func firstUntrusted(_ text: Span<UInt8>, isForwarded: Bool, from peer: SocketAddress) -> SocketAddress {
        // A quotation mark of the client's that is never closed swallows, as the field is defined, what a proxy has written behind
        // it.
        guard Self.isBalanced(text) else { return peer }
        var last = peer
        var elements = ListFromEnd(0..<text.count, UInt8(ascii: ","))
        for _ in 0..<Self.maximumHops {
            guard let element = elements.next(in: text) else { break }
            guard let sender = isForwarded ? Self.sender(text, element) : element,
                let address = Self.address(text.extracting(Self.unquoted(text, sender)))
            else { break }
            last = address
            if !isTrusted(address) { break }
        }
        return last
    }

    // MARK: Text

    /// All values of a list field, with commas between them (RFC 9110 §5.3); nil if there is none. A line that is no text is an
    /// empty one: were it left out, an older one would stand in its place. Only several lines are copied.
    private static func withList<Result>(
        _ head: HTTP1Head, _ name: StaticString, _ body: (Span<UInt8>) -> Result
    ) -> Result? {
        var index = head.index(of: name)
        if index < 0 { return nil }
        let first = head.value(at: index)
        var next = head.index(of: name, from: index + 1)
        if next < 0 { return isText(first) ? body(first) : body(first.extracting(0..<0)) }
        var joined: [UInt8] = []
        while true {
            let line = head.value(at: index)
            if isText(line) { unsafe line.withUnsafeBufferPointer { unsafe joined.append(contentsOf: $0) } }
            if next < 0 { break }
            joined.append(UInt8(ascii: ","))
            (index, next) = (next, head.index(of: name, from: next + 1))
        }
        return body(joined.span)
    }

    private static func isText(_ line: Span<UInt8>) -> Bool { (try? UTF8Span(validating: line)) != nil }

    /// Whether each quotation mark has another one. A mark counts behind a backslash, too: who reads from the end can't know what
    /// the backslash itself stands behind, and no proxy writes one.
    private static func isBalanced(_ text: Span<UInt8>) -> Bool {
        var isQuoted = false
        for index in 0..<text.count where text[index] == ListFromEnd.quote { isQuoted.toggle() }
        return !isQuoted
    }

    /// Where an element of `Forwarded` says whom its proxy heard from; nil: nowhere, or more than once.
    private static func sender(_ text: Span<UInt8>, _ element: Range<Int>) -> Range<Int>? {
        var pairs = ListFromEnd(element, UInt8(ascii: ";"))
        var found: Range<Int>?
        while let pair = pairs.next(in: text) {
            guard let value = value(behind: "for=", text, pair) else { continue }
            if found != nil { return nil }
            found = value
        }
        return found
    }

    /// The rest of a pair that begins with `name` (lower-case, with the `=`), in any case.
    private static func value(
        behind name: StaticString, _ text: Span<UInt8>, _ pair: Range<Int>
    ) -> Range<Int>? {
        let start = pair.lowerBound + name.utf8CodeUnitCount
        guard start <= pair.upperBound, ASCII.equalsIgnoringCase(text.extracting(pair.lowerBound..<start), name) else {
            return nil
        }
        return start..<pair.upperBound
    }

    private static func unquoted(_ text: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        guard range.count >= 2, text[range.lowerBound] == ListFromEnd.quote,
            text[range.upperBound - 1] == ListFromEnd.quote
        else { return range }
        return (range.lowerBound + 1)..<(range.upperBound - 1)
    }

    private static func scheme(_ text: Span<UInt8>) -> OriginPolicy.Scheme? {
        if ASCII.equalsIgnoringCase(text, "https") || ASCII.equalsIgnoringCase(text, "wss") { return .https }
        if ASCII.equalsIgnoringCase(text, "http") || ASCII.equalsIgnoringCase(text, "ws") { return .http }
        return nil
    }

    /// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; nil for a name that hides one.
    private static func address(_ text: Span<UInt8>) -> SocketAddress? {
        var colons = 0
        var colon = 0
        var bracket = -1
        for index in 0..<text.count {
            switch text[index] {
            case UInt8(ascii: ":"):
                if colons == 0 { colon = index }
                colons += 1
            case UInt8(ascii: "]") where bracket < 0: bracket = index
            default: break
            }
        }
        if bracket > 0, text[0] == UInt8(ascii: "[") {
            return SocketAddress(ip: text.extracting(1..<bracket), port: 0)
        }
        return SocketAddress(ip: colons == 1 ? text.extracting(0..<colon) : text, port: 0)
    }
}

/// Walks a list from its end. Separators between quotation marks are none; as long as the number of marks is even, that looks the
/// same from both ends.
private struct ListFromEnd {
    static let quote = UInt8(ascii: "\"")
    private let start: Int
    /// Where the next element ends; before the start: there is none.
    private var end: Int
    private let separator: UInt8

    init(_ range: Range<Int>, _ separator: UInt8) {
        start = range.lowerBound
        end = range.upperBound
        self.separator = separator
    }

    /// The range of the element in front, without the white space around it; it may be empty.
    mutating func next(in text: Span<UInt8>) -> Range<Int>? {
        guard end >= start else { return nil }
        var begin = end
        var isQuoted = false
        while begin > start {
            let byte = text[begin - 1]
            if byte == separator && !isQuoted { break }
            if byte == Self.quote { isQuoted.toggle() }
            begin -= 1
        }
        var (lower, upper) = (begin, end)
        end = begin - 1
        while lower < upper, text[lower] == 32 || text[lower] == 9 { lower += 1 }
        while lower < upper, text[upper - 1] == 32 || text[upper - 1] == 9 { upper -= 1 }
        return lower..<upper
    }

    /// The same without empty ones.
    mutating func nextFilled(in text: Span<UInt8>) -> Range<Int>? {
        while let element = next(in: text) { if !element.isEmpty { return element } }
        return nil
    }
}
