import Bytes

/// One decoded header field. It points into the received bytes, the dynamic table or the decoder's scratch memory, and is
/// valid until the session is asked for its next event.
@safe public struct HeaderField: BitwiseCopyable {
    @usableFromInline var nameStart: UnsafePointer<UInt8>
    @usableFromInline var valueStart: UnsafePointer<UInt8>
    @usableFromInline let nameCount: UInt32
    @usableFromInline let valueCount: UInt32
    /// The name as a number, `.other` when nobody looks for it.
    public internal(set) var token: HeaderToken
    /// Whether the name is one that HTTP/2 allows (RFC 9113 §8.2.1): lower-case, no separators, not empty.
    var isNameValid = true
    /// Whether the value is one that HTTP/2 allows: no NUL, CR or LF, no blank at either end.
    var isValueValid = true
    /// Whether an intermediary must not put it into a table (RFC 7541 §7.1.3).
    public internal(set) var isSensitive = false

    init(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        unsafe nameStart = Self.start(name)
        unsafe valueStart = Self.start(value)
        nameCount = UInt32(truncatingIfNeeded: name.count)
        valueCount = UInt32(truncatingIfNeeded: value.count)
        token = .other
    }

    @inline(__always)
    init(
        nameStart: UnsafePointer<UInt8>, nameCount: UInt32, valueStart: UnsafePointer<UInt8>, valueCount: UInt32,
        token: HeaderToken
    ) {
        unsafe self.nameStart = unsafe nameStart
        unsafe self.valueStart = unsafe valueStart
        self.nameCount = nameCount
        self.valueCount = valueCount
        self.token = token
    }

    static func start(_ bytes: UnsafeRawBufferPointer) -> UnsafePointer<UInt8> {
        guard let base = bytes.baseAddress else { return unsafe emptyStart }
        return unsafe base.assumingMemoryBound(to: UInt8.self)
    }

    /// Somewhere to point to for an empty string.
    static var emptyStart: UnsafePointer<UInt8> {
        let text: StaticString = ""
        return unsafe text.utf8Start
    }

    /// The name's bytes. Valid until the next event.
    @inlinable
    public var name: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: nameStart, count: Int(nameCount))
    }

    /// The value's bytes. Valid until the next event.
    @inlinable
    public var value: UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(start: valueStart, count: Int(valueCount))
    }

    public var nameText: String { unsafe String(decoding: name, as: UTF8.self) }
    public var valueText: String { unsafe String(decoding: value, as: UTF8.self) }

    /// Whether the value equals `text` exactly.
    @inlinable
    public func valueEquals(_ text: StaticString) -> Bool {
        unsafe ASCII.equals(Span(_unsafeBytes: value), text)
    }

    /// What the field counts against the limits of RFC 9113 §6.5.2 and RFC 7541 §4.1.
    @inlinable
    var size: Int { Int(nameCount) + Int(valueCount) + 32 }

    /// Finds out the token and whether name and value are allowed.
    mutating func classify() {
        unsafe token = HeaderToken.of(name)
        unsafe isNameValid = token != .other || HeaderRules.isValidName(name)
        unsafe isValueValid = HeaderRules.isValidValue(value)
    }
}
