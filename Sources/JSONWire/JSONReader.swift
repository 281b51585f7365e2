import Bytes

/// A strict pull reader of one JSON text (RFC 8259) in memory.
///
/// The caller says what it wants next; nothing is built that was not asked for:
///
///     var reader = JSONReader(body)
///     try reader.beginObject()
///     while let name = try reader.nextMember() {
///         if reader.isEqual(name, "lat") { lat = try reader.readDouble() } else { try reader.skipValue() }
///     }
///     try reader.finish()
///
/// Strict: no comments, no trailing commas, no duplicate members, no invalid UTF-8, no lone surrogates. A value of
/// another type than was asked for throws and stays unread: the caller may note `error.pointer`, `skipValue()`, and go on
/// to find more. Any other error ends the reading.
///
/// It borrows the text; its heap is two small blocks, whatever it reads.
public struct JSONReader: ~Copyable, ~Escapable {
    @usableFromInline let input: Span<UInt8>
    let limits: JSONLimits
    /// Offset of the first byte that was not read.
    public internal(set) var offset = 0
    /// Where the reader is.
    var stack = ReaderStack()
    /// Names of one object that were compared byte by byte, and differed.
    package private(set) var collisions = 0

    /// A reader at the beginning of `input`.
    @_lifetime(copy input)
    public init(_ input: Span<UInt8>, limits: JSONLimits = JSONLimits()) {
        self.input = input
        self.limits = limits
    }

    /// Characters of a name that stand in a pointer; a longer one ends with an ellipsis there: whoever sent it knows the rest.
    private static let maximumPointerName = 40

    /// The RFC 6901 pointer of the current value: the one that was read last, or is next.
    public var pointer: String {
        var result = ""
        for place in 0..<stack.depth {
            let level = stack[place]
            if level.isObject {
                guard level.started else { break }
                result += "/"
                for scalar in string(of: level.name).clippedVisibly(to: Self.maximumPointerName).unicodeScalars {
                    switch scalar {
                    case "~": result += "~0"
                    case "/": result += "~1"
                    default: result.unicodeScalars.append(scalar)
                    }
                }
            } else if level.index >= 0 {
                result += "/\(level.index)"
            }
        }
        return result
    }

    // MARK: Objects and arrays

    /// The type of the next value.
    public mutating func peek() throws(JSONError) -> JSONKind {
        try skipWhitespace()
        switch try byte() {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "-"), 48...57: return .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .boolean
        case UInt8(ascii: "n"): return .null
        case let other: throw failure(.unexpectedByte(other))
        }
    }

    /// Enters the object that is the next value.
    public mutating func beginObject() throws(JSONError) {
        try expect(.object)
        try open(isObject: true)
    }

    /// Goes to the next member and returns its name; at the end of the object leaves it and returns nil.
    public mutating func nextMember() throws(JSONError) -> JSONText? {
        let level = innermost
        precondition(level.isObject, "no object is open")
        try skipWhitespace()
        if try byte() == UInt8(ascii: "}") {
            offset += 1
            stack.close()
            return nil
        }
        if level.started {
            try take(UInt8(ascii: ","))
            try skipWhitespace()
        }
        guard try byte() == UInt8(ascii: "\"") else { throw failure(.unexpectedByte(input[offset])) }
        let nameOffset = offset
        let name = try scanString()
        stack.begin(member: name)
        try remember(name, at: nameOffset, since: level.firstName)
        try skipWhitespace()
        try take(UInt8(ascii: ":"))
        return name
    }

    /// Enters the array that is the next value.
    public mutating func beginArray() throws(JSONError) {
        try expect(.array)
        try open(isObject: false)
    }

    /// Goes to the next element; at the end of the array leaves it and returns false.
    public mutating func nextElement() throws(JSONError) -> Bool {
        let level = innermost
        precondition(!level.isObject, "no array is open")
        try skipWhitespace()
        if try byte() == UInt8(ascii: "]") {
            offset += 1
            stack.close()
            return false
        }
        if level.started { try take(UInt8(ascii: ",")) }
        stack.beginElement()
        return true
    }

    /// Checks that the text ends after its value.
    public mutating func finish() throws(JSONError) {
        precondition(stack.depth == 0, "an object or array is open")
        while offset < input.count {
            guard Self.isWhitespace(input[offset]) else { throw failure(.trailingContent) }
            offset += 1
        }
    }

    // MARK: Values

    /// Reads a string, decoded.
    public mutating func readString() throws(JSONError) -> String {
        string(of: try readText())
    }

    /// Where the string that is the next value lies, without building it.
    public mutating func readText() throws(JSONError) -> JSONText {
        try expect(.string)
        return try scanString()
    }

    /// Unix milliseconds of the RFC 3339 date-time in the string that is the next value; nil if it is none.
    public mutating func readInstant() throws(JSONError) -> Int64? {
        let text = try readText()
        if text.isEscaped { return RFC3339.milliseconds(string(of: text)) }
        return RFC3339.milliseconds(input.extracting(text.start..<text.end))
    }

    /// Reads `true` or `false`.
    public mutating func readBool() throws(JSONError) -> Bool {
        try expect(.boolean)
        let value = input[offset] == UInt8(ascii: "t")
        try takeWord(value ? "true" : "false")
        return value
    }

    /// Reads `null`.
    public mutating func readNull() throws(JSONError) {
        try expect(.null)
        try takeWord("null")
    }

    /// Reads `null` if it is the next value; otherwise reads nothing and returns false.
    public mutating func readNullIfPresent() throws(JSONError) -> Bool {
        guard try peek() == .null else { return false }
        try takeWord("null")
        return true
    }

    /// The nearest `Double` of the number that is the next value.
    public mutating func readDouble() throws(JSONError) -> Double {
        try expect(.number)
        let number = try scanNumber()
        guard let value = double(of: number) else { throw failure(.numberOutOfRange) }
        offset = number.end
        return value
    }

    /// The integer that is the next value. A fraction or an exponent is refused, and stays unread.
    public mutating func readInt64() throws(JSONError) -> Int64 {
        try expect(.number)
        let number = try scanNumber()
        guard number.isInteger else { throw failure(.notAnInteger) }
        guard !number.overflows, number.digits <= UInt64(Int64.max) + (number.isNegative ? 1 : 0) else {
            throw failure(.numberOutOfRange)
        }
        offset = number.end
        return number.isNegative ? Int64(truncatingIfNeeded: 0 &- number.digits) : Int64(number.digits)
    }

    /// Reads over the next value, whatever it is, with all checks.
    public mutating func skipValue() throws(JSONError) {
        let floor = stack.depth
        repeat {
            if stack.depth > floor {
                if innermost.isObject {
                    if try nextMember() == nil { continue }
                } else if try !nextElement() {
                    continue
                }
            }
            switch try peek() {
            case .object: try beginObject()
            case .array: try beginArray()
            case .string: _ = try readText()
            case .number: offset = try scanNumber().end
            case .boolean: _ = try readBool()
            case .null: try readNull()
            }
        } while stack.depth > floor
    }

    // MARK: Helpers

    func failure(_ reason: JSONError.Reason) -> JSONError {
        JSONError(reason, offset: offset, pointer: pointer)
    }

    @inline(__always)
    static func isWhitespace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }

    /// The byte at `offset`.
    @inline(__always)
    func byte() throws(JSONError) -> UInt8 {
        guard offset < input.count else { throw failure(.unexpectedEnd) }
        return input[offset]
    }

    @inline(__always)
    mutating func skipWhitespace() throws(JSONError) {
        if offset < input.count && input[offset] > 0x20 && offset > 0 { return }
        try skipMoreWhitespace()
    }

    private mutating func skipMoreWhitespace() throws(JSONError) {
        if offset == 0 && input.count > limits.size { throw failure(.tooLarge) }
        while offset < input.count && Self.isWhitespace(input[offset]) { offset += 1 }
    }

    @inline(__always)
    mutating func take(_ wanted: UInt8) throws(JSONError) {
        let found = try byte()
        guard found == wanted else { throw failure(.unexpectedByte(found)) }
        offset += 1
    }

    mutating func takeWord(_ word: StaticString) throws(JSONError) {
        let count = word.utf8CodeUnitCount
        for index in 0..<count {
            try unsafe take(word.utf8Start[index])
        }
    }

    mutating func expect(_ wanted: JSONKind) throws(JSONError) {
        let found = try peek()
        guard found == wanted else { throw failure(.typeMismatch(expected: wanted, found: found)) }
    }

    mutating func open(isObject: Bool) throws(JSONError) {
        guard stack.depth < min(limits.depth, ReaderStack.maximumDepth) else { throw failure(.tooDeep) }
        offset += 1
        stack.open(isObject: isObject)
    }

    /// The innermost open object or array. There must be one.
    private var innermost: ReaderStack.Level { stack[stack.depth - 1] }

    /// Refuses a name that the innermost object has already.
    mutating func remember(_ name: JSONText, at nameOffset: Int, since first: Int) throws(JSONError) {
        let key = key(of: name)
        guard stack.nameCount - first < limits.members else { throw failure(.tooManyMembers) }
        for place in first..<stack.nameCount {
            let other = stack.name(place)
            guard other.key == key else { continue }
            if isEqual(other.text, name) { throw JSONError(.duplicateMember, offset: nameOffset, pointer: pointer) }
            collisions += 1
            guard collisions <= JSONLimits.collisions else { throw failure(.tooManyMembers) }
        }
        stack.remember(ReaderStack.Name(text: name, key: key))
    }
}
