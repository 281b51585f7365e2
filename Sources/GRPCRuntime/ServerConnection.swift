import HTTP2
import Reactor

/// One connection of a server.
struct ServerConnection: ~Copyable {
    /// A client that has not sent the preface and its SETTINGS by then is closed. Nanoseconds.
    static let prefaceTimeout: UInt64 = 10_000_000_000
    /// The value of the PING between the two GOAWAYs of a drain.
    static let drainPing: UInt64 = 0x6472_6169_6e69_6e67

    let id: ConnectionID
    let generation: UInt32
    var session: HTTP2Session
    var writer = ResponseWriter()
    /// Nothing is read or written any more.
    var isClosing = false
    /// Its calls, those that are only waited for too: no call outlives its connection.
    var firstCall = UInt32.max
    /// The first GOAWAY of a drain has gone out, the second one.
    var isDraining = false
    var isDrained = false
    var lastRead: UInt64 = 0
    /// A keepalive PING waits for its answer since then; 0: none.
    var pingSent: UInt64 = 0
    /// When the client last pinged, and how often too early.
    var lastPing: UInt64 = 0
    var pingStrikes = 0
    var pumpTimer = TimerID.none
    var drainTimer = TimerID.none

    init(id: ConnectionID, generation: UInt32, limits: HTTP2Limits) {
        self.id = id
        self.generation = generation
        session = HTTP2Session(role: .server, limits: limits)
    }
}
