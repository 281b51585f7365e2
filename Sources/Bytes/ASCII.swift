/// Small pure functions over ASCII bytes, shared by the text protocols.
public enum ASCII {
    /// The lower-case form of an ASCII letter, any other byte as it is.
    @inlinable
    public static func lowercased(_ byte: UInt8) -> UInt8 {
        byte &- 65 < 26 ? byte | 0x20 : byte
    }

    /// Whether `bytes` equals `text`, which must be lower-case, without regard to the case of ASCII letters.
    @inlinable
    public static func equalsIgnoringCase(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard bytes.count == count else { return false }
        let other = unsafe text.utf8Start
        for index in 0..<count where unsafe lowercased(bytes[index]) != other[index] { return false }
        return true
    }

    /// Whether `bytes` equals `text` exactly.
    @inlinable
    public static func equals(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard bytes.count == count else { return false }
        let other = unsafe text.utf8Start
        for index in 0..<count where unsafe bytes[index] != other[index] { return false }
        return true
    }

    /// The unsigned decimal number that `bytes` spells, nil if there is anything else in it, or it overflows.
    @inlinable
    public static func decimal(_ bytes: Span<UInt8>) -> UInt64? {
        guard bytes.count > 0 else { return nil }
        var value: UInt64 = 0
        for index in 0..<bytes.count {
            let digit = bytes[index] &- 48
            guard digit < 10 else { return nil }
            let (product, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(digit))
            if overflowed || carried { return nil }
            value = sum
        }
        return value
    }

    /// The value of a hexadecimal digit, nil for any other byte.
    @inlinable
    public static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 48...57: byte - 48
        case 65...70: byte - 55
        case 97...102: byte - 87
        default: nil
        }
    }
}

extension String {
    /// The text that these bytes are; what is not UTF-8 becomes U+FFFD.
    public init(utf8 bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}
