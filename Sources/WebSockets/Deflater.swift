import Bytes
import Compression

/// Compresses messages (RFC 7692 §7.2.1). From the first message on it holds a quarter of a megabyte with the largest window, half of
/// which is the window.
public struct Deflater: ~Copyable {
    /// The window that it keeps to.
    public let windowBits: UInt8
    private let level: Int32
    /// Made with the first message.
    private var stream: DeflateStream?

    /// Bytes of a window of 8 bits.
    private static let smallestWindow = 256

    /// - Parameters:
    ///   - windowBits: 8 to 15.
    ///   - level: zlib's, 1 to 9.
    public init(windowBits: UInt8 = 15, level: Int32 = 1) {
        self.windowBits = min(max(windowBits, 8), 15)
        self.level = level
    }

    // zlib has no window of 8 bits for data without its own header: it is kept to in `deflate`.
    private var format: CompressionFormat { .raw(windowBits: windowBits) }

    /// Bytes of memory that it may hold, as zlib's documentation says.
    public var memory: Int { DeflateStream.memory(format) }

    /// Forgets the history: the next message refers to nothing before it.
    public mutating func reset() { stream?.reset() }

    /// Appends the payload of a compressed message. It refers to those before it unless `reset` was called in between.
    ///
    /// - Returns: false: there is no memory for it, and nothing was appended.
    public mutating func deflate(_ message: Span<UInt8>, into output: inout ByteBuffer) -> Bool {
        guard let stream = stream ?? DeflateStream(format, level: level) else { return false }
        self.stream = stream
        // RFC 7692 §7.2.3.6; zlib makes nothing of nothing once it has a history.
        guard message.count > 0 else {
            output.append(0)
            return true
        }
        if windowBits > 8 {
            stream.deflate(message, flush: .sync, into: &output)
        } else {
            // After a full flush nothing before it is referred to: slices of a window's size keep to the window.
            stream.reset()
            var start = 0
            while start < message.count {
                let end = min(start + Self.smallestWindow, message.count)
                stream.deflate(
                    message.extracting(start..<end), flush: end == message.count ? .sync : .full, into: &output)
                start = end
            }
        }
        // RFC 7692 §7.2.1: the end of the empty block, 00 00 FF FF, is taken off.
        output.truncate(to: output.count &- 4)
        return true
    }

    /// Appends the compressed form of `frame` to an empty buffer. False: it would not be shorter, `frame` is not one unmasked frame
    /// that is a whole message, or there is no memory; what was appended is of no use then.
    public mutating func deflate(frame: Span<UInt8>, into output: inout ByteBuffer) -> Bool {
        guard frame.count > 0, frame[0] == 0x81 || frame[0] == 0x82 else { return false }
        let opcode = frame[0] == 0x81 ? Opcode.text : .binary
        for size in [2, 4, 10] where frame.count > size && FrameWriter.headerSize(payload: frame.count - size) == size {
            var header = ByteBuffer(capacity: size)
            FrameWriter.appendHeader(opcode, payload: frame.count - size, to: &header)
            guard (0..<size).allSatisfy({ header[$0] == frame[$0] }) else { return false }
            FrameWriter.beginFrame(in: &output)
            guard deflate(frame.extracting(size...), into: &output) else { return false }
            FrameWriter.finishFrame(opcode, isDeflated: true, in: &output)
            return output.count < frame.count
        }
        return false
    }
}
