import Bytes

/// How one type of a `.proto` file (`sint32`, `string`, …) is written and read. Generated code names the coder of each
/// field; everything about fields, repeated and map fields is written once, in terms of coders.
public protocol ProtobufCoder {
    /// The type in Swift.
    associatedtype Value: Equatable & Sendable
    /// How the value lies on the wire: 0 varint, 1 eight bytes, 2 a length and bytes, 5 four bytes.
    static var wireType: UInt32 { get }
    /// What an absent field without presence means.
    static var zero: Value { get }
    /// Whether the value is the one that is left out.
    static func isZero(_ value: Value) -> Bool
    /// Bytes of the value without a tag.
    static func size(_ value: Value) -> Int
    /// Appends the value, without a tag.
    static func encode(_ value: Value, into buffer: inout ByteBuffer)
    /// Reads the value, whose tag was read.
    static func decode(_ reader: inout ProtobufReader) throws(ProtobufError) -> Value
}

/// A coder whose values are variable-length integers.
public protocol ProtobufVarintCoder: ProtobufCoder {
    /// The number that is written.
    static func bits(_ value: Value) -> UInt64
    /// The value that the number stands for.
    static func value(_ bits: UInt64) -> Value
}

extension ProtobufVarintCoder {
    @inlinable public static var wireType: UInt32 { 0 }
    @inlinable public static var zero: Value { value(0) }
    @inlinable public static func isZero(_ value: Value) -> Bool { bits(value) == 0 }
    @inlinable public static func size(_ value: Value) -> Int { ProtobufSize.varint(bits(value)) }
    @inlinable public static func encode(_ value: Value, into buffer: inout ByteBuffer) {
        buffer.append(varint: bits(value))
    }
    @inlinable public static func decode(_ reader: inout ProtobufReader) throws(ProtobufError) -> Value {
        value(try reader.readVarint())
    }
}

/// `int32`: negative numbers take ten bytes.
public enum ProtobufInt32: ProtobufVarintCoder {
    public typealias Value = Int32
    @inlinable public static func bits(_ value: Int32) -> UInt64 { UInt64(bitPattern: Int64(value)) }
    @inlinable public static func value(_ bits: UInt64) -> Int32 { Int32(truncatingIfNeeded: bits) }
}

/// `int64`: negative numbers take ten bytes.
public enum ProtobufInt64: ProtobufVarintCoder {
    public typealias Value = Int64
    @inlinable public static func bits(_ value: Int64) -> UInt64 { UInt64(bitPattern: value) }
    @inlinable public static func value(_ bits: UInt64) -> Int64 { Int64(bitPattern: bits) }
}

/// `uint32`.
public enum ProtobufUInt32: ProtobufVarintCoder {
    public typealias Value = UInt32
    @inlinable public static func bits(_ value: UInt32) -> UInt64 { UInt64(value) }
    @inlinable public static func value(_ bits: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: bits) }
}

/// `uint64`.
public enum ProtobufUInt64: ProtobufVarintCoder {
    public typealias Value = UInt64
    @inlinable public static func bits(_ value: UInt64) -> UInt64 { value }
    @inlinable public static func value(_ bits: UInt64) -> UInt64 { bits }
}

/// ZigZag: small magnitudes are short, whatever their sign.
public enum ProtobufSInt32: ProtobufVarintCoder {
    public typealias Value = Int32
    @inlinable public static func bits(_ value: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: value &<< 1 ^ value &>> 31))
    }
    @inlinable public static func value(_ bits: UInt64) -> Int32 {
        let word = UInt32(truncatingIfNeeded: bits)
        return Int32(bitPattern: word &>> 1 ^ (0 &- (word & 1)))
    }
}

/// `sint64`: zigzag, short for small numbers of either sign.
public enum ProtobufSInt64: ProtobufVarintCoder {
    public typealias Value = Int64
    @inlinable public static func bits(_ value: Int64) -> UInt64 { UInt64(bitPattern: value &<< 1 ^ value &>> 63) }
    @inlinable public static func value(_ bits: UInt64) -> Int64 { Int64(bitPattern: bits &>> 1 ^ (0 &- (bits & 1))) }
}

/// `bool`.
public enum ProtobufBool: ProtobufVarintCoder {
    public typealias Value = Bool
    @inlinable public static func bits(_ value: Bool) -> UInt64 { value ? 1 : 0 }
    @inlinable public static func value(_ bits: UInt64) -> Bool { bits != 0 }
}

/// An enumeration; numbers that it does not know are kept.
public enum ProtobufEnumeration<Value: ProtobufEnum>: ProtobufVarintCoder {
    @inlinable public static func bits(_ value: Value) -> UInt64 {
        UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: value.rawValue)))
    }
    @inlinable public static func value(_ bits: UInt64) -> Value {
        Value(rawValue: Int(Int32(truncatingIfNeeded: bits)))
    }
}

/// A coder whose values have four or eight bytes, in little-endian order.
public protocol ProtobufFixedCoder: ProtobufCoder {
    /// The bytes as a number, of 32 or 64 bits.
    associatedtype Bits: FixedWidthInteger & UnsignedInteger
    /// The bits that are written, little-endian.
    static func bits(_ value: Value) -> Bits
    /// The value that the bits stand for.
    static func value(_ bits: Bits) -> Value
}

extension ProtobufFixedCoder {
    @inlinable public static var wireType: UInt32 { Bits.bitWidth == 32 ? 5 : 1 }
    @inlinable public static var zero: Value { value(0) }
    // By bits: minus zero is not left out.
    @inlinable public static func isZero(_ value: Value) -> Bool { bits(value) == 0 }
    @inlinable public static func size(_ value: Value) -> Int { Bits.bitWidth / 8 }
    @inlinable public static func encode(_ value: Value, into buffer: inout ByteBuffer) {
        buffer.append(littleEndian: bits(value))
    }
    @inlinable public static func decode(_ reader: inout ProtobufReader) throws(ProtobufError) -> Value {
        if Bits.bitWidth == 32 { return value(Bits(truncatingIfNeeded: try reader.readFixed32())) }
        return value(Bits(truncatingIfNeeded: try reader.readFixed64()))
    }
}

/// `fixed32`.
public enum ProtobufFixed32: ProtobufFixedCoder {
    public typealias Value = UInt32
    @inlinable public static func bits(_ value: UInt32) -> UInt32 { value }
    @inlinable public static func value(_ bits: UInt32) -> UInt32 { bits }
}

/// `fixed64`.
public enum ProtobufFixed64: ProtobufFixedCoder {
    public typealias Value = UInt64
    @inlinable public static func bits(_ value: UInt64) -> UInt64 { value }
    @inlinable public static func value(_ bits: UInt64) -> UInt64 { bits }
}

/// `sfixed32`.
public enum ProtobufSFixed32: ProtobufFixedCoder {
    public typealias Value = Int32
    @inlinable public static func bits(_ value: Int32) -> UInt32 { UInt32(bitPattern: value) }
    @inlinable public static func value(_ bits: UInt32) -> Int32 { Int32(bitPattern: bits) }
}

/// `sfixed64`.
public enum ProtobufSFixed64: ProtobufFixedCoder {
    public typealias Value = Int64
    @inlinable public static func bits(_ value: Int64) -> UInt64 { UInt64(bitPattern: value) }
    @inlinable public static func value(_ bits: UInt64) -> Int64 { Int64(bitPattern: bits) }
}

/// `float`.
public enum ProtobufFloat: ProtobufFixedCoder {
    public typealias Value = Float
    @inlinable public static func bits(_ value: Float) -> UInt32 { value.bitPattern }
    @inlinable public static func value(_ bits: UInt32) -> Float { Float(bitPattern: bits) }
}

/// `double`.
public enum ProtobufDouble: ProtobufFixedCoder {
    public typealias Value = Double
    @inlinable public static func bits(_ value: Double) -> UInt64 { value.bitPattern }
    @inlinable public static func value(_ bits: UInt64) -> Double { Double(bitPattern: bits) }
}

/// `string`: UTF-8, which is checked when it is read.
public enum ProtobufString: ProtobufCoder {
    public typealias Value = String
    @inlinable public static var wireType: UInt32 { 2 }
    @inlinable public static var zero: String { "" }
    @inlinable public static func isZero(_ value: String) -> Bool { value.isEmpty }
    @inlinable public static func size(_ value: String) -> Int { ProtobufSize.delimited(value.utf8.count) }
    @inlinable public static func encode(_ value: String, into buffer: inout ByteBuffer) {
        var value = value
        value.withUTF8 { bytes in
            buffer.append(varint: UInt64(bytes.count))
            unsafe buffer.append(UnsafeRawBufferPointer(bytes))
        }
    }
    @inlinable public static func decode(_ reader: inout ProtobufReader) throws(ProtobufError) -> String {
        try reader.readString()
    }
}

/// `bytes`.
public enum ProtobufBytes: ProtobufCoder {
    public typealias Value = [UInt8]
    @inlinable public static var wireType: UInt32 { 2 }
    @inlinable public static var zero: [UInt8] { [] }
    @inlinable public static func isZero(_ value: [UInt8]) -> Bool { value.isEmpty }
    @inlinable public static func size(_ value: [UInt8]) -> Int { ProtobufSize.delimited(value.count) }
    @inlinable public static func encode(_ value: [UInt8], into buffer: inout ByteBuffer) {
        buffer.append(varint: UInt64(value.count))
        buffer.append(value)
    }
    @inlinable public static func decode(_ reader: inout ProtobufReader) throws(ProtobufError) -> [UInt8] {
        try reader.readBytes()
    }
}

/// A nested message. Its length stands in front of it and is known afterwards: one byte is left for it, and the few
/// messages of 128 bytes and more are moved up. That is cheaper than measuring each message at each level of nesting.
public enum ProtobufNested<Value: ProtobufMessage>: ProtobufCoder {
    @inlinable public static var wireType: UInt32 { 2 }
    @inlinable public static var zero: Value { Value() }
    @inlinable public static func isZero(_ value: Value) -> Bool { false }
    @inlinable public static func size(_ value: Value) -> Int { ProtobufSize.delimited(value.encodedSize) }
    @inlinable public static func encode(_ value: Value, into buffer: inout ByteBuffer) {
        buffer.append(0)
        let start = buffer.count
        value.encode(into: &buffer)
        buffer.setProtobufLength(before: start)
    }
    @inlinable public static func decode(_ reader: inout ProtobufReader) throws(ProtobufError) -> Value {
        var value = Value()
        try reader.merge(into: &value)
        return value
    }
}
