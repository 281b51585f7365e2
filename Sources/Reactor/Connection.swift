import Bytes

/// What a place of the slab holds.
enum PlaceKind: UInt8 {
    case connection
    case listener
    /// A library's descriptor.
    case watch
    /// The mailbox's eventfd.
    case wake
}

/// Where a connection is in its life.
///
///     connecting ──▶ handshaking (TLS) ──▶ open ──▶ finishing ──▶ lingering ──▶ closed
///
/// `finishing` writes what waits and reads nothing, `lingering` has sent its FIN and discards what still comes; any state
/// may go to `closed` at once, and `closed` lasts until the end of the turn. An open connection that this side began and that
/// breaks is `broken` until all that had come is read: whoever has asked may have been answered.
struct ConnectionFlags: OptionSet {
    let rawValue: UInt32

    static let connecting = ConnectionFlags(rawValue: 1 << 0)
    static let handshaking = ConnectionFlags(rawValue: 1 << 1)
    static let finishing = ConnectionFlags(rawValue: 1 << 2)
    static let lingering = ConnectionFlags(rawValue: 1 << 3)
    static let closed = ConnectionFlags(rawValue: 1 << 4)
    /// `finishing` ends in `lingering`, not in `closed`.
    static let drains = ConnectionFlags(rawValue: 1 << 5)
    /// Reading is paused by the handler. The descriptor stays registered until data comes: pausing costs a bit.
    static let paused = ConnectionFlags(rawValue: 1 << 6)
    /// The peer's FIN was read.
    static let readClosed = ConnectionFlags(rawValue: 1 << 7)
    /// It stands in the flush list of this turn.
    static let queued = ConnectionFlags(rawValue: 1 << 8)
    /// `connectionWillFlush` was asked for.
    static let asks = ConnectionFlags(rawValue: 1 << 9)
    /// A short write has left output over; EPOLLOUT is armed.
    static let backlogged = ConnectionFlags(rawValue: 1 << 10)
    /// Kept input waits to be presented again without an event.
    static let resumes = ConnectionFlags(rawValue: 1 << 11)
    /// Taken out of epoll: a hang-up cannot be masked, and nobody wants to read.
    static let detached = ConnectionFlags(rawValue: 1 << 12)

    /// EPOLLOUT was reported: what a short write left over may be tried again.
    static let writable = ConnectionFlags(rawValue: 1 << 13)
    /// It speaks TLS.
    static let tls = ConnectionFlags(rawValue: 1 << 14)
    /// `connectionOpened` was told: so is `connectionClosed`, and nobody else hears of an end.
    static let opened = ConnectionFlags(rawValue: 1 << 15)
    /// Nothing can be sent any more, and epoll has nothing to tell; what came before that is read for the handler.
    static let broken = ConnectionFlags(rawValue: 1 << 16)
    /// What is being sent lasts up to the connection's end: an end before everything is written is a reset.
    static let unbounded = ConnectionFlags(rawValue: 1 << 17)

    /// The handler gets no more reads.
    static let deaf: ConnectionFlags = [.closed, .finishing, .lingering, .connecting, .handshaking]
}

/// Why, in the form that fits a slab.
enum CloseCode: UInt8 {
    case local, peer, reset, connectFailed, connectTimeout, tls, deadline, inputOverflow, outputOverflow, shutdown
}

/// One place of the slab: a connection, a listener or a watched descriptor. About 130 bytes, flat; whatever is big is owned
/// through a pointer and only while it is needed.
@safe struct Connection: ~Copyable {
    var descriptor: Int32 = -1
    let kind: PlaceKind
    var closeCode = CloseCode.local
    /// This side began it: the handler hears of its end also when it was never open.
    var isClient = false
    var flags: ConnectionFlags = []
    /// One more than the index of what `ConnectionGate` knows of it; 0: nobody was asked.
    var guest: UInt32 = 0
    /// The handler's own number or handle.
    var context: UInt64 = 0
    /// The error number of `closeCode`; for listeners and watches the index of their object.
    var detail: Int32 = 0
    /// What epoll was told.
    var interest: Readiness = []

    /// Retained by the place.
    var handler: Unmanaged<ConnectionHandler>?
    /// Output that was not written. It has memory only while there is something in it.
    var output = ByteBuffer()
    /// Shared bytes that come after the first `sharedAfter` bytes of `output`. Retained.
    var shared: Unmanaged<SharedBytes>?
    var sharedAfter = 0
    /// Bytes of `shared` that were written.
    var sharedOffset = 0

    /// Bytes that were discarded while closing.
    var discarded: UInt32 = 0

    /// Input that the handler left unconsumed.
    var kept: UnsafeMutableRawPointer?
    var keptCount: Int = 0

    /// What the handler's account says of this connection.
    var countedInput: Int32 = 0
    var countedOutput: Int32 = 0

    /// When `connectionDeadline` is due; 0 is never. `timer` may be armed earlier, never later.
    var deadline: UInt64 = 0
    var timer = TimerID.none
    /// When the peer must have taken its share of the output that waits; 0 while none does. `timer` is armed no later.
    var outputDue: UInt64 = 0
    /// Bytes that the kernel has taken while that is watched, and how far the peer was when the running window began.
    var taken = 0
    var takenBefore = 0
    /// When `timer` is due; 0 while it is not armed.
    var timerDue: UInt64 = 0

    /// Retained; nil is plain TCP.
    var tls: Unmanaged<TLSSession>?

    init(_ kind: PlaceKind) {
        self.kind = kind
        unsafe handler = nil
        unsafe shared = nil
        unsafe kept = nil
        unsafe tls = nil
    }

    /// Bytes of output that the kernel has not taken.
    var pendingOutput: Int {
        var count = output.count
        if let shared = unsafe shared {
            count += unsafe shared._withUnsafeGuaranteedRef { $0.count } - sharedOffset
        }
        if let tls = unsafe tls { count += unsafe tls._withUnsafeGuaranteedRef { $0.ciphertext.count } }
        return count
    }
}
