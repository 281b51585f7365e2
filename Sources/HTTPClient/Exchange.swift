import Bytes
import Memory
import Reactor

/// Who gets the response.
enum Receiver {
    /// All of it at its end, a body of at most so many bytes.
    case collector(limit: Int, (Result<HTTPClientResponse, HTTPClientError>) -> Void)
    /// The head, the body as it comes, the end.
    case stream(
        onHead: (HTTPClientResponse) -> Void, onBody: (Span<UInt8>) -> Void, onEnd: (HTTPClientError?) -> Void)
}

/// One request and what comes of it, over however many connections.
///
///     waiting ──(a connection)──▶ sent ──(head)──▶ body ──▶ (gone: its receiver has been told)
///        ▲                          │                │
///        └──── lost, on a connection that had been kept; or redirected
struct Exchange: ~Copyable {
    let receiver: Receiver
    /// What is asked now: a redirect changes it.
    var request: HTTPClientRequest
    var stage = HTTPClientError.Stage.waiting
    /// Where it waits; none: it does not.
    var pool = Handle<OriginPool>.none
    /// That which it has, until the response is complete.
    var connection = Handle<ClientConnection>.none
    var deadline = TimerID.none
    /// It was sent on a connection that had been closed: the next one is a new one, and the last.
    var wasLost = false
    /// Redirects that were followed.
    var redirects = 0
    /// The head, once it has come; the body joins it at the end.
    var response: HTTPClientResponse?
    var collected = ByteBuffer()
    /// Of a body that is compressed.
    var decoder: GzipDecoder?
    /// The last byte of the body has come; what is left waits in the decoder.
    var bodyHasEnded = false
    /// The receiver wants nothing for now.
    var isPaused = false
    /// The turn is over: the rest comes in the next one.
    var isHeldBack = false
    /// Pieces of the body are being given out, further up the stack.
    var isDelivering = false
    /// Bytes that are counted for it.
    var held = 0

    init(_ request: HTTPClientRequest, _ receiver: Receiver) {
        self.request = request
        self.receiver = receiver
    }

    /// Whether nothing of the body may be given out now.
    var isBlocked: Bool { isPaused || isHeldBack }
}

/// One connection of a client.
///
///     connecting ──▶ idle ◀──▶ busy ──▶ closing
///                     ▲          ▼ nobody wants what is left
///                     └──── discarding
struct ClientConnection: ~Copyable {
    enum Phase: UInt8 {
        case connecting, idle, busy
        /// The rest of a response is read and forgotten.
        case discarding
        /// Nothing is read any more; the loop will say that it has closed it.
        case closing
    }

    let id: ConnectionID
    let pool: Handle<OriginPool>
    /// All addresses of the host, and which one this is.
    let addresses: [SocketAddress]
    let address: Int
    /// When connecting must have succeeded, with whichever of them; loop nanoseconds.
    let connectBy: UInt64
    var phase = ClientConnection.Phase.connecting
    var parser = HTTP1ResponseParser()
    /// Whose turn it is.
    var exchange = Handle<Exchange>.none
    /// Requests that were sent on it.
    var requests = 0
    /// Interim responses to the last one.
    var interims = 0
    /// Bytes of a body that may still be discarded.
    var discardable = 0
    /// How long it may lie idle; nanoseconds. 0: it may not.
    var idleTime: UInt64
    /// When it became idle.
    var idleSince: UInt64 = 0
    /// Why it was closed by this side.
    var failure: HTTPClientError?

    init(
        id: ConnectionID, pool: Handle<OriginPool>, addresses: [SocketAddress], address: Int, connectBy: UInt64,
        idleTime: UInt64
    ) {
        self.id = id
        self.pool = pool
        self.addresses = addresses
        self.address = address
        self.connectBy = connectBy
        self.idleTime = idleTime
    }
}

/// The connections to one origin, and who waits for them.
struct OriginPool: ~Copyable {
    let origin: HTTPOrigin
    /// Connections, and how many of them are not there yet.
    var open = 0
    var connecting = 0
    /// Connections that nobody uses, the one that was used last at the end.
    var idle: [Handle<ClientConnection>] = []
    /// Who waits for any connection, and who for a new one.
    var waiting = WaitingLine()
    var waitingForNew = WaitingLine()
    var isResolving = false
    /// Which resolving it is, so that an answer that came too late is known.
    var resolving: UInt32 = 0
    /// Gives up resolving.
    var resolveTimer = TimerID.none
    /// `serve` is going to be called.
    var isServing = false

    init(_ origin: HTTPOrigin) { self.origin = origin }

    var waitingCount: Int { waiting.count + waitingForNew.count }
}

/// Exchanges in the order in which they came. One that ends while it waits only takes itself off the count, and is passed over.
struct WaitingLine {
    private var line: [Handle<Exchange>] = []
    private var head = 0
    /// Of those that have not ended.
    private(set) var count = 0

    mutating func append(_ exchange: Handle<Exchange>) {
        line.append(exchange)
        count += 1
    }

    /// The first for whom `isLive` holds, which is all whose count was not taken off.
    mutating func popFirst(_ isLive: (Handle<Exchange>) -> Bool) -> Handle<Exchange>? {
        while head < line.count {
            let first = line[head]
            head += 1
            if head >= 1024 || head == line.count {
                line.removeFirst(head)
                head = 0
            }
            guard isLive(first) else { continue }
            count -= 1
            return first
        }
        return nil
    }

    /// One of them has ended.
    mutating func lost(_ isLive: (Handle<Exchange>) -> Bool) {
        count -= 1
        if count == 0 {
            line = []
            head = 0
        } else if line.count - head > 2 * count + 64 {
            line = line[head...].filter(isLive)
            head = 0
        }
    }
}
