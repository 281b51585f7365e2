import Bytes

/// Reads the wire format from memory, in a single pass.
///
/// Generated code asks for the next tag, switches over it and reads the field; a nested message is read by the same
/// reader with a nearer end. The reader borrows the bytes. Every access is checked against `end`, which never lies
/// beyond the input; that is what makes the pointer safe.
@safe @frozen public struct ProtobufReader: ~Copyable, ~Escapable {
    @usableFromInline let base: UnsafeRawPointer
    @usableFromInline var offset: Int
    /// Where the innermost message ends.
    @usableFromInline var end: Int
    /// Messages and groups that may still be entered, downwards.
    @usableFromInline var depthLeft: Int
    /// Messages that may still be read.
    @usableFromInline var messagesLeft: Int
    /// Where the last tag began.
    @usableFromInline var tagStart: Int

    /// A reader of all of `bytes`.
    @inlinable
    @_lifetime(copy bytes)
    public init(_ bytes: Span<UInt8>, limits: ProtobufLimits = ProtobufLimits()) {
        let start = unsafe bytes.withUnsafeBytes { $0.baseAddress }
        // An empty span may have no address; no byte of an empty input is ever read.
        unsafe base = start ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
        offset = 0
        end = bytes.count
        depthLeft = limits.depth
        messagesLeft = limits.messages
        tagStart = 0
    }

    /// Bytes left in the innermost message.
    @inlinable
    public var remaining: Int { end &- offset }

    // MARK: Tags

    /// The next field's tag (number ‖ wire type); nil at the end of the message.
    @inlinable
    public mutating func nextTag() throws(ProtobufError) -> UInt32? {
        guard offset < end else { return nil }
        tagStart = offset
        let first = unsafe base.load(fromByteOffset: offset, as: UInt8.self)
        let tag: UInt32
        if first < 0x80 {
            offset &+= 1
            tag = UInt32(first)
        } else {
            guard let wide = UInt32(exactly: try readVarint()) else { throw .malformedTag }
            tag = wide
        }
        guard tag >= 8, tag & 7 < 6 else { throw .malformedTag }
        return tag
    }

    // MARK: Primitives

    /// Reads a variable-length integer.
    @inlinable
    public mutating func readVarint() throws(ProtobufError) -> UInt64 {
        guard offset < end else { throw .truncated }
        let first = unsafe base.load(fromByteOffset: offset, as: UInt8.self)
        if first < 0x80 {
            offset &+= 1
            return UInt64(first)
        }
        return try readLongVarint()
    }

    @usableFromInline
    mutating func readLongVarint() throws(ProtobufError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        var place = offset
        while place < end {
            let byte = unsafe base.load(fromByteOffset: place, as: UInt8.self)
            place &+= 1
            if shift == 63 && byte > 1 { throw .malformedVarint }
            value |= UInt64(byte & 0x7F) &<< shift
            if byte < 0x80 {
                offset = place
                return value
            }
            shift &+= 7
        }
        throw .truncated
    }

    /// Reads four bytes, little-endian.
    @inlinable
    public mutating func readFixed32() throws(ProtobufError) -> UInt32 {
        guard end &- offset >= 4 else { throw .truncated }
        let value = unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        offset &+= 4
        return UInt32(littleEndian: value)
    }

    /// Reads eight bytes, little-endian.
    @inlinable
    public mutating func readFixed64() throws(ProtobufError) -> UInt64 {
        guard end &- offset >= 8 else { throw .truncated }
        let value = unsafe base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        offset &+= 8
        return UInt64(littleEndian: value)
    }

    /// A length that does not reach beyond the message.
    @inlinable
    public mutating func readLength() throws(ProtobufError) -> Int {
        let length = try readVarint()
        guard length <= UInt64(end &- offset) else { throw .truncated }
        return Int(truncatingIfNeeded: length)
    }

    /// Reads a length and as many bytes of UTF-8.
    @inlinable
    public mutating func readString() throws(ProtobufError) -> String {
        let length = try readLength()
        let bytes = unsafe UnsafeRawBufferPointer(start: base + offset, count: length)
        // `String(validating:)` is right for any text, and slow: it asks the runtime for its generic types each time.
        guard unsafe Self.isASCII(bytes) || String(validating: bytes, as: UTF8.self) != nil else {
            throw .malformedUTF8
        }
        offset &+= length
        return unsafe String(decoding: bytes, as: UTF8.self)
    }

    @inlinable
    static func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var place = 0
        while place &+ 8 <= bytes.count {
            if unsafe bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self) & 0x8080_8080_8080_8080 != 0 {
                return false
            }
            place &+= 8
        }
        var rest: UInt8 = 0
        while place < bytes.count {
            rest |= unsafe bytes.load(fromByteOffset: place, as: UInt8.self)
            place &+= 1
        }
        return rest < 0x80
    }

    /// Reads a length and as many bytes.
    @inlinable
    public mutating func readBytes() throws(ProtobufError) -> [UInt8] {
        let length = try readLength()
        let bytes = unsafe UnsafeRawBufferPointer(start: base + offset, count: length)
        offset &+= length
        return unsafe [UInt8](bytes)
    }

    // MARK: For decoders that build something else than a message

    /// Reads a string and leaves it where it is. The place is meant for `bytes(of:)` of this reader.
    @inlinable
    public mutating func readText() throws(ProtobufError) -> ProtobufText {
        let length = try readLength()
        let bytes = unsafe UnsafeRawBufferPointer(start: base + offset, count: length)
        guard unsafe Self.isASCII(bytes) || String(validating: bytes, as: UTF8.self) != nil else {
            throw .malformedUTF8
        }
        let text = ProtobufText(offset: offset, count: length)
        offset &+= length
        return text
    }

    /// The bytes of a string that this reader has left where it was: UTF-8.
    @inlinable
    @_lifetime(copy self)
    public func bytes(of text: ProtobufText) -> Span<UInt8> {
        precondition(text.offset >= 0 && text.count >= 0 && text.offset <= offset &- text.count, "not this reader's")
        let start = unsafe (base + text.offset).assumingMemoryBound(to: UInt8.self)
        let span = unsafe Span<UInt8>(_unsafeStart: start, count: text.count)
        return unsafe _overrideLifetime(span, copying: self)
    }

    /// Enters the nested message whose tag was read last: `nextTag` ends where it ends. Give the result to `leave`.
    @inlinable
    public mutating func enter() throws(ProtobufError) -> Int {
        let length = try readLength()
        guard depthLeft > 0 else { throw .tooDeep }
        guard messagesLeft > 0 else { throw .tooManyMessages }
        depthLeft &-= 1
        messagesLeft &-= 1
        let outerEnd = end
        end = offset &+ length
        return outerEnd
    }

    /// Goes on in the message around the one that was entered.
    @inlinable
    public mutating func leave(_ outerEnd: Int) {
        end = outerEnd
        depthLeft &+= 1
    }

    // MARK: Messages

    /// Reads a nested message into `message`, which may have fields already.
    @inlinable
    public mutating func merge<Message: ProtobufMessage>(into message: inout Message) throws(ProtobufError) {
        let outerEnd = try enter()
        try message.merge(from: &self)
        leave(outerEnd)
    }

    /// As above, for a field that may not have been set yet.
    @inlinable
    public mutating func merge<Message: ProtobufMessage>(into message: inout Message?) throws(ProtobufError) {
        var value = message.take() ?? Message()
        try merge(into: &value)
        message = consume value
    }

    /// Reads one more element of a repeated field.
    @inlinable
    public mutating func append<Message: ProtobufMessage>(to list: inout [Message]) throws(ProtobufError) {
        var value = Message()
        try merge(into: &value)
        list.append(consume value)
    }

    // MARK: Unknown fields

    /// Reads over the field whose tag was read last, and keeps it.
    public mutating func keepUnknown(_ tag: UInt32, in fields: inout [UInt8]) throws(ProtobufError) {
        let start = tagStart
        try skip(tag)
        unsafe fields.append(contentsOf: UnsafeRawBufferPointer(start: base + start, count: offset - start))
    }

    /// Reads over the field whose tag was read last. Groups (proto2) are read over whole.
    public mutating func skip(_ tag: UInt32) throws(ProtobufError) {
        switch tag & 7 {
        case 0: _ = try readVarint()
        case 1: _ = try readFixed64()
        case 2: offset &+= try readLength()
        case 3: try skipGroup(tag)
        case 5: _ = try readFixed32()
        default: throw .unmatchedEndGroup
        }
    }

    private mutating func skipGroup(_ tag: UInt32) throws(ProtobufError) {
        guard depthLeft > 0 else { throw .tooDeep }
        depthLeft -= 1
        while let inner = try nextTag() {
            if inner & 7 == 4 {
                guard inner == tag + 1 else { throw .unmatchedEndGroup }
                depthLeft += 1
                return
            }
            try skip(inner)
        }
        throw .truncated
    }
}

/// Where a string lies in what a reader reads.
@frozen public struct ProtobufText: Sendable, Equatable {
    @usableFromInline let offset: Int
    @usableFromInline let count: Int

    @usableFromInline
    init(offset: Int, count: Int) {
        self.offset = offset
        self.count = count
    }

    /// The empty string, which every reader has.
    public static var empty: ProtobufText { ProtobufText(offset: 0, count: 0) }
    /// Whether it has no bytes.
    public var isEmpty: Bool { count == 0 }
}
