import Bytes
import Memory
import Reactor
import Telemetry
import WebSockets

/// The WebSockets of one loop: it takes over connections after their handshake, speaks RFC 6455 with them, keeps them
/// alive, and ends them in order.
///
/// It knows neither HTTP nor what the messages mean: whoever answered the handshake calls `adopt`, and a
/// `WebSocketHandler` hears the messages. All of it belongs to the loop's thread.
///
/// A connection's state lies flat in a table, found by its identifier. Control frames go out with the turn that they are due
/// in, in front of any list that is not begun, and are never dropped; a peer that makes the server hold more than
/// `maximumPendingOutput` bytes is not read from until it has taken them.
@safe public final class WebSocketServer: ConnectionHandler, TurnEnding {
    /// Which side of its connections it plays: `WebSocketClient` has one of these, too.
    let role: Role
    /// The loop that the server belongs to.
    public let loop: EventLoop
    /// The bounds of messages.
    public let limits: WebSocketLimits
    /// The times and bounds of connections.
    public let timeouts: WebSocketTimeouts
    /// What is answered to permessage-deflate (RFC 7692), and what is compressed then; nil: nothing.
    public let deflate: DeflateOptions?
    /// Lists and broadcasts to many of this server's WebSockets.
    public let topics: TopicHub
    /// WebSockets that were adopted and have not ended.
    public private(set) var count = 0

    /// Bytes of memory of messages that are not complete, and of histories of compression.
    public var heldMessageBytes: Int { metrics.heldBytes }

    let metrics: WebSocketMetrics
    let sockets = PlaceTable(Socket())
    /// Messages that are not complete.
    let assemblies = Slab<ByteBuffer>(initialCount: 16)
    /// Of WebSockets that have agreed upon permessage-deflate.
    let contexts = PlaceTable(DeflateContext())
    /// Histories that are needed, and one of each kind to spare.
    let inflaters = Slab<Inflater>(initialCount: 4)
    let deflaters = Slab<Deflater>(initialCount: 4)
    var spareInflater = Handle<Inflater>.none
    var spareDeflater = Handle<Deflater>.none
    /// Compressed messages that have begun and not ended.
    var unfinished = 0
    let heartbeats: TickTimer
    /// Fires for a WebSocket, by its token, that was paused because its share of a turn was used up.
    let resumption = OwnerTimer<WebSocketServer> { $0.resumeIfTaken(WebSocketID(token: $1)) }
    private(set) var isDraining = false
    /// Called when the last one has ended, after `drain`.
    private var whenDrained: (() -> Void)?

    /// - Parameters:
    ///   - deflate: what to answer to permessage-deflate; nil: no message is compressed.
    ///   - freshness: observes the seconds from the cause of a topic's frame (`TopicHub.publish`) to its write, once per
    ///     subscriber; nil: nobody does.
    public convenience init(
        loop: EventLoop, limits: WebSocketLimits = .init(), timeouts: WebSocketTimeouts = .init(),
        deflate: DeflateOptions? = nil, freshness: Histogram? = nil
    ) {
        self.init(.server, loop, limits, timeouts, deflate, freshness)
    }

    init(
        _ role: Role, _ loop: EventLoop, _ limits: WebSocketLimits, _ timeouts: WebSocketTimeouts,
        _ deflate: DeflateOptions?, _ freshness: Histogram?
    ) {
        self.role = role
        self.loop = loop
        metrics = WebSocketMetrics(role)
        self.limits = limits
        self.timeouts = timeouts
        self.deflate = deflate
        heartbeats = TickTimer(loop: loop)
        topics = TopicHub(loop: loop, metrics: metrics, timeouts: timeouts, freshness: freshness)
        super.init()
        MetricRegistry.shared.addConnections(account, protocol: role == .server ? "websocket" : "websocket-client")
        heartbeats.due = { [unowned self] id in tick(id) }
        resumption.owner = self
        topics.server = self
    }

    deinit {
        heartbeats.stop()
        resumption.owner = nil
    }

    // MARK: Beginning

    /// Takes over a connection whose 101 is in its output: what it sends from now on are frames. `context` is the
    /// endpoint's own number. Calls `webSocketOpened`.
    public func adopt(_ id: WebSocketID, handler: WebSocketHandler, context: UInt32 = 0) {
        adopt(id, handler: handler, token: UInt64(context))
    }

    /// As above, with the handle under which the endpoint keeps its own state of this WebSocket.
    public func adopt<Element: ~Copyable>(_ id: WebSocketID, handler: WebSocketHandler, handle: Handle<Element>) {
        adopt(id, handler: handler, token: handle.token)
    }

    private func adopt(_ id: WebSocketID, handler: WebSocketHandler, token: UInt64) {
        guard loop.isOpen(id) else { return }
        precondition(sockets.find(id) == nil, "the connection is a WebSocket already")
        let socket = sockets.make(id)
        handler.server = self
        unsafe socket.value.handler = Unmanaged.passRetained(handler)
        socket.value.context = token
        if role == .client {
            socket.value.parser = FrameParser(role: .client)
            socket.value.flags.insert(.masks)
        }
        if contexts.find(id) != nil { beginDeflate(socket) }
        count += 1
        metrics.opened()
        loop.clearDeadline(id)
        loop.setHandler(id, self)
        heartbeats.set(id, after: timeouts.pingInterval.ticks)
        if isDraining { leave(id, socket) }
        handler.webSocketOpened(id)
    }

    /// The number that `adopt` got; 0 for what is no WebSocket of this server.
    public func context(_ id: WebSocketID) -> UInt32 {
        guard let socket = sockets.find(id) else { return 0 }
        return UInt32(truncatingIfNeeded: socket.value.context)
    }

    /// Changes the endpoint's own number.
    public func setContext(_ id: WebSocketID, _ context: UInt32) {
        if let socket = sockets.find(id) { socket.value.context = UInt64(context) }
    }

    /// The handle that `adopt` got; `none` for what is no WebSocket of this server.
    public func handle<Element: ~Copyable>(_ id: WebSocketID, of type: Element.Type) -> Handle<Element> {
        guard let socket = sockets.find(id) else { return .none }
        return Handle(token: socket.value.context)
    }

    /// Changes the endpoint's own handle.
    public func setHandle<Element: ~Copyable>(_ id: WebSocketID, _ handle: Handle<Element>) {
        if let socket = sockets.find(id) { socket.value.context = handle.token }
    }

    /// Whether messages may be sent.
    @inline(__always)
    public func isOpen(_ id: WebSocketID) -> Bool {
        guard let socket = sockets.find(id) else { return false }
        return socket.value.state == .open
    }

    // MARK: Sending

    /// Sends a text message. False: the WebSocket is not open any more.
    @discardableResult
    public func sendText(_ id: WebSocketID, _ text: Span<UInt8>) -> Bool { send(id, .text, text) }

    /// Sends a binary message.
    @discardableResult
    public func sendBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) -> Bool { send(id, .binary, bytes) }

    private func send(_ id: WebSocketID, _ opcode: Opcode, _ payload: Span<UInt8>) -> Bool {
        guard let socket = sockets.find(id), socket.value.state == .open, let output = unsafe loop.output(id) else {
            return false
        }
        if unsafe output.pointee.count > timeouts.maximumHeldOutput { return refuseToHold(id) }
        if !socket.value.flags.isDisjoint(with: [.deflates, .masks]) {
            unsafe appendSpecially(id, opcode, payload, to: &output.pointee)
        } else {
            unsafe FrameWriter.append(opcode, payload, to: &output.pointee)
        }
        return true
    }

    /// Sends frames that were written already (`FrameWriter`, unmasked), without a copy. Not for a client, whose frames are masked
    /// one by one.
    @discardableResult
    public func send(_ id: WebSocketID, frame: SharedBytes) -> Bool {
        precondition(role == .server, "a client masks each frame by itself")
        guard isOpen(id) else { return false }
        if loop.pendingOutput(id) > timeouts.maximumHeldOutput { return refuseToHold(id) }
        loop.send(id, shared: frame)
        return true
    }

    /// A reader that lets that much wait is closed 3008, and hears nothing more.
    @inline(never)
    private func refuseToHold(_ id: WebSocketID) -> Bool {
        close(id, .tooSlow, reason: "what was sent is not taken")
        return false
    }

    /// Sends a Ping now.
    @discardableResult
    public func ping(_ id: WebSocketID) -> Bool {
        metrics.pinged()
        return send(id, .ping, [UInt8]().span)
    }

    // MARK: Ending

    /// Begins the closing handshake (RFC 6455 §7.1.2). Nothing is sent after it; a peer that does not answer in
    /// `closeTimeout` is dropped.
    public func close(_ id: WebSocketID, _ code: CloseCode, reason: String = "") {
        guard let socket = sockets.find(id), socket.value.state == .open else { return }
        sendClose(id, code, Array(reason.utf8).span)
        socket.value.closeCode = code
        socket.value.state = .closeSent
        // What waits in front of our Close frame is to be taken first.
        socket.value.waiting = loop.isBacklogged(id) ? UInt32(clamping: loop.pendingOutput(id)) : 0
        topics.unsubscribe(id)
        // What has come of a message is for nobody, and the peer may take its time.
        dropMessage(id, socket)
        resume(id, socket)
        heartbeats.set(id, after: timeouts.closeTimeout.ticks)
    }

    /// No message will be received any more, and none sent: lets go of what is there of one, and of the histories.
    func dropMessage(_ id: WebSocketID, _ socket: Place<Socket>) {
        dropAssembly(socket)
        endDeflate(id)
    }

    /// Counts a message that its endpoint can't accept; the endpoint has said why. True: it was the
    /// `maximumBadMessages`-th in the window, and the WebSocket is being closed 3509.
    @discardableResult
    public func countBadMessage(_ id: WebSocketID) -> Bool {
        guard let socket = sockets.find(id), socket.value.state == .open else { return false }
        let now = UInt32(truncatingIfNeeded: heartbeats.now)
        let age = now &- socket.value.badSince
        if socket.value.badMessages == 0 || age >= UInt32(clamping: timeouts.badMessageWindow.ticks) {
            socket.value.badSince = now
            socket.value.badMessages = 0
        }
        socket.value.badMessages &+= 1
        guard Int(socket.value.badMessages) >= timeouts.maximumBadMessages else { return false }
        close(id, .tooManyErrors, reason: "too many bad messages")
        return true
    }

    /// Closes every WebSocket 1001, spread over `time` (at most a minute) so that not all clients come back at once, and every
    /// one that is still adopted. `completion` is called when the last has ended.
    public func drain(over time: Duration, _ completion: @escaping () -> Void = {}) {
        let seconds = min(60, time.ticks)
        isDraining = true
        whenDrained = completion
        guard count > 0 else { return finishDrain() }
        loop.inPortions(below: sockets.end) { [weak self] slot in
            guard let self, let id = sockets.id(atSlot: slot), let socket = sockets.find(id),
                socket.value.state == .open
            else { return }
            // Spread by the slot, not by chance: a simulated run can be repeated.
            let choices = UInt64(seconds + 1)
            let delay = Int((UInt64(slot &* 0x9E37_79B9) * choices) >> 32)
            socket.value.flags.insert(.leaving)
            if seconds == 0 { leave(id, socket) } else { heartbeats.set(id, after: delay) }
        }
    }

    /// Closes every connection without a word: thousands in portions, a turn each.
    public func closeAll() {
        loop.inPortions(below: sockets.end) { [weak self] slot in
            guard let self, let id = sockets.id(atSlot: slot), let socket = sockets.find(id) else { return }
            // Nobody is told of what it still says in this turn.
            if socket.value.state == .open { socket.value.state = .done }
            loop.close(id)
        }
    }

    private func leave(_ id: WebSocketID, _ socket: Place<Socket>) {
        socket.value.flags.insert(.leaving)
        close(id, .goingAway, reason: role == .server ? "the server is stopping" : "the client is stopping")
    }

    private func finishDrain() {
        let completion = whenDrained
        whenDrained = nil
        completion?()
    }

    func sendClose(_ id: WebSocketID, _ code: CloseCode, _ reason: Span<UInt8>) {
        guard let output = unsafe loop.output(id) else { return }
        unsafe FrameWriter.appendClose(code, reason: reason, mask: nextMask(), to: &output.pointee)
    }

    /// The next frame's mask, which nobody can predict (RFC 6455 §5.3); nil: a server's are not masked.
    func nextMask() -> UInt32? {
        role == .server ? nil : UInt32(truncatingIfNeeded: loop.randomNumber())
    }

    // MARK: Heartbeat

    /// The second of this socket has come: what that means depends on its state.
    private func tick(_ id: WebSocketID) {
        guard let socket = sockets.find(id) else { return }
        switch socket.value.state {
        // A server that does not end the connection (RFC 6455 §7.1.1).
        case .done: loop.close(id)
        case .closeSent: closeTimeoutPassed(id, socket)
        case .open:
            if socket.value.flags.contains(.leaving) {
                leave(id, socket)
            } else if socket.value.flags.contains(.awaitsPong) {
                missedPong(id, socket)
            } else if hasStuckMessage(socket) {
                close(id, .policyViolation, reason: "the message comes too slowly")
            } else {
                shedContext(id)
                socket.value.flags.insert(.awaitsPong)
                socket.value.progress = 0
                ping(id)
                heartbeats.set(id, after: timeouts.pongTimeout.ticks)
            }
        }
    }

    /// A peer that answers Pings can still send a message for ever: one that was open at the last Ping must have come on.
    private func hasStuckMessage(_ socket: Place<Socket>) -> Bool {
        guard socket.value.parser.isInsideMessage else { return false }
        let wasOpen = socket.value.flags.contains(.longMessage)
        socket.value.flags.insert(.longMessage)
        let progress = Int(socket.value.progress)
        return wasOpen && progress < timeouts.messageRate * timeouts.pingInterval.ticks
    }

    /// A peer in the middle of a long frame can't answer in between: while its bytes come it is alive. A drip is not enough.
    private func missedPong(_ id: WebSocketID, _ socket: Place<Socket>) {
        let hasComeOn = Int(socket.value.progress) >= timeouts.messageRate * timeouts.pongTimeout.ticks
        if socket.value.parser.isInsideMessage && hasComeOn {
            socket.value.progress = 0
            heartbeats.set(id, after: timeouts.pongTimeout.ticks)
        } else {
            close(id, .noPong, reason: "no pong")
        }
    }

    /// Our Close frame got no answer yet. A peer that is still taking what waits in front of it has not seen it.
    private func closeTimeoutPassed(_ id: WebSocketID, _ socket: Place<Socket>) {
        let waiting = UInt32(clamping: loop.pendingOutput(id))
        if waiting < socket.value.waiting {
            socket.value.waiting = waiting
            heartbeats.set(id, after: timeouts.closeTimeout.ticks)
        } else {
            loop.close(id)
        }
    }

    // MARK: What the loop calls

    public override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        guard let socket = sockets.find(id) else { return bytes.count }
        return unsafe read(id, socket, bytes)
    }

    public override func connectionWillFlush(_ id: ConnectionID) {
        topics.willFlush(id)
    }

    public override func connectionDrained(_ id: ConnectionID) {
        guard let socket = sockets.find(id) else { return }
        resume(id, socket)
        topics.drained(id)
        guard socket.value.state == .open else { return }
        unsafe socket.value.handler?._withUnsafeGuaranteedRef { $0.webSocketDrained(id) }
    }

    /// A peer that has closed its half without a Close frame hears nothing more from us.
    public override func connectionReadClosed(_ id: ConnectionID) {
        if let socket = sockets.find(id) { dropMessage(id, socket) }
        loop.closeAfterFlush(id)
    }

    public override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        endDeflate(id)
        guard let socket = sockets.find(id) else { return }
        heartbeats.remove(id)
        topics.unsubscribe(id)
        dropAssembly(socket)
        let code = socket.value.state == .open ? .abnormal : socket.value.closeCode
        socket.value.state = .done
        if let handler = unsafe socket.value.handler {
            unsafe handler._withUnsafeGuaranteedRef { $0.webSocketClosed(id, code) }
            unsafe handler.release()
        }
        // Up to here the endpoint finds its number.
        sockets.remove(id)
        count -= 1
        metrics.closed(code)
        if isDraining && count == 0 { finishDrain() }
    }

    public func turnEnded() {
        assemblies.reclaim()
        inflaters.reclaim()
        deflaters.reclaim()
    }
}
