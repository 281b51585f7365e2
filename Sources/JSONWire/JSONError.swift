/// What a JSON text is made of, as far as the first byte of a value tells.
public enum JSONKind: String, Sendable {
    /// A kind of value (RFC 8259 §3).
    case object, array, string, number, boolean, null
}

/// Why a JSON text, or a value in it, is refused.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong.
    public enum Reason: Equatable, Sendable {
        /// The text ends in the middle of a value (RFC 8259 §2).
        case unexpectedEnd
        /// A byte that the grammar does not allow here.
        case unexpectedByte(UInt8)
        /// Something other than white space follows the value.
        case trailingContent
        /// A number against RFC 8259 §6: leading zeros, a bare minus, a missing digit.
        case malformedNumber
        /// A number that no finite `Double`, or no `Int64`, holds.
        case numberOutOfRange
        /// A fraction or an exponent where an integer is wanted.
        case notAnInteger
        /// A control character that is not escaped (RFC 8259 §7).
        case controlCharacter(UInt8)
        /// An escape that RFC 8259 §7 does not know.
        case malformedEscape
        /// A `\u` escape of one half of a surrogate pair.
        case loneSurrogate
        /// Bytes that are not UTF-8 (RFC 3629).
        case malformedUTF8
        /// The object has two members of this name.
        case duplicateMember
        /// A value of another type is wanted here. The reader stays in front of it.
        case typeMismatch(expected: JSONKind, found: JSONKind)
        /// Deeper than `JSONLimits.depth`.
        case tooDeep
        /// Longer than `JSONLimits.size`.
        case tooLarge
        /// An object with more than `JSONLimits.members` members.
        case tooManyMembers
    }

    /// What is wrong.
    public let reason: Reason
    /// Bytes in front of what is wrong.
    public let offset: Int
    /// RFC 6901 pointer to the value that is wrong, or that holds what is wrong.
    public let pointer: String

    /// An error at a byte and at a value.
    public init(_ reason: Reason, offset: Int, pointer: String) {
        self.reason = reason
        self.offset = offset
        self.pointer = pointer
    }

    /// Whether the text is JSON and only a value in it is not what was wanted.
    public var isTypeMismatch: Bool {
        switch reason {
        case .typeMismatch, .notAnInteger, .numberOutOfRange: true
        default: false
        }
    }

    /// A sentence for a problem's `detail`, without the place.
    public var explanation: String {
        switch reason {
        case .unexpectedEnd: "The text ends in the middle of a value."
        case .unexpectedByte(let byte) where byte > 0x20 && byte < 0x7F:
            "\"\(Character(Unicode.Scalar(byte)))\" is not allowed here."
        case .unexpectedByte(let byte): "The byte 0x\(String(byte, radix: 16)) is not allowed here."
        case .trailingContent: "Nothing may follow the value."
        case .malformedNumber: "A number is malformed."
        case .numberOutOfRange: "The number is out of range."
        case .notAnInteger: "The number must be an integer."
        case .controlCharacter: "A control character in a string must be escaped."
        case .malformedEscape: "A string has an unknown escape."
        case .loneSurrogate: "A string has half a surrogate pair."
        case .malformedUTF8: "A string is not UTF-8."
        case .duplicateMember: "The object has two members of this name."
        case .typeMismatch(let expected, let found):
            "A value of type \(expected.rawValue) is needed, not \(found.rawValue)."
        case .tooDeep: "The text is nested too deeply."
        case .tooLarge: "The text is too long."
        case .tooManyMembers: "An object has too many members."
        }
    }

    public var description: String {
        "\(explanation) (byte \(offset)\(pointer.isEmpty ? "" : ", at \(pointer)"))"
    }
}

/// What a reader takes before it gives up.
public struct JSONLimits: Sendable {
    /// Bytes of the text. A request body is bounded before it is read; this one guards all others.
    public var size = 1 << 20
    /// Objects and arrays inside each other, at most 32.
    public var depth = 16
    /// Members of one object. The key of each new name is compared with those before it, so the cost grows with the square.
    public var members = 256
    /// Different names of one object with equal keys, in a whole text: each costs a comparison of all their bytes. In honest
    /// texts there are none; who has searched for them would have each name compared with all others.
    static let collisions = 8

    /// The defaults.
    public init() {}
}
