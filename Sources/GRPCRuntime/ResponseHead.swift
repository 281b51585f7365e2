import Bytes
import HTTP2

/// What a client reads from a response's headers or trailers.
struct ResponseHead {
    private(set) var status = 0
    private var hasContentType = false
    private var isGRPC = false
    private var contentType = ""
    private var encoding: String?
    private var code: StatusCode?
    private var message = ""
    private var details: [UInt8] = []
    private(set) var metadata = Metadata()

    init(_ headers: borrowing HPACKDecoder) {
        for index in 0..<headers.count {
            let field = headers[index]
            switch field.token {
            case .status: status = Self.number(field) ?? 0
            case .contentType:
                hasContentType = true
                isGRPC = unsafe Self.isGRPC(field.value)
                if !isGRPC { contentType = field.valueText }
            case .grpcEncoding: if !field.valueEquals("identity") { encoding = field.valueText }
            case .grpcStatus: code = Self.number(field).map(StatusCode.init(rawValue:)) ?? .unknown
            case .grpcMessage: unsafe message = PercentCoding.decode(field.value)
            case .grpcStatusDetails: unsafe details = Base64.decode(Span(_unsafeBytes: field.value)) ?? []
            default: if Metadata.isCustom(field) { metadata.append(field) }
            }
        }
    }

    /// The decimal number that a field is; nil when it is none, or more than an `Int` holds.
    private static func number(_ field: HeaderField) -> Int? {
        unsafe ASCII.decimal(Span(_unsafeBytes: field.value)).flatMap(Int.init(exactly:))
    }

    /// `application/grpc`, and what may follow: a format or parameters. `application/grpc-web` is another type.
    private static func isGRPC(_ value: UnsafeRawBufferPointer) -> Bool {
        let expected: StaticString = "application/grpc"
        let count = expected.utf8CodeUnitCount
        guard value.count >= count,
            unsafe ASCII.equals(Span(_unsafeBytes: UnsafeRawBufferPointer(rebasing: value[..<count])), expected)
        else { return false }
        guard value.count > count else { return true }
        let next = unsafe value[count]
        return next == UInt8(ascii: "+") || next == UInt8(ascii: ";") || next == UInt8(ascii: " ")
    }

    /// Why these headers are not the beginning of a gRPC response; nil when they are.
    ///
    /// - Parameter compression: the call's, which may be gzip from now on.
    func problem(_ compression: inout CallCompression) -> RPCError? {
        guard status == 200 else {
            return RPCError(
                code: .fromHTTP(status: status), message: "the server answered with HTTP status \(status)",
                trailers: metadata)
        }
        guard isGRPC else {
            return RPCError(
                code: .unknown,
                message: hasContentType
                    ? "the server answered with content-type \"\(contentType)\""
                    : "the server's answer has no content-type",
                trailers: metadata)
        }
        guard let encoding else { return nil }
        let isOffered = compression.contains(.accepted)
        if isOffered && encoding == "gzip" {
            compression.insert(.incoming)
            return nil
        }
        return RPCError(
            code: .internal,
            message: "the server answered with grpc-encoding \"\(encoding)\", which was not offered; "
                + (isOffered ? "identity and gzip were" : "identity was"))
    }

    /// How the call ended, read from trailers; nil: OK.
    /// - Parameter status: HTTP's, from the response's headers.
    func outcome(status: Int) -> RPCError? {
        guard let code else {
            return status != 200 && status != 0
                ? RPCError(
                    code: .fromHTTP(status: status), message: "the server answered with HTTP status \(status)",
                    trailers: metadata)
                : RPCError(code: .unknown, message: "the server's answer has no grpc-status", trailers: metadata)
        }
        return code == .ok
            ? nil : RPCError(code: code, message: message, statusDetails: details, trailers: metadata)
    }
}

extension RPCError {
    /// What a RST_STREAM of the server means to the call (gRPC over HTTP/2, "Errors").
    static func reset(_ code: HTTP2ErrorCode) -> RPCError {
        let status: StatusCode =
            switch code {
            case .refusedStream: .unavailable
            case .cancel: .cancelled
            case .enhanceYourCalm: .resourceExhausted
            case .inadequateSecurity: .permissionDenied
            default: .internal
            }
        return RPCError(code: status, message: "the stream was reset: \(code)")
    }
}
