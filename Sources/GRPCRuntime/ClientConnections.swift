import Bytes
import HTTP2
import Memory
import Reactor
import Telemetry

/// The connections of one channel: opens streams for calls and reads frames into them.
///
/// Connections and calls are named by handles, which find nothing once they have ended. The parts:
///
///     +Streams       what calls do with their streams
///     +Compression   messages in gzip
///     +Ending        how connections end, and their calls with them
///     +Deadlines     keepalive, and what a server owes
final class ClientConnections: ConnectionHandler, TurnEnding {
    let loop: EventLoop
    /// Kept until `close`: connections must not outlive what they report to.
    var channel: GRPCChannel?
    let options: ChannelOptions
    let limits = HTTP2Limits()
    let metrics: ChannelMetrics
    private(set) var authority: [UInt8] = []
    /// Whose certificate is expected, with TLS.
    private(set) var serverName = ""
    let connections = Slab<ClientConnection>(initialCount: 4)
    /// Calls that have not ended: the context of their streams, the payload of their timers.
    let calls = Slab<ClientCall>()
    /// Buffers of calls that have ended, for the next ones.
    let buffers = BufferPool()
    /// Connections with calls that are to be ended or refused, oldest first.
    var ending: [Handle<ClientConnection>] = []
    var hasWorkTimer = false
    /// Compresses and decompresses for all calls, and the calls with a message for which this turn had no time.
    let compressor = MessageCompressor()
    var late: [Handle<ClientCall>] = []
    var hasLateTimer = false
    let state = Cell(State())
    lazy var timers = ClientTimers(self)

    struct State: ~Copyable {
        var isReading = false
        var awaitsTurnEnd = false
        /// The most events and ends of calls in one turn: for tests.
        var longestTurn = 0
        var work = 0
        var workTurn: UInt64 = 0
    }

    init(loop: EventLoop, options: ChannelOptions, metrics: ChannelMetrics) {
        self.loop = loop
        self.options = options
        self.metrics = metrics
        super.init()
        MetricRegistry.shared.addConnections(account, protocol: "grpc_client")
    }

    /// Once, before anything else.
    func report(to channel: GRPCChannel) {
        self.channel = channel
        authority = channel.authority
        let host = options.authority ?? channel.target
        serverName = options.tls?.serverName ?? GRPCChannel.parse(host)?.0 ?? host
    }

    @inline(__always)
    func handle(_ id: ConnectionID) -> Handle<ClientConnection> { loop.handle(id, of: ClientConnection.self) }

    // MARK: The loop's calls

    func connect(_ address: SocketAddress) -> Handle<ClientConnection> {
        let id = loop.connect(
            address, timeout: options.$connectTimeout, tls: options.tls, serverName: serverName, alpn: ["h2"],
            handler: self)
        guard let handle = connections.insert(ClientConnection(id: id, address: address, limits: limits)) else {
            loop.close(id)
            return .none
        }
        loop.setHandle(id, handle)
        return handle
    }

    override func connectionOpened(_ id: ConnectionID) {
        let handle = handle(id)
        guard let connection = connections.find(handle) else { return }
        if options.tls != nil, loop.applicationProtocol(id) != "h2" {
            connection.value.fail("the server has not agreed to speak h2 (ALPN)")
            beginClosing(handle, connection)
            return loop.close(id)
        }
        guard let output = unsafe loop.output(id), connection.value.enter(.settling) else { return }
        unsafe connection.value.session.start(output: &output.pointee)
        connection.value.lastRead = loop.now
        connection.value.readingSince = loop.now
        // The server's SETTINGS are part of connecting.
        loop.setDeadline(id, at: loop.now.after(options.$connectTimeout))
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let handle = handle(id)
        guard let connection = connections.find(handle) else { return bytes.count }
        let now = loop.now
        connection.value.lastRead = now
        let input = UnsafeRawBufferPointer(bytes)
        var position = 0
        var budget = options.maximumEventsPerRead
        state.value.isReading = true
        reading: while true {
            // A caller may have closed the channel.
            guard connection.value.phase != .closing, let output = unsafe loop.output(id) else {
                position = bytes.count
                break
            }
            // Only for its own sake: output that waits is no reason not to read. A server that waits for us to read, as we
            // for it, would wait for ever. (What it makes us answer has a bound in the session.)
            guard budget > 0 else {
                holdBack(handle, connection)
                break
            }
            budget = loop.isTurnSpent() ? 0 : budget &- 1
            let event = unsafe connection.value.session.next(input, &position, now: now, output: &output.pointee)
            switch event {
            case .needsMore:
                break reading
            case .headers(let stream, let endStream):
                if let call = call(connection.value.session.context(stream), of: handle) {
                    call.receiveHeaders(connection.value.session.headers, endStream: endStream)
                }
            case .data(let stream, let offset, let count, let endStream):
                if let call = call(connection.value.session.context(stream), of: handle) {
                    unsafe call.receiveData(
                        UnsafeRawBufferPointer(rebasing: input[offset..<offset + count]), endStream: endStream)
                }
            case .trailers(let stream):
                if let call = call(connection.value.session.context(stream), of: handle) {
                    call.receiveTrailers(connection.value.session.headers)
                }
            case .reset(let context, let code, let byPeer):
                reset(context, of: handle, code, byPeer)
            case .settings:
                settingsCame(handle, connection)
            case .goAway(let last, _):
                goAway(handle, connection, last)
            case .ping:
                break
            case .pong:
                pingAnswered(connection)
            case .failed(let failure):
                connection.value.fail("\(failure)")
                if beginClosing(handle, connection) { loop.closeAfterFlush(id) }
                break reading
            }
            if calls.hasRetired { calls.reclaim() }
        }
        if calls.hasRetired { calls.reclaim() }
        state.value.isReading = false
        countWork(options.maximumEventsPerRead - budget)
        noteDebt(connection)
        afterUse(handle, connection)
        return position
    }

    /// The call whose stream on this connection has `context`, if it has not ended.
    @inline(__always)
    func call(_ context: UInt64, of connection: Handle<ClientConnection>) -> ClientCall? {
        guard let call = calls.find(Handle(token: context))?.value, call.connection == connection else { return nil }
        return call
    }

    private func settingsCame(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        if connection.value.enter(.ready) {
            // What was owed before had the deadline of connecting.
            connection.value.isWatched = false
            loop.setDeadline(connection.value.id, at: loop.now.after(options.$keepaliveInterval))
            channel?.connectionReady(handle)
        }
        channel?.roomAppeared()
    }

    /// Streams above `last` were not processed; they are sent again elsewhere. The others finish here.
    private func goAway(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>, _ last: UInt32) {
        connection.value.lastProcessed = min(last, connection.value.lastProcessed)
        retire(handle, connection)
        work(on: handle)
    }

    private func reset(
        _ context: UInt64, of connection: Handle<ClientConnection>, _ code: HTTP2ErrorCode, _ byPeer: Bool
    ) {
        guard let call = call(context, of: connection) else { return }
        detach(call)
        if byPeer && code == .refusedStream {
            call.refused(.reset(code))
        } else if byPeer {
            call.finish(.reset(code))
        } else {
            call.finish(RPCError(code: .internal, message: "the server broke the rules of HTTP/2: \(code)"))
        }
        channel?.roomAppeared()
    }

    override func connectionDrained(_ id: ConnectionID) {
        let handle = handle(id)
        guard let connection = connections.find(handle) else { return }
        pump(handle, connection)
    }

    override func connectionReadClosed(_ id: ConnectionID) {
        loop.close(id)
    }

    override func connectionDeadline(_ id: ConnectionID) {
        let handle = handle(id)
        if let connection = connections.find(handle) { check(handle, connection) }
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        ended(handle(id), "\(reason)", isLast: reason == .shutdown)
    }

    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) {
        guard id == .none else { return ended(handle(id), "\(reason)", isLast: false) }
        // The loop had no place for it, and so no handle.
        for slot in 0..<connections.end {
            guard let handle = connections.handle(atSlot: slot), let connection = connections.find(handle),
                connection.value.id == .none
            else { continue }
            ended(handle, "\(reason)", isLast: false)
        }
    }

    /// Nobody has a place any more: what ended in this turn lets go of what it owned.
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

    // MARK: Output that waits

    private func afterUse(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        while let context = connection.value.session.popDrained() { call(context, of: handle)?.becameWritable() }
        schedulePump(handle, connection)
        channel?.roomAppeared()
        closeIfDone(handle)
    }

    /// Enough for this turn: the other connections, and the rest of the process, come first.
    private func holdBack(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        if connection.value.isHeldBack { return }
        connection.value.isHeldBack = true
        loop.pauseReading(connection.value.id)
        watch(connection)
    }

    func schedulePump(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        let wantsPump = connection.value.session.wantsPump
        let isHeldBack = connection.value.isHeldBack
        guard wantsPump || isHeldBack,
            connection.value.pumpTimer == .none, connection.value.phase != .closing
        else { return }
        connection.value.pumpTimer = loop.schedule(after: 0, timers.pump, handle.token)
    }

    func pumpTimerFired(_ handle: Handle<ClientConnection>) {
        guard let connection = connections.find(handle) else { return }
        connection.value.pumpTimer = .none
        let id = connection.value.id
        resume(connection)
        // As on the server: after a short write `connectionDrained` goes on, else the next turn does.
        if loop.isBacklogged(id) { return }
        if loop.pendingOutput(id) == 0 { pump(handle, connection) } else { schedulePump(handle, connection) }
    }

    private func pump(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        guard connection.value.phase != .closing, let output = unsafe loop.output(connection.value.id) else { return }
        resume(connection)
        unsafe connection.value.session.pump(output: &output.pointee)
        afterUse(handle, connection)
    }

    private func resume(_ connection: Place<ClientConnection>) {
        guard connection.value.isHeldBack else { return }
        connection.value.isHeldBack = false
        connection.value.readingSince = loop.now
        loop.resumeReading(connection.value.id)
    }
}

/// Where a channel's timers fire without an allocation.
final class ClientTimers {
    let deadline: ClientTimer
    let pump: ClientTimer

    init(_ connections: ClientConnections) {
        deadline = ClientTimer(connections) { $0.calls.find(Handle(token: $1))?.value.deadlinePassed() }
        pump = ClientTimer(connections) { $0.pumpTimerFired(Handle(token: $1)) }
    }
}

/// Timers of one kind; the payload is a handle.
final class ClientTimer: TimerHandler {
    private weak var connections: ClientConnections?
    private let fire: (ClientConnections, UInt64) -> Void

    init(_ connections: ClientConnections, _ fire: @escaping (ClientConnections, UInt64) -> Void) {
        self.connections = connections
        self.fire = fire
    }

    override func timerFired(_ payload: UInt64) {
        // A timer may outlast what it was armed for.
        if let connections { fire(connections, payload) }
    }
}
