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

    /// Answers with `response`.
    public func respond(_ response: HTTPResponse) {
        if let type = response.type {
            respond(response.status, type, fields: response.fields, body: response.body.span)
        } else {
            respond(response.status, fields: response.fields)
        }
    }
}
