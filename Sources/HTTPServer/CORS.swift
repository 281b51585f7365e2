import Bytes
import HTTP1

/// Whose pages may read the answers (the Fetch standard's CORS protocol), and for WebSockets whose pages may connect.
public struct OriginPolicy: Sendable {
    /// Every origin may.
    public let allowsEveryone: Bool
    private let origins: [[UInt8]]

    /// - Parameter origins: `https://example.org`, or `*` for everyone. Empty: pages of the same host only.
    public init(_ origins: [String] = []) {
        allowsEveryone = origins.contains("*")
        self.origins = origins.map { Array($0.lowercased().utf8) }
    }

    /// Whether a page of `origin` may use this server under `authority` (host and port of the request).
    public func allows(origin: Span<UInt8>, authority: Span<UInt8>) -> Bool {
        if allowsEveryone || isSameHost(origin, authority) { return true }
        for allowed in origins where isEqual(origin, allowed.span) { return true }
        return false
    }

    /// `scheme://host:port` against `host:port`.
    private func isSameHost(_ origin: Span<UInt8>, _ authority: Span<UInt8>) -> Bool {
        guard authority.count > 0, origin.count > authority.count + 3 else { return false }
        let start = origin.count - authority.count
        guard ASCII.equals(origin.extracting((start - 3)..<start), "://") else { return false }
        return isEqual(origin.extracting(start..<origin.count), authority)
    }

    private func isEqual(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where ASCII.lowercased(left[index]) != ASCII.lowercased(right[index]) {
            return false
        }
        return true
    }
}
