import Bytes
import COpenSSL
import HTTP1
import WebSockets

/// The server's half of the opening handshake (RFC 6455 §4.2).
public enum WebSocketHandshake {
    /// Why a request does not become a WebSocket; the answer is an ordinary HTTP response.
    public enum Refusal: Sendable, Equatable {
        /// 426 with `Upgrade: websocket` and `Sec-WebSocket-Version: 13`: the request is no handshake of version 13.
        case upgradeRequired(detail: StaticString)
        /// 403: the page's `Origin` is not allowed.
        case foreignOrigin
        /// 400: `Sec-WebSocket-Extensions` can't be read (RFC 6455 §9.1).
        case malformedExtensions

        /// The status of the answer: 426, 403 or 400.
        public var status: Int {
            switch self {
            case .upgradeRequired: 426
            case .foreignOrigin: 403
            case .malformedExtensions: 400
            }
        }

        /// What the answer is called as a problem (RFC 9457).
        public var code: String {
            switch self {
            case .upgradeRequired: "upgrade-required"
            case .foreignOrigin: "foreign-origin"
            case .malformedExtensions: "bad-request"
            }
        }

        /// What was wrong and what to do.
        public var detail: StaticString {
            switch self {
            case .upgradeRequired(let detail): detail
            case .foreignOrigin: "Pages of this origin may not open a WebSocket here."
            case .malformedExtensions: "Sec-WebSocket-Extensions must be a list as RFC 6455 section 9.1 describes it."
            }
        }

        /// Fields that the response carries.
        public var headers: [(name: StaticString, value: String)] {
            switch self {
            case .upgradeRequired:
                [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            case .foreignOrigin, .malformedExtensions: []
            }
        }

        public static func == (left: Refusal, right: Refusal) -> Bool { left.status == right.status }
    }

    /// Checks a request's head. Nil: it is a handshake, and `response` has got the whole 101; nothing is written otherwise.
    ///
    /// - Parameters:
    ///   - isForeign: a page that may not open a WebSocket has sent it (RFC 6455 §10.2; see `OriginPolicy`).
    ///   - protocols: the subprotocols that are spoken here.
    ///   - deflate: what to answer to permessage-deflate (RFC 7692); nil: nothing.
    ///   - agreed: what was agreed upon then; nil: messages are not compressed.
    static func check(
        _ head: HTTP1Head, isForeign: Bool, protocols: [StaticString] = [], deflate: DeflateOptions?,
        agreed: inout DeflateParameters?, response: inout ByteBuffer
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
        guard let offers = extensions(head) else { return .malformedExtensions }
        let answer = deflate?.answer(offers)
        response.append(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
        appendAccept(head.value(at: keyIndex), to: &response)
        if let subprotocol = first(of: protocols, in: head) {
            response.append("\r\nSec-WebSocket-Protocol: ")
            response.append(subprotocol)
        }
        if let answer {
            agreed = answer.agreed
            response.append(utf8: "\r\nSec-WebSocket-Extensions: \(answer.text)")
        }
        response.append("\r\n\r\n")
        return nil
    }

    /// The client's first among the subprotocols that are spoken here. Their names' case counts (RFC 6455 §11.5).
    private static func first(of protocols: [StaticString], in head: HTTP1Head) -> StaticString? {
        if protocols.isEmpty { return nil }
        var index = head.index(of: "sec-websocket-protocol")
        while index >= 0 {
            let value = head.value(at: index)
            var list = HTTP1List(count: value.count)
            while let range = list.next(in: value) {
                for name in protocols where ASCII.equals(value.extracting(range), name) { return name }
            }
            index = head.index(of: "sec-websocket-protocol", from: index + 1)
        }
        return nil
    }

    /// What a head says of extensions, in one field or in several (RFC 6455 §11.3.2). Nil: that can't be read.
    private static func extensions(_ head: HTTP1Head) -> [WebSocketExtension]? {
        var all: [WebSocketExtension] = []
        var index = head.index(of: "sec-websocket-extensions")
        while index >= 0 {
            guard let list = WebSocketExtension.list(head.value(at: index)),
                all.count + list.count <= WebSocketExtension.maximumCount
            else { return nil }
            all += list
            index = head.index(of: "sec-websocket-extensions", from: index + 1)
        }
        return all
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
