import Bytes
import HTTP1
import Reactor
import Telemetry

/// What the server remembers of a connection: flat, in a slab, and freed at an upgrade. What is big (a body that is still
/// coming, answers that wait for their turn) lies behind a pointer and is there only while it is needed.
@safe struct HTTPConnection {
    struct Flags: OptionSet {
        let rawValue: UInt16
        /// The place is taken.
        static let open = Flags(rawValue: 1)
        /// No further request is looked at: an error, `Connection: close`, or the server's end.
        static let last = Flags(rawValue: 2)
        /// Everything is said: closing was asked for.
        static let closing = Flags(rawValue: 4)
        /// Reading is paused: the pipeline is full, output waits, or an upgrade waits for its turn.
        static let paused = Flags(rawValue: 8)
        /// The body that is coming belongs to a request that was answered already.
        static let discards = Flags(rawValue: 16)
        /// `100 Continue` is owed as soon as everything before it is answered.
        static let owesContinue = Flags(rawValue: 32)
        /// Much output was waiting after the last answer: look before the next request.
        static let full = Flags(rawValue: 128)
        /// The client will send nothing more.
        static let readClosed = Flags(rawValue: 64)
    }

    /// What the connection's one deadline stands for.
    enum Deadline: UInt8 {
        case none, idle, head, body
    }

    var id = ConnectionID.none
    /// Counts the uses of this place: a responder that was kept too long finds another number.
    var serial: UInt32 = 0
    var nextFree: UInt32 = .max
    var parser = HTTP1Parser()
    var flags: Flags = []
    var deadline = Deadline.none
    /// Requests whose head was read, and those that were answered, in order.
    var received: UInt32 = 0
    var answered: UInt32 = 0
    /// Bytes of the body that is coming.
    var bodyBytes = 0
    var bodyBegan: UInt64 = 0
    /// The request whose body is coming.
    var pending: Ref<PendingRequest>?
    /// Requests that were dispatched and are not answered.
    var queue: Ref<ResponseQueue>?

    var inFlight: Int { Int(received &- answered) }
}

/// A request whose body is still coming: a copy of its head, and the body so far behind it.
struct PendingRequest: ~Copyable {
    var bytes = ByteBuffer()
    var headBytes = 0
    var bodyLimit = 0
}

/// Answers of one connection that wait: for their handler, or for their turn.
@safe struct ResponseQueue: ~Copyable {
    enum State: UInt8 {
        case free
        /// The handler has the responder.
        case waiting
        /// Answered, but an earlier request is not.
        case ready
        /// A stream that has begun and goes on; its bytes so far are in `output` until it is its turn.
        case streaming
    }

    struct Entry: ~Copyable {
        var state = State.free
        var flags: ResponseFlags = []
        var route = -1
        var startedAt: UInt64 = 0
        var requestID = RequestID()
        var trace = TraceContext.none
        /// CORS field lines.
        var fields = ByteBuffer()
        var output = ByteBuffer()
        /// Of a stream.
        var status = 0

        mutating func reset() {
            state = .free
            requestID.count = 0
            // A large answer's memory is not kept for a small one.
            if output.capacity > 4096 { output.release() } else { output.removeAll() }
            fields.removeAll()
        }
    }

    let entries: UnsafeMutablePointer<Entry>
    let mask: UInt32

    /// - Parameter depth: how many requests may wait; rounded up to a power of two.
    init(depth: Int) {
        var capacity = 1
        while capacity < depth + 1 { capacity *= 2 }
        mask = UInt32(capacity - 1)
        unsafe entries = .allocate(capacity: capacity)
        for index in 0..<capacity { unsafe (entries + index).initialize(to: Entry()) }
    }

    deinit {
        unsafe entries.deinitialize(count: Int(mask) + 1)
        unsafe entries.deallocate()
    }

    /// Makes every entry free.
    func reset() {
        for index in 0...Int(mask) { unsafe entries[index].reset() }
    }

    func entry(_ sequence: UInt32) -> Ref<Entry> {
        unsafe Ref(entries + Int(sequence & mask))
    }
}

/// The places of a server's connections. A place may move when another connection is opened, and at no other time.
@safe struct HTTPConnectionSlab: ~Copyable {
    private var base: UnsafeMutablePointer<HTTPConnection>
    private var capacity: Int
    private(set) var used = 0
    private var firstFree = UInt32.max
    /// Connections at the moment.
    private(set) var count = 0

    init() {
        capacity = 64
        unsafe base = .allocate(capacity: capacity)
    }

    deinit { unsafe base.deallocate() }

    /// A fresh place.
    mutating func take(_ id: ConnectionID) -> UInt32 {
        let place: UInt32
        var serial: UInt32 = 0
        if firstFree != .max {
            place = firstFree
            firstFree = unsafe base[Int(place)].nextFree
            serial = unsafe base[Int(place)].serial
        } else {
            if used == capacity { grow() }
            place = UInt32(used)
            used += 1
        }
        var connection = HTTPConnection()
        connection.id = id
        connection.serial = serial &+ 1
        connection.flags = .open
        unsafe (base + Int(place)).initialize(to: connection)
        count += 1
        return place
    }

    mutating func giveBack(_ place: UInt32) {
        unsafe base[Int(place)].flags = []
        unsafe base[Int(place)].nextFree = firstFree
        firstFree = place
        count -= 1
    }

    @inline(__always)
    func pointer(_ place: UInt32) -> Ref<HTTPConnection> {
        precondition(Int(place) < used, "no such connection")
        return unsafe Ref(base + Int(place))
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<HTTPConnection>.allocate(capacity: capacity * 2)
        unsafe larger.moveInitialize(from: base, count: capacity)
        unsafe base.deallocate()
        unsafe base = unsafe larger
        capacity *= 2
    }
}

extension Ref where Value == ResponseQueue.Entry {
    /// Where an answer waits for its turn. Proof: the entry does not move while its queue is there.
    var output: Ref<ByteBuffer> {
        unsafe Ref<ByteBuffer>(withUnsafeMutablePointer(to: &pointer.pointee.output) { unsafe $0 })
    }
}
