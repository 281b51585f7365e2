/// An error code of RST_STREAM and GOAWAY (RFC 9113 §7). A struct: unknown codes are kept as they came.
public struct HTTP2ErrorCode: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt32

    @inlinable
    public init(rawValue: UInt32) { self.rawValue = rawValue }

    @inlinable public static var noError: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 0) }
    @inlinable public static var protocolError: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 1) }
    @inlinable public static var internalError: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 2) }
    @inlinable public static var flowControlError: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 3) }
    @inlinable public static var settingsTimeout: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 4) }
    @inlinable public static var streamClosed: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 5) }
    @inlinable public static var frameSizeError: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 6) }
    @inlinable public static var refusedStream: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 7) }
    @inlinable public static var cancel: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 8) }
    @inlinable public static var compressionError: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 9) }
    @inlinable public static var connectError: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 10) }
    @inlinable public static var enhanceYourCalm: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 11) }
    @inlinable public static var inadequateSecurity: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 12) }
    @inlinable public static var http11Required: HTTP2ErrorCode { HTTP2ErrorCode(rawValue: 13) }
}

extension HTTP2ErrorCode: CustomStringConvertible {
    private static let names = [
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
        "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
    ]

    public var description: String {
        rawValue < UInt32(Self.names.count) ? Self.names[Int(rawValue)] : "CODE_\(rawValue)"
    }
}
