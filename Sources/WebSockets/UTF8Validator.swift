/// Validates UTF-8 (RFC 3629) that arrives in pieces and says no at the first byte that can't be right.
///
///     between characters ──lead byte──▶ `needed` continuation bytes ──last one──▶ between characters
///
/// The first continuation byte has a narrower range after E0, ED, F0 and F4 (no overlong forms, no surrogates, nothing
/// above U+10FFFF); that range is the whole state beside the count. Four bytes, copied freely.
@safe public struct UTF8Validator: Sendable, BitwiseCopyable {
    /// Continuation bytes that the open character still needs.
    @usableFromInline var needed: UInt8 = 0
    /// The range of the next continuation byte.
    @usableFromInline var lowest: UInt8 = 0x80
    @usableFromInline var highest: UInt8 = 0xBF

    /// A validator at the beginning of a text.
    @inlinable
    public init() {}

    /// Whether no character is half-finished: what the end of a text requires.
    @inlinable
    public var isBetweenCharacters: Bool { needed == 0 }

    /// Takes the next piece. False: these bytes can't be part of any UTF-8 text; the validator is of no use any more.
    public mutating func accept(_ piece: Span<UInt8>) -> Bool {
        unsafe piece.withUnsafeBytes { unsafe accept($0) }
    }

    /// As `accept(_:)` for a piece known by its pointer.
    public mutating func accept(_ piece: UnsafeRawBufferPointer) -> Bool {
        guard let base = piece.baseAddress else { return true }
        let count = piece.count
        var index = 0
        while index < count {
            if needed == 0 {
                while index &+ 8 <= count,
                    unsafe base.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 == 0
                {
                    index &+= 8
                }
                guard index < count else { return true }
                let byte = unsafe base.load(fromByteOffset: index, as: UInt8.self)
                index &+= 1
                if byte < 0x80 { continue }
                guard begin(byte) else { return false }
            } else {
                let byte = unsafe base.load(fromByteOffset: index, as: UInt8.self)
                index &+= 1
                guard byte >= lowest && byte <= highest else { return false }
                lowest = 0x80
                highest = 0xBF
                needed &-= 1
            }
        }
        return true
    }

    /// A lead byte of more than one: how many follow, and the range of the first.
    @inline(__always)
    private mutating func begin(_ lead: UInt8) -> Bool {
        switch lead {
        case 0xC2...0xDF:
            needed = 1
        case 0xE0:
            needed = 2
            lowest = 0xA0
        case 0xED:
            needed = 2
            highest = 0x9F
        case 0xE1...0xEF:
            needed = 2
        case 0xF0:
            needed = 3
            lowest = 0x90
        case 0xF1...0xF3:
            needed = 3
        case 0xF4:
            needed = 3
            highest = 0x8F
        default:
            return false
        }
        return true
    }
}
