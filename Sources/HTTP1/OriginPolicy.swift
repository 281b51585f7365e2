import Bytes

/// Whose pages may use a server. A browser sends the `Origin` of the page that asks (RFC 6454, the Fetch standard); other
/// clients send none, and are not concerned.
///
/// A page of the host that the request was sent to may; so may those of a list. Scheme, host and port are compared, a port
/// that is left out being the scheme's own. What is no origin (`null`, two of them) is foreign.
public struct OriginPolicy: Sendable {
    /// What a request's head says of the page that sent it.
    public enum Verdict: Sendable, Hashable {
        /// No page has sent it.
        case none
        /// A page that may has sent it.
        case allowed
        /// A page that may not has sent it.
        case foreign
    }

    /// How the client has sent a request, as far as is known.
    public enum Scheme: Sendable, Hashable {
        /// In the clear.
        case http
        /// Over TLS: then a page that came in the clear is another origin.
        case https
        /// In the clear as it came here, and maybe over TLS up to a proxy: either will do.
        case unknown
    }

    /// An entry of a list that is no origin.
    public struct InvalidOrigin: Error, CustomStringConvertible, Hashable {
        /// What was given.
        public let origin: String
        public var description: String {
            "\"\(origin.prefix(100))\" is not an origin: give scheme, host and, where it is not the scheme's own, the port, "
                + "as in https://example.org or http://localhost:3000; * stands for every page, and for no part of a name"
        }
    }

    /// The hosts of the list, without ports: names by which a server may be called.
    public var listedHosts: [String] {
        listed.compactMap { text in
            Parts(origin: text.span).map { String(decoding: text[$0.host], as: UTF8.self) }
        }
    }

    /// Pages of every origin may.
    public let allowsEveryone: Bool
    private let listed: [[UInt8]]

    /// The same hosts without "every origin": for what a browser sends along by itself, such as cookies.
    public var listedOnly: OriginPolicy { OriginPolicy(listed: listed) }

    private init(listed: [[UInt8]]) {
        allowsEveryone = false
        self.listed = listed
    }

    /// Pages of the same host may, and no others.
    public init() {
        allowsEveryone = false
        listed = []
    }

    /// - Parameter origins: `https://example.org:8443`, in any case, a slash at the end being no part of it; `*` for every
    ///   page.
    /// - Throws: the first that is none.
    public init(_ origins: [String]) throws(InvalidOrigin) {
        allowsEveryone = origins.contains("*")
        var listed: [[UInt8]] = []
        for origin in origins where origin != "*" {
            let text = Array(origin.hasSuffix("/") ? origin.utf8.dropLast() : origin.utf8[...])
            guard Parts(origin: text.span) != nil else { throw InvalidOrigin(origin: origin) }
            listed.append(text)
        }
        self.listed = listed
    }

    /// Whether a page has sent the request, and may.
    public func judge(_ head: HTTP1Head, scheme: Scheme) -> Verdict {
        let index = head.index(of: "origin")
        if index < 0 { return .none }
        if head.index(of: "origin", from: index + 1) >= 0 { return .foreign }
        return allows(origin: head.value(at: index), authority: head.authority, scheme: scheme) ? .allowed : .foreign
    }

    /// Whether a page of `origin` may send a request to `authority`, the host and optional port that it names.
    public func allows(origin: Span<UInt8>, authority: Span<UInt8>, scheme: Scheme) -> Bool {
        if allowsEveryone { return true }
        guard let page = Parts(origin: origin) else { return false }
        if isSameHost(origin, page, authority, scheme) { return true }
        for other in listed {
            let other = other.span
            guard let parts = Parts(origin: other), parts.port == page.port else { continue }
            if isEqual(origin.extracting(page.scheme), other.extracting(parts.scheme)),
                isEqual(origin.extracting(page.host), other.extracting(parts.host))
            {
                return true
            }
        }
        return false
    }

    private func isSameHost(
        _ origin: Span<UInt8>, _ page: Parts, _ authority: Span<UInt8>, _ scheme: Scheme
    ) -> Bool {
        let ownPort = Parts.port(ofScheme: origin.extracting(page.scheme))
        guard ownPort > 0, scheme == .unknown || (scheme == .https) == (ownPort == 443),
            let server = Parts(authority: authority)
        else { return false }
        return isEqual(origin.extracting(page.host), authority.extracting(server.host))
            && page.port == (server.port > 0 ? server.port : ownPort)
    }

    private func isEqual(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where ASCII.lowercased(left[index]) != ASCII.lowercased(right[index]) {
            return false
        }
        return true
    }

    /// Where the parts of an origin, or of an authority, lie.
    private struct Parts {
        var scheme = 0..<0
        var host = 0..<0
        /// The scheme's own where none is said; 0: neither is known.
        var port = 0

        /// `scheme://host`, `scheme://host:port`; nil for everything else.
        init?(origin: Span<UInt8>) {
            var end = 0
            while end < origin.count, Self.isSchemeByte(origin[end]) { end += 1 }
            guard end > 0, origin.count > end + 3, ASCII.equals(origin.extracting(end..<(end + 3)), "://") else {
                return nil
            }
            scheme = 0..<end
            guard takeHost(origin, end + 3) else { return nil }
            if port == 0 { port = Self.port(ofScheme: origin.extracting(scheme)) }
        }

        /// `host`, `host:port`; nil for everything else.
        init?(authority: Span<UInt8>) {
            guard takeHost(authority, 0) else { return nil }
        }

        private mutating func takeHost(_ text: Span<UInt8>, _ start: Int) -> Bool {
            var end = start
            if start < text.count, text[start] == UInt8(ascii: "[") {
                while end < text.count, text[end] != UInt8(ascii: "]") {
                    if end > start, !Self.isAddressByte(text[end]) { return false }
                    end += 1
                }
                guard end < text.count, end > start + 1 else { return false }
                end += 1
            } else {
                while end < text.count, Self.isHostByte(text[end]) { end += 1 }
            }
            guard end > start else { return false }
            host = start..<end
            if end == text.count { return true }
            guard text[end] == UInt8(ascii: ":"), text.count - end <= 6 else { return false }
            for index in (end + 1)..<text.count {
                guard text[index] &- 48 < 10 else { return false }
                port = port * 10 + Int(text[index] - 48)
            }
            // A colon without digits says nothing (RFC 3986 §3.2.3).
            return text.count == end + 1 || (1...65_535).contains(port)
        }

        static func port(ofScheme scheme: Span<UInt8>) -> Int {
            if ASCII.equalsIgnoringCase(scheme, "https") { return 443 }
            return ASCII.equalsIgnoringCase(scheme, "http") ? 80 : 0
        }

        private static func isSchemeByte(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."):
                true
            default: false
            }
        }

        private static func isHostByte(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                true
            default: byte >= 0x80
            }
        }

        private static func isAddressByte(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
                UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: ":"), UInt8(ascii: "."):
                true
            default: false
            }
        }
    }
}
