/// The frame of a message inside DATA: a compressed flag, four bytes of length, the message ("Length-Prefixed-Message").
enum GRPCMessage {
    static let prefixSize = 5

    /// The length that the prefix says. At least five bytes must be there.
    @inline(__always)
    static func length(_ bytes: UnsafeRawBufferPointer) -> Int {
        Int(unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)))
    }

    /// Whether the bytes are exactly one message without compression. At least five bytes must be there.
    @inline(__always)
    static func isWhole(_ bytes: UnsafeRawBufferPointer) -> Bool {
        unsafe bytes[0] == 0 && length(bytes) == bytes.count &- prefixSize
    }

    /// Bytes of the first message, prefix included, if it is there whole, else 0.
    static func wholeSize(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard bytes.count >= prefixSize else { return 0 }
        let size = unsafe length(bytes) + prefixSize
        return bytes.count >= size ? size : 0
    }

    /// Takes the first message off the front of `bytes`, if it is there whole, not compressed and not too large: what is not
    /// goes the long way, where it gets its error.
    @inline(__always)
    static func takeWhole(_ bytes: inout UnsafeRawBufferPointer, limit: Int) -> UnsafeRawBufferPointer? {
        guard bytes.count >= prefixSize, unsafe bytes[0] == 0 else { return nil }
        let length = unsafe length(bytes)
        guard length <= limit, bytes.count &- prefixSize >= length else { return nil }
        let message = unsafe UnsafeRawBufferPointer(rebasing: bytes[prefixSize..<prefixSize + length])
        unsafe bytes = UnsafeRawBufferPointer(rebasing: bytes[(prefixSize + length)...])
        return unsafe message
    }

    /// Why a body that should be exactly one message is not.
    static func problem(_ bytes: UnsafeRawBufferPointer) -> RPCError {
        guard bytes.count > 0 else { return RPCError(code: .internal, message: "the request has no message") }
        guard unsafe bytes.count >= prefixSize && bytes.count >= length(bytes) + prefixSize else { return .truncated }
        if unsafe bytes[0] != 0 { return .compressed }
        return RPCError(code: .internal, message: "the request has more than one message")
    }
}

extension RPCError {
    static let truncated = RPCError(code: .internal, message: "the stream ended in the middle of a message")
    static let compressed = RPCError(
        code: .internal, message: "a message is marked as compressed, but no grpc-encoding was announced")

    static func tooLarge(_ size: Int, _ limit: Int) -> RPCError {
        RPCError(code: .resourceExhausted, message: "a message of \(size) bytes is larger than the limit of \(limit)")
    }

    /// The connection's calls keep too much.
    static func tooMuchHeld(_ limit: Int) -> RPCError {
        RPCError(code: .resourceExhausted, message: "the connection's requests keep more than \(limit) bytes")
    }

    /// The answer names what would be understood.
    static func unknownEncoding(_ name: String) -> RPCError {
        var error = RPCError(
            code: .unimplemented,
            message: "grpc-encoding \"\(name)\" is not supported; identity and gzip are")
        error.trailers.storage.append(
            Metadata.Entry(
                Metadata.Key(lowercase: "grpc-accept-encoding"), Array("\(MessageCompression.accepted)".utf8)))
        return error
    }
}
