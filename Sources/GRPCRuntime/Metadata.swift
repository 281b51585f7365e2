/// The custom metadata of a call, in order, repeats kept: request headers, or a response's headers or trailers.
///
/// Keys are lower-case (`[a-z0-9_.-]`). A key that ends in `-bin` has bytes as its value and travels in Base64, any other
/// key has printable ASCII. What belongs to the protocol itself (`grpc-…`, `content-type`, `te`, pseudo-headers) is not here.
public struct Metadata: Hashable, Sendable {
    /// One key with its value.
    public struct Entry: Hashable, Sendable {
        /// The name in lower case; `-bin` at its end means that the value is bytes.
        public let key: String
        /// The bytes as the application sees them: not Base64.
        public let value: [UInt8]

        /// The value as text.
        public var text: String { String(decoding: value, as: UTF8.self) }
        /// Whether the value is bytes, which go over the wire in Base64.
        public var isBinary: Bool { key.utf8.count > 4 && key.hasSuffix("-bin") }
        /// Whether the value lets whoever has it in: `authorization`, `proxy-authorization`, and what others name so. It is in no
        /// description, and in no table of HPACK's on its way.
        var isSecret: Bool { key.hasSuffix("authorization") }
    }

    @usableFromInline var storage: [Entry] = []

    /// No entries.
    @inlinable
    public init() {}

    /// The entries in their order; a name may be there several times.
    public var entries: [Entry] { storage }
    /// Whether there are none.
    @inlinable
    public var isEmpty: Bool { storage.isEmpty }

    /// The first value of an ASCII key.
    public subscript(key: String) -> String? {
        storage.first { $0.key == key && !$0.isBinary }?.text
    }

    /// The first value of a `-bin` key.
    public func binary(_ key: String) -> [UInt8]? {
        storage.first { $0.key == key && $0.isBinary }?.value
    }

    /// Adds an ASCII value. A key that is not allowed (or reserved), or a value with anything but printable ASCII, is not
    /// added: false.
    @discardableResult
    public mutating func add(_ key: String, _ value: String) -> Bool {
        let key = key.lowercased()
        // As an array: tokens have hundreds of bytes.
        let value = Array(value.utf8)
        guard Self.isAllowed(key), !key.hasSuffix("-bin"), value.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) else {
            return false
        }
        storage.append(Entry(key: key, value: value))
        return true
    }

    /// Adds bytes under a key that ends in `-bin`. A key that is not allowed is not added: false.
    @discardableResult
    public mutating func add(_ key: String, binary value: [UInt8]) -> Bool {
        let key = key.lowercased()
        guard Self.isAllowed(key), key.utf8.count > 4, key.hasSuffix("-bin") else { return false }
        storage.append(Entry(key: key, value: value))
        return true
    }

    /// Removes every value of `key`.
    public mutating func remove(_ key: String) {
        storage.removeAll { $0.key == key }
    }

    /// Adds an entry of other metadata.
    public mutating func add(_ entry: Entry) { storage.append(entry) }

    private static func isAllowed(_ key: String) -> Bool {
        guard !key.isEmpty, !key.hasPrefix("grpc-") else { return false }
        switch key {
        case "content-type", "te", "connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection",
            "host",
            "user-agent", "content-length":
            return false
        default:
            return key.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"),
                    UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
        }
    }
}

/// For log lines and messages of tests: what `authorization` says is not told.
extension Metadata.Entry: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "\(key): \(isSecret ? "…" : isBinary ? "\(value)" : text)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["entry": description]) }
}
