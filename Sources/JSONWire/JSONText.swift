import Bytes

/// Where a string lies in a JSON text: offsets behind its opening and of its closing quotation mark.
public struct JSONText: Equatable, Sendable {
    /// The offset of its first byte behind the quotation mark.
    public let start: Int
    /// The offset of the quotation mark at its end.
    public let end: Int
    /// Whether there are escapes, so that the bytes are not the string's own.
    public let isEscaped: Bool
}

extension JSONReader {
    /// The string at `text`.
    public func string(of text: JSONText) -> String {
        let raw = input.extracting(text.start..<text.end)
        guard text.isEscaped else { return unsafe raw.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) } }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(raw.count)
        forEachByte(of: text) { bytes.append($0) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether the string at `text` is `other`. The lengths are compared where it is called: a chain of names mostly ends there.
    @inlinable @inline(__always)
    public func isEqual(_ text: JSONText, _ other: StaticString) -> Bool {
        if text.isEscaped { return isEqual(escaped: text, other) }
        return text.end &- text.start == other.utf8CodeUnitCount && isEqual(plain: text, other)
    }

    @usableFromInline
    func isEqual(plain text: JSONText, _ other: StaticString) -> Bool {
        unsafe input.withUnsafeBufferPointer { bytes in
            let (mine, wanted) = unsafe (bytes.baseAddress.unsafelyUnwrapped + text.start, other.utf8Start)
            for index in 0..<(text.end &- text.start) where unsafe mine[index] != wanted[index] { return false }
            return true
        }
    }

    @usableFromInline
    func isEqual(escaped text: JSONText, _ other: StaticString) -> Bool {
        // Six bytes say one at most (\u0061): a name of a megabyte is not unescaped for each name that is looked for.
        guard text.end - text.start <= 6 * other.utf8CodeUnitCount else { return false }
        return string(of: text) == other.description
    }

    func isEqual(_ left: JSONText, _ right: JSONText) -> Bool {
        if left.isEscaped || right.isEscaped {
            // Scalars, not characters: "é" in one and in two scalars are two names.
            return string(of: left).unicodeScalars.elementsEqual(string(of: right).unicodeScalars)
        }
        let count = left.end - left.start
        guard right.end - right.start == count else { return false }
        for index in 0..<count where input[left.start + index] != input[right.start + index] { return false }
        return true
    }

    /// Of all unescaped bytes: equal for equal names, and different for others that nobody has searched for. A name of up to
    /// eight bytes is its own key.
    func key(of text: JSONText) -> UInt64 {
        if text.isEscaped { return key(ofEscaped: text) }
        let count = text.end &- text.start
        return unsafe input.withUnsafeBytes { bytes in
            var key = unsafe Self.word(bytes, text.start, count)
            var place = 8
            while place < count {
                key = unsafe Self.mix(key, Self.word(bytes, text.start &+ place, count &- place))
                place &+= 8
            }
            return key
        }
    }

    private func key(ofEscaped text: JSONText) -> UInt64 {
        var key: UInt64?
        var word: UInt64 = 0
        var shift: UInt64 = 0
        forEachByte(of: text) { byte in
            word |= UInt64(byte) &<< shift
            shift += 8
            guard shift == 64 else { return }
            key = key.map { Self.mix($0, word) } ?? word
            word = 0
            shift = 0
        }
        guard let key else { return word }
        return shift > 0 ? Self.mix(key, word) : key
    }

    /// Up to eight of the `count` bytes at `start`, the first one lowest.
    @inline(__always)
    private static func word(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ count: Int) -> UInt64 {
        if start &+ 8 <= bytes.count {
            let word = unsafe UInt64(
                littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self))
            return word & (count < 8 ? 1 &<< UInt64(truncatingIfNeeded: count &* 8) &- 1 : .max)
        }
        var word: UInt64 = 0
        for place in 0..<min(count, 8) { word |= UInt64(unsafe bytes[start &+ place]) &<< UInt64(place &* 8) }
        return word
    }

    package static func mix(_ key: UInt64, _ word: UInt64) -> UInt64 {
        ((key ^ (key >> 29)) &* 0x9E37_79B9_7F4A_7C15) ^ word
    }

    /// Reads over a string, from its opening quotation mark, and checks it.
    mutating func scanString() throws(JSONError) -> JSONText {
        offset += 1
        let start = offset
        var isEscaped = false
        while true {
            offset = plainEnd()
            let byte = try byte()
            switch byte {
            case UInt8(ascii: "\""):
                offset += 1
                return JSONText(start: start, end: offset - 1, isEscaped: isEscaped)
            case UInt8(ascii: "\\"):
                isEscaped = true
                try scanEscape()
            case 0..<0x20:
                throw failure(.controlCharacter(byte))
            case 0x80...:
                let length = UTF8Check.sequenceLength(input, at: offset)
                guard length > 0 else { throw failure(.malformedUTF8) }
                offset += length
            default:
                offset += 1
            }
        }
    }

    /// The place of the first byte from `offset` on that is not printable ASCII, or is a quotation mark or a backslash.
    private func plainEnd() -> Int {
        unsafe input.withUnsafeBytes { bytes in
            var place = offset
            while place &+ 8 <= bytes.count {
                let word = unsafe UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self))
                let special = PlainText.special(word)
                if special != 0 { return place &+ special.trailingZeroBitCount / 8 }
                place &+= 8
            }
            while place < bytes.count, unsafe PlainText.isPlain(bytes[place]) { place &+= 1 }
            return place
        }
    }

    private mutating func scanEscape() throws(JSONError) {
        guard offset + 1 < input.count else {
            offset = input.count
            throw failure(.unexpectedEnd)
        }
        switch input[offset + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            offset += 2
        case UInt8(ascii: "u"):
            let unit = try hexUnit(at: offset + 2)
            if unit & 0xFC00 == 0xDC00 { throw failure(.loneSurrogate) }
            if unit & 0xFC00 == 0xD800 {
                let next = offset + 6
                guard next + 1 < input.count, input[next] == UInt8(ascii: "\\"), input[next + 1] == UInt8(ascii: "u"),
                    try hexUnit(at: next + 2) & 0xFC00 == 0xDC00
                else { throw failure(.loneSurrogate) }
                offset += 12
            } else {
                offset += 6
            }
        default:
            throw failure(.malformedEscape)
        }
    }

    /// The four hexadecimal digits at `place`.
    private func hexUnit(at place: Int) throws(JSONError) -> UInt32 {
        guard place + 4 <= input.count else { throw failure(.unexpectedEnd) }
        var value: UInt32 = 0
        for index in place..<place + 4 {
            guard let digit = ASCII.hexValue(input[index]) else { throw failure(.malformedEscape) }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    /// Calls `body` with each unescaped byte of a string that `scanString` has checked.
    private func forEachByte(of text: JSONText, _ body: (UInt8) -> Void) {
        var index = text.start
        while index < text.end {
            guard input[index] == UInt8(ascii: "\\") else {
                body(input[index])
                index += 1
                continue
            }
            let escape = input[index + 1]
            index += 2
            switch escape {
            case UInt8(ascii: "b"): body(0x08)
            case UInt8(ascii: "f"): body(0x0C)
            case UInt8(ascii: "n"): body(0x0A)
            case UInt8(ascii: "r"): body(0x0D)
            case UInt8(ascii: "t"): body(0x09)
            case UInt8(ascii: "u"):
                var scalar = checkedUnit(at: index)
                index += 4
                if scalar & 0xFC00 == 0xD800 {
                    scalar = 0x10000 + (scalar & 0x3FF) << 10 + checkedUnit(at: index + 2) & 0x3FF
                    index += 6
                }
                emit(scalar, body)
            default: body(escape)
            }
        }
    }

    private func checkedUnit(at place: Int) -> UInt32 {
        var value: UInt32 = 0
        for index in place..<place + 4 { value = value << 4 | UInt32(ASCII.hexValue(input[index]) ?? 0) }
        return value
    }

    /// The UTF-8 bytes of a scalar.
    private func emit(_ scalar: UInt32, _ body: (UInt8) -> Void) {
        func byte(_ value: UInt32) -> UInt8 { UInt8(truncatingIfNeeded: value) }
        switch scalar {
        case 0..<0x80:
            body(byte(scalar))
        case 0..<0x800:
            body(byte(0xC0 | scalar >> 6))
            body(byte(0x80 | scalar & 0x3F))
        case 0..<0x10000:
            body(byte(0xE0 | scalar >> 12))
            body(byte(0x80 | scalar >> 6 & 0x3F))
            body(byte(0x80 | scalar & 0x3F))
        default:
            body(byte(0xF0 | scalar >> 18))
            body(byte(0x80 | scalar >> 12 & 0x3F))
            body(byte(0x80 | scalar >> 6 & 0x3F))
            body(byte(0x80 | scalar & 0x3F))
        }
    }
}

/// Bytes that stand for themselves in a JSON string and need no second look.
enum PlainText {
    /// Eight bytes at once: the highest bit of each that is below 0x20, above 0x7F, a quotation mark or a backslash. Only the
    /// lowest bit that is set counts; those above it may be wrong.
    @inline(__always)
    static func special(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quotes = word ^ (ones &* 0x22)
        let backslashes = word ^ (ones &* 0x5C)
        let controls = (word &- ones &* 0x20) & ~word
        let marks = ((quotes &- ones) & ~quotes) | ((backslashes &- ones) & ~backslashes)
        return (word | controls | marks) & (ones &* 0x80)
    }

    @inline(__always)
    static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte < 0x80 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }
}

/// UTF-8 as RFC 3629 §4 defines it: no overlong forms, no surrogates, nothing beyond U+10FFFF.
enum UTF8Check {
    /// The length of the sequence of two to four bytes at `place`; 0 if it is none.
    static func sequenceLength(_ bytes: Span<UInt8>, at place: Int) -> Int {
        func isContinuation(_ offset: Int, _ range: ClosedRange<UInt8> = 0x80...0xBF) -> Bool {
            place + offset < bytes.count && range.contains(bytes[place + offset])
        }
        switch bytes[place] {
        case 0xC2...0xDF: return isContinuation(1) ? 2 : 0
        case 0xE0: return isContinuation(1, 0xA0...0xBF) && isContinuation(2) ? 3 : 0
        case 0xED: return isContinuation(1, 0x80...0x9F) && isContinuation(2) ? 3 : 0
        case 0xE1...0xEF: return isContinuation(1) && isContinuation(2) ? 3 : 0
        case 0xF0: return isContinuation(1, 0x90...0xBF) && isContinuation(2) && isContinuation(3) ? 4 : 0
        case 0xF1...0xF3: return isContinuation(1) && isContinuation(2) && isContinuation(3) ? 4 : 0
        case 0xF4: return isContinuation(1, 0x80...0x8F) && isContinuation(2) && isContinuation(3) ? 4 : 0
        default: return 0
        }
    }
}
