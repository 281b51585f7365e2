import Bytes

/// Sizes on the wire, in bytes.
public enum ProtobufSize {
    /// A variable-length integer: one to ten bytes.
    @inlinable
    public static func varint(_ value: UInt64) -> Int {
        // Seven bits to a byte: (bits + 6) / 7, with 1 for zero.
        (70 &- (value | 1).leadingZeroBitCount) / 7
    }

    /// A length and as many bytes.
    @inlinable
    public static func delimited(_ count: Int) -> Int {
        varint(UInt64(count)) &+ count
    }

    /// A field number with a wire type.
    @inlinable
    public static func tag(_ number: UInt32) -> Int {
        varint(UInt64(number) &<< 3)
    }
}

/// Fields, written and measured. `number` is a constant in generated code, so tags fold to constants.
extension ProtobufCoder {
    // MARK: Without presence: zero is left out

    /// Bytes of a field without presence: none if it is zero.
    @inlinable
    public static func fieldSize(_ value: Value, _ number: UInt32) -> Int {
        isZero(value) ? 0 : ProtobufSize.tag(number) &+ size(value)
    }

    /// Appends a field without presence, unless it is zero.
    @inlinable
    public static func encodeField(_ value: Value, _ number: UInt32, into buffer: inout ByteBuffer) {
        if isZero(value) { return }
        encodeAlways(value, number, into: &buffer)
    }

    /// A field that is written even if it is zero (in a oneof).
    @inlinable
    public static func encodeAlways(_ value: Value, _ number: UInt32, into buffer: inout ByteBuffer) {
        buffer.append(varint: UInt64(number &<< 3 | wireType))
        encode(value, into: &buffer)
    }

    // MARK: With presence

    /// Bytes of a field with presence: none if it is absent.
    @inlinable
    public static func fieldSize(optional value: Value?, _ number: UInt32) -> Int {
        guard let value else { return 0 }
        return ProtobufSize.tag(number) &+ size(value)
    }

    /// Appends a field with presence, if it is there.
    @inlinable
    public static func encodeField(optional value: Value?, _ number: UInt32, into buffer: inout ByteBuffer) {
        guard let value else { return }
        encodeAlways(value, number, into: &buffer)
    }

    // MARK: Repeated

    /// Bytes of a repeated field, a tag for each value.
    @inlinable
    public static func fieldSize(repeated values: [Value], _ number: UInt32) -> Int {
        var sum = values.count &* ProtobufSize.tag(number)
        for index in values.indices { sum &+= size(values[index]) }
        return sum
    }

    /// Appends a repeated field, a tag for each value.
    @inlinable
    public static func encodeField(repeated values: [Value], _ number: UInt32, into buffer: inout ByteBuffer) {
        for index in values.indices { encodeAlways(values[index], number, into: &buffer) }
    }

    /// Bytes of a repeated field whose values share one tag.
    @inlinable
    public static func fieldSize(packed values: [Value], _ number: UInt32) -> Int {
        values.isEmpty ? 0 : ProtobufSize.tag(number) &+ ProtobufSize.delimited(packedSize(values))
    }

    /// Appends a repeated field whose values share one tag.
    @inlinable
    public static func encodeField(packed values: [Value], _ number: UInt32, into buffer: inout ByteBuffer) {
        if values.isEmpty { return }
        let count = packedSize(values)
        buffer.append(varint: UInt64(number &<< 3 | 2))
        buffer.append(varint: UInt64(count))
        buffer.reserve(count)
        for value in values { encode(value, into: &buffer) }
    }

    @inlinable
    static func packedSize(_ values: [Value]) -> Int {
        var sum = 0
        for value in values { sum &+= size(value) }
        return sum
    }

    /// Reads one element, as it is written without packing.
    @inlinable
    public static func append(to values: inout [Value], from reader: inout ProtobufReader) throws(ProtobufError) {
        values.append(try decode(&reader))
    }

    /// Reads the elements of a packed field.
    @inlinable
    public static func appendPacked(
        to values: inout [Value], from reader: inout ProtobufReader
    ) throws(ProtobufError) {
        let outerEnd = try reader.beginPacked()
        while reader.remaining > 0 { values.append(try decode(&reader)) }
        reader.endPacked(outerEnd)
    }
}

extension ProtobufReader {
    @inlinable
    mutating func beginPacked() throws(ProtobufError) -> Int {
        let length = try readLength()
        let outerEnd = end
        end = offset &+ length
        return outerEnd
    }

    @inlinable
    mutating func endPacked(_ outerEnd: Int) {
        end = outerEnd
    }
}

/// Map fields: repeated entries of a key (1) and a value (2), either of which may be missing.
public enum ProtobufMap<Key: ProtobufCoder, Item: ProtobufCoder> where Key.Value: Hashable {
    /// Bytes of a map field.
    @inlinable
    public static func fieldSize(_ map: [Key.Value: Item.Value], _ number: UInt32) -> Int {
        var sum = map.count &* ProtobufSize.tag(number)
        for (key, value) in map { sum &+= ProtobufSize.delimited(2 &+ Key.size(key) &+ Item.size(value)) }
        return sum
    }

    /// Appends a map field, in the dictionary's order.
    @inlinable
    public static func encodeField(_ map: [Key.Value: Item.Value], _ number: UInt32, into buffer: inout ByteBuffer) {
        for (key, value) in map {
            buffer.append(varint: UInt64(number &<< 3 | 2))
            buffer.append(0)
            let start = buffer.count
            Key.encodeAlways(key, 1, into: &buffer)
            Item.encodeAlways(value, 2, into: &buffer)
            buffer.setProtobufLength(before: start)
        }
    }

    /// Reads one entry; a later one of the same key wins.
    @inlinable
    public static func insert(
        into map: inout [Key.Value: Item.Value], from reader: inout ProtobufReader
    ) throws(ProtobufError) {
        let outerEnd = try reader.beginPacked()
        var key = Key.zero
        var value = Item.zero
        while let tag = try reader.nextTag() {
            switch tag {
            case 1 &<< 3 | Key.wireType: key = try Key.decode(&reader)
            case 2 &<< 3 | Item.wireType: value = try Item.decode(&reader)
            default: try reader.skip(tag)
            }
        }
        reader.endPacked(outerEnd)
        map[key] = value
    }
}

extension ByteBuffer {
    /// Appends a variable-length integer: seven bits to a byte, the lowest first.
    @inlinable
    public mutating func append(varint value: UInt64) {
        if value < 0x80 {
            append(UInt8(truncatingIfNeeded: value))
        } else {
            appendLong(varint: value)
        }
    }

    @usableFromInline
    mutating func appendLong(varint value: UInt64) {
        unsafe appendUninitialized(10) { bytes in
            var rest = value
            var count = 0
            while rest >= 0x80 {
                unsafe bytes[count] = UInt8(truncatingIfNeeded: rest) | 0x80
                rest &>>= 7
                count &+= 1
            }
            unsafe bytes[count] = UInt8(truncatingIfNeeded: rest)
            return count &+ 1
        }
    }

    /// Writes the length of everything from `start` to the end into the byte in front of it, and makes room if one byte
    /// is not enough.
    @inlinable
    public mutating func setProtobufLength(before start: Int) {
        let length = count &- start
        if length < 0x80 {
            self[start &- 1] = UInt8(truncatingIfNeeded: length)
        } else {
            moveUp(start, length)
        }
    }

    @usableFromInline
    mutating func moveUp(_ start: Int, _ length: Int) {
        let extra = ProtobufSize.varint(UInt64(length)) - 1
        unsafe appendUninitialized(extra) { _ in extra }
        unsafe withUnsafeMutableBytes { bytes in
            let moved = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[(start + extra)...])
            unsafe moved.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]))
            var rest = length
            for place in start - 1..<start - 1 + extra {
                unsafe bytes[place] = UInt8(truncatingIfNeeded: rest) | 0x80
                rest >>= 7
            }
            unsafe bytes[start - 1 + extra] = UInt8(truncatingIfNeeded: rest)
        }
    }
}
