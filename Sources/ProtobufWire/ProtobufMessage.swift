import Bytes

/// A protocol buffers message: a flat struct that `protoc-gen-cabstand` has written.
public protocol ProtobufMessage: Sendable, Equatable {
    /// The name with its package: `driver.v1.Driver`.
    static var fullName: String { get }

    /// The fields by number, with their names in the `.proto` file and in proto3 JSON.
    static var fields: [ProtobufField] { get }

    /// Fields that the `.proto` file does not know, as they came; written back behind the known ones.
    var unknownFields: [UInt8] { get set }

    /// The message without any field set.
    init()

    /// The exact number of bytes that `encode(into:)` appends.
    var encodedSize: Int { get }

    /// Appends the wire format.
    func encode(into buffer: inout ByteBuffer)

    /// Reads fields until the end of the reader, or of the nested message that it is in: scalars are replaced, repeated
    /// fields grow, messages merge.
    mutating func merge(from reader: inout ProtobufReader) throws(ProtobufError)
}

extension ProtobufMessage {
    /// The message that `bytes` hold.
    @inlinable
    public init(decoding bytes: Span<UInt8>, limits: ProtobufLimits = ProtobufLimits()) throws(ProtobufError) {
        self.init()
        var reader = ProtobufReader(bytes, limits: limits)
        try merge(from: &reader)
    }

    /// The message that `bytes` hold.
    @inlinable
    public init(decoding bytes: [UInt8], limits: ProtobufLimits = ProtobufLimits()) throws(ProtobufError) {
        try self.init(decoding: bytes.span, limits: limits)
    }

    /// Merges the message that `bytes` hold into this one.
    @inlinable
    public mutating func merge(
        from bytes: Span<UInt8>, limits: ProtobufLimits = ProtobufLimits()
    ) throws(ProtobufError) {
        var reader = ProtobufReader(bytes, limits: limits)
        try merge(from: &reader)
    }

    /// The wire format: a copy. Hot paths use `encode(into:)`.
    public func encoded() -> [UInt8] {
        var buffer = ByteBuffer(capacity: encodedSize)
        encode(into: &buffer)
        return buffer.array()
    }
}

/// A field's number and names.
public struct ProtobufField: Sendable, Equatable {
    /// The field's number.
    public let number: Int
    /// Its name in the `.proto` file.
    public let name: StaticString
    /// Its name in JSON.
    public let jsonName: StaticString

    /// A field with its number and names.
    public init(_ number: Int, _ name: StaticString, _ jsonName: StaticString) {
        self.number = number
        self.name = name
        self.jsonName = jsonName
    }

    public static func == (left: ProtobufField, right: ProtobufField) -> Bool {
        left.number == right.number && left.name.description == right.name.description
            && left.jsonName.description == right.jsonName.description
    }
}

/// A protocol buffers enum. It is open (proto3): any 32-bit number is a value, the unnamed ones are `UNRECOGNIZED`.
public protocol ProtobufEnum: Sendable, Hashable {
    /// The name with its package.
    static var fullName: String { get }
    /// The value 0.
    init()
    /// The value with that number, known or not.
    init(rawValue: Int)
    /// The number on the wire.
    var rawValue: Int { get }
}

/// What a decoder takes before it gives up.
public struct ProtobufLimits: Sendable {
    /// Messages inside each other, as in Google's implementations.
    public var depth = 100
    /// Messages in one message, at any depth. Two bytes on the wire can be an empty message of some hundred bytes in
    /// memory, so a bound on bytes alone does not bound memory. A list of 28,000 drivers with their places, four megabytes of it,
    /// has 84,000.
    public var messages = 200_000

    /// The defaults.
    public init() {}
}

/// Why bytes are no message.
public enum ProtobufError: Error, Sendable, Equatable {
    /// A field ends behind the end of its message.
    case truncated
    /// A variable-length integer of more than ten bytes, or of more than 64 bits.
    case malformedVarint
    /// Field number 0, a field number beyond 2²⁹−1, or wire type 6 or 7.
    case malformedTag
    /// The end of a group that did not begin, or of another one.
    case unmatchedEndGroup
    /// A string field that is not UTF-8.
    case malformedUTF8
    /// Deeper than `ProtobufLimits.depth`.
    case tooDeep
    /// More than `ProtobufLimits.messages`.
    case tooManyMessages
}

/// Holds a message on the heap where it would otherwise contain itself.
public final class ProtobufBox<Message: ProtobufMessage>: Sendable, Equatable {
    /// The message.
    public let value: Message

    /// Puts a message on the heap.
    public init(_ value: Message) {
        self.value = value
    }

    public static func == (left: ProtobufBox, right: ProtobufBox) -> Bool {
        left === right || left.value == right.value
    }
}
