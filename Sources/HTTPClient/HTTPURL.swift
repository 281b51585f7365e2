import Bytes
import Reactor

/// Where a request goes: scheme, host and port (RFC 6454 §4). Connections are kept for each of them, and credentials are for one.
public struct HTTPOrigin: Sendable, Hashable, CustomStringConvertible {
    /// Whether the scheme is https.
    public let isSecure: Bool
    /// A name in lower case, or an address in text, of IPv6 without its brackets.
    public let host: String
    /// The TCP port.
    public let port: UInt16

    /// What `Host` says (RFC 9110 §7.2): the port only if it is not the scheme's own.
    public var authority: String {
        let host = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? host : "\(host):\(port)"
    }

    public var description: String { (isSecure ? "https://" : "http://") + authority }

    /// The name that the certificate must be for. A dot at the end says that the name is whole, and is no part of it (RFC 6066 §3).
    var serverName: String { host.hasSuffix(".") ? String(host.dropLast()) : host }
}

/// An `http` or `https` URL (RFC 9110 §4.2) without user information, which the RFC forbids, and without its fragment, which is
/// not sent.
public struct HTTPURL: Sendable, Hashable, CustomStringConvertible {
    /// Where it leads.
    public let origin: HTTPOrigin
    /// Path and query as they are sent; `/` at least.
    public let target: String

    init(_ origin: HTTPOrigin, _ target: String) {
        self.origin = origin
        self.target = target
    }

    /// Reads a URL as it is written: `https://example.org:8443/a?b=c`, `http://[::1]/`. What is not visible ASCII has to be
    /// percent-encoded, and names of other scripts to be in their ASCII form ("xn--…").
    ///
    /// A host that ends in a number must be an address of four numbers: `http://127.1/` and `http://0x7f.1/` mean different hosts to
    /// different programs.
    /// - Throws: `HTTPClientError.badURL`, which names the part that is wrong and no other: a URL may hold secrets.
    public init(_ text: String) throws(HTTPClientError) {
        let bytes = Array(text.utf8)
        try Self.checkCharacters(bytes[...])
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), bytes[colon...].starts(with: "://".utf8) else {
            throw .badURL("it must begin with http:// or https://")
        }
        let scheme = String(decoding: bytes[..<colon], as: UTF8.self).lowercased()
        guard scheme == "http" || scheme == "https" else {
            throw .badURL("the scheme is \(scheme); it must be http or https")
        }
        let rest = bytes[(colon + 3)...]
        let end = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        let target = Self.withoutFragment(rest[(end ?? rest.endIndex)...])
        origin = try Self.origin(rest[..<(end ?? rest.endIndex)], isSecure: scheme == "https")
        let text = String(decoding: target, as: UTF8.self)
        self.target = target.first == UInt8(ascii: "/") ? text : "/" + text
    }

    public var description: String { origin.description + target }

    // MARK: References

    /// The URL that a reference in this one means (RFC 3986 §5.2), such as that of a Location field.
    /// - Throws: `HTTPClientError.badURL`
    public func resolving(_ reference: String) throws(HTTPClientError) -> HTTPURL {
        // Servers put names into Location as they are; there is one way to send them.
        let bytes = Self.percentEncoded(reference)
        try Self.checkCharacters(bytes[...])
        if let colon = bytes.firstIndex(where: { $0 == UInt8(ascii: ":") || Self.endsScheme($0) }), colon > 0,
            bytes[colon] == UInt8(ascii: ":")
        {
            return try HTTPURL(String(decoding: bytes, as: UTF8.self))
        }
        if bytes.starts(with: "//".utf8) {
            return try HTTPURL((origin.isSecure ? "https:" : "http:") + String(decoding: bytes, as: UTF8.self))
        }
        let relative = Self.withoutFragment(bytes[...])
        let base = Array(target.utf8)
        let baseQuery = base.firstIndex(of: UInt8(ascii: "?")) ?? base.endIndex
        guard let first = relative.first else { return self }
        if first == UInt8(ascii: "?") {
            return HTTPURL(origin, String(decoding: base[..<baseQuery] + relative, as: UTF8.self))
        }
        let query = relative.firstIndex(of: UInt8(ascii: "?")) ?? relative.endIndex
        var path = Array(relative[..<query])
        if first != UInt8(ascii: "/") {
            let slash = base[..<baseQuery].lastIndex(of: UInt8(ascii: "/")) ?? 0
            path = base[...slash] + path
        }
        return HTTPURL(origin, Self.withoutDots(path) + String(decoding: relative[query...], as: UTF8.self))
    }

    /// RFC 3986 §5.2.4, of a path that begins with a slash.
    private static func withoutDots(_ path: [UInt8]) -> String {
        var segments: [ArraySlice<UInt8>] = []
        let parts = path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            let dots = part.allSatisfy { $0 == UInt8(ascii: ".") } ? part.count : 0
            if dots == 2 { _ = segments.popLast() }
            if dots == 1 || dots == 2 {
                if index == parts.count - 1 { segments.append([]) }
            } else {
                segments.append(part)
            }
        }
        return "/" + segments.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "/")
    }

    /// What can't be in a scheme: a colon behind it is none that ends one.
    private static func endsScheme(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "/") || byte == UInt8(ascii: "?") || byte == UInt8(ascii: "#")
    }

    private static func percentEncoded(_ text: String) -> [UInt8] {
        var output: [UInt8] = []
        for byte in text.utf8 {
            if byte < 128 { output.append(byte) } else { output += "%\(String(byte, radix: 16, uppercase: true))".utf8 }
        }
        return output
    }

    private static func withoutFragment(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        bytes.prefix { $0 != UInt8(ascii: "#") }
    }

    // MARK: Parts

    private static func checkCharacters(_ bytes: ArraySlice<UInt8>) throws(HTTPClientError) {
        guard bytes.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw .badURL(
                "it has a character that must be percent-encoded: a space, a control character or one beyond ASCII")
        }
        guard bytes.count <= 64 << 10 else { throw .badURL("it is longer than 65,536 bytes") }
    }

    private static func origin(_ authority: ArraySlice<UInt8>, isSecure: Bool) throws(HTTPClientError) -> HTTPOrigin {
        if authority.contains(UInt8(ascii: "@")) {
            throw .badURL("it has user information in front of its host; credentials go into the Authorization field")
        }
        var host: String
        let rest: ArraySlice<UInt8>
        if authority.first == UInt8(ascii: "[") {
            guard let close = authority.firstIndex(of: UInt8(ascii: "]")) else { throw .badURL("its host has no ]") }
            host = String(decoding: authority[..<close].dropFirst(), as: UTF8.self)
            guard let address = SocketAddress(ip: host, port: 0), address.isIPv6 else {
                throw .badURL("[\(host)] is no IPv6 address")
            }
            host = address.ip
            rest = authority[(close + 1)...]
        } else {
            let colon = authority.firstIndex(of: UInt8(ascii: ":")) ?? authority.endIndex
            host = String(decoding: authority[..<colon], as: UTF8.self).lowercased()
            try checkName(host)
            rest = authority[colon...]
        }
        var port: UInt16 = isSecure ? 443 : 80
        if !rest.isEmpty {
            let digits = rest.dropFirst()
            guard rest.first == UInt8(ascii: ":"), digits.allSatisfy({ $0 &- 48 < 10 }) else {
                throw .badURL("its host is followed by what is no port")
            }
            if !digits.isEmpty {
                let text = String(decoding: digits, as: UTF8.self)
                guard let number = UInt16(text), number > 0 else {
                    throw .badURL("the port is \(text.clipped(to: 16)); it must be between 1 and 65535")
                }
                port = number
            }
        }
        return HTTPOrigin(isSecure: isSecure, host: host, port: port)
    }

    private static func checkName(_ name: String) throws(HTTPClientError) {
        guard !name.isEmpty else { throw .badURL("it has no host") }
        let isPlain = name.utf8.allSatisfy { byte in
            switch byte {
            case 48...57, 97...122, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"): true
            default: false
            }
        }
        var labels = name.split(separator: ".", omittingEmptySubsequences: false)
        if labels.last == "", labels.count > 1 { labels.removeLast() }
        guard isPlain, name.utf8.count <= 254, labels.allSatisfy({ !$0.isEmpty && $0.utf8.count <= 63 }) else {
            throw .badURL("the host \(name.clipped(to: 80)) is no name of letters, digits, dots and hyphens")
        }
        guard let last = labels.last, isNumber(last.utf8) else { return }
        guard SocketAddress(ip: name, port: 0) != nil else {
            throw .badURL("the host \(name.clipped(to: 80)) ends in a number and is no IPv4 address")
        }
    }

    /// As the URL standard's host parser has it: decimal, or hexadecimal with 0x in front.
    private static func isNumber(_ label: Substring.UTF8View) -> Bool {
        if label.allSatisfy({ $0 &- 48 < 10 }) { return true }
        return label.starts(with: "0x".utf8) && label.dropFirst(2).allSatisfy { ASCII.hexValue($0) != nil }
    }
}
