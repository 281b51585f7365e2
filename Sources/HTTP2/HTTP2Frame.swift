import Bytes

/// The frame header (RFC 9113 §4.1): 24 bits of length, 8 of type, 8 of flags, 31 of stream identifier.
public struct HTTP2FrameHeader: Hashable, Sendable {
    @inlinable public static var size: Int { 9 }

    /// Bytes of payload.
    public var length: Int
    public var type: HTTP2FrameType
    public var flags: UInt8
    /// 0 is the connection.
    public var streamID: UInt32

    public init(length: Int, type: HTTP2FrameType, flags: UInt8 = 0, streamID: UInt32) {
        self.length = length
        self.type = type
        self.flags = flags
        self.streamID = streamID
    }

    /// Reads the nine bytes at `offset`, which must be there.
    @inline(__always)
    init(_ input: UnsafeRawBufferPointer, at offset: Int) {
        let first = unsafe UInt64(bigEndian: input.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        length = Int(truncatingIfNeeded: first >> 40)
        type = HTTP2FrameType(rawValue: UInt8(truncatingIfNeeded: first >> 32))
        flags = UInt8(truncatingIfNeeded: first >> 24)
        let last = unsafe UInt32(input[offset &+ 8])
        streamID = (UInt32(truncatingIfNeeded: first & 0x7f_ffff) << 8) | last
    }

    func has(_ flag: UInt8) -> Bool { flags & flag != 0 }

    /// Appends a frame header. It checks nothing: tests write illegal frames with it.
    @inlinable
    public static func append(
        length: Int, type: HTTP2FrameType, flags: UInt8 = 0, streamID: UInt32, into output: inout ByteBuffer
    ) {
        let first =
            UInt64(truncatingIfNeeded: length) << 40 | UInt64(type.rawValue) << 32 | UInt64(flags) << 24
            | UInt64(streamID >> 8)
        output.reserve(9)
        output.append(bigEndian: first)
        output.append(UInt8(truncatingIfNeeded: streamID))
    }
}

/// The type of a frame (RFC 9113 §6).
public struct HTTP2FrameType: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable public static var data: HTTP2FrameType { HTTP2FrameType(rawValue: 0) }
    @inlinable public static var headers: HTTP2FrameType { HTTP2FrameType(rawValue: 1) }
    @inlinable public static var priority: HTTP2FrameType { HTTP2FrameType(rawValue: 2) }
    @inlinable public static var rstStream: HTTP2FrameType { HTTP2FrameType(rawValue: 3) }
    @inlinable public static var settings: HTTP2FrameType { HTTP2FrameType(rawValue: 4) }
    @inlinable public static var pushPromise: HTTP2FrameType { HTTP2FrameType(rawValue: 5) }
    @inlinable public static var ping: HTTP2FrameType { HTTP2FrameType(rawValue: 6) }
    @inlinable public static var goAway: HTTP2FrameType { HTTP2FrameType(rawValue: 7) }
    @inlinable public static var windowUpdate: HTTP2FrameType { HTTP2FrameType(rawValue: 8) }
    @inlinable public static var continuation: HTTP2FrameType { HTTP2FrameType(rawValue: 9) }
}

/// The flags of frames.
public enum HTTP2Flag {
    /// DATA, HEADERS.
    @inlinable public static var endStream: UInt8 { 0x1 }
    /// SETTINGS, PING.
    @inlinable public static var ack: UInt8 { 0x1 }
    /// HEADERS, CONTINUATION.
    @inlinable public static var endHeaders: UInt8 { 0x4 }
    /// DATA, HEADERS.
    @inlinable public static var padded: UInt8 { 0x8 }
    /// HEADERS.
    @inlinable public static var priority: UInt8 { 0x20 }
}

extension Span<UInt8> {
    /// The big-endian integer at `offset`, which must lie within.
    @inline(__always)
    func bigEndian<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
        unsafe Value(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: type))
    }

    /// The low 31 bits of the big-endian integer at `offset`: a stream identifier or a window.
    @inline(__always)
    func bits31(_ offset: Int) -> UInt32 { bigEndian(offset, as: UInt32.self) & 0x7fff_ffff }
}
