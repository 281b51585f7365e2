import Bytes
import CZlib

/// Decompresses DEFLATE data or gzip, step by step and never further than there is room: how much a few bytes become is decided here and
/// not by who sent them.
///
/// Behind an end that the data itself says, more may follow: another member of gzip (RFC 1952 §2.2), or, without a wrapper, blocks that
/// may refer to what was.
///
/// Proof of `@safe`: the `z_stream` is allocated in `init`, freed in `deinit` and never handed out; zlib points back to it, so it may not
/// move.
@safe public final class InflateStream {
    /// What a step has come to.
    public enum Outcome: Sendable, BitwiseCopyable {
        /// The room is full, or input is left: there is more to do.
        case more
        /// All input was taken, and has given all that it gives.
        case needsInput
        /// A member, or a block that says that it is the last, has ended. Input may be left.
        case ended
        /// The bytes are no such data, or a checksum is wrong.
        case corrupt
        /// zlib has no memory for its window.
        case noMemory
    }

    private let stream: UnsafeMutablePointer<z_stream>
    private let format: CompressionFormat
    /// Whether the last step has ended a member, or a last block, and nothing has followed.
    public private(set) var hasEnded = false

    /// Nil: there is no memory.
    public init?(_ format: CompressionFormat) {
        self.format = format
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: ZlibMemory.emptyStream())
        // All properties are there: `deinit` frees what was allocated.
        guard unsafe czlib_inflateInit2(stream, format.windowBits) == Z_OK else { return nil }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Forgets everything: something else begins.
    public func reset() {
        unsafe inflateReset(stream)
        hasEnded = false
    }

    /// Whether the input so far has ended between two blocks. (zlib says so by this bit.)
    public var isBetweenBlocks: Bool { unsafe stream.pointee.data_type & 128 != 0 }

    /// Takes as much input as there is, and appends what it gives, as far as there is room.
    ///
    /// - Parameter room: bytes, at least 1.
    /// - Returns: with the outcome, how many bytes of `input` were taken.
    public func step(
        _ input: Span<UInt8>, into output: inout ByteBuffer, room: Int
    ) -> (outcome: Outcome, taken: Int) {
        if hasEnded, input.count > 0 {
            switch format {
            case .raw: unsafe inflateResetKeep(stream)
            case .gzip: unsafe inflateReset(stream)
            }
            hasEnded = false
        }
        let given = UInt32(clamping: input.count)
        let room = UInt32(clamping: max(1, room))
        var result = Z_OK
        unsafe input.withUnsafeBufferPointer { input in
            // Proof: zlib reads these bytes and does not write them.
            unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            unsafe stream.pointee.avail_in = given
            unsafe output.appendUninitialized(Int(room)) { space in
                unsafe stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
                unsafe stream.pointee.avail_out = room
                result = unsafe inflate(stream, Z_SYNC_FLUSH)
                return unsafe Int(room - min(room, stream.pointee.avail_out))
            }
            unsafe stream.pointee.next_in = nil
        }
        let left = unsafe stream.pointee.avail_in
        let isFull = unsafe stream.pointee.avail_out == 0
        return (outcome(result, hasMore: left > 0 || isFull), Int(given - min(given, left)))
    }

    private func outcome(_ result: Int32, hasMore: Bool) -> Outcome {
        switch result {
        case Z_OK: return hasMore ? .more : .needsInput
        // There was nothing that could be done.
        case Z_BUF_ERROR: return .needsInput
        case Z_STREAM_END:
            hasEnded = true
            return .ended
        case Z_MEM_ERROR: return .noMemory
        default: return .corrupt
        }
    }
}
