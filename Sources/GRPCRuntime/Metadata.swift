/// The custom metadata of a call, in order, repeats kept: request headers, or a response's headers or trailers.
///
/// Keys are lower-case (`[a-z0-9_.-]`). A key that ends in `-bin` has bytes as its value and travels in Base64, any other
/// key has printable ASCII. What belongs to the protocol itself (`grpc-…`, `content-type`, `te`, pseudo-headers) is not here.
public struct Metadata: Hashable, Sendable {
    /// A key that was looked at once, for what goes along with every call.
    public struct Key: Hashable, Sendable {
        /// In lower case; `-bin` at its end means that its values are bytes.
        public let name: String
        /// Whether its values are bytes, which go over the wire in Base64.
        public let isBinary: Bool
        /// Whether a value lets whoever has it in: `authorization`, `proxy-authorization`, and what others name so. It is in no
        /// description, and in no table of HPACK's on its way.
        let isSecret: Bool

        /// - Parameter name: upper case counts as lower case. Nil: it is not allowed, or reserved.
        public init?(_ name: String) {
            let name = name.lowercased()
            guard Metadata.isAllowed(name), name != "-bin" else { return nil }
            self.init(lowercase: name)
        }

        init(lowercase name: String) {
            self.name = name
            isBinary = name.utf8.count > 4 && name.hasSuffix("-bin")
            isSecret = name.hasSuffix("authorization")
        }

        /// Who calls: a secret.
        public static let authorization = Key(lowercase: "authorization")
        static let requestID = Key(lowercase: "x-request-id")
        static let traceParent = Key(lowercase: "traceparent")
    }

    /// One key with its value.
    public struct Entry: Hashable, Sendable {
        let name: Key
        /// The name in lower case; `-bin` at its end means that the value is bytes.
        public var key: String { name.name }
        /// The bytes as the application sees them: not Base64.
        public let value: [UInt8]

        init(_ name: Key, _ value: [UInt8]) {
            self.name = name
            self.value = value
        }

        /// The value as text.
        public var text: String { String(decoding: value, as: UTF8.self) }
        /// Whether the value is bytes, which go over the wire in Base64.
        public var isBinary: Bool { name.isBinary }
        var isSecret: Bool { name.isSecret }
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
        guard let key = Key(key) else { return false }
        return add(key, Array(value.utf8))
    }

    /// Adds a value in ASCII. One under a key that ends in `-bin`, or with anything but printable ASCII, is not added: false.
    @discardableResult
    public mutating func add(_ key: Key, _ value: [UInt8]) -> Bool {
        guard !key.isBinary, Self.isPrintable(value.span) else { return false }
        storage.append(Entry(key, value))
        return true
    }

    private static func isPrintable(_ value: Span<UInt8>) -> Bool {
        unsafe value.withUnsafeBytes { bytes in
            var index = 0
            // Eight at a time, since tokens have hundreds: a byte is none if its highest bit is set, if it is below a blank, or
            // if its difference to DEL is zero.
            var found: UInt64 = 0
            while index &+ 8 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                let other = word ^ 0x7f7f_7f7f_7f7f_7f7f
                found |= word | (word &- 0x2020_2020_2020_2020) & ~word | (other &- 0x0101_0101_0101_0101) & ~other
                index &+= 8
            }
            guard found & 0x8080_8080_8080_8080 == 0 else { return false }
            while index < bytes.count {
                guard unsafe bytes[index] &- 0x20 < 0x5f else { return false }
                index &+= 1
            }
            return true
        }
    }

    /// Adds bytes under a key that ends in `-bin`. A key that is not allowed is not added: false.
    @discardableResult
    public mutating func add(_ key: String, binary value: [UInt8]) -> Bool {
        guard let key = Key(key), key.isBinary else { return false }
        storage.append(Entry(key, value))
        return true
    }

    /// Removes every value of `key`.
    public mutating func remove(_ key: String) {
        storage.removeAll { $0.key == key }
    }

    /// Removes every value of `key`.
    public mutating func remove(_ key: Key) {
        storage.removeAll { $0.name == key }
    }

    /// Whether there is a value of `key`.
    public func has(_ key: Key) -> Bool {
        for entry in storage where entry.name == key { return true }
        return false
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
