import Bytes
import HTTP1
import Memory
import Reactor
import Telemetry

/// What the server remembers of a connection: flat, in a slab, and freed at an upgrade. What is big (a body that is still
/// coming, answers that wait for their turn) lies in slabs of its own and is there only while it is needed.
struct HTTPConnection {
    struct Flags: OptionSet {
        let rawValue: UInt16
        /// No further request is looked at: an error, `Connection: close`, or the server's end.
        static let last = Flags(rawValue: 2)
        /// Everything is said: closing was asked for.
        static let closing = Flags(rawValue: 4)
        /// Reading is paused: the pipeline is full, output waits, a turn's share is used up, or an upgrade waits for its turn.
        static let paused = Flags(rawValue: 8)
        /// `100 Continue` is owed as soon as everything before it is answered.
        static let owesContinue = Flags(rawValue: 32)
        /// The client will send nothing more.
        static let readClosed = Flags(rawValue: 64)
        /// Much output was waiting after the last answer: look before the next request.
        static let full = Flags(rawValue: 128)
        /// The next turn looks whether reading can go on.
        static let looks = Flags(rawValue: 256)
        /// A request that may become another protocol waits for its gates: what comes behind it is read once it is answered.
        static let undecided = Flags(rawValue: 512)
        /// It has ended, or belongs to another protocol. For whoever stands further up the stack: nobody else finds it.
        static let gone = Flags(rawValue: 1024)
    }

    /// What the connection's one deadline stands for.
    enum Deadline: UInt8 {
        case none, idle, head, body
    }

    let id: ConnectionID
    /// Its own.
    var handle = Handle<HTTPConnection>.none
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
    var pending = Handle<PendingRequest>.none
    /// Requests that were dispatched and are not answered, or whose answers wait for their turn, in order, without a gap.
    var firstWaiting = Handle<WaitingAnswer>.none
    var lastWaiting = Handle<WaitingAnswer>.none
    /// Bytes of those answers.
    var waitingBytes = 0
    /// Bytes of copies of those requests (`HeldRequest`).
    var requestBytes = 0

    init(_ id: ConnectionID) { self.id = id }

    var inFlight: Int { Int(received &- answered) }
}

/// A request whose body is still coming: a copy of its head, and the body so far behind it.
struct PendingRequest: ~Copyable {
    var bytes = ByteBuffer()
    var headBytes = 0
    var bodyLimit = 0
}

/// A request that waits for its handler, or its answer, which waits for its turn.
struct WaitingAnswer: ~Copyable {
    enum State: UInt8 {
        /// The handler has the responder.
        case waiting
        /// Answered, but an earlier request is not, or the client does not take what is before it.
        case ready
        /// A stream that has begun and goes on; its bytes so far are in `output` until it is its turn.
        case streaming
    }

    var state = State.waiting
    var flags: ResponseFlags = []
    var route = -1
    var startedAt: UInt64 = 0
    var requestID = RequestID()
    var trace = TraceContext.none
    /// Of a stream.
    var status = 0
    /// Field lines that gates have added, and those of CORS.
    var fields = ByteBuffer()
    var output = ByteBuffer()
    /// A body that many answers share, behind `output`.
    var shared: SharedBytes?
    /// Bytes of the copy of its request.
    var requestBytes = 0
    /// Who works on the answer; it is told when nobody waits for it any more.
    var task: Task<Void, Never>?
    /// Who writes the body piece by piece, and may wait for room.
    var writer: HTTPBodyWriter?
    /// That of the next request of its connection.
    var next = Handle<WaitingAnswer>.none
}

/// Where an answer is written: a connection's output, or where it waits for its turn.
///
/// `@safe`: the loop's buffer is good until the running callback returns, a waiting answer's until the end of the turn, and
/// neither can be kept in here any longer.
@safe struct OutputPlace: ~Escapable {
    private let pointer: UnsafeMutablePointer<ByteBuffer>

    @inline(__always)
    @_lifetime(immortal)
    init(_ pointer: UnsafeMutablePointer<ByteBuffer>) { unsafe self.pointer = unsafe pointer }

    var value: ByteBuffer {
        @inline(__always) unsafeAddress { unsafe UnsafePointer(pointer) }
        @inline(__always) nonmutating unsafeMutableAddress { unsafe pointer }
    }
}

extension Place where Value == WaitingAnswer {
    /// Where the answer waits.
    var output: OutputPlace {
        @_lifetime(immortal) get { unsafe OutputPlace(withUnsafeMutablePointer(to: &value.output) { unsafe $0 }) }
    }
}
