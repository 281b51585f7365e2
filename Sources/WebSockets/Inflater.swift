import Bytes
import CZlib

/// Decompresses messages (RFC 7692 §7.2.2), never further than a bound: what a few bytes can become is decided here and not by
/// who sent them.
///
/// It holds 7 KiB and, from the first message on, the window: a connection has one only while it needs its history.
@safe public struct Inflater: ~Copyable {
    /// What the next bytes of a message gave.
    public enum Outcome: Sendable, BitwiseCopyable {
        /// All of it was taken.
        case taken
        /// The message would be longer than its bound.
        case tooBig
        /// The bytes are no DEFLATE data, or the message ends in the middle of a block.
        case corrupt
    }

    private let stream: UnsafeMutablePointer<z_stream>
    /// Bytes of memory that it may hold, as zlib's documentation says.
    public let memory: Int

    /// - Parameter windowBits: the peer's window, 8 to 15. At least 9 are kept: zlib, asked for 8, used to write with 9, and so
    ///   do those who stand on it.
    public init(windowBits: UInt8 = 15) {
        let bits = Int32(min(max(windowBits, 9), 15))
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        memory = 7 << 10 + 1 << Int(bits)
        // Negative: without the header and the checksum of zlib's own format.
        guard unsafe czlib_inflateInit2(stream, -bits) == Z_OK else { fatalError("out of memory: \(memory) bytes") }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deinitialize(count: 1)
        unsafe stream.deallocate()
    }

    /// Forgets the history: for the next message of a peer who does without.
    public mutating func reset() { unsafe inflateReset(stream) }

    /// Appends what the next bytes of a message give.
    ///
    /// - Parameters:
    ///   - isLast: the message ends with these bytes.
    ///   - message: what the message has given so far; empty at its beginning.
    ///   - limit: bytes of a whole message. `message` has at most one more when it is `tooBig`.
    public mutating func inflate(
        _ input: Span<UInt8>, isLast: Bool, limit: Int, into message: inout ByteBuffer
    ) -> Outcome {
        var outcome = Outcome.taken
        if input.count > 0 { outcome = run(input, limit, &message) }
        guard isLast, outcome == .taken else { return outcome }
        let tail: InlineArray<4, UInt8> = [0, 0, 0xFF, 0xFF]
        outcome = run(tail.span, limit, &message)
        // RFC 7692 §7.2.2: with what its sender has taken off, a message ends between two blocks (zlib says so by this bit).
        guard outcome == .taken, unsafe stream.pointee.data_type & 128 == 0 else { return outcome }
        return .corrupt
    }

    private mutating func run(_ input: Span<UInt8>, _ limit: Int, _ message: inout ByteBuffer) -> Outcome {
        unsafe input.withUnsafeBufferPointer { input in
            // zlib does not write there.
            unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            unsafe stream.pointee.avail_in = UInt32(clamping: input.count)
            defer { unsafe stream.pointee.next_in = nil }
            repeat {
                // One byte of room more than the bound: who fills it is over it.
                let room = unsafe min(max(0, limit - message.count), max(512, 4 * Int(stream.pointee.avail_in))) + 1
                var result = Z_OK
                unsafe message.appendUninitialized(room) { space in
                    unsafe stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    unsafe stream.pointee.avail_out = UInt32(clamping: room)
                    result = unsafe CZlib.inflate(stream, Z_SYNC_FLUSH)
                    return unsafe Int(UInt32(clamping: room) - stream.pointee.avail_out)
                }
                if message.count > limit { return .tooBig }
                switch result {
                case Z_OK: break
                // There was nothing more to do.
                case Z_BUF_ERROR: return .taken
                // A block that says it is the last one (RFC 7692 §7.2.3.4): others may follow, and may refer to what was.
                case Z_STREAM_END: unsafe inflateResetKeep(stream)
                case Z_MEM_ERROR: fatalError("out of memory: \(memory) bytes")
                default: return .corrupt
                }
            } while unsafe stream.pointee.avail_in > 0 || stream.pointee.avail_out == 0
            return .taken
        }
    }
}
