import Bytes
import HTTP2

/// Writes what every gRPC response has: its headers, its trailers, or both in one (Trailers-Only).
struct ResponseWriter {
    private var contentType = HPACKEncoder.Remembered()
    private var statusOK = HPACKEncoder.Remembered()

    /// `:status 200` is in the static table.
    private static let status200: UInt8 = 8

    /// The headers in front of the first message.
    mutating func headers(_ session: inout HTTP2Session, stream: HTTP2StreamHandle, output: inout ByteBuffer) {
        let start = session.beginHeaders(output: &output)
        session.encoder.encode(staticIndex: Self.status200, into: &output)
        session.encoder.encode("content-type", "application/grpc", remembered: &contentType, into: &output)
        session.endHeaders(start, stream: stream, endStream: false, output: &output)
    }

    /// The headers with what a handler or compression adds.
    ///
    /// - Parameters:
    ///   - disclosing: the client hears what is understood.
    ///   - compressing: messages follow in gzip.
    mutating func headers(
        _ metadata: Metadata, disclosing: Bool, compressing: Bool, _ session: inout HTTP2Session,
        stream: HTTP2StreamHandle, output: inout ByteBuffer
    ) {
        let start = session.beginHeaders(output: &output)
        session.encoder.encode(staticIndex: Self.status200, into: &output)
        session.encoder.encode("content-type", "application/grpc", remembered: &contentType, into: &output)
        if compressing { session.encoder.encode("grpc-encoding", "gzip", .table, into: &output) }
        if disclosing {
            session.encoder.encode("grpc-accept-encoding", MessageCompression.accepted, .table, into: &output)
        }
        metadata.encode(&session.encoder, into: &output)
        session.endHeaders(start, stream: stream, endStream: false, output: &output)
    }

    /// The end of a call. Without headers before, it is Trailers-Only.
    mutating func end(
        _ end: ServerCallEnd, head: ServerCall.Head, _ session: inout HTTP2Session, stream: HTTP2StreamHandle,
        output: inout ByteBuffer
    ) {
        let start = session.beginHeaders(output: &output)
        if !head.isOut {
            session.encoder.encode(staticIndex: Self.status200, into: &output)
            session.encoder.encode("content-type", "application/grpc", remembered: &contentType, into: &output)
            if head == .disclosing {
                session.encoder.encode("grpc-accept-encoding", MessageCompression.accepted, .table, into: &output)
            }
        }
        switch end {
        case .ok(let trailers) where trailers.encodedSize > GRPCLimits.maximumTrailers:
            RPCError(code: .resourceExhausted, message: "the answer's trailers are too large")
                .encode(&session.encoder, into: &output)
        case .ok(let trailers):
            session.encoder.encode("grpc-status", "0", remembered: &statusOK, into: &output)
            if !trailers.isEmpty { trailers.encode(&session.encoder, into: &output) }
        case .failure(let error):
            error.encode(&session.encoder, into: &output)
        }
        session.endHeaders(start, stream: stream, endStream: true, output: &output)
    }

    /// An answer to what is not a gRPC request: a status of HTTP and a line for people.
    static func plain(
        status: StaticString, text: StaticString, allow: StaticString? = nil, withBody: Bool,
        _ session: inout HTTP2Session, stream: HTTP2StreamHandle, now: UInt64, output: inout ByteBuffer
    ) {
        let start = session.beginHeaders(output: &output)
        session.encoder.encode(":status", status, .none, into: &output)
        session.encoder.encode("content-type", "text/plain; charset=utf-8", .none, into: &output)
        if let allow { session.encoder.encode("allow", allow, .none, into: &output) }
        session.endHeaders(start, stream: stream, endStream: !withBody, output: &output)
        guard withBody, let body = unsafe session.pendingBuffer(stream) else { return }
        unsafe body.pointee.append(text)
        session.pendingAppended(stream, endStream: true, now: now, output: &output)
    }
}

extension HPACKEncoder {
    /// Encodes a field that is known at compile time.
    mutating func encode(
        _ name: StaticString, _ value: StaticString, _ indexing: Indexing, into output: inout ByteBuffer
    ) {
        unsafe encode(
            UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount),
            UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount), indexing, into: &output)
    }

    mutating func encode(
        _ name: StaticString, bytes value: UnsafeRawBufferPointer, _ indexing: Indexing, into output: inout ByteBuffer
    ) {
        unsafe encode(
            UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value, indexing,
            into: &output)
    }

    /// Encodes a field with a value made at run time.
    mutating func encode(
        _ name: StaticString, bytes value: [UInt8], _ indexing: Indexing, into output: inout ByteBuffer
    ) {
        unsafe value.withUnsafeBytes {
            unsafe encode(
                UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), $0, indexing,
                into: &output)
        }
    }
}

extension RPCError {
    /// `grpc-status`, `grpc-message`, the details and the trailers.
    func encode(_ encoder: inout HPACKEncoder, into output: inout ByteBuffer) {
        // OK is no error: who fails with it meant something else.
        let code = code == .ok ? StatusCode.unknown : code
        encoder.encode("grpc-status", bytes: Array(String(code.rawValue).utf8), .table, into: &output)
        let size = trailers.encodedSize + statusDetails.count / 3 * 4
        let isWhole = size <= GRPCLimits.maximumTrailers
        let message = isWhole ? message : "(details left out: \(size) bytes) \(message)"
        if !message.isEmpty {
            encoder.encode(
                "grpc-message", bytes: PercentCoding.encode(message, limit: GRPCLimits.maximumStatusMessage), .none,
                into: &output)
        }
        guard isWhole else { return }
        if !statusDetails.isEmpty {
            encoder.encode(
                "grpc-status-details-bin", bytes: Metadata.base64(statusDetails), .none, into: &output)
        }
        trailers.encode(&encoder, into: &output)
    }
}
