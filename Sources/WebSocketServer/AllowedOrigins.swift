import Bytes
import HTTP1

/// Which pages may open a WebSocket (RFC 6455 §10.2): a browser sends its page's `Origin`, other clients send none and are
/// let in.
public struct AllowedOrigins: Sendable {
    /// Lower-case origins (`https://example.org`) that are let in beside the same host.
    private let allowed: [[UInt8]]
    private let allowsAll: Bool

    /// - Parameter allowed: origins such as `https://example.org:8443`; `*` lets every page in; empty: pages of the same
    ///   host only.
    public init(allowed: [String] = []) {
        allowsAll = allowed.contains("*")
        self.allowed = allowed.map { $0.utf8.map(ASCII.lowercased) }
    }

    /// Whether a request with this head may go on.
    public func allows(_ head: HTTP1Head) -> Bool {
        switch head.count(of: "origin") {
        case 0: return true
        case 1: return allowsAll || allows(origin: head.value(at: head.index(of: "origin")), authority: head.authority)
        default: return false
        }
    }

    /// `authority` is the host and optional port that the request was sent to.
    func allows(origin: Span<UInt8>, authority: Span<UInt8>) -> Bool {
        for candidate in allowed where Self.equal(origin, candidate.span) { return true }
        for scheme: StaticString in ["https://", "http://"] {
            let length = scheme.utf8CodeUnitCount
            guard origin.count > length, ASCII.equalsIgnoringCase(origin.extracting(0..<length), scheme) else {
                continue
            }
            return Self.equal(origin.extracting(length..<origin.count), authority)
        }
        return false
    }

    private static func equal(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        for index in 0..<left.count where ASCII.lowercased(left[index]) != ASCII.lowercased(right[index]) {
            return false
        }
        return true
    }
}
