import Bytes
import COpenSSL
import HTTP1

/// The server's half of the opening handshake (RFC 6455 §4.2).
public enum WebSocketHandshake {
    /// Why a request does not become a WebSocket; the answer is an ordinary HTTP response.
    public enum Refusal: Sendable, Equatable {
        /// 426 with `Upgrade: websocket` and `Sec-WebSocket-Version: 13`: the request is no handshake of version 13.
        case upgradeRequired(detail: StaticString)
        /// 403: the page's `Origin` is not allowed.
        case foreignOrigin

        /// The status of the answer: 426 or 403.
        public var status: Int {
            switch self {
            case .upgradeRequired: 426
            case .foreignOrigin: 403
            }
        }

        /// What was wrong and what to do.
        public var detail: StaticString {
            switch self {
            case .upgradeRequired(let detail): detail
            case .foreignOrigin: "Pages of this origin may not open a WebSocket here."
            }
        }

        /// Fields that the response carries.
        public var headers: [(name: StaticString, value: String)] {
            switch self {
            case .upgradeRequired:
                [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            case .foreignOrigin: []
            }
        }

        public static func == (left: Refusal, right: Refusal) -> Bool { left.status == right.status }
    }

    /// Checks a request's head. Nil: it is a handshake, and `response` has got the whole 101; nothing is written otherwise.
    ///
    /// - Parameter isForeign: a page that may not open a WebSocket has sent it (RFC 6455 §10.2; see `OriginPolicy`).
    public static func check(
        _ head: HTTP1Head, isForeign: Bool, response: inout ByteBuffer
    ) -> Refusal? {
        guard head.method == .get, head.minorVersion == 1 else {
            return .upgradeRequired(detail: "A WebSocket begins with GET and HTTP/1.1.")
        }
        guard head.hasToken("upgrade", "websocket"), head.hasToken("connection", "upgrade") else {
            return .upgradeRequired(
                detail:
                    "This is a WebSocket; send Upgrade: websocket and Connection: Upgrade, or use a WebSocket client.")
        }
        guard let version = head.value("sec-websocket-version"), ASCII.equals(version, "13"),
            head.count(of: "sec-websocket-version") == 1
        else {
            return .upgradeRequired(detail: "Sec-WebSocket-Version must be 13.")
        }
        let keyIndex = head.index(of: "sec-websocket-key")
        guard keyIndex >= 0, head.count(of: "sec-websocket-key") == 1, isKey(head.value(at: keyIndex)) else {
            return .upgradeRequired(detail: "Sec-WebSocket-Key must be 16 bytes in Base64.")
        }
        if isForeign { return .foreignOrigin }
        response.append(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
        appendAccept(head.value(at: keyIndex), to: &response)
        response.append("\r\n\r\n")
        return nil
    }

    /// RFC 6455 §4.1: 16 bytes, which make 22 digits (of RFC 4648 §4: the alphabet for addresses is another) and two `=`.
    static func isKey(_ key: Span<UInt8>) -> Bool {
        guard key.count == 24, key[22] == UInt8(ascii: "="), key[23] == UInt8(ascii: "=") else { return false }
        for index in 0..<22 where key[index] == UInt8(ascii: "-") || key[index] == UInt8(ascii: "_") { return false }
        return Base64.decode(key)?.count == 16
    }

    /// RFC 6455 §4.2.2: what proves that the server has read the key.
    public static func appendAccept(_ key: Span<UInt8>, to output: inout ByteBuffer) {
        var input = ByteBuffer(capacity: 64)
        input.append(key)
        input.append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        var digest = InlineArray<20, UInt8>(repeating: 0)
        var target = digest.mutableSpan
        unsafe input.withUnsafeBytes { source in
            unsafe target.withUnsafeMutableBufferPointer { digest in
                _ = unsafe SHA1(
                    source.baseAddress?.assumingMemoryBound(to: UInt8.self), source.count, digest.baseAddress)
            }
        }
        Base64.encode(digest.span, into: &output)
    }
}
