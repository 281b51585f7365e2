import Bytes
import HTTP1
import WebSockets

/// The client's half of the opening handshake (RFC 6455 §4.1): where it goes, what it asks, and what must be answered.
struct ClientHandshake {
    let host: String
    let port: UInt16
    let isTLS: Bool
    private let target: String
    private let authority: String
    private let key: String
    private let fields: [(name: String, value: String)]
    private let subprotocols: [String]
    private let deflate: DeflateOptions?

    /// Bytes of an answer's head.
    static let maximumHead = 16 << 10

    /// - Parameter nonce: 16 bytes that nobody can predict.
    init(
        url: String, subprotocols: [String], fields: [(name: String, value: String)], deflate: DeflateOptions?,
        nonce: (UInt64, UInt64)
    ) throws(WebSocketClientError) {
        guard let colon = url.firstRange(of: "://") else {
            throw .badRequest("\(url) is no address; one begins with ws:// or wss://.")
        }
        switch url[..<colon.lowerBound].lowercased() {
        case "ws": isTLS = false
        case "wss": isTLS = true
        default: throw .badRequest("\(url) begins with neither ws:// nor wss://.")
        }
        let rest = url[colon.upperBound...]
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !rest.contains("#") else {
            throw .badRequest("\(url) has a fragment, a space or a character that must be percent-encoded.")
        }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        authority = String(rest[..<end])
        let path = rest[end...]
        target = path.hasPrefix("/") ? String(path) : "/" + path
        guard let (host, port) = Self.split(authority, defaultPort: isTLS ? 443 : 80) else {
            throw .badRequest("\(url) must name a host, and a port from 1 to 65535 if any, and no user.")
        }
        (self.host, self.port) = (host, port)
        for field in fields
        where !Self.isToken(field.name) || field.value.utf8.contains(where: { $0 < 0x20 && $0 != 9 || $0 == 0x7F }) {
            throw .badRequest("\(field.name) is no field that can be sent.")
        }
        for name in subprotocols where !Self.isToken(name) {
            throw .badRequest("\"\(name)\" is no name of a subprotocol.")
        }
        self.fields = fields
        self.subprotocols = subprotocols
        self.deflate = deflate
        var bytes = ByteBuffer(capacity: 16)
        bytes.append(littleEndian: nonce.0)
        bytes.append(littleEndian: nonce.1)
        var text = ByteBuffer(capacity: 24)
        Base64.encode(bytes.span, into: &text)
        key = String(utf8: text.span)
    }

    private static func split(_ authority: String, defaultPort: UInt16) -> (String, UInt16)? {
        var host = authority[...]
        var port = defaultPort
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { return nil }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let rest = authority[authority.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            if !rest.isEmpty { port = UInt16(rest.dropFirst()) ?? 0 }
        } else if let colon = authority.lastIndex(of: ":") {
            host = authority[..<colon]
            port = UInt16(authority[authority.index(after: colon)...]) ?? 0
            if host.contains(":") { return nil }
        }
        return host.isEmpty || host.contains("@") || port == 0 ? nil : (String(host), port)
    }

    private static func isToken(_ text: String) -> Bool {
        WebSocketExtension.list(Array(text.utf8).span)?.map(\.name) == [text]
    }

    /// Appends the request.
    func appendRequest(to output: inout ByteBuffer) {
        output.append(
            utf8: "GET \(target) HTTP/1.1\r\nHost: \(authority)\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        output.append(utf8: "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \(key)\r\n")
        if !subprotocols.isEmpty {
            output.append(utf8: "Sec-WebSocket-Protocol: \(subprotocols.joined(separator: ", "))\r\n")
        }
        if let deflate { output.append(utf8: "Sec-WebSocket-Extensions: \(deflate.offer)\r\n") }
        for field in fields { output.append(utf8: "\(field.name): \(field.value)\r\n") }
        output.append("\r\n")
    }

    /// What a server has agreed to.
    struct Agreement {
        var subprotocol: String?
        var deflate: DeflateParameters?
    }

    /// Answers of which more than one may come before the last (RFC 9110 §15.2), such as 103 Early Hints.
    static let maximumInterimAnswers = 8

    /// Reads the head of an answer, its empty line included. Nil: another one follows.
    func check(_ head: [UInt8]) throws(WebSocketClientError) -> Agreement? {
        guard let text = String(validating: head, as: UTF8.self) else { throw .badAnswer("its head is not UTF-8") }
        var lines = text.split(separator: "\r\n", omittingEmptySubsequences: true)[...]
        let status = lines.popFirst() ?? ""
        let words = status.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count >= 2, words[0] == "HTTP/1.1", words[1].utf8.count == 3, let code = Int(words[1]) else {
            throw .badAnswer("it begins with \"\(status.clipped(to: 80))\"")
        }
        if 100..<200 ~= code, code != 101 { return nil }
        guard code == 101 else {
            throw .refused(status: code, reason: words.count > 2 ? String(words[2].clipped(to: 80)) : "")
        }
        var values: [String: [Substring]] = [:]
        for line in lines {
            guard let colon = line.firstIndex(of: ":"), Self.isToken(String(line[..<colon])) else {
                throw .badAnswer("\"\(line.clipped(to: 80))\" is no field")
            }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            values[line[..<colon].lowercased(), default: []].append(value)
        }
        func tokens(_ name: String) -> [String] {
            (values[name] ?? []).flatMap { $0.split(separator: ",") }.map {
                $0.filter { $0 != " " && $0 != "\t" }.lowercased()
            }
        }
        guard tokens("upgrade") == ["websocket"] else { throw .badAnswer("Upgrade must be websocket") }
        guard tokens("connection").contains("upgrade") else { throw .badAnswer("Connection must be Upgrade") }
        var accept = ByteBuffer()
        WebSocketHandshake.appendAccept(Array(key.utf8).span, to: &accept)
        let answer = (values["sec-websocket-accept"] ?? []).map { $0.filter { $0 != " " && $0 != "\t" } }
        guard answer == [String(utf8: accept.span)] else {
            throw .badAnswer("Sec-WebSocket-Accept does not answer the key")
        }
        return try Agreement(subprotocol: subprotocol(values), deflate: extensions(values))
    }

    private func subprotocol(_ values: [String: [Substring]]) throws(WebSocketClientError) -> String? {
        guard let chosen = values["sec-websocket-protocol"] else { return nil }
        guard chosen.count == 1, subprotocols.contains(String(chosen[0])) else {
            throw .badAnswer(
                "it chooses the subprotocol \"\(chosen.joined(separator: ", ").clipped(to: 80))\", which was not offered"
            )
        }
        return String(chosen[0])
    }

    private func extensions(_ values: [String: [Substring]]) throws(WebSocketClientError) -> DeflateParameters? {
        let text = (values["sec-websocket-extensions"] ?? []).joined(separator: ",")
        guard let list = WebSocketExtension.list(Array(text.utf8).span) else {
            throw .badAnswer("its extensions can't be read")
        }
        if list.isEmpty { return nil }
        guard let deflate, list.count == 1, let agreed = deflate.accept(list[0]) else {
            throw .badAnswer("it uses the extension \"\(text.clipped(to: 80))\", which was not offered like that")
        }
        return agreed
    }
}
