import Bytes
import HTTP1
import Memory
import Reactor
import Telemetry

/// The client's engine room on its loop: exchanges, connections and pools, named by handles, which find nothing once they have ended.
/// Here is what the loop tells of connections. The parts:
///
///     +Pools       who gets which connection, and when another is made
///     +Exchanges   the life of a request: sending, repeating, redirects, the end
///     +Bodies      what comes of a response, and holding it back
final class ClientCore: ConnectionHandler, TurnEnding {
    let loop: EventLoop
    let tls: TLSClientContext?
    let limits: HTTPClientLimits
    let userAgent: String
    let exchanges = Slab<Exchange>(initialCount: 16)
    let connections = Slab<ClientConnection>(initialCount: 16)
    let pools = Slab<OriginPool>(initialCount: 4)
    var poolByOrigin: [HTTPOrigin: Handle<OriginPool>] = [:]
    let table: HTTP1HeadTable
    let metrics = ClientMetrics()
    let timers = ClientTimers()
    /// No request is taken any more.
    var isClosed = false
    /// Exchanges that wait for a connection.
    var waiting = 0 {
        didSet { metrics.setWaiting(waiting) }
    }
    /// Bytes that exchanges keep.
    var held = 0 {
        didSet { metrics.setHeld(held) }
    }
    private var awaitsTurnEnd = false

    init(loop: EventLoop, tls: TLSClientContext?, limits: HTTPClientLimits, userAgent: String) {
        self.loop = loop
        self.tls = tls
        self.limits = limits
        self.userAgent = userAgent
        table = HTTP1HeadTable(limits: limits.http1)
        super.init()
        timers.exchanges.core = self
        timers.pools.core = self
        timers.pieces.core = self
        timers.resolving.core = self
        MetricRegistry.shared.addConnections(account, protocol: "http_client")
    }

    func handle(_ id: ConnectionID) -> Handle<ClientConnection> { loop.handle(id, of: ClientConnection.self) }

    // MARK: The loop's calls

    override func connectionOpened(_ id: ConnectionID) {
        let handle = handle(id)
        guard let connection = connections.find(handle), let pool = pools.find(connection.value.pool) else {
            return loop.close(id)
        }
        pool.value.connecting -= 1
        if pool.value.origin.isSecure, let name = loop.applicationProtocol(id), name != "http/1.1" {
            return fail(handle, .unreachable(pool.value.origin.host, .tls("the server speaks \(name) only")))
        }
        rest(handle, connection)
        serve(connection.value.pool)
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
        let handle = handle(id)
        var offset = 0
        while true {
            // Whoever was told of something may have ended it all.
            guard let connection = connections.find(handle), connection.value.phase != .closing else {
                return bytes.count
            }
            if let exchange = exchanges.find(connection.value.exchange), exchange.value.isBlocked { return offset }
            let rest = bytes.extracting(offset..<bytes.count)
            let event = connection.value.parser.next(rest, into: table)
            switch event {
            case .needMore(let consumed): return offset + consumed
            case .head(let count):
                offset += count
                takeHead(handle, connection, HTTP1Head(bytes: rest, table: table))
            case .body(let skip, let count):
                offset += skip + count
                takeBody(handle, connection, rest.extracting(skip..<(skip + count)))
            case .end(let consumed):
                offset += consumed
                responseEnded(handle, behindIt: bytes.count - offset)
            case .failed(let error): fail(handle, .malformed(error))
            }
            if case .head = event, let connection = connections.find(handle), connection.value.parser.isIdle {
                responseEnded(handle, behindIt: bytes.count - offset)
            }
        }
    }

    override func connectionReadClosed(_ id: ConnectionID) {
        let handle = handle(id)
        guard let connection = connections.find(handle), connection.value.phase == .busy,
            connection.value.parser.readsUntilClose
        else { return loop.close(id) }
        // Without a word of its end over TLS, anybody may have cut the body (RFC 9112 §9.8).
        guard loop.endedInOrder(id) else { return fail(handle, .malformed(.truncatedResponse)) }
        _ = connection.value.parser.inputEnded()
        responseEnded(handle, behindIt: 0)
    }

    /// Only a connection that nobody uses has one.
    override func connectionDeadline(_ id: ConnectionID) { loop.close(id) }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        ended(handle(id), reason)
    }

    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) {
        // One without a place never was one of ours: `connect` has seen it.
        if id != .none { failedToConnect(handle(id), reason) }
    }

    /// Ends a connection on which something was wrong, and who has it.
    func fail(_ handle: Handle<ClientConnection>, _ error: HTTPClientError) {
        guard let connection = connections.find(handle) else { return }
        close(handle, connection, error)
    }

    /// Closes a connection. Whoever has it hears of it when the loop has closed it.
    func close(
        _ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>, _ error: HTTPClientError? = nil
    ) {
        if connection.value.phase == .closing { return }
        leaveIdle(handle, connection)
        connection.value.phase = .closing
        connection.value.failure = error
        loop.close(connection.value.id)
    }

    /// Nobody has a place any more: what ended in this turn lets go of what it owned.
    func turnEnded() {
        awaitsTurnEnd = false
        exchanges.reclaim()
        connections.reclaim()
        pools.reclaim()
    }

    /// Something was removed from a slab.
    func askForTurnEnd() {
        if awaitsTurnEnd { return }
        awaitsTurnEnd = true
        loop.atEndOfTurn(self)
    }
}

/// The timers of a client, which hold nothing of it: their payloads are handles.
final class ClientTimers {
    class Timer: TimerHandler {
        weak var core: ClientCore?
    }

    final class Deadlines: Timer {
        override func timerFired(_ payload: UInt64) { core?.deadlinePassed(Handle(token: payload)) }
    }

    final class Servings: Timer {
        override func timerFired(_ payload: UInt64) { core?.serveNow(Handle(token: payload)) }
    }

    final class Pieces: Timer {
        override func timerFired(_ payload: UInt64) { core?.goOn(Handle(token: payload)) }
    }

    final class Resolvings: Timer {
        override func timerFired(_ payload: UInt64) { core?.resolvingTookTooLong(Handle(token: payload)) }
    }

    let exchanges = Deadlines()
    let pools = Servings()
    let pieces = Pieces()
    let resolving = Resolvings()
}
