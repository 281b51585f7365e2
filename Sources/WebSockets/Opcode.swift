/// What a frame carries (RFC 6455 §5.2). The values that are not listed are reserved.
public enum Opcode: UInt8, Sendable, BitwiseCopyable {
    /// A further fragment of a message.
    case continuation = 0
    /// A text message, or its first fragment.
    case text = 1
    /// A binary message, or its first fragment.
    case binary = 2
    /// The closing handshake.
    case close = 8
    /// Asks for a Pong.
    case ping = 9
    /// The answer to a Ping.
    case pong = 10
}

/// Which side of the connection an engine plays: a client masks what it sends, a server must not (RFC 6455 §5.1).
public enum Role: UInt8, Sendable, BitwiseCopyable {
    /// Gets masked frames, sends unmasked ones.
    case server
    /// Gets unmasked frames, sends masked ones.
    case client
}
