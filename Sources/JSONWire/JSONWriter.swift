import Bytes

/// Writing JSON straight into a buffer: nothing is built in between.
///
/// A name or `appendJSONSeparator()` writes the comma when one is due, which the last byte tells: none behind `{`, `[`
/// and `:`. So there is no writer object to carry about, and pieces that were written earlier can be appended as bytes.
extension ByteBuffer {
    // MARK: Structure

    /// Begins an object: members are to follow.
    @inlinable
    public mutating func beginJSONObject() { append(UInt8(ascii: "{")) }

    /// Ends the object.
    @inlinable
    public mutating func endJSONObject() { append(UInt8(ascii: "}")) }

    /// Begins an array: elements are to follow, each behind `appendJSONSeparator`.
    @inlinable
    public mutating func beginJSONArray() { append(UInt8(ascii: "[")) }

    /// Ends the array.
    @inlinable
    public mutating func endJSONArray() { append(UInt8(ascii: "]")) }

    /// A comma, unless this is the first member or element. To be called before each element of an array.
    @inlinable
    public mutating func appendJSONSeparator() {
        guard count > 0 else { return }
        switch self[count - 1] {
        case UInt8(ascii: "{"), UInt8(ascii: "["), UInt8(ascii: ":"): return
        default: append(UInt8(ascii: ","))
        }
    }

    /// A member's name, with the comma before it and the colon behind it. `name` must need no escapes.
    @inlinable
    public mutating func appendJSON(name: StaticString) {
        let count = name.utf8CodeUnitCount
        reserve(count &+ 4)
        appendJSONSeparator()
        unsafe appendUninitialized(count &+ 3) { bytes in
            let start = unsafe bytes.baseAddress.unsafelyUnwrapped
            unsafe start.storeBytes(of: UInt8(ascii: "\""), as: UInt8.self)
            unsafe (start + 1).copyMemory(from: name.utf8Start, byteCount: count)
            unsafe start.storeBytes(of: UInt8(ascii: "\""), toByteOffset: count &+ 1, as: UInt8.self)
            unsafe start.storeBytes(of: UInt8(ascii: ":"), toByteOffset: count &+ 2, as: UInt8.self)
            return count &+ 3
        }
    }

    /// A member's name that is not known at compile time.
    public mutating func appendJSON(dynamicName name: String) {
        appendJSONSeparator()
        appendJSON(string: name)
        append(UInt8(ascii: ":"))
    }

    // MARK: Values

    /// Appends `null`.
    @inlinable
    public mutating func appendJSONNull() { append("null") }

    /// Appends `true` or `false`.
    @inlinable
    public mutating func appendJSON(bool value: Bool) {
        if value { append("true") } else { append("false") }
    }

    /// Appends a whole number.
    @inlinable
    public mutating func appendJSON<Value: FixedWidthInteger>(integer value: Value) { append(decimal: value) }

    /// A string in quotation marks, with the escapes that RFC 8259 §7 demands and no others.
    public mutating func appendJSON(string value: String) {
        var value = value
        value.withUTF8 { unsafe appendJSON(utf8: UnsafeRawBufferPointer($0)) }
    }

    /// As `appendJSON(string:)`, of bytes that are known to be UTF-8.
    public mutating func appendJSON(utf8 bytes: Span<UInt8>) {
        unsafe bytes.withUnsafeBytes { unsafe appendJSON(utf8: $0) }
    }

    private mutating func appendJSON(utf8 bytes: UnsafeRawBufferPointer) {
        let count = bytes.count
        if unsafe Self.plainEnd(bytes, from: 0) == count {
            unsafe appendUninitialized(count &+ 2) { output in
                let start = unsafe output.baseAddress.unsafelyUnwrapped
                unsafe start.storeBytes(of: UInt8(ascii: "\""), as: UInt8.self)
                if let text = bytes.baseAddress { unsafe (start + 1).copyMemory(from: text, byteCount: count) }
                unsafe start.storeBytes(of: UInt8(ascii: "\""), toByteOffset: count &+ 1, as: UInt8.self)
                return count &+ 2
            }
            return
        }
        append(UInt8(ascii: "\""))
        var start = 0
        var place = unsafe Self.plainEnd(bytes, from: 0)
        while place < count {
            unsafe append(UnsafeRawBufferPointer(rebasing: bytes[start..<place]))
            unsafe appendEscape(of: bytes[place])
            start = place + 1
            place = unsafe Self.plainEnd(bytes, from: start)
        }
        unsafe append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        append(UInt8(ascii: "\""))
    }

    /// The first place from `start` on whose byte must be escaped. (Text beyond ASCII is known to be UTF-8.)
    private static func plainEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var place = start
        while place &+ 8 <= bytes.count {
            let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
            if PlainText.special(word) != 0 { break }
            place &+= 8
        }
        while place < bytes.count {
            let byte = unsafe bytes[place]
            if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { break }
            place &+= 1
        }
        return place
    }

    private mutating func appendEscape(of byte: UInt8) {
        append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): append(byte)
        case 0x08: append(UInt8(ascii: "b"))
        case 0x0C: append(UInt8(ascii: "f"))
        case 0x0A: append(UInt8(ascii: "n"))
        case 0x0D: append(UInt8(ascii: "r"))
        case 0x09: append(UInt8(ascii: "t"))
        default:
            append("u00")
            append(byte >> 4 &+ 48)
            append(byte & 15 < 10 ? byte & 15 &+ 48 : byte & 15 &+ 87)
        }
    }

    /// The shortest number that reads back as `value`. JSON has no infinity and no NaN: they are written as null.
    public mutating func appendJSON(double value: Double) {
        guard value.isFinite else { return appendJSONNull() }
        if value == value.rounded(.towardZero), abs(value) < 1e15 {
            if value.sign == .minus && value == 0 { append(UInt8(ascii: "-")) }
            append(decimal: Int64(value))
        } else {
            append(utf8: value.description)
        }
    }

    /// A coordinate in degrees: six decimals (0.1 m), without trailing zeros.
    @inlinable
    public mutating func appendJSON(coordinate value: Double) {
        appendJSON(fixed: value, decimals: 6)
    }

    /// A number rounded to `decimals` (0 to 9) places, without trailing zeros. Not finite or beyond 10⁹: as
    /// `appendJSON(double:)`.
    public mutating func appendJSON(fixed value: Double, decimals: Int) {
        guard value.magnitude < 1e9 else { return appendJSON(double: value) }
        var power: UInt64 = 1
        for _ in 0..<decimals { power &*= 10 }
        let scaled = UInt64((value.magnitude * Double(power)).rounded())
        if value < 0 && scaled > 0 { append(UInt8(ascii: "-")) }
        append(decimal: scaled / power)
        var fraction = scaled % power
        guard fraction > 0 else { return }
        var digits = decimals
        while fraction % 10 == 0 {
            fraction /= 10
            digits -= 1
        }
        append(UInt8(ascii: "."))
        unsafe appendUninitialized(digits) { bytes in
            for index in stride(from: digits - 1, through: 0, by: -1) {
                unsafe bytes[index] = UInt8(truncatingIfNeeded: fraction % 10) &+ 48
                fraction /= 10
            }
            return digits
        }
    }

    /// An instant as a string: RFC 3339, UTC, milliseconds.
    @inlinable
    public mutating func appendJSON(instant milliseconds: Int64) {
        append(UInt8(ascii: "\""))
        RFC3339.append(milliseconds, to: &self)
        append(UInt8(ascii: "\""))
    }

    // MARK: Members

    /// Appends a member whose value is a string.
    @inlinable
    public mutating func appendJSON(_ name: StaticString, string value: String) {
        appendJSON(name: name)
        appendJSON(string: value)
    }

    /// Appends a member whose value is a whole number.
    @inlinable
    public mutating func appendJSON<Value: FixedWidthInteger>(_ name: StaticString, integer value: Value) {
        appendJSON(name: name)
        append(decimal: value)
    }

    /// Appends a member whose value is a number, as `appendJSON(double:)` writes it.
    @inlinable
    public mutating func appendJSON(_ name: StaticString, double value: Double) {
        appendJSON(name: name)
        appendJSON(double: value)
    }

    /// Appends a member whose value is an angle in degrees, as `appendJSON(coordinate:)` writes it.
    @inlinable
    public mutating func appendJSON(_ name: StaticString, coordinate value: Double) {
        appendJSON(name: name)
        appendJSON(coordinate: value)
    }

    /// Appends a member whose value is a number with at most so many decimals.
    @inlinable
    public mutating func appendJSON(_ name: StaticString, fixed value: Double, decimals: Int) {
        appendJSON(name: name)
        appendJSON(fixed: value, decimals: decimals)
    }

    /// Appends a member whose value is `true` or `false`.
    @inlinable
    public mutating func appendJSON(_ name: StaticString, bool value: Bool) {
        appendJSON(name: name)
        appendJSON(bool: value)
    }

    /// Unix milliseconds, written as RFC 3339.
    @inlinable
    public mutating func appendJSON(_ name: StaticString, instant milliseconds: Int64) {
        appendJSON(name: name)
        appendJSON(instant: milliseconds)
    }
}
