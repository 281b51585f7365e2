import Bytes
import HTTP2
import Reactor

/// One connection of a channel.
struct ClientConnection: ~Copyable {
    let id: ConnectionID
    /// Index of the subchannel that it belongs to.
    let address: SocketAddress
    var session: HTTP2Session
    /// The server's SETTINGS have come: streams may be opened.
    var isReady = false
    /// No new streams: GOAWAY came, or identifiers have run out.
    var isGoingAway = false
    var isClosing = false
    var lastRead: UInt64 = 0
    /// A keepalive PING waits for its answer since then; 0: none.
    var pingSent: UInt64 = 0
    var pumpTimer = TimerID.none
    var contentType = HPACKEncoder.Remembered()
    var te = HPACKEncoder.Remembered()
    var userAgent = HPACKEncoder.Remembered()
    var authority = HPACKEncoder.Remembered()
    var paths = RememberedPaths()

    init(id: ConnectionID, address: SocketAddress, limits: HTTP2Limits) {
        self.id = id
        self.address = address
        session = HTTP2Session(role: .client, limits: limits)
    }
}

/// Where the paths of calls are in a connection's HPACK table. A path is a literal of the program, so its address names it.
struct RememberedPaths {
    private static let count = 16
    private var places = InlineArray<16, HPACKEncoder.Remembered>(repeating: HPACKEncoder.Remembered())
    private var addresses = InlineArray<16, UInt>(repeating: 0)

    mutating func encode(_ path: StaticString, _ encoder: inout HPACKEncoder, into output: inout ByteBuffer) {
        let address = UInt(bitPattern: unsafe path.utf8Start)
        // Literals lie beside each other, at least their own length apart.
        let place = Int(truncatingIfNeeded: (address >> 3) ^ (address >> 7)) & (Self.count - 1)
        if addresses[place] != address {
            addresses[place] = address
            places[place] = HPACKEncoder.Remembered()
        }
        unsafe encoder.encode(
            .path, UnsafeRawBufferPointer(start: path.utf8Start, count: path.utf8CodeUnitCount),
            remembered: &places[place], into: &output)
    }
}

/// The connections of one channel: opens streams for calls and reads frames into them.
final class ClientConnections: ConnectionHandler {
    let loop: EventLoop
    /// Kept until `close`: connections must not outlive what they report to.
    private(set) var channel: GRPCChannel?
    private let limits = HTTP2Limits()
    private(set) var authority: [UInt8] = []
    let connections = Slab<ClientConnection>()
    /// Calls that have not ended, by place: the context of their streams, the payload of their timers.
    let calls = Slab<ClientCall>()
    /// Buffers of calls that have ended, for the next ones.
    let buffers = BufferPool()
    private lazy var timers = ClientTimers(self)

    init(loop: EventLoop) {
        self.loop = loop
    }

    /// Once, before anything else.
    func report(to channel: GRPCChannel) {
        self.channel = channel
        authority = channel.authority
    }

    deinit {
        // The loop has closed all connections: it keeps this handler while there is one.
        connections.deallocate()
        calls.deallocate()
    }

    // MARK: Connections

    func connect(_ address: SocketAddress, timeout: UInt64) -> UInt32 {
        let id = loop.connect(address, timeout: timeout, handler: self)
        let index = connections.insert(ClientConnection(id: id, address: address, limits: limits))
        loop.setContext(id, index)
        return index
    }

    override func connectionOpened(_ id: ConnectionID) {
        let connection = unsafe connections[loop.context(id)]
        guard let output = unsafe loop.output(id) else { return }
        unsafe connection.pointee.session.start(output: &output.pointee)
        unsafe connection.pointee.lastRead = loop.now
        // The server's SETTINGS are part of connecting.
        loop.setDeadline(id, at: loop.now + (channel?.options.connectTimeout ?? 0))
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let index = loop.context(id)
        let connection = unsafe connections[index]
        unsafe connection.pointee.lastRead = loop.now
        let input = UnsafeRawBufferPointer(bytes)
        var position = 0
        reading: while true {
            guard unsafe !connection.pointee.isClosing, let output = unsafe loop.output(id) else {
                return bytes.count
            }
            let event = unsafe connection.pointee.session.next(
                input, &position, now: loop.now, output: &output.pointee)
            switch event {
            case .needsMore:
                break reading
            case .headers(let stream, let endStream):
                if let call = unsafe call(context: connection.pointee.session.context(stream)) {
                    unsafe call.receiveHeaders(connection.pointee.session.headers, endStream: endStream)
                }
            case .data(let stream, let offset, let count, let endStream):
                if let call = unsafe call(context: connection.pointee.session.context(stream)) {
                    unsafe call.receiveData(
                        UnsafeRawBufferPointer(rebasing: input[offset..<offset + count]), endStream: endStream)
                }
            case .trailers(let stream):
                if let call = unsafe call(context: connection.pointee.session.context(stream)) {
                    unsafe call.receiveTrailers(connection.pointee.session.headers)
                }
            case .reset(let context, let code, let byPeer):
                reset(context, code, byPeer)
            case .settings:
                unsafe settingsCame(index, connection)
            case .goAway(let last, _):
                unsafe goAway(index, connection, last)
            case .ping:
                break
            case .pong:
                unsafe connection.pointee.pingSent = 0
                loop.setDeadline(id, at: loop.now + (channel?.options.keepaliveInterval ?? 0))
            case .failed(let failure):
                unsafe connection.pointee.isClosing = true
                lastFailure = "\(failure)"
                loop.closeAfterFlush(id)
                break reading
            }
        }
        unsafe afterUse(index, connection)
        return position
    }

    /// What was wrong with the last connection that failed, for the error message of its calls.
    private(set) var lastFailure: String?

    private func settingsCame(_ index: UInt32, _ connection: UnsafeMutablePointer<ClientConnection>) {
        if unsafe !connection.pointee.isReady {
            unsafe connection.pointee.isReady = true
            unsafe loop.setDeadline(
                connection.pointee.id, at: loop.now + (channel?.options.keepaliveInterval ?? 0))
            channel?.connectionReady(index)
        }
        channel?.roomAppeared()
    }

    /// Streams above `last` were not processed; they are sent again elsewhere. The others finish here.
    private func goAway(
        _ index: UInt32, _ connection: UnsafeMutablePointer<ClientConnection>, _ last: UInt32
    ) {
        unsafe retire(index, connection)
        var unprocessed: [UInt64] = []
        unsafe connection.pointee.session.forEachContext(above: last) { unprocessed.append($0) }
        for context in unprocessed {
            guard let call = call(context: context) else { continue }
            if let output = unsafe loop.output(connection.pointee.id) {
                unsafe connection.pointee.session.reset(
                    call.stream, .cancel, now: loop.now, output: &output.pointee)
            }
            call.hasStream = false
            call.refused(RPCError(code: .unavailable, message: "the server is going away"))
        }
    }

    /// Opens no more streams on a connection.
    func retire(_ index: UInt32, _ connection: UnsafeMutablePointer<ClientConnection>) {
        guard unsafe !connection.pointee.isGoingAway else { return }
        unsafe connection.pointee.isGoingAway = true
        channel?.connectionRetired(index)
    }

    private func reset(_ context: UInt64, _ code: HTTP2ErrorCode, _ byPeer: Bool) {
        guard let call = call(context: context) else { return }
        call.hasStream = false
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
        pump(loop.context(id))
    }

    override func connectionReadClosed(_ id: ConnectionID) {
        loop.close(id)
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let index = index(of: id) else { return }
        let connection = unsafe connections[index]
        unsafe connection.pointee.isClosing = true
        var lost: [UInt64] = []
        unsafe connection.pointee.session.forEachContext { lost.append($0) }
        let address = unsafe connection.pointee.address
        let wasReady = unsafe connection.pointee.isReady
        let wasGoingAway = unsafe connection.pointee.isGoingAway
        loop.cancel(unsafe connection.pointee.pumpTimer)
        connections.remove(index)
        let text = lastFailure ?? "\(reason)"
        lastFailure = nil
        for context in lost {
            guard let call = call(context: context) else { continue }
            call.hasStream = false
            call.finish(RPCError(code: .unavailable, message: "the connection to \(address) was lost: \(text)"))
        }
        if !wasGoingAway { channel?.connectionLost(index, address, wasReady: wasReady, reason: text) }
    }

    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) { connectionClosed(id, reason) }

    /// A connection that was never opened may report its end before its context is known.
    private func index(of id: ConnectionID) -> UInt32? {
        for index in connections.places where connections.isUsed(index) {
            if unsafe connections[index].pointee.id == id { return index }
        }
        return nil
    }

    override func connectionDeadline(_ id: ConnectionID) {
        let connection = unsafe connections[loop.context(id)]
        guard let options = channel?.options, let output = unsafe loop.output(id) else { return }
        guard unsafe connection.pointee.isReady else {
            lastFailure = "no HTTP/2 settings within the connect timeout"
            return loop.close(id)
        }
        let now = loop.now
        if unsafe connection.pointee.pingSent != 0 {
            if unsafe connection.pointee.lastRead < connection.pointee.pingSent {
                lastFailure = "no answer to a keepalive PING"
                return loop.close(id)
            }
            unsafe connection.pointee.pingSent = 0
        }
        let due = unsafe connection.pointee.lastRead + options.keepaliveInterval
        if now < due { return loop.setDeadline(id, at: due) }
        // Without calls there is nothing to keep alive, and a server would count the PINGs.
        guard unsafe connection.pointee.session.openStreams > 0 else {
            return loop.setDeadline(id, at: now + options.keepaliveInterval)
        }
        unsafe connection.pointee.session.sendPing(0, output: &output.pointee)
        unsafe connection.pointee.pingSent = now
        loop.setDeadline(id, at: now + options.keepaliveTimeout)
    }

    /// The channel closes: every open call ends.
    func abortAll(_ error: RPCError) {
        for place in calls.places { call(place)?.abort(error, .cancel) }
    }

    /// An address is gone: its connection finishes what it has.
    func retireConnection(_ index: UInt32) {
        let connection = unsafe connections[index]
        unsafe connection.pointee.isGoingAway = true
        if unsafe !connection.pointee.isReady { return unsafe loop.close(connection.pointee.id) }
        unsafe closeIfDone(connection)
    }

    /// Closes all connections; calls have been ended.
    func close() {
        for index in connections.places where connections.isUsed(index) {
            let connection = unsafe connections[index]
            unsafe connection.pointee.isGoingAway = true
            unsafe connection.pointee.isClosing = true
            if unsafe connection.pointee.isReady, let output = unsafe loop.output(connection.pointee.id) {
                unsafe connection.pointee.session.sendGoAway(output: &output.pointee)
                unsafe loop.closeAfterFlush(connection.pointee.id)
            } else {
                unsafe loop.close(connection.pointee.id)
            }
        }
        channel = nil
    }

    // MARK: After use

    private func afterUse(_ index: UInt32, _ connection: UnsafeMutablePointer<ClientConnection>) {
        while let context = unsafe connection.pointee.session.popDrained() {
            call(context: context)?.becameWritable()
        }
        unsafe schedulePump(index, connection)
        channel?.roomAppeared()
        unsafe closeIfDone(connection)
    }

    func schedulePump(_ index: UInt32, _ connection: UnsafeMutablePointer<ClientConnection>) {
        guard unsafe connection.pointee.session.wantsPump && connection.pointee.pumpTimer == .none else { return }
        unsafe connection.pointee.pumpTimer = loop.schedule(after: 0, timers, ClientTimers.pump | UInt64(index))
    }

    /// Arms a call's deadline.
    func schedule(after delay: UInt64, call: UInt32) -> TimerID { loop.schedule(after: delay, timers, UInt64(call)) }

    func pumpTimerFired(_ index: UInt32) {
        guard connections.isUsed(index) else { return }
        let connection = unsafe connections[index]
        unsafe connection.pointee.pumpTimer = .none
        // As on the server: after a short write `connectionDrained` goes on, else the next turn does.
        let id = unsafe connection.pointee.id
        if loop.isBacklogged(id) { return }
        if loop.pendingOutput(id) == 0 { pump(index) } else { unsafe schedulePump(index, connection) }
    }

    private func pump(_ index: UInt32) {
        let connection = unsafe connections[index]
        guard unsafe !connection.pointee.isClosing, let output = unsafe loop.output(connection.pointee.id) else {
            return
        }
        unsafe connection.pointee.session.pump(output: &output.pointee)
        unsafe afterUse(index, connection)
    }

    func closeIfDone(_ connection: UnsafeMutablePointer<ClientConnection>) {
        guard unsafe connection.pointee.isGoingAway && !connection.pointee.isClosing,
            unsafe connection.pointee.session.openStreams == 0
        else { return }
        unsafe connection.pointee.isClosing = true
        unsafe loop.closeAfterFlush(connection.pointee.id)
    }
}

/// Where a channel's timers fire without an allocation.
private final class ClientTimers: TimerHandler {
    /// The payload is a connection; without it, a call.
    static let pump: UInt64 = 1 << 63

    private unowned let connections: ClientConnections
    init(_ connections: ClientConnections) { self.connections = connections }

    override func timerFired(_ payload: UInt64) {
        let place = UInt32(truncatingIfNeeded: payload)
        if payload & Self.pump != 0 {
            connections.pumpTimerFired(place)
        } else {
            connections.call(place)?.deadlinePassed()
        }
    }
}

/// Buffers that calls encode into, kept for the next calls: in steady state a call allocates none.
@safe final class BufferPool {
    private static let maximumCount = 256
    /// A buffer that has grown beyond this gives its memory back. Bytes.
    private static let maximumCapacity = 16 << 10
    private var free: [UnsafeMutablePointer<ByteBuffer>] = unsafe []

    deinit {
        for index in unsafe free.indices {
            unsafe free[index].deinitialize(count: 1)
            unsafe free[index].deallocate()
        }
    }

    func take() -> UnsafeMutablePointer<ByteBuffer> {
        if let buffer = unsafe free.popLast() { return unsafe buffer }
        let buffer = UnsafeMutablePointer<ByteBuffer>.allocate(capacity: 1)
        unsafe buffer.initialize(to: ByteBuffer())
        return unsafe buffer
    }

    func giveBack(_ buffer: UnsafeMutablePointer<ByteBuffer>) {
        guard unsafe free.count < Self.maximumCount else {
            unsafe buffer.deinitialize(count: 1)
            unsafe buffer.deallocate()
            return
        }
        if unsafe buffer.pointee.capacity > Self.maximumCapacity {
            unsafe buffer.pointee.release()
        } else {
            unsafe buffer.pointee.removeAll()
        }
        unsafe free.append(buffer)
    }
}
