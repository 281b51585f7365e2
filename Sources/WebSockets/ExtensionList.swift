import Bytes

/// One element of a `Sec-WebSocket-Extensions` field (RFC 6455 §9.1): `name; parameter; parameter=value`.
public struct WebSocketExtension: Sendable, Equatable {
    /// A parameter of an extension.
    public struct Parameter: Sendable, Equatable {
        /// As it was sent.
        public let name: String
        /// Without quotes; nil: there is none.
        public let value: String?
    }

    /// As it was sent.
    public let name: String
    /// In the order in which they were sent.
    public let parameters: [Parameter]

    /// Elements in one field. Nobody knows that many extensions, and each costs memory.
    public static let maximumCount = 32
    /// Parameters of one element.
    public static let maximumParameters = 16

    /// The elements of a field's value. Nil: it is not written as RFC 6455 §9.1 says, or has too many; such a handshake fails.
    public static func list(_ value: Span<UInt8>) -> [WebSocketExtension]? {
        var reader = ExtensionReader(value)
        var list: [WebSocketExtension] = []
        while true {
            // Empty elements of a list mean nothing (RFC 9110 §5.6.1.2).
            while reader.takes(UInt8(ascii: ",")) {}
            if reader.isAtEnd { return list }
            guard list.count < maximumCount, let name = reader.token() else { return nil }
            var parameters: [Parameter] = []
            while reader.takes(UInt8(ascii: ";")) {
                guard parameters.count < maximumParameters, let name = reader.token() else { return nil }
                var value: String?
                if reader.takes(UInt8(ascii: "=")) {
                    value = reader.token() ?? reader.quotedToken()
                    if value == nil { return nil }
                }
                parameters.append(Parameter(name: name, value: value))
            }
            list.append(WebSocketExtension(name: name, parameters: parameters))
            guard reader.isAtEnd || reader.takes(UInt8(ascii: ",")) else { return nil }
        }
    }
}

/// Takes a field's value apart; white space between its parts means nothing.
private struct ExtensionReader {
    private let value: [UInt8]
    private var offset = 0

    init(_ value: Span<UInt8>) {
        self.value = unsafe value.withUnsafeBufferPointer { unsafe Array($0) }
        skipSpace()
    }

    var isAtEnd: Bool { offset == value.count }

    /// Whether `byte` comes next, which is then taken.
    mutating func takes(_ byte: UInt8) -> Bool {
        guard offset < value.count, value[offset] == byte else { return false }
        offset += 1
        skipSpace()
        return true
    }

    /// RFC 9110 §5.6.2.
    mutating func token() -> String? {
        let bytes = value[offset...].prefix(while: Self.isTokenByte)
        guard !bytes.isEmpty else { return nil }
        offset = bytes.endIndex
        skipSpace()
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A quoted string, which without its quotes must be a token (RFC 6455 §9.1).
    mutating func quotedToken() -> String? {
        guard offset < value.count, value[offset] == UInt8(ascii: "\"") else { return nil }
        offset += 1
        var bytes: [UInt8] = []
        while offset < value.count, value[offset] != UInt8(ascii: "\"") {
            if value[offset] == UInt8(ascii: "\\") { offset += 1 }
            guard offset < value.count, Self.isTokenByte(value[offset]) else { return nil }
            bytes.append(value[offset])
            offset += 1
        }
        guard offset < value.count, !bytes.isEmpty else { return nil }
        offset += 1
        skipSpace()
        return String(decoding: bytes, as: UTF8.self)
    }

    private mutating func skipSpace() {
        while offset < value.count, value[offset] == UInt8(ascii: " ") || value[offset] == UInt8(ascii: "\t") {
            offset += 1
        }
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
