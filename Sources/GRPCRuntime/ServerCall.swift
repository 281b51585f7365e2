import Bytes
import HTTP2
import Memory
import Reactor

/// A call on the server, from its HEADERS to its last byte:
///
///                     HEADERS                  the last message is dispatched
///       (no call) ──────────────▶ receiving ───────────────────────────────▶ running
///                                     │                                          │
///             finish, fail            ├──────────────◀──────────────────────────┤
///       ┌─────────────────────────────┘                                          │
///       ▼                                                 RST_STREAM, deadline   │
///     ending ── all that was sent has left ──▶ (gone)                            ▼
///                                                ▲                          cancelled (a task, or a unary handler
///                                                │                               │ that can't hear of it, still runs:
///                                                └── the handler is done ────────┘ it counts as open)
///
/// From each of them a connection that closes, and from all but `cancelled` a RST_STREAM, leads to (gone): there a handle
/// finds nothing. `ServerConnections.end` is the one way to it.
@usableFromInline
struct ServerCall: ~Copyable {
    enum Phase: UInt8 {
        /// An interceptor decides whether its handler may have it; what the client sends is kept until then. Only with
        /// interceptors; it leads to `receiving`, or to an end.
        case intercepted
        /// Request messages are awaited. A streaming handler is at work.
        case receiving
        /// The whole request is with the handler.
        case running
        /// The handler has answered; its end waits behind messages that have not left.
        case ending
        /// Nobody waits for the answer any more, but the handler is not done.
        case cancelled

        /// Whether the handler may still answer.
        var isOpen: Bool { self != .ending && self != .cancelled }
    }

    /// Why request messages are kept instead of delivered.
    struct Hold: OptionSet {
        let rawValue: UInt8
        /// The handler has paused.
        static let paused = Hold(rawValue: 1)
        /// Its answers have not left: who asks without reading must not make us collect answers.
        static let choked = Hold(rawValue: 2)
        /// This turn has taken its time: many messages in one read must not keep the others waiting.
        static let late = Hold(rawValue: 4)
    }

    enum Head: UInt8 {
        /// Nothing has gone out.
        case none
        /// Nothing yet, and the client is to hear that gzip is understood, since it has used it.
        case disclosing
        /// The response's headers have gone out; messages follow as they are.
        case plain
        /// They have, with `grpc-encoding: gzip`.
        case compressing

        var isOut: Bool { rawValue >= Head.plain.rawValue }
    }

    /// A message is encoded into the output, into what waits for a window, or into the server's draft, to be compressed.
    enum Target: UInt8 { case output, pending, draft }

    let connection: Handle<ServerConnection>
    /// The stream in the connection's session.
    let stream: HTTP2StreamHandle
    /// Index in the registry's methods.
    let method: Int
    /// Neighbours in the list of the connection's calls.
    var next = Handle<ServerCall>.none
    var previous = Handle<ServerCall>.none
    var phase = Phase.receiving
    var hold: Hold = []
    /// How far the response's headers are.
    var head = Head.none
    /// What it has agreed on with the client about compression.
    var compression: CallCompression = []
    var remoteEnded = false
    /// Where the message is encoded that is begun.
    var target = Target.output
    /// `isWritable` was false: the receiver wants to hear of the change.
    var wantsWritable = false
    /// Messages are being delivered: `resume` inside a delivery must not begin another.
    var isDelivering = false
    /// A handler is at work that the call's end does not stop at once, a task above all: until it is done, the call counts as
    /// open.
    var isAtWork = false
    /// Bytes of body that were not reported to flow control.
    var unconsumed = 0
    /// Bytes of `body` and `metadata` that are counted in the connection's account.
    var held = 0
    /// When its headers came, in the loop's nanoseconds.
    let startedAt: UInt64
    /// When the message began that is half there.
    var messageSince: UInt64
    /// When the client stops waiting, in the loop's nanoseconds; 0: never.
    var deadline: UInt64 = 0
    var timer = TimerID.none
    /// How the client takes what waits for a window.
    var reading = ProgressMark()
    /// Body that is not a whole message yet, or waits for `resume`.
    var body = ByteBuffer()
    /// Custom metadata as it came: (length of the key, length of the value, key, value)…
    var metadata = ByteBuffer()
    var receiver: ServerCallReceiver?
    var onCancel: (() -> Void)?
    /// The end that waits behind pending messages.
    var end: ServerCallEnd?
    /// What interceptors have attached.
    var attached = AttachedValues()

    init(connection: Handle<ServerConnection>, stream: HTTP2StreamHandle, method: Int, startedAt: UInt64) {
        self.connection = connection
        self.stream = stream
        self.method = method
        self.startedAt = startedAt
        messageSince = startedAt
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
