import Bytes
import HTTP2
import Memory
import Reactor

/// One connection of a channel.
///
///       connecting ──▶ settling ──────────────▶ ready ──────────────▶ retired ──▶ closing ──▶ (gone: when the loop has
///          │ connected     │  SETTINGS of the server  │ GOAWAY, identifiers used up,   ▲       closed it and its calls
///          │               │                          │ the address is gone            │       have been told)
///          └───────────────┴──────────────────────────┴── lost, closed ────────────────┘
struct ClientConnection: ~Copyable {
    enum Phase: UInt8 {
        case connecting, settling, ready
        /// No new streams; those that are open finish.
        case retired
        /// Nothing is read or written any more.
        case closing
    }

    let id: ConnectionID
    let address: SocketAddress
    var session: HTTP2Session
    private(set) var phase = Phase.connecting
    /// It was ready once: losing it is no failed attempt.
    private(set) var wasReady = false
    /// The channel looks for another already.
    var isReplaced = false
    /// The loop has closed it: with its last call it is gone.
    var isClosed = false
    /// The first of the calls that have a stream here, the newest; no call keeps a stream of a connection that is gone.
    var firstCall = Handle<ClientCall>.none
    /// Streams above this one are refused by the server's GOAWAY, and sent again elsewhere.
    var lastProcessed = UInt32.max
    /// Bytes of answers that calls keep.
    var held = 0
    /// Bytes that its session keeps besides requests, and of requests that wait for windows, as they are counted.
    var sessionBytes = 0
    var unsentBytes = 0
    /// What was wrong, for the error message of its calls.
    private(set) var failure = ""

    // MARK: Time

    var lastRead: UInt64 = 0
    /// A keepalive PING waits for its answer since then; 0: none.
    var pingSent: UInt64 = 0
    /// When it was opened, or when reading went on after it had been held back.
    var readingSince: UInt64 = 0
    var retiredSince: UInt64 = 0
    var isWatched = false
    var isHeldBack = false
    var pumpTimer = TimerID.none

    // MARK: HPACK

    var contentType = HPACKEncoder.Remembered()
    var te = HPACKEncoder.Remembered()
    var userAgent = HPACKEncoder.Remembered()
    var authority = HPACKEncoder.Remembered()
    var paths = RememberedPaths()

    init(id: ConnectionID, address: SocketAddress, limits: HTTP2Limits) {
        self.id = id
        self.address = address
        session = HTTP2Session(role: .client, limits: limits)
    }

    /// What is counted against `ChannelOptions.maximumHeldBytes`.
    var account: Int { held &+ sessionBytes }

    /// Notes what was wrong; the first reason stays.
    mutating func fail(_ reason: String) {
        if failure.isEmpty { failure = reason }
    }

    /// One step on its way to the end. False: it was there, or further, already.
    mutating func enter(_ next: Phase) -> Bool {
        guard next.rawValue > phase.rawValue else { return false }
        phase = next
        if next == .ready { wasReady = true }
        return true
    }
}

/// Where the paths of calls are in a connection's HPACK table. A path is a literal of the program, so its address names it.
struct RememberedPaths {
    private static let count = 16
    private var places = InlineArray<16, HPACKEncoder.Remembered>(repeating: HPACKEncoder.Remembered())
    private var addresses = InlineArray<16, UInt>(repeating: 0)

    mutating func encode(_ path: StaticString, _ encoder: inout HPACKEncoder, into output: inout ByteBuffer) {
        let address = UInt(bitPattern: unsafe path.utf8Start)
        // Literals lie beside each other, at least their own length apart.
        let place = Int(truncatingIfNeeded: (address >> 3) ^ (address >> 7)) & (Self.count - 1)
        if addresses[place] != address {
            addresses[place] = address
            places[place] = HPACKEncoder.Remembered()
        }
        unsafe encoder.encode(
            .path, UnsafeRawBufferPointer(start: path.utf8Start, count: path.utf8CodeUnitCount),
            remembered: &places[place], into: &output)
    }
}
