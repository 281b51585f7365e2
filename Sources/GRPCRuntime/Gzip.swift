import Bytes
import CZlib

/// Takes messages out of gzip (RFC 1952), step by step: how much a message becomes, and how long that takes, is not to be seen from
/// its size. It may have several members, one behind the other, whose contents belong together (§2.2); nothing else may follow.
@safe final class GzipInflater {
    enum Step {
        /// There is more to do.
        case more
        case whole
        /// More than `limit` bytes would come out.
        case tooLarge
        /// No gzip, or not all of it; or something follows.
        case malformed
    }

    /// What zlib keeps for one, its window included. Bytes, about.
    static let memory = 48 << 10
    /// What one step reads and writes at most. Bytes; 50 µs or so.
    private static let size = 64 << 10
    /// What a step costs besides, in bytes: a message may be nothing but empty members.
    static let stepCost = 256

    // Proof: allocated here and freed in deinit; zlib points back to it, so it may not move.
    private let stream: UnsafeMutablePointer<z_stream>

    /// Nil: there is no memory.
    init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // 15 bits of window; 16 more ask for the gzip wrapper, and for nothing else.
        guard unsafe czlib_inflateInit2(stream, 15 + 16) == Z_OK else { return nil }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Another message follows.
    func reset() { unsafe inflateReset(stream) }

    /// Goes on at `position` of the message, and appends what comes out.
    func step(
        _ message: UnsafeRawBufferPointer, _ position: inout Int, into output: inout ByteBuffer, limit: Int
    ) -> Step {
        let given = min(message.count &- position, Self.size)
        // One byte more than may come shows that it is too much.
        let room = min(limit &+ 1 &- output.count, Self.size)
        // Proof: zlib reads these bytes and does not write them.
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: message.baseAddress?.advanced(by: position).assumingMemoryBound(to: UInt8.self))
        unsafe stream.pointee.avail_in = UInt32(truncatingIfNeeded: given)
        var result = Z_OK
        unsafe output.appendUninitialized(room) { space in
            unsafe stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
            unsafe stream.pointee.avail_out = UInt32(truncatingIfNeeded: room)
            result = unsafe inflate(stream, Z_NO_FLUSH)
            return unsafe room &- Int(stream.pointee.avail_out)
        }
        unsafe position &+= given &- Int(stream.pointee.avail_in)
        if output.count > limit { return .tooLarge }
        switch result {
        case Z_STREAM_END where position == message.count: return .whole
        case Z_STREAM_END:
            reset()
            return .more
        case Z_OK:
            // All was read, and there was room for more than came: something is missing.
            return unsafe position == message.count && stream.pointee.avail_out > 0 ? .malformed : .more
        default: return .malformed
        }
    }
}

/// Puts messages into gzip (RFC 1952).
@safe final class GzipDeflater {
    // Proof: allocated here and freed in deinit; zlib points back to it, so it may not move.
    private let stream: UnsafeMutablePointer<z_stream>

    /// Nil: there is no memory.
    init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe czlib_deflateInit2(stream, Z_BEST_SPEED, 15 + 16, 8) == Z_OK else { return nil }
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Appends the gzip form of `message`, if it is smaller.
    ///
    /// - Returns: whether it is.
    func deflate(_ message: UnsafeRawBufferPointer, into output: inout ByteBuffer) -> Bool {
        // zlib counts in 32 bits.
        guard let given = UInt32(exactly: message.count), given > 0 else { return false }
        let start = output.count
        unsafe deflateReset(stream)
        // Proof: zlib reads these bytes and does not write them.
        unsafe stream.pointee.next_in = UnsafeMutablePointer(
            mutating: message.baseAddress?.assumingMemoryBound(to: UInt8.self))
        unsafe stream.pointee.avail_in = given
        var result = Z_OK
        unsafe output.appendUninitialized(message.count &- 1) { space in
            unsafe stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
            unsafe stream.pointee.avail_out = given &- 1
            result = unsafe CZlib.deflate(stream, Z_FINISH)
            return unsafe message.count &- 1 &- Int(stream.pointee.avail_out)
        }
        if result == Z_STREAM_END { return true }
        output.truncate(to: start)
        return false
    }
}
