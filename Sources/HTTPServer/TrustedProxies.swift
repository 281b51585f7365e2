import HTTP1
import Reactor

/// The proxies in front of a server whose word counts. They end TLS, and say how a request came to them, and from whom: in
/// `Forwarded` (RFC 7239), or in `X-Forwarded-Proto` and `X-Forwarded-For`. From anybody else these fields mean nothing, because anybody can send them.
public struct TrustedProxies: Sendable {
    /// A text that stands for no addresses.
    public struct InvalidAddresses: Error, CustomStringConvertible, Hashable {
        /// What was given.
        public let text: String
        public var description: String {
            "\"\(text.prefix(100))\" is no address and no block of addresses: give 10.0.0.1, 10.0.0.0/8 or fd00::/8"
        }
    }

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

    /// How the client has sent a request that `peer` has sent here.
    ///
    /// Without any trusted proxy, what came in the clear may have been TLS up to one that nobody has named. With some, it was
    /// in the clear unless one of them says something else.
    func scheme(of head: HTTP1Head, from peer: @autoclosure () -> SocketAddress?, isTLS: Bool) -> OriginPolicy.Scheme {
        if blocks.isEmpty { return isTLS ? .https : .unknown }
        guard let peer = peer(), isTrusted(peer) else { return isTLS ? .https : .http }
        let said = [forwarded(head), forwardedByOwnFields(head)].compactMap { $0 }
        // Where they differ, the client has sent one of them past a proxy that writes the other: the stricter one.
        if said.contains(.https) { return .https }
        return said.first ?? (isTLS ? .https : .unknown)
    }

    /// Whom a request comes from that `peer` has sent here: the first on the way back that is no trusted proxy. What stands
    /// further left in the fields was written by the client, or before it.
    ///
    /// A proxy that hides whom it heard from (`unknown`, `_name`), or says what can't be read, stands for them itself. So does
    /// the last one where the two fields name different clients: somebody has sent one of them past a proxy that writes the
    /// other.
    func client(of head: HTTP1Head, from peer: SocketAddress) -> SocketAddress {
        if blocks.isEmpty || !isTrusted(peer) { return peer }
        let one = Self.senders(inForwarded: head).map { firstUntrusted($0, from: peer) }
        let other = head.joinedText("x-forwarded-for").map { text in
            firstUntrusted(Self.elements(text, ",", keepingEmpty: true), from: peer)
        }
        guard let one, let other else { return one ?? other ?? peer }
        return one == other ? one : peer
    }

    private func firstUntrusted(_ senders: [Substring], from peer: SocketAddress) -> SocketAddress {
        var last = peer
        for sender in senders.reversed() {
            guard let address = Self.address(sender) else { return last }
            last = address
            if !isTrusted(address) { break }
        }
        return last
    }

    /// What each element of `Forwarded` says of whom its proxy heard from, empty where it says nothing, or nothing clear.
    /// nil: there is no such field.
    private static func senders(inForwarded head: HTTP1Head) -> [Substring]? {
        guard let text = head.joinedText("forwarded") else { return nil }
        // A quotation mark of the client's that is never closed would swallow what a proxy has written behind it.
        guard text.utf8.count(where: { $0 == UInt8(ascii: "\"") }).isMultiple(of: 2) else { return [""] }
        return elements(text, ",", keepingEmpty: true).map { element in
            let named = elements(element, ";").filter { $0.prefix(4).lowercased() == "for=" }
            return named.count == 1 ? unquoted(named[0].dropFirst(4)) : ""
        }
    }

    /// Whether an address is one of theirs.
    public func isTrusted(_ address: SocketAddress) -> Bool { blocks.contains { $0.contains(address) } }

    /// What the first trusted proxy says in `Forwarded`: each adds an element about whom it heard from, so that the way leads
    /// from the last to the first as long as that is a trusted one, too.
    private func forwarded(_ head: HTTP1Head) -> OriginPolicy.Scheme? {
        guard let text = head.joinedText("forwarded") else { return nil }
        var scheme: OriginPolicy.Scheme?
        for element in Self.elements(text, ",").reversed() {
            var sender: Substring = ""
            for pair in Self.elements(element, ";") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                guard parts.count == 2 else { continue }
                switch parts[0].lowercased() {
                case "proto": scheme = Self.scheme(Self.unquoted(parts[1])) ?? scheme
                case "for": sender = Self.unquoted(parts[1])
                default: break
                }
            }
            guard let sender = Self.address(sender), isTrusted(sender) else { break }
        }
        return scheme
    }

    /// The same by `X-Forwarded-Proto`; whom each heard from is in `X-Forwarded-For`.
    private func forwardedByOwnFields(_ head: HTTP1Head) -> OriginPolicy.Scheme? {
        guard let text = head.joinedText("x-forwarded-proto") else { return nil }
        var schemes = Self.elements(text, ",")
        for sender in Self.elements(head.joinedText("x-forwarded-for") ?? "", ",").reversed() {
            guard schemes.count > 1, let sender = Self.address(sender), isTrusted(sender) else { break }
            schemes.removeLast()
        }
        return schemes.last.flatMap { Self.scheme($0) }
    }

    // MARK: Text

    /// The parts between separators that are not quoted, without the white space around them.
    private static func elements(
        _ text: some StringProtocol, _ separator: Character, keepingEmpty: Bool = false
    ) -> [Substring] {
        var isQuoted = false
        return Substring(text).split(omittingEmptySubsequences: !keepingEmpty) { character in
            if character == "\"" { isQuoted.toggle() }
            return character == separator && !isQuoted
        }
        .map { part in
            var part = part
            while part.first == " " || part.first == "\t" { part.removeFirst() }
            while part.last == " " || part.last == "\t" { part.removeLast() }
            return part
        }
        .filter { keepingEmpty || !$0.isEmpty }
    }

    private static func unquoted(_ text: Substring) -> Substring {
        text.count >= 2 && text.first == "\"" && text.last == "\"" ? text.dropFirst().dropLast() : text
    }

    private static func scheme(_ text: Substring) -> OriginPolicy.Scheme? {
        switch text.lowercased() {
        case "https", "wss": .https
        case "http", "ws": .http
        default: nil
        }
    }

    /// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`; nil for a name that hides one.
    private static func address(_ text: Substring) -> SocketAddress? {
        var text = unquoted(text)
        if text.first == "[", let end = text.firstIndex(of: "]") {
            text = text[text.index(after: text.startIndex)..<end]
        } else if text.count(where: { $0 == ":" }) == 1, let end = text.firstIndex(of: ":") {
            text = text[..<end]
        }
        return SocketAddress(ip: String(text), port: 0)
    }
}
