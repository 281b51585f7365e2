/// The receiving half of a connection (RFC 6455 §5 to §8): bytes in, events out, pulled by `next`.
///
///                     ┌──────────── header of a control frame, whole payload there ──▶ ping, pong
///     between frames ─┼── header of a data frame ──▶ inside a payload ──▶ message pieces ──▶ between frames
///                     ├── Close ──▶ ended
///                     └── violation ──▶ ended            (ended: what follows is dropped)
///
/// A payload is handed out as it arrives: the parser holds no bytes. Headers and control frames are left in the input
/// until they are complete, which is at most 139 bytes. A violation is reported at the first byte that shows it, also in
/// the middle of a frame. Plain data of 32 bytes: a server keeps one per connection in its slab.
///
/// The one extension is permessage-deflate: where it was agreed upon, RSV1 may stand on the first frame of a message, whose
/// pieces then are events of their own. Any other reserved bit is a violation; the check stands in one place (`check`).
@safe public struct FrameParser: Sendable, BitwiseCopyable {
    /// Payload bytes of the open data frame that have not come yet.
    @usableFromInline var remaining: UInt64 = 0
    /// Payload bytes that the open message has announced so far.
    @usableFromInline var messageLength: UInt64 = 0
    /// The open frame's key, advanced to its next byte.
    @usableFromInline var key: UInt32 = 0
    /// Frames of the open message.
    @usableFromInline var frames: UInt32 = 0
    @usableFromInline var utf8 = UTF8Validator()
    @usableFromInline var state: State = []
    /// Which side it reads for.
    public let role: Role

    @usableFromInline
    struct State: OptionSet, Sendable, BitwiseCopyable {
        @usableFromInline let rawValue: UInt8
        @inlinable init(rawValue: UInt8) { self.rawValue = rawValue }
        /// A data frame's header was read and its payload is not complete.
        @inlinable static var insideFrame: State { State(rawValue: 1) }
        /// The open frame is the last one of its message.
        @inlinable static var final: State { State(rawValue: 2) }
        /// A message has begun and its last frame has not ended.
        @inlinable static var messageOpen: State { State(rawValue: 4) }
        /// The open message is a text.
        @inlinable static var text: State { State(rawValue: 8) }
        /// A piece of the open message was handed out.
        @inlinable static var pieceGiven: State { State(rawValue: 16) }
        /// Close or violation.
        @inlinable static var ended: State { State(rawValue: 32) }
        /// permessage-deflate was agreed upon.
        @inlinable static var deflates: State { State(rawValue: 64) }
        /// The open message is compressed.
        @inlinable static var deflated: State { State(rawValue: 128) }
    }

    /// The longest piece of a compressed message: what becomes of one is at most half a megabyte, so that whoever takes them can
    /// stop in time.
    @inlinable
    public static var maximumDeflatedPiece: Int { 512 }

    /// A parser at the beginning of a connection.
    /// - Parameter deflates: permessage-deflate was agreed upon (RFC 7692).
    @inlinable
    public init(role: Role, deflates: Bool = false) {
        self.role = role
        if deflates { state = .deflates }
    }

    /// A Close frame or a violation was reported: there will be no event any more.
    @inlinable
    public var hasEnded: Bool { state.contains(.ended) }

    /// A message has begun and not ended.
    @inlinable
    public var isInsideMessage: Bool { state.contains(.messageOpen) }

    /// A piece of a compressed message was handed out, and its last one was not: whatever lies in front of that, control frames or
    /// a head that is not complete.
    @inlinable
    public var isInsideDeflatedMessage: Bool { state.isSuperset(of: [.deflated, .pieceGiven]) }

    /// The next event of `input` from `offset` on, which is moved behind what was used. To be called until it answers
    /// `needsMoreBytes`; what then lies behind `offset` is to be given again, followed by the bytes that come next.
    @inlinable
    public mutating func next(
        _ input: inout MutableSpan<UInt8>, _ offset: inout Int, _ limits: WebSocketLimits
    ) -> FrameEvent {
        if let event = takeWholeMessage(&input, &offset, limits) { return event }
        while true {
            if state.contains(.insideFrame) {
                if let event = takePayload(&input, &offset) { return event }
                if state.contains(.insideFrame) { return .needsMoreBytes }
            }
            if let event = takeHeader(&input, &offset, limits) { return event }
        }
    }

    /// The common case at once: a client's message of less than 126 bytes in one frame, all of it there. Nil: anything else.
    @inlinable @inline(__always)
    mutating func takeWholeMessage(
        _ input: inout MutableSpan<UInt8>, _ offset: inout Int, _ limits: WebSocketLimits
    ) -> FrameEvent? {
        let available = input.count &- offset
        guard state.subtracting([.text, .deflates]).isEmpty, role == .server, available >= 6 else { return nil }
        let first = input[offset]
        let second = input[offset &+ 1]
        guard first == 0x81 || first == 0x82, second >= 0x80, second < 0xFE else { return nil }
        let count = Int(second & 0x7F)
        guard available >= 6 &+ count, count <= limits.maximumMessageSize, limits.maximumFramesPerMessage > 0 else {
            return nil
        }
        let start = offset &+ 6
        let isText = first == 0x81
        let isValid = unsafe input.withUnsafeMutableBytes { bytes in
            let key = unsafe UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start &- 4, as: UInt32.self))
            let payload = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[start..<(start &+ count)])
            let seen = unsafe Masking.apply(key, to: payload)
            if !isText || seen & 0x8080_8080_8080_8080 == 0 { return true }
            var validator = UTF8Validator()
            return unsafe validator.accept(UnsafeRawBufferPointer(payload)) && validator.isBetweenCharacters
        }
        offset = start &+ count
        guard isValid else { return fail(.invalidUTF8) }
        return .message(MessagePiece(offset: start, count: count, isText: isText, isFirst: true, isLast: true))
    }

    /// Payload that is there. Nil: nothing to report (no byte there, or an empty fragment).
    @inlinable
    mutating func takePayload(_ input: inout MutableSpan<UInt8>, _ offset: inout Int) -> FrameEvent? {
        var count = Int(min(remaining, UInt64(input.count &- offset)))
        if count == 0 && remaining > 0 { return nil }
        let isDeflated = state.contains(.deflated)
        if isDeflated { count = min(count, Self.maximumDeflatedPiece) }
        let start = offset
        offset &+= count
        remaining &-= UInt64(count)
        let isLast = remaining == 0 && state.contains(.final)
        // Compressed text is looked at when it is decompressed.
        let isText = state.intersection([.text, .deflated]) == .text
        if count > 0 && !unmask(&input, start, count, isText: isText) { return fail(.invalidUTF8) }
        if remaining == 0 { state.remove(.insideFrame) }
        if isLast && isText && !utf8.isBetweenCharacters { return fail(.invalidUTF8) }
        guard count > 0 || isLast else { return nil }
        let isFirst = !state.contains(.pieceGiven)
        if isLast {
            state.subtract([.messageOpen, .pieceGiven, .deflated])
        } else {
            state.insert(.pieceGiven)
        }
        if isDeflated {
            let isText = state.contains(.text)
            return .deflated(
                MessagePiece(offset: start, count: count, isText: isText, isFirst: isFirst, isLast: isLast))
        }
        return .message(MessagePiece(offset: start, count: count, isText: isText, isFirst: isFirst, isLast: isLast))
    }

    /// Unmasks and, in a text, validates. False: not UTF-8.
    @inlinable
    mutating func unmask(_ input: inout MutableSpan<UInt8>, _ start: Int, _ count: Int, isText: Bool) -> Bool {
        let masked = role == .server
        let key = key
        if masked { self.key = Masking.advance(key, by: count) }
        let checksASCII = utf8.isBetweenCharacters
        var validator = utf8
        let valid = unsafe input.withUnsafeMutableBytes { bytes in
            let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: bytes[start..<(start &+ count)])
            if masked {
                let seen = unsafe Masking.apply(key, to: piece)
                if !isText || (checksASCII && seen & 0x8080_8080_8080_8080 == 0) { return true }
            }
            return unsafe !isText || validator.accept(UnsafeRawBufferPointer(piece))
        }
        utf8 = validator
        return valid
    }

    /// The next frame's header, and its payload if it is a control frame. Nil: a data frame has begun.
    @inlinable
    mutating func takeHeader(
        _ input: inout MutableSpan<UInt8>, _ offset: inout Int, _ limits: WebSocketLimits
    ) -> FrameEvent? {
        if state.contains(.ended) {
            offset = input.count
            return .needsMoreBytes
        }
        let available = input.count &- offset
        guard available > 0 else { return .needsMoreBytes }
        let first = input[offset]
        if let violation = check(first) { return fail(violation) }
        guard available > 1 else { return .needsMoreBytes }
        let second = input[offset &+ 1]
        let isMasked = second & 0x80 != 0
        if isMasked != (role == .server) { return fail(isMasked ? .maskedServerFrame : .unmaskedClientFrame) }
        var length = UInt64(second & 0x7F)
        let isControl = first & 0x08 != 0
        if isControl && length > 125 { return fail(.controlFrameTooLong) }
        var headerSize = 2
        if length >= 126 {
            headerSize = length == 126 ? 4 : 10
            guard available >= headerSize else { return .needsMoreBytes }
            length = 0
            for index in (offset &+ 2)..<(offset &+ headerSize) { length = length << 8 | UInt64(input[index]) }
            if length >> 63 != 0 { return fail(.lengthHighBit) }
            if length < (headerSize == 4 ? 126 : 65536) { return fail(.lengthNotMinimal) }
        }
        if !isControl {
            let size = messageLengthAfter(first, length)
            if size > UInt64(limits.maximumMessageSize), isTooBig(size, first, limits) { return fail(.messageTooBig) }
            if framesAfter(first) > limits.maximumFramesPerMessage { return fail(.tooManyFrames) }
        }
        let keyOffset = offset &+ headerSize
        if isMasked { headerSize &+= 4 }
        guard available >= headerSize else { return .needsMoreBytes }
        if isMasked {
            key =
                UInt32(input[keyOffset]) | UInt32(input[keyOffset &+ 1]) << 8
                | UInt32(input[keyOffset &+ 2]) << 16 | UInt32(input[keyOffset &+ 3]) << 24
        }
        if isControl { return takeControl(&input, &offset, first & 0x0F, headerSize, Int(length)) }
        offset &+= headerSize
        begin(first, length)
        return nil
    }

    /// What the first byte of a frame alone can do wrong.
    @inlinable
    func check(_ first: UInt8) -> ProtocolViolation? {
        if first & 0x70 != 0, !beginsDeflatedMessage(first) { return .reservedBit }
        switch first & 0x0F {
        case 0: return state.contains(.messageOpen) ? nil : .continuationWithoutMessage
        case 1, 2: return state.contains(.messageOpen) ? .messageInsideMessage : nil
        case 8, 9, 10: return first & 0x80 == 0 ? .fragmentedControlFrame : nil
        default: return .reservedOpcode
        }
    }

    /// RFC 7692 §6.1: RSV1 stands on the first frame of a message, which is text or binary.
    @usableFromInline
    func beginsDeflatedMessage(_ first: UInt8) -> Bool {
        state.contains(.deflates) && first & 0x70 == 0x40 && (first & 0x0F == 1 || first & 0x0F == 2)
    }

    /// A message whose frames have `size` bytes, more than a message may have. What is compressed is judged by what becomes of
    /// it; but incompressible bytes grow by an eighth at most (RFC 1951 §3.2.6: nine bits for some), and by the ends of blocks.
    @usableFromInline
    func isTooBig(_ size: UInt64, _ first: UInt8, _ limits: WebSocketLimits) -> Bool {
        let isDeflated = first & 0x0F == 0 ? state.contains(.deflated) : first & 0x40 != 0
        return !isDeflated || size > UInt64(limits.maximumMessageSize) + UInt64(limits.maximumMessageSize) / 8 + 1024
    }

    @inlinable
    func messageLengthAfter(_ first: UInt8, _ length: UInt64) -> UInt64 {
        first & 0x0F == 0 ? messageLength &+ length : length
    }

    @inlinable
    func framesAfter(_ first: UInt8) -> Int {
        first & 0x0F == 0 ? Int(frames) &+ 1 : 1
    }

    /// A data frame begins.
    @inlinable
    mutating func begin(_ first: UInt8, _ length: UInt64) {
        messageLength = messageLengthAfter(first, length)
        frames = UInt32(truncatingIfNeeded: framesAfter(first))
        remaining = length
        switch first & 0x0F {
        case 0: break
        case 1:
            utf8 = UTF8Validator()
            state.insert(.text)
        default: state.remove(.text)
        }
        state.formUnion([.insideFrame, .messageOpen])
        if first & 0x80 != 0 { state.insert(.final) } else { state.remove(.final) }
        if first & 0x40 != 0 { state.insert(.deflated) }
    }

    /// Takes the next bytes that a compressed text message has become. False: the text is not UTF-8.
    public mutating func acceptText(_ inflated: Span<UInt8>, isLast: Bool) -> Bool {
        utf8.accept(inflated) && (!isLast || utf8.isBetweenCharacters)
    }

    /// A control frame: taken whole or not at all.
    @usableFromInline
    mutating func takeControl(
        _ input: inout MutableSpan<UInt8>, _ offset: inout Int, _ opcode: UInt8, _ headerSize: Int, _ count: Int
    ) -> FrameEvent {
        guard input.count - offset >= headerSize + count else { return .needsMoreBytes }
        let start = offset + headerSize
        offset = start + count
        if role == .server && count > 0 {
            let key = key
            unsafe input.withUnsafeMutableBytes { bytes in
                _ = unsafe Masking.apply(
                    key, to: UnsafeMutableRawBufferPointer(rebasing: bytes[start..<(start + count)]))
            }
        }
        switch opcode {
        case Opcode.ping.rawValue: return .ping(offset: start, count: count)
        case Opcode.pong.rawValue: return .pong(offset: start, count: count)
        default: return close(input.span, start, count)
        }
    }

    /// RFC 6455 §5.5.1 and §7.4: a Close frame's payload.
    private mutating func close(_ input: Span<UInt8>, _ start: Int, _ count: Int) -> FrameEvent {
        if count == 0 {
            state.insert(.ended)
            return .close(code: .noStatus, reasonOffset: start, reasonCount: 0)
        }
        if count == 1 { return fail(.closePayloadOfOneByte) }
        let code = CloseCode(rawValue: UInt16(input[start]) << 8 | UInt16(input[start + 1]))
        guard code.mayBeSent else { return fail(.invalidCloseCode) }
        var validator = UTF8Validator()
        guard validator.accept(input.extracting((start + 2)..<(start + count))), validator.isBetweenCharacters else {
            return fail(.invalidUTF8)
        }
        state.insert(.ended)
        return .close(code: code, reasonOffset: start + 2, reasonCount: count - 2)
    }

    @usableFromInline
    mutating func fail(_ violation: ProtocolViolation) -> FrameEvent {
        state.insert(.ended)
        state.remove(.insideFrame)
        return .violation(violation)
    }
}
