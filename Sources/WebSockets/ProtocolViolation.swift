/// What a peer did wrong. Each has a name that can be counted and the code that the connection is failed with.
public enum ProtocolViolation: UInt8, Error, Sendable, BitwiseCopyable, CaseIterable {
    /// RFC 6455 §5.1.
    case unmaskedClientFrame
    /// RFC 6455 §5.1.
    case maskedServerFrame
    /// RFC 6455 §5.2: a reserved bit without an extension that gives it a meaning; RFC 7692 §6.1: the first one of a frame that
    /// does not begin a message.
    case reservedBit
    /// RFC 6455 §5.2.
    case reservedOpcode
    /// RFC 6455 §5.4: a continuation without a message to continue.
    case continuationWithoutMessage
    /// RFC 6455 §5.4: a new message begins inside of a fragmented one.
    case messageInsideMessage
    /// RFC 6455 §5.5.
    case fragmentedControlFrame
    /// RFC 6455 §5.5: more than 125 bytes.
    case controlFrameTooLong
    /// RFC 6455 §5.2: the length is spelled with more bytes than it needs.
    case lengthNotMinimal
    /// RFC 6455 §5.2: the most significant bit of a 64-bit length is set.
    case lengthHighBit
    /// RFC 6455 §5.5.1: a Close frame with one byte of payload.
    case closePayloadOfOneByte
    /// RFC 6455 §7.4.
    case invalidCloseCode
    /// RFC 6455 §8.1.
    case invalidUTF8
    /// RFC 7692 §7.2.2: a compressed message that can't be decompressed. 1007, as for text that is not UTF-8: the frames are
    /// in order, and the message is not what it says.
    case invalidDeflate
    /// `WebSocketLimits.maximumMessageSize`; of a compressed message, what it becomes.
    case messageTooBig
    /// `WebSocketLimits.maximumFramesPerMessage`.
    case tooManyFrames

    /// The code of the Close frame that answers it (RFC 6455 §7.4.1).
    public var closeCode: CloseCode {
        switch self {
        case .invalidUTF8, .invalidDeflate: .invalidData
        case .messageTooBig, .tooManyFrames: .messageTooBig
        default: .protocolError
        }
    }

    /// The reason of the Close frame that answers it: at most 123 bytes.
    public var reason: StaticString {
        switch self {
        case .unmaskedClientFrame: "a client's frames must be masked"
        case .maskedServerFrame: "a server's frames must not be masked"
        case .reservedBit: "a reserved bit is set that means nothing here"
        case .reservedOpcode: "the opcode is reserved"
        case .continuationWithoutMessage: "there is no message to continue"
        case .messageInsideMessage: "a fragmented message has not ended"
        case .fragmentedControlFrame: "a control frame must not be fragmented"
        case .controlFrameTooLong: "a control frame carries at most 125 bytes"
        case .lengthNotMinimal: "the length must use the fewest bytes"
        case .lengthHighBit: "the highest bit of a length must be 0"
        case .closePayloadOfOneByte: "a close frame carries no payload or at least a code"
        case .invalidCloseCode: "the close code must not be sent"
        case .invalidUTF8: "the text is not UTF-8"
        case .invalidDeflate: "the message can't be decompressed"
        case .messageTooBig: "the message is too big"
        case .tooManyFrames: "the message has too many frames"
        }
    }
}
