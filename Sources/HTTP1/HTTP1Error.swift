/// Why a message was refused by the engine. Every one ends the connection: after it nobody knows where the next message
/// begins.
public enum HTTP1Error: UInt8, Error, Sendable, CaseIterable {
    /// The request line (RFC 9112 §3), the version of a response, too.
    case badRequestLine, badTarget, badVersion, unsupportedVersion
    /// A line of the head (RFC 9112 §2.2, §5).
    case bareLineFeed, bareCarriageReturn, obsoleteFold, emptyFieldName, badFieldName, badFieldValue
    /// The Host field (RFC 9112 §3.2).
    case missingHost, repeatedHost, invalidHost
    /// The Content-Length field (RFC 9112 §6.2).
    case badContentLength, unequalContentLengths
    /// The Transfer-Encoding field (RFC 9112 §6.1).
    case lengthAndTransferEncoding, transferEncodingOnHTTP10, chunkedNotLast, unknownTransferCoding
    /// A bound of `HTTP1Limits`.
    case targetTooLong, headTooLarge, tooManyFields
    /// A chunk of the body (RFC 9112 §7.1).
    case badChunkSize, chunkSizeOverflow, badChunkExtension, chunkExtensionsTooLong, badChunkTerminator
    /// The fields behind the last chunk (RFC 9112 §7.1.2).
    case badTrailer, trailerTooLarge
    /// A response (RFC 9112 §4, §8; HTTP1ResponseParser).
    case badStatusLine, truncatedResponse, unaskedResponse

    /// The status code of the answer to a bad request; what a proxy answers when a server's response was bad.
    public var status: Int {
        switch self {
        case .targetTooLong: 414
        case .headTooLarge, .tooManyFields, .trailerTooLarge: 431
        case .unknownTransferCoding: 501
        case .unsupportedVersion: 505
        case .badStatusLine, .truncatedResponse, .unaskedResponse: 502
        default: 400
        }
    }

    /// What was wrong, for the other side's developer.
    public var reason: StaticString {
        switch self {
        case .badRequestLine: "The request line must be a method, a target and a version, separated by single spaces."
        case .badTarget: "The request target must be a path that begins with '/', an absolute URI, or '*' for OPTIONS."
        case .badVersion: "The version must be HTTP/1.1 or HTTP/1.0."
        case .unsupportedVersion: "Only HTTP/1.1 and HTTP/1.0 are spoken here."
        case .bareLineFeed: "A line must end with CR LF; there was a bare LF."
        case .bareCarriageReturn: "A CR must be followed by LF."
        case .obsoleteFold: "A field value must not be continued on the next line."
        case .emptyFieldName: "A field name is empty."
        case .badFieldName: "A field name has a character that is not allowed, or a space before the colon."
        case .badFieldValue: "A field value has a control character."
        case .missingHost: "The Host field is missing."
        case .repeatedHost: "The Host field is there more than once."
        case .invalidHost: "The Host field is not a host with an optional port."
        case .badContentLength: "Content-Length must be a decimal number."
        case .unequalContentLengths: "Content-Length is there more than once, with different values."
        case .lengthAndTransferEncoding: "Content-Length and Transfer-Encoding exclude each other."
        case .transferEncodingOnHTTP10: "HTTP/1.0 has no Transfer-Encoding."
        case .chunkedNotLast: "The last transfer coding must be chunked, and chunked only once."
        case .unknownTransferCoding: "Only the transfer coding chunked is supported."
        case .targetTooLong: "The request target is too long."
        case .headTooLarge: "The head is too large."
        case .tooManyFields: "The head has too many fields."
        case .badChunkSize: "A chunk size must be a hexadecimal number."
        case .chunkSizeOverflow: "A chunk size is too large."
        case .badChunkExtension: "A chunk extension has a character that is not allowed."
        case .chunkExtensionsTooLong: "The chunk extensions are too long."
        case .badChunkTerminator: "A chunk's data must be followed by CR LF."
        case .badTrailer: "A trailer field is malformed."
        case .trailerTooLarge: "The trailer section is too large."
        case .badStatusLine: "The status line must be HTTP/1.1 or HTTP/1.0, a code of three digits and a reason."
        case .truncatedResponse: "The connection has ended before the response was complete."
        case .unaskedResponse: "Bytes came for which nobody had asked."
        }
    }
}
