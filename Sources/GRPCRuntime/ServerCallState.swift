import Bytes
import HTTP2
import Reactor

/// A call on the server, from its HEADERS to its last byte:
///
///                     HEADERS                  the last message is dispatched
///       (no call) ──────────────▶ receiving ───────────────────────────────▶ running
///                                     │                                          │
///             finish, fail            ├──────────────◀──────────────────────────┤
///       ┌─────────────────────────────┘                                          │
///       ▼                                                 RST_STREAM, deadline,  │
///     ending ── all that was sent has left ──▶ (no call)  connection lost        ▼
///                                                 ▲                          cancelled (a unary handler
///                                                 └── the handler answers ──────┘ still runs: it counts as open)
struct ServerCallState: ~Copyable {
    enum Phase: UInt8 {
        /// Request messages are awaited. A streaming handler is at work.
        case receiving
        /// The whole request is with the handler.
        case running
        /// The handler has answered; its end waits behind messages that have not left.
        case ending
        /// Nobody waits for the answer any more, but the handler has not answered.
        case cancelled
    }

    /// Distinguishes the calls that use one place after the other.
    let generation: UInt32
    /// The connection's place, and its generation.
    let connection: UInt32
    let connectionGeneration: UInt32
    /// The stream in the connection's session.
    let stream: HTTP2StreamHandle
    /// Neighbours in the list of the connection's calls.
    var next = UInt32.max
    var previous = UInt32.max
    /// Index in the registry's methods.
    let method: Int
    var phase = Phase.receiving
    /// The response's headers have gone out.
    var hasHeaders = false
    var remoteEnded = false
    /// `pause` was called.
    var isPaused = false
    /// A message was put into the stream's pending buffer, not into the output.
    var isPending = false
    /// `isWritable` was false: the receiver wants to hear of the change.
    var wantsWritable = false
    /// Messages are being delivered: `resume` inside a delivery must not begin another.
    var isDelivering = false
    /// Bytes of body that were not reported to flow control.
    var unconsumed = 0
    /// When its headers came, in the loop's nanoseconds.
    let startedAt: UInt64
    /// When the client stops waiting, in the loop's nanoseconds; 0: never.
    var deadline: UInt64 = 0
    var timer = TimerID.none
    /// Body that is not a whole message yet, or waits for `resume`.
    var body = ByteBuffer()
    /// Custom metadata as it came: (length of the key, length of the value, key, value)…
    var metadata = ByteBuffer()
    var receiver: ServerCallReceiver?
    var onCancel: (() -> Void)?
    /// The end that waits behind pending messages.
    var end: ServerCallEnd?

    init(
        generation: UInt32, connection: UInt32, connectionGeneration: UInt32, stream: HTTP2StreamHandle, method: Int,
        startedAt: UInt64
    ) {
        self.startedAt = startedAt
        self.generation = generation
        self.connection = connection
        self.connectionGeneration = connectionGeneration
        self.stream = stream
        self.method = method
    }
}

/// How a call ends.
enum ServerCallEnd {
    case ok(Metadata)
    case failure(RPCError)

    var code: StatusCode {
        switch self {
        case .ok: .ok
        case .failure(let error): error.code
        }
    }
}

/// Names one call for those who answer it: a place and its generation, so that a token that is kept too long finds nothing.
@usableFromInline
struct ServerCallToken {
    @usableFromInline let server: ServerConnections
    @usableFromInline let call: UInt32
    @usableFromInline let generation: UInt32

    @usableFromInline
    init(server: ServerConnections, call: UInt32, generation: UInt32) {
        self.server = server
        self.call = call
        self.generation = generation
    }

    @usableFromInline var loop: EventLoop { server.loop }
    var metadata: Metadata { server.metadata(self) }
    var deadline: UInt64? { server.deadline(self) }
    var isCancelled: Bool { server.isCancelled(self) }
    var isWritable: Bool { server.isWritable(self) }
    var peer: SocketAddress? { server.peer(self) }

    var onCancel: (() -> Void)? {
        get { server.onCancel(self) }
        nonmutating set { server.setOnCancel(self, newValue) }
    }

    @usableFromInline
    func attach(_ receiver: ServerCallReceiver) { server.attach(self, receiver) }

    /// Where to encode a message of `size` bytes; nil when nobody waits for it. `endMessage` must follow.
    @usableFromInline
    func beginMessage(size: Int) -> UnsafeMutablePointer<ByteBuffer>? { unsafe server.beginMessage(self, size) }

    @usableFromInline
    func endMessage() { server.endMessage(self) }

    @usableFromInline
    func finish(_ trailers: Metadata) { server.finish(self, .ok(trailers)) }

    @usableFromInline
    func fail(_ error: RPCError) { server.finish(self, .failure(error)) }

    @usableFromInline
    func rejectRequest(_ problem: String) {
        fail(RPCError(code: .internal, message: "the request could not be decoded: \(problem)"))
    }

    func pauseReading() { server.pauseReading(self) }
    func resumeReading() { server.resumeReading(self) }
}
