import Bytes
import JSONWire

/// RFC 8259: reading value by value and reading over say the same; what is accepted is JSON by a second, plain reading; what
/// is written of it reads the same.
func fuzzJSON(_ bytes: [UInt8]) throws {
    var skipped: JSONError?
    do throws(JSONError) {
        var reader = JSONReader(bytes.span)
        try reader.skipValue()
        try reader.finish()
    } catch {
        skipped = error
    }
    var value: JSONValue?
    var refused: JSONError?
    do throws(JSONError) {
        var reader = JSONReader(bytes.span)
        value = try JSONValue(&reader)
        try reader.finish()
    } catch {
        refused = error
    }
    if let refused {
        // A number that no Double holds is fine to read over, and nothing else.
        try promise(skipped == refused || refused.reason == .numberOutOfRange, "\(refused), skipped: \(skipped as Any)")
        return
    }
    try promise(skipped == nil, "read, but not skipped: \(skipped as Any)")
    guard let value else { return }
    var grammar = JSONGrammar(bytes)
    try promise(grammar.isText(), "accepted, and no JSON at \(grammar.offset)")

    var buffer = ByteBuffer()
    value.write(&buffer)
    let written = buffer.array()
    do throws(JSONError) {
        var reader = JSONReader(written.span)
        let again = try JSONValue(&reader)
        try reader.finish()
        if again != value { throw JSONError(.malformedNumber, offset: 0, pointer: "written, it is another") }
    } catch {
        throw BrokenPromise(description: "\(error): \(String(decoding: written, as: UTF8.self))")
    }
}

private indirect enum JSONValue: Equatable {
    case object([(String, JSONValue)])
    case array([JSONValue])
    case string(String)
    case number(Double)
    case boolean(Bool)
    case null

    init(_ reader: inout JSONReader) throws(JSONError) {
        switch try reader.peek() {
        case .object:
            var members: [(String, JSONValue)] = []
            try reader.beginObject()
            while let name = try reader.nextMember() {
                let text = reader.string(of: name)
                members.append((text, try JSONValue(&reader)))
            }
            self = .object(members)
        case .array:
            var elements: [JSONValue] = []
            try reader.beginArray()
            while try reader.nextElement() { elements.append(try JSONValue(&reader)) }
            self = .array(elements)
        case .string: self = .string(try reader.readString())
        case .number: self = .number(try reader.readDouble())
        case .boolean: self = .boolean(try reader.readBool())
        case .null:
            try reader.readNull()
            self = .null
        }
    }

    func write(_ buffer: inout ByteBuffer) {
        switch self {
        case .object(let members):
            buffer.beginJSONObject()
            for (index, (name, value)) in members.enumerated() {
                if index > 0 { buffer.append(UInt8(ascii: ",")) }
                buffer.appendJSON(string: name)
                buffer.append(UInt8(ascii: ":"))
                value.write(&buffer)
            }
            buffer.endJSONObject()
        case .array(let elements):
            buffer.beginJSONArray()
            for (index, value) in elements.enumerated() {
                if index > 0 { buffer.append(UInt8(ascii: ",")) }
                value.write(&buffer)
            }
            buffer.endJSONArray()
        case .string(let text): buffer.appendJSON(string: text)
        case .number(let number): buffer.appendJSON(double: number)
        case .boolean(let value): buffer.appendJSON(bool: value)
        case .null: buffer.appendJSONNull()
        }
    }

    static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.object(let a), .object(let b)):
            // Scalars, not characters: the writer must not change one spelling of a character into another.
            a.count == b.count
                && zip(a, b).allSatisfy {
                    $0.0.unicodeScalars.elementsEqual($1.0.unicodeScalars) && $0.1 == $1.1
                }
        case (.array(let a), .array(let b)): a == b
        case (.string(let a), .string(let b)): a.unicodeScalars.elementsEqual(b.unicodeScalars)
        case (.number(let a), .number(let b)): a == b
        case (.boolean(let a), .boolean(let b)): a == b
        case (.null, .null): true
        default: false
        }
    }
}

/// RFC 8259's grammar word for word, and nothing else: slow, recursive, and too short to be wrong.
private struct JSONGrammar {
    private let bytes: [UInt8]
    private(set) var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func isText() -> Bool {
        guard value() else { return false }
        space()
        return offset == bytes.count && String(validating: bytes, as: UTF8.self) != nil
    }

    private var next: UInt8 { offset < bytes.count ? bytes[offset] : 0 }

    private mutating func take(_ text: StaticString) -> Bool {
        let text = Array(text.description.utf8)
        guard bytes[min(offset, bytes.count)...].starts(with: text) else { return false }
        offset += text.count
        return true
    }

    private mutating func space() { while take(" ") || take("\n") || take("\r") || take("\t") {} }

    private mutating func digits() -> Bool {
        let start = offset
        while (48...57).contains(next) { offset += 1 }
        return offset > start
    }

    private mutating func value() -> Bool {
        space()
        if take("true") || take("false") || take("null") { return true }
        if take("{") {
            space()
            if take("}") { return true }
            repeat {
                space()
                guard string() else { return false }
                space()
                guard take(":"), value() else { return false }
                space()
            } while take(",")
            return take("}")
        }
        if take("[") {
            space()
            if take("]") { return true }
            repeat {
                guard value() else { return false }
                space()
            } while take(",")
            return take("]")
        }
        return next == UInt8(ascii: "\"") ? string() : number()
    }

    private mutating func string() -> Bool {
        guard take("\"") else { return false }
        while offset < bytes.count {
            if take("\"") { return true }
            if take("\\") {
                if take("u") {
                    for _ in 0..<4 {
                        guard ASCII.hexValue(next) != nil else { return false }
                        offset += 1
                    }
                } else {
                    guard "\"\\/bfnrt".utf8.contains(next) else { return false }
                    offset += 1
                }
            } else {
                guard next >= 0x20 else { return false }
                offset += 1
            }
        }
        return false
    }

    private mutating func number() -> Bool {
        _ = take("-")
        if !take("0") { guard digits() else { return false } }
        if take(".") { guard digits() else { return false } }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            guard digits() else { return false }
        }
        return true
    }
}
