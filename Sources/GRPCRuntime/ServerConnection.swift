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
    /// Bytes of answers that wait, as they are counted in the server's sum.
    var countedQueue = 0
    /// Calls with one request message that has not come whole.
    var incomplete = 0

    // MARK: Time

    var lastRead: UInt64 = 0
    /// A keepalive PING waits for its answer since then; 0: none.
    var pingSent: UInt64 = 0
    /// When the client last pinged, and how often too early.
    var lastPing: UInt64 = 0
    var pingStrikes = 0
    /// A frame or a header block is half there since then; 0: none.
    var halfSince: UInt64 = 0
    /// How the client takes what is written.
    var reading = ProgressMark()
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

    /// Bytes of messages that wait for a window or for room in the output.
    var queuedBytes: Int { session.pendingBytes }

    /// One step on its way to the end. False: it was there, or further, already.
    mutating func enter(_ next: Phase) -> Bool {
        guard next.rawValue > phase.rawValue else { return false }
        phase = next
        return true
    }
}

/// Whether somebody takes what waits for him, at a rate that counts as progress.
struct ProgressMark {
    private var since: UInt64 = 0
    private var left = 0

    /// Everything has been taken.
    mutating func clear() { since = 0 }

    /// Looks how much is left now. True: in `patience` nanoseconds less than `rate` bytes a second, or than what there was,
    /// has gone.
    mutating func stalls(_ left: Int, now: UInt64, patience: UInt64, rate: Int) -> Bool {
        guard left > 0 else {
            since = 0
            return false
        }
        guard since != 0 else {
            since = now
            self.left = left
            return false
        }
        let elapsed = now > since ? now - since : 0
        guard elapsed >= patience else { return false }
        let wanted = min(self.left, Int(clamping: elapsed / 1_000_000_000).multipliedClamping(by: rate))
        guard self.left - left >= max(wanted, 1) else { return true }
        since = now
        self.left = left
        return false
    }
}

extension Int {
    /// The product, or the largest number if it is larger.
    func multipliedClamping(by other: Int) -> Int {
        let (product, overflowed) = multipliedReportingOverflow(by: other)
        return overflowed ? .max : product
    }
}

extension UInt64 {
    /// The sum, or the largest number: a limit that means "never" must not wrap around.
    func after(_ duration: UInt64) -> UInt64 {
        let (sum, overflowed) = addingReportingOverflow(duration)
        return overflowed ? .max : sum
    }
}
