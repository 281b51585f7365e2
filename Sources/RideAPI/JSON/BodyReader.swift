import Bytes
import JSONWire
import RideDomain

/// One thing that is wrong with a body: for the problem's `errors`.
public struct BodyViolation: Sendable, Hashable {
    /// RFC 6901.
    public let pointer: String
    /// The value, the rule and the remedy.
    public let detail: String

    public init(pointer: String, detail: String) {
        self.pointer = pointer
        self.detail = detail
    }
}

/// Why a body is refused.
public enum BodyError: Error, Sendable, Equatable {
    /// It is not JSON: 400 `invalid-json`.
    case malformed(JSONError)
    /// It is JSON and not what is wanted: 422 `invalid-body`, all violations that were found.
    case invalid([BodyViolation])
}

/// Reads a JSON object whose members are known, and gathers everything that is wrong with it instead of stopping at the
/// first.
struct BodyReader: ~Copyable, ~Escapable {
    private var json: JSONReader
    private(set) var violations: [BodyViolation] = []
    /// Violations that are noted at most: a longer list would help nobody.
    private static let maximumViolations = 20

    @_lifetime(copy bytes)
    init(_ bytes: Span<UInt8>) {
        json = JSONReader(bytes)
    }

    /// Notes what is wrong, unless that is too much already: then neither text is made.
    mutating func note(_ pointer: @autoclosure () -> String, _ detail: @autoclosure () -> String) {
        if violations.count < Self.maximumViolations {
            violations.append(BodyViolation(pointer: pointer(), detail: detail()))
        }
    }

    /// Notes what is wrong with the value that was read last.
    mutating func note(_ detail: @autoclosure () -> String) {
        if violations.count < Self.maximumViolations {
            violations.append(BodyViolation(pointer: json.pointer, detail: detail()))
        }
    }

    /// Notes that a member is missing in the object at `object`.
    mutating func missing(_ name: String, in object: String = "") {
        // A member that is there and wrong has been noted already.
        let pointer = "\(object)/\(name)"
        if violations.contains(where: { $0.pointer.isSame(as: pointer) || $0.pointer.isSame(as: object) }) { return }
        note(pointer, Rules.missing(name))
    }

    /// Enters the object that is the body, or a member. False (and noted) if it is something else.
    mutating func beginObject(_ what: String) throws(BodyError) -> Bool {
        do throws(JSONError) {
            guard try json.peek() == .object else {
                let found = try json.peek().article
                note("\(what) must be an object, not \(found).")
                try json.skipValue()
                return false
            }
            try json.beginObject()
            return true
        } catch {
            throw .malformed(error)
        }
    }

    mutating func nextMember() throws(BodyError) -> JSONText? {
        do throws(JSONError) { return try json.nextMember() } catch { throw .malformed(error) }
    }

    // Mutating for the compiler's sake: Swift 6.3 cannot borrow a stored value that may not escape.

    mutating func isEqual(_ name: JSONText, _ other: StaticString) -> Bool { json.isEqual(name, other) }

    mutating func skip() throws(BodyError) {
        do throws(JSONError) { try json.skipValue() } catch { throw .malformed(error) }
    }

    /// Notes a member that is not known here.
    mutating func unknownMember(_ name: JSONText, known: String) throws(BodyError) {
        if violations.count < Self.maximumViolations {
            let quoted = Rules.quoted(json.string(of: name))
            note("\(quoted) is not known here; there are \(known).")
        }
        try skip()
    }

    /// Ends the reading: throws what has been noted.
    mutating func finish() throws(BodyError) {
        do throws(JSONError) { try json.finish() } catch { throw .malformed(error) }
        if !violations.isEmpty { throw .invalid(violations) }
    }

    // MARK: Values; nil when what is there has been noted

    /// A value of the type that `read` reads; a value of another type is noted with `rule` and skipped.
    private mutating func value<Value>(
        _ name: String, _ rule: String, _ read: (inout JSONReader) throws(JSONError) -> Value
    ) throws(BodyError) -> Value? {
        do throws(JSONError) {
            return try read(&json)
        } catch {
            guard error.isTypeMismatch else { throw .malformed(error) }
            if case .typeMismatch(_, let found) = error.reason {
                note(error.pointer, Rules.sentence(name, is: found.article, rule))
            } else {
                note(error.pointer, Rules.sentence(name, is: "out of range", rule))
            }
            try skip()
            return nil
        }
    }

    mutating func isNull() throws(BodyError) -> Bool {
        do throws(JSONError) { return try json.readNullIfPresent() } catch { throw .malformed(error) }
    }

    mutating func number(_ name: String, _ range: ClosedRange<Double>, _ rule: String) throws(BodyError) -> Double? {
        let read = try value(name, rule) { (json: inout JSONReader) throws(JSONError) in try json.readDouble() }
        guard let read else { return nil }
        guard range.contains(read) else {
            note(Rules.sentence(name, is: Rules.text(read), rule))
            return nil
        }
        return read
    }

    mutating func latitude() throws(BodyError) -> Double? {
        try number("lat", Rules.latitude.range, Rules.latitude.words)
    }

    mutating func longitude() throws(BodyError) -> Double? {
        try number("lon", Rules.longitude.range, Rules.longitude.words)
    }

    mutating func string(_ name: String, _ rule: String) throws(BodyError) -> String? {
        try value(name, rule) { (json: inout JSONReader) throws(JSONError) in try json.readString() }
    }

    /// A text for people.
    mutating func words(_ name: String, _ rule: TextRule) throws(BodyError) -> String? {
        guard let text = try string(name, rule.words) else { return nil }
        guard let violation = rule.violation(of: name, text) else { return text }
        note(violation)
        return nil
    }
}

extension JSONKind {
    /// As a sentence says it.
    public var article: String {
        switch self {
        case .object: "an object"
        case .array: "an array"
        case .string: "a string"
        case .number: "a number"
        case .boolean: "a boolean"
        case .null: "null"
        }
    }
}
