import Bytes
import CZlib

/// Compresses into DEFLATE data or gzip, step by step, as far as there is room.
///
/// Proof of `@safe`: the `z_stream` is allocated in `init`, freed in `deinit` and never handed out; zlib points back to it, so it may not
/// move.
@safe public final class DeflateStream {
    /// What becomes of the end of the input.
    public enum Flush: Sendable {
        /// More follows, and may be put together with it.
        case none
        /// All that was given can be decompressed; it ends with an empty block, 00 00 FF FF.
        case sync
        /// The same, and what follows refers to nothing before it.
        case full
        /// It is the end.
        case finish

        fileprivate var mode: Int32 {
            switch self {
            case .none: Z_NO_FLUSH
            case .sync: Z_SYNC_FLUSH
            case .full: Z_FULL_FLUSH
            case .finish: Z_FINISH
            }
        }
    }

    private let stream: UnsafeMutablePointer<z_stream>

    /// Nil: there is no memory. Once made, it needs no more.
    ///
    /// - Parameters:
    ///   - level: zlib's, 1 to 9.
    ///   - memoryLevel: how much zlib keeps for finding repetitions, 1 to 9; nil: what suits the window.
    public init?(_ format: CompressionFormat, level: Int32, memoryLevel: Int32? = nil) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: ZlibMemory.emptyStream())
        let memoryLevel = memoryLevel.map { min(max($0, 1), 9) } ?? format.memoryLevel
        // All properties are there: `deinit` frees what was allocated.
        guard unsafe czlib_deflateInit2(stream, min(max(level, 1), 9), format.windowBits, memoryLevel) == Z_OK else {
            return nil
        }
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Bytes of memory that one takes, as zlib's documentation says.
    public static func memory(_ format: CompressionFormat) -> Int {
        1 << Int(format.bits + 2) + 1 << Int(format.memoryLevel + 9)
    }

    /// Forgets everything: something else begins, and refers to nothing before it.
    public func reset() { unsafe deflateReset(stream) }

    /// Takes as much input as there is, and appends what it becomes, as far as there is room.
    ///
    /// - Parameters:
    ///   - flush: what becomes of the end of `input`; the same until it is done.
    ///   - room: bytes, at least 1.
    /// - Returns: whether all is done, and how many bytes of `input` were taken.
    public func step(
        _ input: Span<UInt8>, flush: Flush, into output: inout ByteBuffer, room: Int
    ) -> (isDone: Bool, taken: Int) {
        // zlib counts in 32 bits.
        let given = UInt32(clamping: input.count)
        let isAll = Int(given) == input.count
        let room = UInt32(clamping: max(1, room))
        var result = Z_OK
        unsafe input.withUnsafeBufferPointer { input in
            // Proof: zlib reads these bytes and does not write them.
            unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress)
            unsafe stream.pointee.avail_in = given
            unsafe output.appendUninitialized(Int(room)) { space in
                unsafe stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
                unsafe stream.pointee.avail_out = room
                result = unsafe CZlib.deflate(stream, isAll ? flush.mode : Z_NO_FLUSH)
                return unsafe Int(room - min(room, stream.pointee.avail_out))
            }
            unsafe stream.pointee.next_in = nil
        }
        let left = unsafe stream.pointee.avail_in
        let hasRoom = unsafe stream.pointee.avail_out > 0
        let isDone = flush == .finish ? result == Z_STREAM_END : isAll && left == 0 && hasRoom
        return (isDone, Int(given - min(given, left)))
    }

    /// Takes all of the input, and appends all that it becomes.
    public func deflate(_ input: Span<UInt8>, flush: Flush, into output: inout ByteBuffer) {
        var position = 0
        while true {
            let rest = input.extracting(droppingFirst: position)
            let (isDone, taken) = step(rest, flush: flush, into: &output, room: max(128, rest.count / 4))
            position += taken
            if isDone { return }
        }
    }
}
