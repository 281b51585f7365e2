import HTTP2
import Memory
import Reactor

/// One connection of a server.
///
///              drain: GOAWAY(2³¹−1), PING         its answer, or `drainGrace`: GOAWAY
///       open ─────────────────────────▶ announced ─────────────────────────────▶ drained
///        │                                  │                                       │ the last call has ended,
///        │    an error, too many pings,     │                                       │ or `drainTimeout`
///        └────── a deadline, closed ────────┴──────────────▶ closing ◀──────────────┘
///                                                               │ nothing is read or written; its calls are ended,
///                                                               ▼ so many in a turn
///                                                  (gone: when the loop has closed it and no call is left)
struct ServerConnection: ~Copyable {
    enum Phase: UInt8 {
        case open, announced, drained, closing
    }

    /// The value of the PING between the two GOAWAYs of a drain.
    static let drainPing: UInt64 = 0x6472_6169_6e69_6e67

    let id: ConnectionID
    var session: HTTP2Session
    var writer = ResponseWriter()
    private(set) var phase = Phase.open
    /// The loop has closed it: with its last call it is gone.
    var isClosed = false
    /// The first of its calls, those that are only waited for too: no call outlives its connection.
    var firstCall = Handle<ServerCall>.none
    /// Bytes of bodies and metadata that its calls keep.
    var held = 0
    /// Bytes that its session keeps besides answers, as they are counted.
    var sessionBytes = 0
    /// Bytes of answers that wait, as they are counted in the server's sum.
    var countedQueue = 0
    /// Streams of refused requests that have not ended.
    var refused = RefusedStreams()
    /// Calls with one request message that has not come whole.
    var incomplete = 0

    // MARK: Time

    var lastRead: UInt64 = 0
    /// A keepalive PING waits for its answer since then; 0: none.
    var pingSent: UInt64 = 0
    /// When the client last pinged, and how often too early.
    var lastPing: UInt64 = 0
    var pingStrikes = 0
    /// When it was opened, or when reading went on after it had been held back.
    var readingSince: UInt64 = 0
    /// The deadline is at most `GRPCLimits.checkInterval` away: something is owed.
    var isWatched = false
    /// Reading waits until output has left, or for the next turn.
    var isHeldBack = false
    var pumpTimer = TimerID.none
    var drainTimer = TimerID.none

    init(id: ConnectionID, limits: HTTP2Limits) {
        self.id = id
        session = HTTP2Session(role: .server, limits: limits)
    }

    /// What is counted against `GRPCLimits.maximumHeldBytes`.
    var account: Int { held &+ sessionBytes }

    /// Bytes of messages that wait for a window or for room in the output.
    var queuedBytes: Int { session.pendingBytes }

    /// One step on its way to the end. False: it was there, or further, already.
    mutating func enter(_ next: Phase) -> Bool {
        guard next.rawValue > phase.rawValue else { return false }
        phase = next
        return true
    }
}
