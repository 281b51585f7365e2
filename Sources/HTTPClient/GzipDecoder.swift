import Bytes
import Compression

/// Undoes gzip (RFC 1952), piece by piece and never more at once than a piece: a few bytes may stand for a thousand times as many.
final class GzipDecoder {
    enum Step {
        /// `piece` is there.
        case piece
        /// All that came has been decoded.
        case needsInput
        /// What came is no gzip.
        case failed
        /// There is no memory to go on.
        case noMemory
    }

    /// Bytes of one piece.
    static let pieceSize = 16 << 10
    /// What zlib and this keep: a window and its tables, and a piece.
    static let memory = CompressionFormat.gzip.inflatingMemory + pieceSize

    private let stream: InflateStream
    private var input = ByteBuffer()
    /// What the last step has decoded.
    private(set) var piece = ByteBuffer(capacity: GzipDecoder.pieceSize)

    /// Nil: no memory.
    init?() {
        guard let stream = InflateStream(.gzip) else { return nil }
        self.stream = stream
    }

    /// The trailer of the last member was right: the body may end here.
    var isWhole: Bool { stream.hasEnded }

    /// Bytes that wait to be decoded.
    var waiting: Int { input.count }

    func append(_ bytes: Span<UInt8>) { input.append(bytes) }

    /// Decodes up to one piece.
    func next() -> Step {
        piece.removeAll()
        while !input.isEmpty || !isWhole {
            let (outcome, taken) = stream.step(input.span, into: &piece, room: Self.pieceSize)
            input.consume(taken)
            if input.isEmpty { input.release() }
            switch outcome {
            case .corrupt: return .failed
            case .noMemory: return .noMemory
            case .needsInput where piece.isEmpty: return .needsInput
            case .more, .needsInput, .ended: if !piece.isEmpty { return .piece }
            }
        }
        return .needsInput
    }
}
