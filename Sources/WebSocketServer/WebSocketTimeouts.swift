/// Times and bounds of a WebSocket connection, beside the engine's `WebSocketLimits`.
public struct WebSocketTimeouts: Sendable {
    /// Seconds of the one-second tick from one Pong (or the opening) to the next Ping. Proxies close what is silent for a
    /// minute, some for 30 seconds.
    public var pingInterval = 25
    /// Seconds that a Ping waits for its Pong before the connection is closed 3012.
    public var pongTimeout = 10
    /// Seconds that a Close frame waits for the peer's before the connection is dropped.
    public var closeTimeout = 5
    /// Seconds that a list that was begun may take until it is taken whole; then the connection is closed 3008.
    public var listTimeout = 15
    /// Bytes of unsent output above which nothing more is read from a connection: what one that asks and does not listen
    /// can make the server hold.
    public var maximumPendingOutput = 64 << 10
    /// The so-many-th bad message in `badMessageWindow` seconds closes 3509.
    public var maximumBadMessages = 10
    public var badMessageWindow = 60

    public init() {}
}
