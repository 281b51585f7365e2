import Bytes

/// By which names a server may be called.
///
/// What listens on loopback is safe from other machines, and not from the pages that this machine's browser shows: the name of
/// such a page's own host may be made to lead to 127.0.0.1 (DNS rebinding), and then all that it sends is of the same origin.
/// Its requests say that name in `Host`, though. An address can't be made to lead elsewhere, nor can `localhost`, nor a name
/// without a dot, which nobody in the internet can have; what else this server is called has to be said.
public struct HostNames: Sendable {
    private let allowsAll: Bool
    private let names: [String]

    /// Every name.
    public static let all = HostNames(allowsAll: true, [])

    /// Addresses, names without a dot, `localhost` and what ends in it, and these.
    public static func local(and names: [String] = []) -> HostNames { HostNames(allowsAll: false, names) }

    private init(allowsAll: Bool, _ names: [String]) {
        self.allowsAll = allowsAll
        self.names = names.map { $0.lowercased() }
    }

    /// Whether a host with an optional port is one of them; one that is left out, as HTTP/1.0 allows, is: browsers say it.
    public func knows(_ authority: Span<UInt8>) -> Bool {
        if allowsAll || authority.count == 0 || authority[0] == UInt8(ascii: "[") { return true }
        var end = 0
        while end < authority.count, authority[end] != UInt8(ascii: ":") { end += 1 }
        // A dot at the end says that the name is whole, and is no part of it.
        if end > 0, authority[end - 1] == UInt8(ascii: ".") { end -= 1 }
        var start = end
        while start > 0, authority[start - 1] != UInt8(ascii: ".") { start -= 1 }
        let last = authority.extracting(start..<end)
        // What ends in a number is an IPv4 address (the URL standard's host parser).
        if start == 0 || isNumber(last) || ASCII.equalsIgnoringCase(last, "localhost") { return true }
        return names.contains { isEqual(authority.extracting(0..<end), $0) }
    }

    private func isNumber(_ label: Span<UInt8>) -> Bool {
        for index in 0..<label.count where label[index] &- 48 > 9 { return false }
        return label.count > 0
    }

    private func isEqual(_ text: Span<UInt8>, _ name: String) -> Bool {
        guard text.count == name.utf8.count else { return false }
        var index = 0
        for byte in name.utf8 {
            if ASCII.lowercased(text[index]) != byte { return false }
            index += 1
        }
        return true
    }
}
