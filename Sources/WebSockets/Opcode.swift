/// What a frame carries (RFC 6455 §5.2). The values that are not listed are reserved.
public enum Opcode: UInt8, Sendable, BitwiseCopyable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10
}

/// Which side of the connection an engine plays: a client masks what it sends, a server must not (RFC 6455 §5.1).
public enum Role: UInt8, Sendable, BitwiseCopyable {
    case server
    case client
}
