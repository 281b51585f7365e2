import Bytes
import HTTP1
import Memory
import Reactor

/// The heads of answers that `respondAtOnce` does not write.
extension HTTPServer {
    /// - Parameter length: bytes of the body; nil: chunked, or up to the connection's end.
    func writeHead(
        _ target: borrowing ResponseTarget, _ status: Int, _ type: StaticString?, _ fields: HTTPFields, length: Int?
    ) {
        let output = target.output
        HTTP1Writer.statusLine(status, to: &output.value)
        core.value.date.append(to: &output.value, unixMilliseconds: loop.wallClockMilliseconds)
        if let type {
            output.value.append("Content-Type: ")
            output.value.append(type)
            output.value.append("\r\n")
        }
        if let length {
            if HTTP1Status.allowsBody(status) { HTTP1Writer.contentLength(length, to: &output.value) }
        } else if !target.flags.contains(.version10), HTTP1Status.allowsBody(status) {
            output.value.append("Transfer-Encoding: chunked\r\n")
        }
        if target.isCurrent {
            if core.value.requestIDs {
                writeRequestID(context.value.requestID, &output.value)
            }
            writeExtraFields(&output.value)
        } else if let answer = target.answer {
            if core.value.requestIDs { writeRequestID(answer.value.requestID, &output.value) }
            output.value.append(answer.value.fields.span)
        }
        if target.flags.contains(.close) || (length == nil && target.flags.contains(.version10)) {
            output.value.append("Connection: close\r\n")
        } else if target.flags.contains(.version10) {
            output.value.append("Connection: keep-alive\r\n")
        }
        if !fields.lines.isEmpty { output.value.append(fields.lines) }
        output.value.append("\r\n")
    }

    private func writeRequestID(_ id: borrowing RequestID, _ output: inout ByteBuffer) {
        output.append("X-Request-Id: ")
        output.append(id.bytes.span.extracting(first: id.count))
        output.append("\r\n")
    }

    /// What gates have added, and CORS: to an allowed origin, who may read the answer and what; to any other, that it depends
    /// on the origin.
    func writeExtraFields(_ output: inout ByteBuffer) {
        if context.value.extras.isEmpty { return }
        if context.value.extras.contains(.fields) { output.append(context.value.fields) }
        guard context.value.extras.contains(.origin) else { return }
        if let origin = unsafe context.value.allowedOrigin {
            unsafe HTTP1Writer.field("Access-Control-Allow-Origin", Span(_unsafeElements: origin), to: &output)
            output.append(core.value.exposedLine)
        }
        output.append("Vary: Origin\r\n")
    }
}
