import Bytes
import CZlib

/// Compresses messages (RFC 7692 §7.2.1). It holds a quarter of a megabyte with the largest window, half of which is the window.
@safe public struct Deflater: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>
    /// The window that it keeps to.
    public let windowBits: UInt8
    /// Bytes of memory that it holds, as zlib's documentation says.
    public let memory: Int

    /// Bytes of a window of 8 bits.
    private static let smallestWindow = 256

    /// - Parameters:
    ///   - windowBits: 8 to 15.
    ///   - level: zlib's, 1 to 9.
    public init(windowBits: UInt8 = 15, level: Int32 = 1) {
        self.windowBits = min(max(windowBits, 8), 15)
        // zlib has no window of 8 bits for data without its own header: it is kept to in `deflate`.
        let bits = Int32(max(self.windowBits, 9))
        // How much zlib keeps for finding repetitions: with a small window, less is enough.
        let memoryLevel = min(8, bits - 6)
        memory = 1 << Int(bits + 2) + 1 << Int(memoryLevel + 9)
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        // Negative: without the header and the checksum of zlib's own format.
        guard unsafe czlib_deflateInit2(stream, min(max(level, 1), 9), -bits, memoryLevel) == Z_OK else {
            fatalError("out of memory: \(memory) bytes")
        }
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deinitialize(count: 1)
        unsafe stream.deallocate()
    }

    /// Forgets the history: the next message refers to nothing before it.
    public mutating func reset() { unsafe deflateReset(stream) }

    /// Appends the payload of a compressed message. It refers to those before it unless `reset` was called in between.
    public mutating func deflate(_ message: Span<UInt8>, into output: inout ByteBuffer) {
        // RFC 7692 §7.2.3.6; zlib makes nothing of nothing once it has a history.
        guard message.count > 0 else { return output.append(0) }
        if windowBits > 8 {
            run(message, Z_SYNC_FLUSH, &output)
        } else {
            // After a full flush nothing before it is referred to: slices of a window's size keep to the window.
            reset()
            var start = 0
            while start < message.count {
                let end = min(start + Self.smallestWindow, message.count)
                run(message.extracting(start..<end), end == message.count ? Z_SYNC_FLUSH : Z_FULL_FLUSH, &output)
                start = end
            }
        }
        // RFC 7692 §7.2.1: the end of the empty block, 00 00 FF FF, is taken off.
        output.truncate(to: output.count &- 4)
    }

    /// Appends the compressed form of `frame` to an empty buffer. False: it would not be shorter, or `frame` is not one unmasked
    /// frame that is a whole message; what was appended is of no use then.
    public mutating func deflate(frame: Span<UInt8>, into output: inout ByteBuffer) -> Bool {
        guard frame.count > 0, frame[0] == 0x81 || frame[0] == 0x82 else { return false }
        let opcode = frame[0] == 0x81 ? Opcode.text : .binary
        for size in [2, 4, 10] where frame.count > size && FrameWriter.headerSize(payload: frame.count - size) == size {
            var header = ByteBuffer(capacity: size)
            FrameWriter.appendHeader(opcode, payload: frame.count - size, to: &header)
            guard (0..<size).allSatisfy({ header[$0] == frame[$0] }) else { return false }
            FrameWriter.beginFrame(in: &output)
            deflate(frame.extracting(size...), into: &output)
            FrameWriter.finishFrame(opcode, isDeflated: true, in: &output)
            return output.count < frame.count
        }
        return false
    }

    private mutating func run(_ input: Span<UInt8>, _ flush: Int32, _ output: inout ByteBuffer) {
        unsafe input.withUnsafeBufferPointer { input in
            var rest = unsafe input
            repeat {
                // zlib counts in 32 bits.
                let part = unsafe UnsafeBufferPointer(rebasing: rest.prefix(1 << 30))
                unsafe rest = UnsafeBufferPointer(rebasing: rest.dropFirst(part.count))
                // zlib does not write there.
                unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: part.baseAddress)
                unsafe stream.pointee.avail_in = UInt32(clamping: part.count)
                let mode = rest.isEmpty ? flush : Z_NO_FLUSH
                repeat {
                    let room = unsafe max(128, Int(stream.pointee.avail_in) / 4)
                    unsafe output.appendUninitialized(room) { space in
                        unsafe stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
                        unsafe stream.pointee.avail_out = UInt32(clamping: room)
                        _ = unsafe CZlib.deflate(stream, mode)
                        return unsafe room - Int(stream.pointee.avail_out)
                    }
                } while unsafe stream.pointee.avail_out == 0
            } while !rest.isEmpty
            unsafe stream.pointee.next_in = nil
        }
    }
}
