import Bytes
import Compression

/// Decompresses messages (RFC 7692 §7.2.2), never further than a bound: what a few bytes can become is decided here and not by
/// who sent them.
///
/// From the first message on it holds 7 KiB and the window: a connection has one only while it needs its history.
public struct Inflater: ~Copyable {
    /// What the next bytes of a message gave.
    public enum Outcome: Sendable, BitwiseCopyable {
        /// All of it was taken.
        case taken
        /// The message would be longer than its bound.
        case tooBig
        /// The bytes are no DEFLATE data, or the message ends in the middle of a block.
        case corrupt
        /// There is no memory for the window. The message is lost, and with it the history.
        case noMemory
    }

    private let format: CompressionFormat
    /// Made with the first message.
    private var stream: InflateStream?

    /// - Parameter windowBits: the peer's window, 8 to 15. At least 9 are kept: zlib, asked for 8, used to write with 9, and so
    ///   do those who stand on it.
    public init(windowBits: UInt8 = 15) { format = .raw(windowBits: windowBits) }

    /// Bytes of memory that it may hold, as zlib's documentation says.
    public var memory: Int { format.inflatingMemory }

    /// Forgets the history: for the next message of a peer who does without.
    public mutating func reset() { stream?.reset() }

    /// Appends what the next bytes of a message give.
    ///
    /// - Parameters:
    ///   - isLast: the message ends with these bytes.
    ///   - message: what the message has given so far; empty at its beginning.
    ///   - limit: bytes of a whole message. `message` has at most one more when it is `tooBig`.
    public mutating func inflate(
        _ input: Span<UInt8>, isLast: Bool, limit: Int, into message: inout ByteBuffer
    ) -> Outcome {
        guard let stream = stream ?? InflateStream(format) else { return .noMemory }
        self.stream = stream
        var outcome = Outcome.taken
        if input.count > 0 { outcome = run(stream, input, limit, &message) }
        guard isLast, outcome == .taken else { return outcome }
        let tail: InlineArray<4, UInt8> = [0, 0, 0xFF, 0xFF]
        outcome = run(stream, tail.span, limit, &message)
        // RFC 7692 §7.2.2: with what its sender has taken off, a message ends between two blocks.
        guard outcome == .taken, !stream.isBetweenBlocks else { return outcome }
        return .corrupt
    }

    private func run(
        _ stream: InflateStream, _ input: Span<UInt8>, _ limit: Int, _ message: inout ByteBuffer
    ) -> Outcome {
        var position = 0
        while true {
            let rest = input.extracting(droppingFirst: position)
            // One byte of room more than the bound: who fills it is over it.
            let room = min(max(0, limit - message.count), max(512, 4 * rest.count)) + 1
            let (outcome, taken) = stream.step(rest, into: &message, room: room)
            position += taken
            if message.count > limit { return .tooBig }
            switch outcome {
            case .more: break
            case .needsInput: return .taken
            // A block that says it is the last one (RFC 7692 §7.2.3.4): others may follow, and may refer to what was.
            case .ended: if position == input.count { return .taken }
            case .corrupt: return .corrupt
            case .noMemory: return .noMemory
            }
        }
    }
}
