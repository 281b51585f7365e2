import Bytes
import JSONWire

/// A whole answer, as an async handler returns it.
public struct HTTPResponse: Sendable {
    /// HTTP status, such as 200.
    public var status: Int
    /// The content type; nil: no body.
    public var type: StaticString?
    /// Header fields beside those that the server gives.
    public var fields: HTTPFields
    /// The whole body; of an answer without a type it is not sent.
    public var body: [UInt8]

    /// An answer with these bytes.
    public init(_ status: Int, _ type: StaticString, fields: HTTPFields = .init(), body: [UInt8]) {
        self.status = status
        self.type = type
        self.fields = fields
        self.body = body
    }

    /// An answer without a body, such as 204.
    public init(_ status: Int, fields: HTTPFields = .init()) {
        self.status = status
        self.fields = fields
        body = []
    }

    /// An answer in plain text, UTF-8.
    public static func text(_ text: String, status: Int = 200, fields: HTTPFields = .init()) -> HTTPResponse {
        HTTPResponse(status, "text/plain; charset=utf-8", fields: fields, body: Array(text.utf8))
    }

    /// A JSON object, whose members `write` appends.
    public static func json(
        status: Int = 200, fields: HTTPFields = .init(), _ write: (inout ByteBuffer) -> Void
    ) -> HTTPResponse {
        var buffer = ByteBuffer()
        buffer.beginJSONObject()
        write(&buffer)
        buffer.endJSONObject()
        return HTTPResponse(status, "application/json", fields: fields, body: buffer.array())
    }

    /// Any value as JSON, as `ByteBuffer.appendJSON(encoding:)` writes it:
    ///
    ///     return try .json(notes)
    ///
    /// - Throws: a problem, 500, that names the member that can't be written: a number that is not finite.
    public static func json(
        _ value: some Encodable, status: Int = 200, fields: HTTPFields = .init()
    ) throws(Problem) -> HTTPResponse {
        HTTPResponse(status, "application/json", fields: fields, body: try Self.encoded(value))
    }

    fileprivate static func encoded(_ value: some Encodable) throws(Problem) -> [UInt8] {
        var buffer = ByteBuffer()
        do { try buffer.appendJSON(encoding: value) } catch { throw Problem(encoding: error) }
        return buffer.array()
    }
}

extension Problem {
    /// An answer can't be written.
    fileprivate init(encoding error: any Error) {
        var pointer = ""
        var reason = "it can't be encoded"
        if case EncodingError.invalidValue(_, let context) = error {
            for key in context.codingPath {
                pointer += "/" + key.stringValue.replacing("~", with: "~0").replacing("/", with: "~1")
            }
            reason = context.debugDescription
        }
        self.init(
            500, "internal", "The answer can't be written as JSON.",
            errors: [Item(pointer: pointer, detail: reason)])
    }
}

extension HTTPResponder {
    /// Answers in plain text, UTF-8.
    public func text(_ text: String, status: Int = 200, fields: HTTPFields = .init()) {
        respond(status, "text/plain; charset=utf-8", fields: fields) { $0.append(utf8: text) }
    }

    /// Answers with a JSON object, whose members `write` appends:
    ///
    ///     response.json { $0.appendJSON("name", string: name) }
    public func json(status: Int = 200, fields: HTTPFields = .init(), _ write: (inout ByteBuffer) -> Void) {
        respond(status, "application/json", fields: fields) { output in
            output.beginJSONObject()
            write(&output)
            output.endJSONObject()
        }
    }

    /// Answers with any value as JSON, as `ByteBuffer.appendJSON(encoding:)` writes it:
    ///
    ///     try response.json(notes)
    ///
    /// - Throws: a problem, 500, that names the member that can't be written: a number that is not finite. Nothing is answered then.
    public func json(_ value: some Encodable, status: Int = 200, fields: HTTPFields = .init()) throws(Problem) {
        let body = try HTTPResponse.encoded(value)
        respond(status, "application/json", fields: fields, body: body.span)
    }

    /// Answers with `response`.
    public func respond(_ response: HTTPResponse) {
        if let type = response.type {
            respond(response.status, type, fields: response.fields, body: response.body.span)
        } else {
            respond(response.status, fields: response.fields)
        }
    }
}
