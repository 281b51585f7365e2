import Basics
import Bytes
import HTTP2
import Memory
import Reactor
import Telemetry

/// All connections of one gRPC server on its loop: reads frames into calls.
///
/// Connections and calls lie in slabs and are named by handles, which find nothing once their connection or call has ended.
/// Places are for the length of a function; code that has called a handler looks its handle up again. The parts:
///
///     +Requests      from HEADERS to a call, or to a refusal
///     +Messages      from DATA to messages
///     +Compression   messages in gzip
///     +Calls         what handlers ask and answer
///     +Ending        how calls and connections end
///     +Lifecycle     pings, draining, output that waits
///     +Deadlines     what a client owes, and until when
@usableFromInline
final class ServerConnections: ConnectionHandler, TurnEnding {
    @usableFromInline let loop: EventLoop
    let limits: GRPCLimits
    let http2Limits: HTTP2Limits
    /// Kept because reflection answers from it, even when nobody keeps the `GRPCServer` whose listener goes on.
    let registry: ServiceRegistry
    let methods: [MethodRecord]
    let routes: RouteTable
    /// The services that exist, to say "unknown method" instead of "unknown service".
    let serviceNames: Set<String>
    let connections = Slab<ServerConnection>()
    let calls = Slab<ServerCall>()
    let state = Cell(State())
    var onEmpty: (() -> Void)?
    /// Calls with messages that wait for the next turn, by token.
    var late = Vector<UInt64>()
    /// Closing connections that have calls left, oldest first.
    var closing: [Handle<ServerConnection>] = []
    lazy var timers = ServerTimers(self)
    /// Makes the ages of connections differ.
    lazy var ages = SplitMix(seed: loop.preciseNow())
    /// Called when something is worth a line in the log.
    var onNotice: ((String) -> Void)?
    /// Compresses and decompresses for all calls; a message that is to be compressed is encoded into the draft.
    let compressor = MessageCompressor()
    let draft = Cell(ByteBuffer())
    /// Set before the first connection is accepted.
    var interceptors: [AnyServerInterceptor] = []
    /// What interceptors are to be told of the ends of calls, by the call's handle.
    var endings: [UInt64: CallEnding] = [:]
    let metrics: ServerMetrics
    var log: RequestLog
    /// Of `log`, as a constant: a variable of a class is guarded at each access.
    let noteFrom: UInt64
    let logger: Logger?
    /// Connections that break the rules come in crowds, too.
    var failureLines = LogRateLimit()

    /// What changes with every read.
    struct State: ~Copyable {
        /// `connectionRead` is at work: it reclaims the places of calls itself.
        var isReading = false
        /// `turnEnded` was asked for.
        var awaitsTurnEnd = false
        var isDraining = false
        /// There are interceptors.
        var intercepts = false
        /// There are calls with something beside them: what interceptors wait for, or a message in gzip.
        var attaches = false
        /// Events that may still be handled in the turn that began at `turn`.
        var eventsLeft = 0
        var turn: UInt64 = 0
        /// Bytes of bodies and metadata that all calls keep.
        var held = 0
        /// Bytes that sessions keep besides: header blocks, tables, streams.
        var session = 0
        /// Bytes of answers that wait for a window or for room, as far as they were counted.
        var queued = 0
        /// Up to where a drain, or a close of everything, has come in the slab of connections; nil: there is none.
        var drainSlot: UInt32?
        var closeSlot: UInt32?
        var hasWorkTimer = false
        /// The most events, ends and steps of a walk in one turn: for tests.
        var longestTurn = 0
        var work = 0
        var workTurn: UInt64 = 0
    }

    init(
        loop: EventLoop, registry: ServiceRegistry, limits: GRPCLimits, http2Limits: HTTP2Limits,
        logger: Logger? = nil
    ) {
        self.logger = logger
        log = RequestLog(logger)
        noteFrom = log.noteFrom
        self.loop = loop
        self.limits = limits
        self.http2Limits = http2Limits
        self.registry = registry
        methods = registry.methods
        routes = RouteTable(registry.methods.map(\.path))
        serviceNames = Set(registry.serviceNames)
        metrics = ServerMetrics(registry.methods)
        super.init()
        MetricRegistry.shared.addConnections(account, protocol: "grpc_server")
    }

    /// The handle of a connection of the loop; `none` for one that is not ours any more.
    @inline(__always)
    func handle(_ id: ConnectionID) -> Handle<ServerConnection> { loop.handle(id, of: ServerConnection.self) }

    // MARK: The loop's calls

    @usableFromInline
    override func connectionOpened(_ id: ConnectionID) {
        guard let output = unsafe loop.output(id) else { return }
        guard let handle = connections.insert(ServerConnection(id: id, limits: http2Limits)),
            let connection = connections.find(handle)
        else { return loop.close(id) }
        loop.setHandle(id, handle)
        metrics.connected()
        unsafe connection.value.session.start(output: &output.pointee)
        connection.value.lastRead = loop.now
        connection.value.readingSince = loop.now
        loop.setDeadline(id, at: loop.now.after(limits.$prefaceTimeout))
        if let age = limits.maximumConnectionAge { limitAge(connection, handle, age.nanoseconds) }
        if state.value.isDraining { beginDrain(connection, handle) }
    }

    @usableFromInline
    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let handle = handle(id)
        guard let connection = connections.find(handle) else { return bytes.count }
        let now = loop.now
        connection.value.lastRead = now
        let input = UnsafeRawBufferPointer(bytes)
        var position = 0
        var budget = eventBudget(now)
        let first = budget
        state.value.isReading = true
        reading: while true {
            // A handler may have closed the connection.
            guard connection.value.phase != .closing, let output = unsafe loop.output(id) else {
                position = bytes.count
                break
            }
            guard budget > 0, unsafe output.pointee.count < http2Limits.outputHighWater else {
                holdBack(handle, connection)
                break
            }
            budget = loop.isTurnSpent() ? 0 : budget &- 1
            let event = unsafe connection.value.session.next(input, &position, now: now, output: &output.pointee)
            switch event {
            case .needsMore:
                break reading
            case .headers(let stream, let endStream):
                unsafe beginCall(handle, connection, stream, endStream, output)
            case .data(let stream, let offset, let count, let endStream):
                let part = unsafe UnsafeRawBufferPointer(rebasing: input[offset..<offset + count])
                unsafe receive(handle, connection, stream, part, endStream, output)
            case .trailers(let stream):
                // Request trailers mean nothing in gRPC; they only end the stream.
                unsafe receive(
                    handle, connection, stream, UnsafeRawBufferPointer(start: nil, count: 0), true, output)
            case .reset(let context, _, _):
                let name = name(context)
                if let call = calls.find(name) { cancel(name, call) }
            case .goAway, .settings:
                break
            case .ping:
                unsafe countPing(handle, connection, output)
            case .pong(let value):
                pong(connection, value)
            case .failed(let failure):
                fail(handle, connection, failure)
                break reading
            }
            if calls.hasRetired { calls.reclaim() }
        }
        if calls.hasRetired { calls.reclaim() }
        state.value.isReading = false
        state.value.eventsLeft -= first - budget
        countWork(first - budget)
        noteDebt(connection)
        afterUse(handle, connection)
        showGauges()
        return position
    }

    /// How many events one connection may have handled now: its own bound, and a share of what the turn has left.
    @inline(__always)
    private func eventBudget(_ now: UInt64) -> Int {
        if state.value.turn != now {
            state.value.turn = now
            state.value.eventsLeft = limits.maximumEventsPerTurn
        }
        return min(limits.maximumEventsPerRead, max(state.value.eventsLeft, GRPCLimits.minimumEventsPerRead))
    }

    @usableFromInline
    override func connectionReadClosed(_ id: ConnectionID) {
        loop.closeAfterFlush(id)
    }

    @usableFromInline
    override func connectionDrained(_ id: ConnectionID) {
        let handle = handle(id)
        guard let connection = connections.find(handle) else { return }
        pump(handle, connection)
    }

    @usableFromInline
    override func connectionDeadline(_ id: ConnectionID) {
        let handle = handle(id)
        if let connection = connections.find(handle) { check(handle, connection) }
    }

    @usableFromInline
    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        let handle = handle(id)
        guard let connection = connections.find(handle) else { return }
        // The loop has found that the client does not read.
        if reason == .deadline, connection.value.phase != .closing { metrics.connectionExpired(.output) }
        closed(handle, connection, isLast: reason == .shutdown)
    }

    func showGauges() {
        metrics.setOpen(calls.count)
        metrics.setHeld(state.value.held)
        metrics.setQueued(state.value.queued)
    }

    /// Nobody has a place any more: what ended in this turn lets go of what it owned.
    @usableFromInline
    func turnEnded() {
        state.value.awaitsTurnEnd = false
        calls.reclaim()
        connections.reclaim()
    }

    /// Something was removed from a slab.
    @inline(__always)
    func askForTurnEnd() {
        if state.value.isReading || state.value.awaitsTurnEnd { return }
        state.value.awaitsTurnEnd = true
        loop.atEndOfTurn(self)
    }

    /// Adds to what this turn has done.
    func countWork(_ units: Int) {
        if state.value.workTurn != loop.now {
            state.value.workTurn = loop.now
            state.value.work = 0
        }
        state.value.work += units
        state.value.longestTurn = max(state.value.longestTurn, state.value.work)
    }

    /// The call that a stream of a connection has in its context; none if it has ended.
    @inline(__always)
    func name(_ context: UInt64) -> Handle<ServerCall> { Handle(token: context) }
}

/// Where the server's timers fire: without an allocation per timer.
final class ServerTimers {
    let deadline: ServerTimer
    let pump: ServerTimer
    let drain: ServerTimer
    let work: ServerTimer

    init(_ server: ServerConnections) {
        deadline = ServerTimer(server) { $0.deadlinePassed(Handle(token: $1)) }
        pump = ServerTimer(server) { $0.pumpTimerFired(Handle(token: $1)) }
        drain = ServerTimer(server) { $0.drainTimerFired(Handle(token: $1)) }
        work = ServerTimer(server) { server, _ in server.workTimerFired() }
    }
}

/// Timers of one kind; the payload is a handle.
final class ServerTimer: TimerHandler {
    private weak var server: ServerConnections?
    private let fire: (ServerConnections, UInt64) -> Void

    init(_ server: ServerConnections, _ fire: @escaping (ServerConnections, UInt64) -> Void) {
        self.server = server
        self.fire = fire
    }

    override func timerFired(_ payload: UInt64) {
        // A timer may outlast what it was armed for.
        if let server { fire(server, payload) }
    }
}
