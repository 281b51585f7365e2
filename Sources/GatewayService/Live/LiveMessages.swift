import Bytes
import HTTPServer
import JSONWire
import Operations
import RideAPI
import RideDomain

/// What a client says on `/ws/drivers/available`.
enum LiveMessage {
    case ping
    /// Another area; nil leaves the interval as it is.
    case view(AreaQuery, interval: Int?)

    /// Reads a message. A `Problem` says what is wrong with it.
    init(_ text: Span<UInt8>) throws(Problem) {
        let read: (type: String, values: [(name: String, value: Value)])?
        do throws(JSONError) {
            read = try Self.members(text)
        } catch {
            throw Problem(400, "invalid-json", "The message is not JSON: \(error.explanation)")
        }
        guard let (type, values) = read else {
            throw Problem(422, "invalid-body", "A message must be a JSON object, such as {\"type\":\"ping\"}.")
        }
        switch type {
        case "ping": self = .ping
        case "view": self = try Self.view(values)
        default:
            let words = "type is \(type)"
            throw Problem(
                422, "invalid-body", "\(words); it must be \"ping\" or \"view\".",
                errors: [Problem.Item(pointer: "/type", detail: "\(words); it must be \"ping\" or \"view\".")])
        }
    }

    /// The members of the object, nil if it is something else. What is no type that is known here is said as a sentence says it:
    /// "missing", "an array", in quotation marks.
    private static func members(
        _ text: Span<UInt8>
    ) throws(JSONError) -> (type: String, values: [(name: String, value: Value)])? {
        var json = JSONReader(text)
        guard try json.peek() == .object else {
            try json.skipValue()
            try json.finish()
            return nil
        }
        var type = "missing"
        var values: [(name: String, value: Value)] = []
        try json.beginObject()
        while let name = try json.nextMember() {
            if json.isEqual(name, "type") {
                type = try readType(&json)
            } else {
                values.append((json.string(of: name), try Value(&json)))
            }
        }
        try json.finish()
        return (type, values)
    }

    private static func readType(_ json: inout JSONReader) throws(JSONError) -> String {
        let kind = try json.peek()
        guard kind == .string else {
            try json.skipValue()
            return kind.article
        }
        let text = try json.readText()
        if json.isEqual(text, "ping") { return "ping" }
        if json.isEqual(text, "view") { return "view" }
        return Rules.quoted(json.string(of: text))
    }

    private static func view(_ values: [(name: String, value: Value)]) throws(Problem) -> LiveMessage {
        do throws(ParameterError) {
            var parameters = AreaParameters(.live)
            for (name, value) in values {
                switch value {
                case .number(let number): try parameters.set(name, number: number)
                case .numbers(let numbers): try parameters.set(name, numbers: numbers)
                case .text(let text): try parameters.set(name, text: text)
                case .null: continue
                case .other: try parameters.set(name, text: "")
                }
            }
            return .view(try parameters.query(), interval: parameters.interval)
        } catch {
            throw Problem(parameter: error.parameter, error.detail)
        }
    }

    /// A member's value, as far as a parameter can be one.
    private enum Value {
        case number(Double)
        case numbers([Double])
        case text(String)
        case null
        case other

        init(_ json: inout JSONReader) throws(JSONError) {
            switch try json.peek() {
            case .number: self = .number(try json.readDouble())
            case .string: self = .text(try json.readString())
            case .null:
                try json.readNull()
                self = .null
            case .array:
                var numbers: [Double] = []
                var areNumbers = true
                try json.beginArray()
                while try json.nextElement() {
                    if try json.peek() == .number {
                        numbers.append(try json.readDouble())
                    } else {
                        areNumbers = false
                        try json.skipValue()
                    }
                }
                self = areNumbers ? .numbers(numbers) : .other
            case .object, .boolean:
                try json.skipValue()
                self = .other
            }
        }
    }
}

extension ByteBuffer {
    /// Appends `{"type":"error","problem":{…}}`.
    mutating func appendError(_ problem: Problem, requestID: String = "") {
        append("{\"type\":\"error\",\"problem\":")
        problem.write(to: &self, requestID: Array(requestID.utf8).span, types: Product.problemTypes)
        append(UInt8(ascii: "}"))
    }

    /// Appends `{"type":"pong","version","as_of"}`; without the two as long as the driver service has said nothing.
    mutating func appendPong(_ snapshot: LiveSnapshot) {
        append("{\"type\":\"pong\"")
        if snapshot.asOf > 0 {
            append(",\"version\":")
            append(decimal: snapshot.version)
            appendJSON("as_of", instant: snapshot.asOf)
        }
        append(UInt8(ascii: "}"))
    }
}
