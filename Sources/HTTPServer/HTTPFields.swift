import Bytes
import HTTP1

/// Header fields of a response, kept as the bytes that will be sent. Empty ones cost nothing.
public struct HTTPFields: Sendable, ExpressibleByDictionaryLiteral {
    @usableFromInline var lines: [UInt8] = []

    /// No fields.
    @inlinable public init() {}

    /// Fields in the order given.
    public init(dictionaryLiteral fields: (StaticString, String)...) {
        for (name, value) in fields { add(name, value) }
    }

    /// Adds a field line. CR, LF and NUL in the value become spaces.
    public mutating func add(_ name: StaticString, _ value: String) {
        var buffer = ByteBuffer(capacity: name.utf8CodeUnitCount + value.utf8.count + 4)
        HTTP1Writer.field(name, value, to: &buffer)
        unsafe buffer.withUnsafeBytes { unsafe lines.append(contentsOf: $0) }
    }

    /// The same fields and one more.
    public func adding(_ name: StaticString, _ value: String) -> HTTPFields {
        var copy = self
        copy.add(name, value)
        return copy
    }
}
