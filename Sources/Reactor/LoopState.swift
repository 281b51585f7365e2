import Bytes
import CLinux

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What a loop remembers between turns. It lies in memory of its own, reached by a `Ref`: touched on the loop's thread only.
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

    var slab: Slab
    var timers = TimerHeap()
    /// Connections with something to write, by token.
    var flushList = Vector<UInt64>()
    /// The connection that is in `connectionWillFlush`, by token; 0: none.
    var flushing: UInt64 = 0
    /// Places that were closed in this turn.
    var closed = Vector<UInt32>()
    /// Connections whose kept input waits to be presented again, by token.
    var resumed = Vector<UInt64>()
    /// Work and jobs of this thread.
    var work: [WorkItem] = []
    /// Handlers that were replaced: somebody may still be running in them.
    var retired: [ConnectionHandler] = []
    var listeners: [Listener?] = []
    var watches: [(() -> Void)?] = []

    /// What `wait` reports into.
    let events: UnsafeMutablePointer<epoll_event>
    let eventCapacity: Int
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
        slab = try Slab(capacity: connections)
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
