import Bytes
import HTTP1
import JSONWire

/// What went wrong, for a program and for a person: RFC 9457 `application/problem+json`.
///
/// The type is the code behind the server's `problemTypes`; the request's identifier is added when it is sent.
public struct Problem: Error, Sendable {
    /// One thing that is wrong with the request's body or parameters.
    public struct Item: Sendable, Equatable {
        /// RFC 6901 pointer into the body, or a slash and the parameter's name.
        public var pointer: String
        /// What is wrong with it, in words.
        public var detail: String

        /// One thing that is wrong.
        public init(pointer: String, detail: String) {
            self.pointer = pointer
            self.detail = detail
        }
    }

    /// HTTP status of the answer.
    public var status: Int
    /// The word that programs look at: `invalid-parameter`.
    public var code: String
    /// The value, the rule and the remedy.
    public var detail: String
    /// What is wrong with the parts of the request; empty if it is one thing.
    public var errors: [Item]
    /// Further members as JSON text without braces: `"active_trip_id":"…"`. Empty if there are none.
    public var members: [UInt8]
    /// Further header fields of the answer, such as Retry-After.
    public var fields: HTTPFields
    /// A type that others have defined, instead of the one of the code.
    public var type: String?

    /// A problem with its status, code and detail, and what else is to be said.
    public init(
        _ status: Int, _ code: String, _ detail: String, errors: [Item] = [], members: [UInt8] = [],
        fields: HTTPFields = .init(), type: String? = nil
    ) {
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.members = members
        self.fields = fields
        self.type = type
    }

    /// The code as a short English phrase: `invalid-parameter` is "Invalid parameter".
    public var title: String {
        if code == "invalid-json" { return "Invalid JSON" }
        // By bytes: a flood of requests that are refused is to cost little.
        var bytes = Array(code.utf8)
        for index in bytes.indices where bytes[index] == UInt8(ascii: "-") { bytes[index] = UInt8(ascii: " ") }
        if let first = bytes.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first) { bytes[0] = first ^ 0x20 }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the JSON object.
    ///
    /// - Parameters:
    ///   - requestID: left out when it is empty.
    ///   - types: what stands before the code in the type, such as `urn:example:problem:`; without it there is no type, which
    ///     RFC 9457 reads as `about:blank`.
    public func write(to output: inout ByteBuffer, requestID: Span<UInt8>, types: String? = nil) {
        output.beginJSONObject()
        if let type = type ?? types.map({ $0 + code }) { output.appendJSON("type", string: type) }
        output.appendJSON("code", string: code)
        output.appendJSON("title", string: title)
        output.appendJSON("status", integer: status)
        output.appendJSON("detail", string: detail)
        if requestID.count > 0 {
            output.appendJSON(name: "request_id")
            output.appendJSON(utf8: requestID)
        }
        if !errors.isEmpty {
            output.appendJSON(name: "errors")
            output.beginJSONArray()
            for error in errors {
                output.appendJSONSeparator()
                output.beginJSONObject()
                output.appendJSON("pointer", string: error.pointer)
                output.appendJSON("detail", string: error.detail)
                output.endJSONObject()
            }
            output.endJSONArray()
        }
        if !members.isEmpty {
            output.append(UInt8(ascii: ","))
            output.append(members)
        }
        output.endJSONObject()
    }

    /// The problem of a request that the engine refused.
    static func refused(_ error: HTTP1Error) -> Problem {
        let code: String
        switch error.status {
        case 414: code = "target-too-long"
        case 431: code = "header-fields-too-large"
        case 501: code = "not-implemented"
        case 505: code = "version-not-supported"
        default: code = "bad-request"
        }
        return Problem(error.status, code, "\(error.reason)")
    }

    /// A request that has a body, or that does not ask for another protocol, can't begin one (RFC 9110 §7.8).
    static var upgradeWithBody: Problem {
        Problem(
            400, "bad-upgrade",
            "Another protocol begins with an HTTP/1.1 request that asks for it by Upgrade and Connection and has no body."
        )
    }

    /// A request that names a host for which this server does not speak (RFC 9110 §15.5.20).
    static func misdirected(_ authority: Span<UInt8>) -> Problem {
        let host = unsafe authority.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
        return Problem(
            421, "misdirected-request",
            "\(host.clipped(to: 100)) is no name of this server, which listens for this machine alone: ask for localhost, or let "
                + "its operator allow the origin of that name.")
    }

    /// A body in a content coding (RFC 9110 §15.5.16).
    static var encodedBody: Problem {
        Problem(
            415, "content-coding-not-supported", "The body has a Content-Encoding; send it without.",
            fields: ["Accept-Encoding": "identity"])
    }

    /// A handler has not answered in the time of its route.
    static var deadlineExceeded: Problem {
        Problem(504, "deadline-exceeded", "The answer took longer than this request may take; try again.")
    }

    /// A handler has failed without saying how.
    static var unanswered: Problem { Problem(500, "internal", "The answer could not be made.") }

    /// A client asks for more while the answers that it has are not taken.
    static var answersWait: Problem {
        Problem(503, "answers-wait", "Too many answers wait on this connection; read them before you ask for more.")
    }
}
