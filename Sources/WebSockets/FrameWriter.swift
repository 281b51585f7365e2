import Bytes

/// The sending half (RFC 6455 §5): frames appended to a buffer. A client gives a fresh, unpredictable `mask` for each
/// frame (RFC 6455 §5.3); a server gives none.
public enum FrameWriter {
    /// The longest header of an unmasked frame: two bytes and a 64-bit length.
    public static var maximumUnmaskedHeaderSize: Int { 10 }
    /// The longest reason of a Close frame, in bytes (RFC 6455 §5.5: 125 with the code).
    public static var maximumReasonSize: Int { 123 }

    /// Bytes of the header of a frame with `payload` bytes.
    @inlinable
    public static func headerSize(payload: Int, masked: Bool = false) -> Int {
        (payload < 126 ? 2 : payload < 65536 ? 4 : 10) &+ (masked ? 4 : 0)
    }

    /// Appends a header; the payload, masked with `mask` if there is one, is the caller's to append.
    /// - Parameter isDeflated: the frame begins a compressed message (RFC 7692 §6.1).
    @inlinable
    public static func appendHeader(
        _ opcode: Opcode, payload: Int, isFinal: Bool = true, isDeflated: Bool = false, mask: UInt32? = nil,
        to buffer: inout ByteBuffer
    ) {
        let bits: UInt8 = (isFinal ? 0x80 : 0) | (isDeflated ? 0x40 : 0)
        let first = UInt16(opcode.rawValue | bits) << 8 | (mask == nil ? 0 : 0x80)
        if payload < 126 {
            buffer.append(bigEndian: first | UInt16(truncatingIfNeeded: payload))
        } else if payload < 65536 {
            buffer.append(bigEndian: first | 126)
            buffer.append(bigEndian: UInt16(truncatingIfNeeded: payload))
        } else {
            buffer.append(bigEndian: first | 127)
            buffer.append(bigEndian: UInt64(payload))
        }
        if let mask { buffer.append(littleEndian: mask) }
    }

    /// Appends a whole frame: a message, a fragment of one, a Ping or a Pong.
    @inlinable
    public static func append(
        _ opcode: Opcode, _ payload: Span<UInt8>, isFinal: Bool = true, isDeflated: Bool = false, mask: UInt32? = nil,
        to buffer: inout ByteBuffer
    ) {
        let count = payload.count
        buffer.reserve(count &+ 14)
        appendHeader(
            opcode, payload: count, isFinal: isFinal, isDeflated: isDeflated, mask: mask, to: &buffer)
        guard count > 0 else { return }
        unsafe buffer.appendUninitialized(count) { target in
            unsafe payload.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
            if let mask { unsafe Masking.apply(mask, to: target) }
            return count
        }
    }

    /// Appends a Close frame (RFC 6455 §5.5.1). A code that must not be sent makes an empty one; a reason that is too
    /// long is cut between two characters.
    public static func appendClose(
        _ code: CloseCode, reason: Span<UInt8>, mask: UInt32? = nil, to buffer: inout ByteBuffer
    ) {
        guard code.mayBeSent else {
            appendHeader(.close, payload: 0, mask: mask, to: &buffer)
            return
        }
        var count = min(reason.count, maximumReasonSize)
        while count > 0 && count < reason.count && reason[count] & 0xC0 == 0x80 { count -= 1 }
        var payload = ByteBuffer(capacity: 2 + count)
        payload.append(bigEndian: code.rawValue)
        payload.append(reason.extracting(0..<count))
        append(.close, payload.span, mask: mask, to: &buffer)
    }

    /// Makes room for the longest header in front of a payload whose length is not known yet. The buffer must be empty;
    /// the payload is appended to it, then `finishFrame` is called.
    @inlinable
    public static func beginFrame(in buffer: inout ByteBuffer) {
        precondition(buffer.isEmpty, "a frame is begun in an empty buffer")
        buffer.append("0123456789")
    }

    /// Writes the header of the frame that `beginFrame` began directly in front of its payload.
    @inlinable
    public static func finishFrame(_ opcode: Opcode, isDeflated: Bool = false, in buffer: inout ByteBuffer) {
        let payload = buffer.count &- maximumUnmaskedHeaderSize
        precondition(payload >= 0, "a frame that was not begun is finished")
        let size = headerSize(payload: payload)
        buffer.consume(maximumUnmaskedHeaderSize &- size)
        buffer[0] = opcode.rawValue | (isDeflated ? 0xC0 : 0x80)
        switch size {
        case 2:
            buffer[1] = UInt8(truncatingIfNeeded: payload)
        case 4:
            buffer[1] = 126
            buffer[2] = UInt8(truncatingIfNeeded: payload >> 8)
            buffer[3] = UInt8(truncatingIfNeeded: payload)
        default:
            buffer[1] = 127
            for index in 0..<8 { buffer[2 &+ index] = UInt8(truncatingIfNeeded: payload >> (56 &- 8 &* index)) }
        }
    }
}
