import Bytes
import CZlib

/// Undoes gzip (RFC 1952), piece by piece and never more at once than a piece: a few bytes may stand for a thousand times as many.
@safe final class GzipDecoder {
    enum Step {
        /// `piece` is there.
        case piece
        /// All that came has been decoded.
        case needsInput
        /// What came is no gzip.
        case failed
    }

    /// Bytes of one piece.
    static let pieceSize = 16 << 10
    /// What zlib and this keep, as far as it is known: a window of 32 KiB and its tables, and a piece.
    static let memory = 48 << 10 + pieceSize

    private let stream: UnsafeMutablePointer<z_stream>
    private var input = ByteBuffer()
    /// What the last step has decoded.
    private(set) var piece = ByteBuffer(capacity: GzipDecoder.pieceSize)
    /// The trailer of the last member was right: the body may end here.
    private(set) var isWhole = false

    /// Nil: no memory.
    init?() {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // 15 bits of window; 16 more ask for the gzip wrapper, and its checksum.
        guard unsafe czlib_inflateInit2(stream, 15 + 16) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Bytes that wait to be decoded.
    var waiting: Int { input.count }

    func append(_ bytes: Span<UInt8>) { input.append(bytes) }

    /// Decodes up to one piece.
    func next() -> Step {
        piece.removeAll()
        while true {
            if isWhole {
                guard !input.isEmpty else { return .needsInput }
                // Another member (RFC 1952 §2.2).
                guard unsafe inflateReset(stream) == Z_OK else { return .failed }
                isWhole = false
            }
            switch inflate() {
            case Z_STREAM_END: isWhole = true
            // Z_BUF_ERROR: nothing could be done, input is missing.
            case Z_OK, Z_BUF_ERROR: break
            default: return .failed
            }
            if !piece.isEmpty { return .piece }
            guard isWhole else { return .needsInput }
        }
    }

    private func inflate() -> Int32 {
        var outcome = Z_OK
        let given = UInt32(clamping: input.count)
        var left: UInt32 = 0
        unsafe input.withUnsafeMutableBytes { input in
            unsafe piece.appendUninitialized(Self.pieceSize) { room in
                unsafe stream.pointee.next_in = input.assumingMemoryBound(to: UInt8.self).baseAddress
                unsafe stream.pointee.avail_in = given
                unsafe stream.pointee.next_out = room.assumingMemoryBound(to: UInt8.self).baseAddress
                unsafe stream.pointee.avail_out = UInt32(clamping: Self.pieceSize)
                unsafe outcome = CZlib.inflate(stream, Z_NO_FLUSH)
                unsafe left = stream.pointee.avail_in
                return unsafe Self.pieceSize - Int(stream.pointee.avail_out)
            }
        }
        input.consume(Int(given - min(left, given)))
        if input.isEmpty { input.release() }
        return outcome
    }
}
