/// Every bound of the HTTP/1.1 engine, in one place. The defaults are those of Cabstand's own servers.
public struct HTTP1Limits: Sendable {
    /// Bytes of a whole head: request line, fields, and the empty line. More is 431. At most 65,535, because the head's
    /// table holds 16-bit offsets.
    public var headBytes = 16 * 1024
    /// Bytes of the request target. More is 414.
    public var targetBytes = 8 * 1024
    /// Field lines of a head, and of a trailer section. More is 431.
    public var fields = 100
    /// Bytes of a method name: the longest registered one (UPDATEREDIRECTREF) has 17.
    public var methodBytes = 32
    /// Bytes of all chunk extensions of one body: nobody uses them, so more than this is an attack on the parser.
    public var chunkExtensionBytes = 4 * 1024
    /// Bytes of a trailer section.
    public var trailerBytes = 8 * 1024
    /// Empty lines in front of a request line that are skipped (RFC 9112 §2.2 asks for at least one).
    public var leadingEmptyLines = 2

    /// The defaults.
    public init() {}
}
