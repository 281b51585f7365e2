import Bytes
import HTTP2
import Reactor
import Telemetry

/// All connections of one gRPC server on its loop: reads frames into calls. What handlers do with calls is in
/// `ServerConnections+Calls.swift`, keepalive and draining in `ServerConnections+Lifecycle.swift`.
@usableFromInline
final class ServerConnections: ConnectionHandler {
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
    let calls = Slab<ServerCallState>()
    var nextGeneration: UInt32 = 1
    var isDraining = false
    var onEmpty: (() -> Void)?
    lazy var timers = ServerTimers(self)
    /// Called when something is worth a line in the log.
    var onNotice: ((String) -> Void)?
    let metrics: ServerMetrics
    var log: RequestLog
    /// Of `log`, as a constant: a variable of a class is guarded at each access.
    let noteFrom: UInt64
    let logger: Logger?
    /// Connections that break the rules come in crowds, too.
    var failureLines = LogRateLimit()

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
    }

    deinit {
        // The loop has closed all connections: it keeps this handler while there is one.
        connections.deallocate()
        calls.deallocate()
    }

    // MARK: Reading

    @usableFromInline
    override func connectionOpened(_ id: ConnectionID) {
        guard let output = unsafe loop.output(id) else { return }
        let index = connections.insert(ServerConnection(id: id, generation: takeGeneration(), limits: http2Limits))
        loop.setContext(id, index)
        metrics.connected()
        let connection = unsafe connections[index]
        unsafe connection.pointee.session.start(output: &output.pointee)
        unsafe connection.pointee.lastRead = loop.now
        loop.setDeadline(id, at: loop.now + ServerConnection.prefaceTimeout)
        if isDraining { beginDrain(index) }
    }

    @usableFromInline
    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let index = loop.context(id)
        let connection = unsafe connections[index]
        unsafe connection.pointee.lastRead = loop.now
        let input = UnsafeRawBufferPointer(bytes)
        let now = loop.now
        var position = 0
        reading: while true {
            // A handler may have closed the connection.
            guard unsafe !connection.pointee.isClosing, let output = unsafe loop.output(id) else {
                return bytes.count
            }
            let event = unsafe connection.pointee.session.next(input, &position, now: now, output: &output.pointee)
            switch event {
            case .needsMore:
                break reading
            case .headers(let stream, let endStream):
                unsafe beginCall(index, connection, stream, endStream, output)
            case .data(let stream, let offset, let count, let endStream):
                let part = unsafe UnsafeRawBufferPointer(rebasing: input[offset..<offset + count])
                unsafe receive(connection, stream, part, endStream, output)
            case .trailers(let stream):
                // Request trailers mean nothing in gRPC; they only end the stream.
                unsafe receive(connection, stream, UnsafeRawBufferPointer(start: nil, count: 0), true, output)
            case .reset(let context, _, _):
                if let call = call(context) { cancel(call, sendsReset: false) }
            case .goAway, .settings:
                break
            case .ping:
                unsafe countPing(connection, output)
            case .pong(let value):
                unsafe pong(index, connection, value)
            case .failed(let failure):
                unsafe fail(connection, failure)
                break reading
            }
        }
        unsafe afterUse(index, connection)
        metrics.setOpen(calls.count)
        return position
    }

    @usableFromInline
    override func connectionReadClosed(_ id: ConnectionID) {
        loop.closeAfterFlush(id)
    }

    @usableFromInline
    override func connectionDrained(_ id: ConnectionID) {
        pump(loop.context(id))
    }

    @usableFromInline
    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        let index = loop.context(id)
        guard index != UInt32.max, connections.count > 0 else { return }
        let connection = unsafe connections[index]
        guard unsafe connection.pointee.id == id else { return }
        unsafe connection.pointee.isClosing = true
        // Each call takes itself out of the list, once; a handler that hears of the end may end others.
        while unsafe connection.pointee.firstCall != UInt32.max {
            unsafe cancel(connection.pointee.firstCall, sendsReset: false)
        }
        loop.cancel(unsafe connection.pointee.pumpTimer)
        loop.cancel(unsafe connection.pointee.drainTimer)
        connections.remove(index)
        metrics.disconnected()
        metrics.setOpen(calls.count)
        if connections.count == 0 && isDraining { becameEmpty() }
    }

    /// Keepalive: a client that was silent for long is asked whether it is there.
    @usableFromInline
    override func connectionDeadline(_ id: ConnectionID) {
        let connection = unsafe connections[loop.context(id)]
        guard unsafe !connection.pointee.isClosing, let output = unsafe loop.output(id) else { return }
        let now = loop.now
        guard unsafe connection.pointee.session.hasPeerSettings else { return loop.close(id) }
        if unsafe connection.pointee.pingSent != 0 {
            if unsafe connection.pointee.lastRead < connection.pointee.pingSent { return loop.close(id) }
            unsafe connection.pointee.pingSent = 0
        }
        let due = unsafe connection.pointee.lastRead + limits.keepaliveInterval
        if now < due { return loop.setDeadline(id, at: due) }
        unsafe connection.pointee.session.sendPing(0, output: &output.pointee)
        unsafe connection.pointee.pingSent = now
        loop.setDeadline(id, at: now + limits.keepaliveTimeout)
    }

    func takeGeneration() -> UInt32 {
        // Below 2³⁰: timers carry it beside two bits of their own. 0 is never used.
        nextGeneration = nextGeneration >= 1 << 30 - 1 ? 1 : nextGeneration + 1
        return nextGeneration
    }

    // MARK: Messages

    /// A part of a call's body. `bytes` lie in the receive buffer.
    func receive(
        _ connection: UnsafeMutablePointer<ServerConnection>, _ stream: HTTP2StreamHandle,
        _ bytes: UnsafeRawBufferPointer,
        _ endStream: Bool, _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        guard let call = unsafe call(connection.pointee.session.context(stream)) else {
            // A request that was refused with 405 or 415 while its body was on the way.
            return unsafe connection.pointee.session.consumed(stream, bytes.count, output: &output.pointee)
        }
        let state = unsafe calls[call]
        if endStream { unsafe state.pointee.remoteEnded = true }
        guard unsafe state.pointee.phase == .receiving else {
            // The handler has ended the call, its end waits for room: what the client still sends is dropped.
            return unsafe connection.pointee.session.consumed(stream, bytes.count, output: &output.pointee)
        }
        let method = unsafe state.pointee.method
        if case .oneRequest(let dispatch) = methods[method].kind {
            // The usual case: one frame with one whole message.
            if endStream, unsafe state.pointee.body.isEmpty, bytes.count >= GRPCMessage.prefixSize,
                unsafe GRPCMessage.isWhole(bytes), bytes.count <= limits.maximumMessageSize + GRPCMessage.prefixSize
            {
                unsafe state.pointee.phase = .running
                let generation = unsafe state.pointee.generation
                unsafe dispatch(
                    UnsafeRawBufferPointer(rebasing: bytes[GRPCMessage.prefixSize...]),
                    ServerCallToken(server: self, call: call, generation: generation))
                if unsafe isCurrent(call, generation) && state.pointee.deadline != 0 { unsafe armDeadline(call, state) }
                return
            }
            if !endStream { unsafe connection.pointee.session.consumed(stream, bytes.count, output: &output.pointee) }
            unsafe state.pointee.body.append(bytes)
            if let problem = unsafe checkSize(state.pointee.body) {
                return finish(unsafe token(call, state), .failure(problem))
            }
            if endStream { unsafe dispatchWhole(call, state, dispatch) } else { unsafe armDeadline(call, state) }
            return
        }
        unsafe state.pointee.unconsumed += bytes.count
        var rest = unsafe bytes
        if unsafe state.pointee.body.isEmpty && !state.pointee.isPaused && !state.pointee.isDelivering {
            // The usual case: whole messages, delivered where they lie.
            let generation = unsafe state.pointee.generation
            unsafe state.pointee.isDelivering = true
            while unsafe !state.pointee.isPaused && state.pointee.phase == .receiving,
                let message = unsafe GRPCMessage.takeWhole(&rest, limit: limits.maximumMessageSize)
            {
                let receiver = unsafe state.pointee.receiver
                unsafe receiver?.receive(message)
                guard isCurrent(call, generation) else { return }
            }
            unsafe state.pointee.isDelivering = false
        }
        unsafe state.pointee.body.append(rest)
        unsafe deliver(call, state)
    }

    /// The whole body of a call with one request message has come in several parts.
    private func dispatchWhole(
        _ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>,
        _ dispatch: (UnsafeRawBufferPointer, ServerCallToken) -> Void
    ) {
        let token = unsafe token(call, state)
        var body = ByteBuffer()
        unsafe swap(&body, &state.pointee.body)
        unsafe body.withUnsafeBytes { bytes in
            guard bytes.count >= GRPCMessage.prefixSize, unsafe bytes[0] == 0, unsafe GRPCMessage.isWhole(bytes) else {
                return finish(token, .failure(unsafe GRPCMessage.problem(bytes)))
            }
            unsafe state.pointee.phase = .running
            unsafe dispatch(UnsafeRawBufferPointer(rebasing: bytes[GRPCMessage.prefixSize...]), token)
        }
        if isCurrent(call, token.generation) { unsafe armDeadline(call, state) }
    }

    private func checkSize(_ body: borrowing ByteBuffer) -> RPCError? {
        guard body.count >= GRPCMessage.prefixSize else { return nil }
        let length = unsafe body.withUnsafeBytes { unsafe GRPCMessage.length($0) }
        return length > limits.maximumMessageSize ? .tooLarge(length, limits.maximumMessageSize) : nil
    }

    /// Delivers the whole messages of a streaming call, and its end.
    func deliver(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>) {
        guard unsafe !state.pointee.isDelivering else { return }
        let token = unsafe token(call, state)
        unsafe state.pointee.isDelivering = true
        while unsafe !state.pointee.isPaused && state.pointee.phase == .receiving {
            if let problem = unsafe checkSize(state.pointee.body) { return finish(token, .failure(problem)) }
            let size = unsafe state.pointee.body.withUnsafeBytes { unsafe GRPCMessage.wholeSize($0) }
            guard size > 0 else {
                guard unsafe state.pointee.remoteEnded else { break }
                if unsafe !state.pointee.body.isEmpty { return finish(token, .failure(.truncated)) }
                unsafe state.pointee.phase = .running
                unsafe state.pointee.receiver?.receiveEnd()
                guard isCurrent(call, token.generation) else { return }
                break
            }
            guard unsafe state.pointee.body[0] == 0 else { return finish(token, .failure(.compressed)) }
            // The message leaves the call's buffer before the handler runs: the handler may end the call.
            var message = ByteBuffer()
            if unsafe state.pointee.body.count == size {
                unsafe swap(&message, &state.pointee.body)
            } else {
                unsafe state.pointee.body.withUnsafeBytes {
                    unsafe message.append(UnsafeRawBufferPointer(rebasing: $0[..<size]))
                }
                unsafe state.pointee.body.consume(size)
            }
            let receiver = unsafe state.pointee.receiver
            unsafe message.withUnsafeBytes {
                unsafe receiver?.receive(UnsafeRawBufferPointer(rebasing: $0[GRPCMessage.prefixSize...]))
            }
            guard isCurrent(call, token.generation) else { return }
        }
        unsafe state.pointee.isDelivering = false
        unsafe giveBack(state)
    }

    /// Reports the bytes that were taken to flow control, unless the call is paused.
    private func giveBack(_ state: UnsafeMutablePointer<ServerCallState>) {
        let count = unsafe state.pointee.unconsumed
        guard count > 0, unsafe !state.pointee.isPaused, unsafe !state.pointee.remoteEnded else { return }
        let connection = unsafe connections[state.pointee.connection]
        guard let output = unsafe loop.output(connection.pointee.id) else { return }
        unsafe state.pointee.unconsumed = 0
        unsafe connection.pointee.session.consumed(state.pointee.stream, count, output: &output.pointee)
    }
}
