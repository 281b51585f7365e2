import Bytes
import HTTP1
import Reactor

/// The heads of answers.
extension HTTPServer {
    func writeHead(
        _ target: ResponseTarget, _ status: Int, _ type: StaticString?, _ fields: HTTPFields, length: Int?
    ) {
        if target.inTurn { target.connection.value.flags.insert(.written) }
        writeHead(
            target.output, target.isCurrent ? nil : target.entry, target.flags, status, type, fields, length: length)
    }

    /// - Parameters:
    ///   - entry: what was kept of a request that is answered later; nil: the context has it.
    ///   - length: bytes of the body; nil: chunked, or up to the connection's end.
    @inline(__always)
    func writeHead(
        _ output: Ref<ByteBuffer>, _ entry: Ref<ResponseQueue.Entry>?, _ flags: ResponseFlags, _ status: Int,
        _ type: StaticString?, _ fields: HTTPFields, length: Int?
    ) {
        if status == 200, let type, let length {
            core.value.beginHead(of: type, unixMilliseconds: loop.wallClockMilliseconds, &output.value)
            output.value.append(decimal: length)
            output.value.append("\r\n")
        } else {
            composeHead(output, flags, status, type, length)
        }
        if let entry {
            if core.value.requestIDs { writeRequestID(entry.value.requestID, &output.value) }
            output.value.append(entry.value.fields.span)
        } else {
            if core.value.requestIDs { writeRequestID(context.value.requestID, &output.value) }
            if context.value.hasOrigin { writeOriginFields(&output.value) }
        }
        if flags.contains(.close) || (length == nil && flags.contains(.version10)) {
            output.value.append("Connection: close\r\n")
        } else if flags.contains(.version10) {
            output.value.append("Connection: keep-alive\r\n")
        }
        if !fields.lines.isEmpty { output.value.append(fields.lines) }
        output.value.append("\r\n")
    }

    /// Status line, Date and what describes the body.
    @inline(never)
    private func composeHead(
        _ output: Ref<ByteBuffer>, _ flags: ResponseFlags, _ status: Int, _ type: StaticString?, _ length: Int?
    ) {
        HTTP1Writer.statusLine(status, to: &output.value)
        core.value.date.append(to: &output.value, unixMilliseconds: loop.wallClockMilliseconds)
        if let type {
            output.value.append("Content-Type: ")
            output.value.append(type)
            output.value.append("\r\n")
        }
        if let length {
            if HTTP1Status.allowsBody(status) { HTTP1Writer.contentLength(length, to: &output.value) }
        } else if !flags.contains(.version10) {
            output.value.append("Transfer-Encoding: chunked\r\n")
        }
    }

    @inline(never)
    private func writeRequestID(_ id: borrowing RequestID, _ output: inout ByteBuffer) {
        output.append("X-Request-Id: ")
        output.append(id.bytes.span.extracting(first: id.count))
        output.append("\r\n")
    }

    /// CORS: to an allowed origin, who may read it and what; to any other, that it depends on the origin.
    func writeOriginFields(_ output: inout ByteBuffer) {
        guard context.value.hasOrigin else { return }
        if let origin = unsafe context.value.allowedOrigin {
            unsafe HTTP1Writer.field("Access-Control-Allow-Origin", Span(_unsafeElements: origin), to: &output)
            output.append("Access-Control-Expose-Headers: Location, Retry-After, X-Request-Id\r\n")
        }
        output.append("Vary: Origin\r\n")
    }
}
