/// Times and bounds of a WebSocket connection, beside the engine's `WebSocketLimits`. Times are counted by a tick of one second; a part
/// of a second counts as a whole one.
public struct WebSocketTimeouts: Sendable {
    /// From one Pong (or the opening) to the next Ping. Proxies close what is silent for a
    /// minute, some for 30 seconds; it is 62 seconds at most.
    public var pingInterval: Duration = .seconds(25)
    /// How long a Ping waits for its Pong before the connection is closed 3012.
    public var pongTimeout: Duration = .seconds(10)
    /// How long a Close frame waits for the peer's before the connection is dropped.
    public var closeTimeout: Duration = .seconds(5)
    /// The time over which WebSockets are closed when their server drains, so that not all clients come back at once.
    public var drainTime: Duration = .seconds(5)
    /// How long a list that was begun may take until it is taken whole; then the connection is closed 3008.
    public var listTimeout: Duration = .seconds(15)
    /// Bytes of unsent output above which nothing more is read from a connection: what one that asks and does not listen
    /// can make the server hold.
    public var maximumPendingOutput = 64 << 10
    /// Bytes of unsent output above which nothing more is sent to a connection, which is closed 3008: what an endpoint that
    /// tells of itself can be made to hold by one that does not listen. A list of the largest kind fits twice.
    public var maximumHeldOutput = 1 << 20
    /// Bytes per second that an open message must bring from one Ping to the next, or to its Pong: slower than any radio, so
    /// that only a drip falls below it. Below, the message is given up with 1008, and a missing Pong counts.
    public var messageRate = 1024
    /// Frames of one connection that are looked at in one turn: a 64 KiB read holds 10,000 of them, and everybody else waits
    /// while their endpoint works. At a few microseconds each this is a millisecond.
    public var framesPerTurn = 256
    /// Subscribers that are told of new frames in one turn, whatever topics they are of: telling one is about 50 ns and two
    /// cache misses, so this is well below a millisecond.
    public var subscribersPerTurn = 2048
    /// The connection is closed 3509 at this many bad messages within `badMessageWindow`.
    public var maximumBadMessages = 10
    /// The time after which bad messages are forgotten.
    public var badMessageWindow: Duration = .seconds(60)

    /// The defaults.
    public init() {}
}

extension Duration {
    /// Ticks of one second, a part of one as a whole one.
    var ticks: Int {
        let (seconds, attoseconds) = components
        return max(0, Int(clamping: seconds)) &+ (attoseconds > 0 && seconds >= 0 && seconds < .max ? 1 : 0)
    }
}
