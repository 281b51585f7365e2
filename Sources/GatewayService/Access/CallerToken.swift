import Bytes
import HTTP1

/// The access token of whoever sends a request, where it does not stand in `Authorization`: to be passed on to the services. A
/// gate attaches it.
struct CallerToken {
    /// What `Authorization` would say.
    let authorization: [UInt8]

    init(_ token: Span<UInt8>) {
        var field = Array("Bearer ".utf8)
        field.reserveCapacity(field.count + token.count)
        unsafe token.withUnsafeBufferPointer { unsafe field.append(contentsOf: $0) }
        authorization = field
    }
}

/// A token in the list of subprotocols, as Kubernetes has it, for pages and tools that can set no field of a handshake:
///
///     new WebSocket(url, ["cabstand.v1", "base64url.bearer.authorization.cabstand." + base64url(token)])
///
/// The other one is what is agreed upon; this one is answered by nobody.
enum BearerSubprotocol {
    private static let prefix: StaticString = "base64url.bearer.authorization.cabstand."
    /// What is spoken on this gateway's WebSockets.
    static let spoken: StaticString = "cabstand.v1"

    enum Finding {
        case none
        case token([UInt8])
        /// Several, or one that is not base64url.
        case malformed
    }

    static func find(in head: HTTP1Head) -> Finding {
        var finding = Finding.none
        var index = head.index(of: "sec-websocket-protocol")
        while index >= 0 {
            let value = head.value(at: index)
            var list = HTTP1List(count: value.count)
            while let range = list.next(in: value) {
                let name = value.extracting(range)
                let length = prefix.utf8CodeUnitCount
                guard name.count >= length, ASCII.equals(name.extracting(..<length), prefix) else { continue }
                guard case .none = finding, let token = Base64URL.decode(name.extracting(length...)) else {
                    return .malformed
                }
                finding = .token(token)
            }
            index = head.index(of: "sec-websocket-protocol", from: index + 1)
        }
        return finding
    }
}
