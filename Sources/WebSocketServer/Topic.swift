import Bytes
import Memory
import Reactor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Names a topic of one hub. A removed topic's identifier names nothing.
public struct TopicID: Hashable, Sendable, BitwiseCopyable {
    let handle: Handle<Topic>

    /// Names no topic, ever.
    public static let none = TopicID(handle: .none)
}

/// A topic: its newest frames and the queue of its subscribers.
struct Topic: ~Copyable {
    /// Frames that were published so far; the newest has this number.
    var sequence: UInt64 = 0
    var frames: FrameRing
    /// What a new subscriber is given: the newest frame, or only what comes.
    let greets: Bool
    /// Of the newest frame: Unix milliseconds of the cause, 0 if it is not to be measured.
    var cause: Int64 = 0
    var first = WebSocketID.none
    var last = WebSocketID.none
    var subscribers = 0
    /// Those of them that take compressed frames.
    var takers = 0
    /// The next subscriber to be told of the newest frame; `none` when all were.
    var cursor = WebSocketID.none
    /// Its subscribers are being told, a portion a turn: it stands in the hub's queue.
    var isMarking = false
    /// A frame was published meanwhile: those in front of the cursor are to be told again.
    var marksAgain = false

    init(history: Int, greets: Bool) {
        frames = FrameRing(capacity: history)
        self.greets = greets
    }
}

/// The newest frames of a topic by their numbers, each retained once: a subscriber's send retains nothing.
@safe struct FrameRing: ~Copyable {
    private let base: UnsafeMutablePointer<Unmanaged<SharedBytes>?>
    /// In the same places, once a compressed form was wanted.
    private var compressed: UnsafeMutablePointer<Unmanaged<SharedBytes>?>?
    /// How many of the newest frames are kept: a reader that is further behind has lost one.
    let capacity: Int

    init(capacity: Int) {
        self.capacity = max(1, capacity)
        unsafe base = .allocate(capacity: self.capacity)
        unsafe base.initialize(repeating: nil, count: self.capacity)
        unsafe compressed = nil
    }

    deinit {
        for index in 0..<capacity {
            unsafe base[index]?.release()
            unsafe compressed?[index]?.release()
        }
        unsafe base.deallocate()
        unsafe compressed?.deallocate()
    }

    /// Keeps `frame` in the place of the one that is `capacity` older.
    func put(_ frame: SharedBytes, _ number: UInt64) {
        let place = unsafe base + index(number)
        unsafe place.pointee?.release()
        unsafe place.pointee = Unmanaged.passRetained(frame)
        if unsafe compressed != nil { setCompressed(number, nil) }
    }

    /// The compressed form of frame `number`, which is the frame itself where that is not worth it; nil: nobody has made one.
    func compressedFrame(_ number: UInt64) -> SharedBytes? {
        unsafe compressed?[index(number)]?.takeUnretainedValue()
    }

    /// Keeps the compressed form of frame `number` for as long as the frame.
    mutating func keepCompressed(_ number: UInt64, _ frame: SharedBytes) {
        if unsafe compressed == nil {
            let places = UnsafeMutablePointer<Unmanaged<SharedBytes>?>.allocate(capacity: capacity)
            unsafe places.initialize(repeating: nil, count: capacity)
            unsafe compressed = places
        }
        setCompressed(number, frame)
    }

    private func setCompressed(_ number: UInt64, _ frame: SharedBytes?) {
        guard let place = unsafe compressed.map({ unsafe $0 + index(number) }) else { return }
        unsafe place.pointee?.release()
        unsafe place.pointee = frame.map { unsafe Unmanaged.passRetained($0) }
    }

    /// Sends frame `number` to a connection.
    func send(_ number: UInt64, to id: WebSocketID, _ loop: EventLoop) {
        guard let frame = unsafe base[index(number)] else { return }
        // Proof: the ring retains the frame, and sending calls nobody who could put another.
        unsafe frame._withUnsafeGuaranteedRef { loop.send(id, shared: $0) }
    }

    /// As above, unless output waits there: then false.
    @inline(__always)
    func sendUnlessBacklogged(_ number: UInt64, to id: WebSocketID, _ loop: EventLoop) -> Bool {
        guard let frame = unsafe base[index(number)] else { return true }
        // Proof: as above.
        return unsafe frame._withUnsafeGuaranteedRef { loop.sendUnlessBacklogged(id, shared: $0) }
    }

    @inline(__always)
    private func index(_ number: UInt64) -> Int { capacity == 1 ? 0 : Int(number % UInt64(capacity)) }

    func frame(_ number: UInt64) -> SharedBytes? {
        unsafe base[index(number)]?.takeUnretainedValue()
    }
}

/// A subscriber's state, flat, under its connection's identifier.
struct Subscriber: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt8
        /// `requestFlush` was called and `willFlush` has not come.
        static let asked = Flags(rawValue: 1)
        /// It could not take the newest frame; `drained` will come.
        static let waits = Flags(rawValue: 2)
        /// It stands in the queue of its interval.
        static let paced = Flags(rawValue: 4)
        /// A frame was published while it stood there.
        static let dirty = Flags(rawValue: 8)
    }

    var id = WebSocketID.none
    /// A topic that was removed has no subscribers any more: the handle reads as gone.
    var topic = Handle<Topic>.none
    /// The queue of the topic.
    var next = WebSocketID.none
    var previous = WebSocketID.none
    /// The queue of the interval.
    var pacedNext = WebSocketID.none
    var pacedPrevious = WebSocketID.none
    /// Its interval's; `none` without one.
    var pacer = Handle<Pacer>.none
    var flags: Flags = []
    /// The window in which it can take compressed frames, in bits; 0: it takes none.
    var windowBits: UInt8 = 0
    /// The tick at which it is looked whether that frame was taken whole; 0 when it is not.
    var checkedAt: UInt32 = 0
    /// The number of the newest frame that it was given.
    var sent: UInt64 = 0
    /// When the next one may follow, loop nanoseconds.
    var mayAt: UInt64 = 0
}

/// The queue of all subscribers with one interval: those that were given a frame and may not be given the next one yet, in
/// the order in which they may. One timer serves them all, and it is armed only while one of them has something to come.
struct Pacer {
    /// Milliseconds.
    let interval: Int
    /// Subscribers with this interval.
    var users = 0
    /// Those in the queue with something to come.
    var marked = 0
    var first = WebSocketID.none
    var last = WebSocketID.none
    var timer = TimerID.none
    var isArmed = false
}
