/// What the parser found. Offsets count from the start of the input that was given to `next`; the bytes there are
/// already unmasked and, in a text, already known to be the start of valid UTF-8.
public enum FrameEvent: Sendable, BitwiseCopyable, Equatable {
    /// Nothing more until further bytes come. What lies before the offset has been used.
    case needsMoreBytes
    /// A piece of a message; the whole message when it is first and last.
    case message(MessagePiece)
    /// The same of a compressed message (RFC 7692 §6.2), where the extension was agreed upon: to be decompressed (`Inflater`),
    /// and if it is text, then to be checked (`FrameParser.acceptText`). Has at most `FrameParser.maximumDeflatedPiece` bytes.
    case deflated(MessagePiece)
    /// RFC 6455 §5.5.2: to be answered with a Pong of the same payload.
    case ping(offset: Int, count: Int)
    /// RFC 6455 §5.5.3.
    case pong(offset: Int, count: Int)
    /// RFC 6455 §5.5.1: `code` is `CloseCode.noStatus` when the frame carried none. Nothing follows it.
    case close(code: CloseCode, reasonOffset: Int, reasonCount: Int)
    /// The connection is to be failed (RFC 6455 §7.1.7). Nothing follows it.
    case violation(ProtocolViolation)
}

/// A run of payload bytes of one message.
public struct MessagePiece: Sendable, BitwiseCopyable, Equatable {
    /// Where the piece begins in the input.
    public let offset: Int
    /// Bytes of the piece.
    public let count: Int
    /// Whether the message is text.
    public let isText: Bool
    /// No piece of this message came before.
    public let isFirst: Bool
    /// The message ends with this piece.
    public let isLast: Bool

    /// A piece of a message.
    @inlinable
    public init(offset: Int, count: Int, isText: Bool, isFirst: Bool, isLast: Bool) {
        self.offset = offset
        self.count = count
        self.isText = isText
        self.isFirst = isFirst
        self.isLast = isLast
    }
}
