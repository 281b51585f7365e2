import Bytes
import CLinux
import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What a loop remembers between turns. It lies in a cell: touched on the loop's thread only.
@safe struct LoopState: ~Copyable {
    /// When this turn began, monotonic nanoseconds.
    var now: UInt64
    /// Unix milliseconds of the turn that began at `wallClockTurn`.
    var wallClock: Int64 = 0
    var wallClockTurn: UInt64 = 0
    /// Unix milliseconds minus monotonic milliseconds, as of `wallClockSampled`.
    var wallClockOffset: Int64 = 0
    var wallClockSampled: UInt64 = 0
    var stopping = false

    let slab: Slab<Connection>
    var timers = TimerHeap()
    /// Connections with something to write, by token.
    var flushList = Vector<UInt64>()
    /// The connection that is in `connectionWillFlush`, by token; 0: none.
    var flushing: UInt64 = 0
    /// Connections that were closed in this turn, by token.
    var closed = Vector<UInt64>()
    /// Connections whose kept input waits to be presented again, by token.
    var resumed = Vector<UInt64>()
    /// Work and jobs that nobody has begun with.
    var work: [WorkItem] = []
    /// Work and jobs that are being run, and how many of them are done: a turn's budget may end in between.
    var batch: [WorkItem] = []
    var batchDone = 0
    /// Handlers that were replaced: somebody may still be running in them.
    var retired: [ConnectionHandler] = []
    /// Who asked to be called at the end of this turn.
    var turnEnds: [any TurnEnding] = []
    var listeners: [Listener?] = []
    /// Whom connections are from that a gate has admitted, and which places are free.
    var guests: [Guest?] = []
    var freeGuests: [UInt32] = []
    var watches: [(() -> Void)?] = []

    /// What `wait` reports into.
    let events: UnsafeMutablePointer<epoll_event>
    let eventCapacity: Int
    /// Events that were reported, and those of them that had their turn.
    var eventCount = 0
    var nextEvent = 0
    /// When this turn's phases stop taking on more.
    var turnEnd: UInt64 = 0
    /// What was done since the clock was looked at (`EventLoop.charge`).
    var effort = 0
    /// How often a connection has ceased to be open.
    var endings: UInt64 = 0
    /// Connections whose next step of a TLS handshake waits for its turn, by token.
    var handshakes = Vector<UInt64>()
    /// Where every read goes.
    var receive: UnsafeMutableRawPointer
    var receiveCapacity: Int
    /// Where TLS decrypts to; allocated for the first TLS connection.
    var plaintext: UnsafeMutableRawPointer?
    var plaintextCapacity = 0

    /// Emptied output buffers, ready for the next connection that has something to say.
    private let pool: UnsafeMutablePointer<ByteBuffer>
    private var pooled = 0

    init(connections: Int, eventsPerTurn: Int, receiveBuffer: Int, now: UInt64) throws(SystemError) {
        guard let slab = Slab<Connection>(reserving: connections) else {
            throw SystemError(operation: "reserving addresses for \(connections) connections", errno: errno)
        }
        self.slab = slab
        unsafe events = .allocate(capacity: eventsPerTurn)
        eventCapacity = eventsPerTurn
        unsafe receive = .allocate(byteCount: receiveBuffer, alignment: 64)
        receiveCapacity = receiveBuffer
        unsafe plaintext = nil
        unsafe pool = .allocate(capacity: Self.poolSize)
        self.now = now
    }

    deinit {
        unsafe events.deallocate()
        unsafe receive.deallocate()
        unsafe plaintext?.deallocate()
        unsafe pool.deinitialize(count: pooled)
        unsafe pool.deallocate()
    }

    var hasWork: Bool { !work.isEmpty || batchDone < batch.count }

    /// Lets go of a batch that is done: what it holds must not live until there is another.
    mutating func dropFinishedBatch() {
        guard batchDone == batch.count else { return }
        batch = []
        batchDone = 0
    }

    /// Makes the waiting work the batch, when that is done. False: nothing waits.
    mutating func nextBatch() -> Bool {
        batch = []
        batchDone = 0
        swap(&batch, &work)
        return !batch.isEmpty
    }

    /// A place for a connection, a listener or a watch; nil: all are taken.
    func take(_ kind: PlaceKind) -> ConnectionID? {
        slab.insert(Connection(kind)).map { ConnectionID(token: $0.token) }
    }

    /// What `token` names, unless it has ended.
    @inline(__always)
    @_lifetime(immortal)
    func find(_ token: UInt64) -> Place<Connection>? { slab.find(Handle(token: token)) }

    /// Ends a place that nobody has to be told of. What it owned must have been released.
    func giveBack(_ id: ConnectionID) { slab.remove(Handle(token: id.token)) }

    /// Buffers that the pool keeps, and the largest that it keeps: at most 2 MiB per loop.
    static let poolSize = 32
    static let largestPooled = 64 * 1024
    /// What a new buffer begins with.
    static let firstOutput = 2048

    /// Puts a buffer with memory in the place of an empty one.
    @inline(__always)
    mutating func takeBuffer(_ buffer: inout ByteBuffer) {
        if pooled > 0 {
            pooled -= 1
            unsafe swap(&buffer, &pool[pooled])
            unsafe (pool + pooled).deinitialize(count: 1)
        } else {
            buffer.reserve(Self.firstOutput)
        }
    }

    /// Takes the memory of an emptied buffer.
    mutating func recycle(_ buffer: inout ByteBuffer) {
        if buffer.capacity <= Self.largestPooled && pooled < Self.poolSize {
            unsafe (pool + pooled).initialize(to: ByteBuffer())
            unsafe swap(&buffer, &pool[pooled])
            pooled += 1
        } else {
            buffer.release()
        }
    }

    /// Makes sure that the receive buffer holds `kept` bytes and a full read behind them.
    mutating func reserveReceive(_ kept: Int, room: Int) {
        guard receiveCapacity < kept + room else { return }
        unsafe receive.deallocate()
        receiveCapacity = kept + room
        unsafe receive = .allocate(byteCount: receiveCapacity, alignment: 64)
    }

    mutating func reservePlaintext(_ kept: Int, room: Int) {
        guard plaintextCapacity < kept + room else { return }
        unsafe plaintext?.deallocate()
        plaintextCapacity = kept + room
        unsafe plaintext = .allocate(byteCount: plaintextCapacity, alignment: 64)
    }
}
