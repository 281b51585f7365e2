import Bytes
import Memory

/// One stream of a session, reached by its handle alone. Its states (RFC 9113 §5.1), without server push, which is never
/// allowed here:
///
///                          HEADERS
///        (idle) ─────────────────────────────▶ open
///                                             ╱    ╲
///                        END_STREAM received ╱      ╲ END_STREAM sent
///                                           ▼        ▼
///                  half-closed (remote)              half-closed (local)
///                                           ╲        ╱
///                            END_STREAM sent ╲      ╱ END_STREAM received
///                                             ▼    ▼
///             any of them ── RST_STREAM ────▶ closed
///
/// Each side is a state of its own, `local` and `remote`, so that what is known about them cannot contradict itself. `idle`
/// and `closed` streams have no entry, except that one that an event has just closed keeps its entry until the next event is
/// asked for. An identifier above the highest used is idle, one below without an entry is closed.
public struct HTTP2Stream: ~Copyable {
    /// What this side has sent.
    enum Local: UInt8, Comparable {
        case nothing
        /// Its headers.
        case headers
        /// The user has given everything: END_STREAM goes out with the last pending byte.
        case ending
        case ended

        static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    }

    /// What the peer has sent.
    enum Remote: UInt8 {
        /// Client: the final response's headers have not come.
        case nothing
        case headers
        case ended
    }

    let id: UInt32
    var local = Local.nothing
    var remote: Remote
    /// It stands in the list of streams that can send.
    var isReady = false
    /// The user waits to hear that `pending` is empty.
    var wasBlocked = false
    /// Bytes that we may send; negative after the peer made its initial window smaller (§6.9.2).
    var sendWindow: Int32
    /// Bytes that the peer may still send.
    var receiveWindow: Int32
    /// Bytes that were taken and not yet given back by WINDOW_UPDATE.
    var consumed: Int32 = 0
    /// What the user keeps for it; 0: nothing yet.
    var context: UInt64 = 0
    /// When the peer opened it, in the nanoseconds of `next`; 0 for streams of this side.
    let openedAt: UInt64
    /// Bytes of body that `content-length` still promises; -1: it said nothing.
    var contentLeft: Int64 = -1
    /// Neighbours in the list of ready streams.
    var next = Handle<HTTP2Stream>.none
    var previous = Handle<HTTP2Stream>.none
    /// Body that was accepted and has not fitted into a window.
    var pending = ByteBuffer()
    /// Bytes of `pending` that the session's account knows of.
    var accounted = 0
    /// Bytes that have left `pending`, so far.
    var taken = 0

    init(id: UInt32, remote: Remote, sendWindow: Int32, receiveWindow: Int32, openedAt: UInt64 = 0) {
        self.id = id
        self.remote = remote
        self.sendWindow = sendWindow
        self.receiveWindow = receiveWindow
        self.openedAt = openedAt
    }

    /// Both sides have ended.
    var isClosed: Bool { local == .ended && remote == .ended }
}

/// Names a stream to the session that gave it out: plain data, to be kept anywhere. After the stream's end it names nothing:
/// what is sent to it is dropped, its counts and its context are 0, and it is never another stream.
public typealias HTTP2StreamHandle = Handle<HTTP2Stream>
