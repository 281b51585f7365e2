import Bytes

/// The states of a stream that the session keeps (RFC 9113 §5.1). Without server push, which is never allowed here:
///
///                          HEADERS
///        (idle) ─────────────────────────────▶ open
///                                             ╱    ╲
///                        END_STREAM received ╱      ╲ END_STREAM sent
///                                           ▼        ▼
///                     halfClosedRemote                halfClosedLocal
///                                           ╲        ╱
///                            END_STREAM sent ╲      ╱ END_STREAM received
///                                             ▼    ▼
///             any of them ── RST_STREAM ────▶ closed
///
/// `idle` and `closed` streams have no entry, except that one that an event has just closed keeps its entry until the next
/// event is asked for. An identifier above the highest used is idle, one below without an entry is closed.
enum HTTP2StreamState: UInt8 {
    case free
    case open
    case halfClosedRemote
    case halfClosedLocal
    case closed
}

/// One stream: flat, in the session's slab.
struct HTTP2Stream: ~Copyable {
    static let noContext = UInt32.max
    static let none = UInt32.max

    var id: UInt32
    var context = noContext
    var state = HTTP2StreamState.open
    /// Client: the final response's headers have come. Server: always true.
    var hasHeaders = false
    /// Headers of this side have gone out.
    var isAnswered = false
    /// It stands in the list of streams that can send.
    var isReady = false
    /// END_STREAM goes out with the last pending byte.
    var endsAfterPending = false
    /// The user waits to hear that `pending` is empty.
    var wasBlocked = false
    /// Bytes that we may send; negative after the peer made its initial window smaller (§6.9.2).
    var sendWindow: Int32
    /// Bytes that the peer may still send.
    var receiveWindow: Int32
    /// Bytes that were taken and not yet given back by WINDOW_UPDATE.
    var consumed: Int32 = 0
    /// Bytes of body that `content-length` still promises; -1: it said nothing.
    var contentLeft: Int64 = -1
    /// Neighbours in the list of ready streams, or (`next`) in the list of free slots.
    var next = none
    var previous = none
    /// Body that was accepted and has not fitted into a window.
    var pending = ByteBuffer()

    init(id: UInt32, sendWindow: Int32, receiveWindow: Int32) {
        self.id = id
        self.sendWindow = sendWindow
        self.receiveWindow = receiveWindow
    }
}
