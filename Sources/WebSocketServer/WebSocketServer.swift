import Bytes
import Reactor
import WebSockets

/// The WebSockets of one loop: it takes over connections after their handshake, speaks RFC 6455 with them, keeps them
/// alive, and ends them in order.
///
/// It knows neither HTTP nor what the messages mean: whoever answered the handshake calls `adopt`, and a
/// `WebSocketHandler` hears the messages. All of it belongs to the loop's thread.
///
/// A connection's state lies flat in a table, found by its slot. Control frames go out with the turn that they are due in,
/// in front of any list that is not begun, and are never dropped; a peer that makes the server hold more than
/// `maximumPendingOutput` bytes is not read from until it has taken them.
@safe public final class WebSocketServer: ConnectionHandler {
    public let loop: EventLoop
    public let limits: WebSocketLimits
    public let timeouts: WebSocketTimeouts
    /// Lists and broadcasts to many of this server's WebSockets.
    public let topics: TopicHub
    /// WebSockets that were adopted and have not ended.
    public private(set) var count = 0

    let metrics = WebSocketMetrics()
    let sockets = SlotTable(Socket())
    let heartbeats: TickTimer
    private var isDraining = false
    /// Called when the last one has ended, after `drain`.
    private var whenDrained: (() -> Void)?

    public init(loop: EventLoop, limits: WebSocketLimits = .init(), timeouts: WebSocketTimeouts = .init()) {
        self.loop = loop
        self.limits = limits
        self.timeouts = timeouts
        heartbeats = TickTimer(loop: loop)
        topics = TopicHub(loop: loop, metrics: metrics, listTimeout: timeouts.listTimeout)
        super.init()
        heartbeats.due = { [unowned self] slot in tick(slot) }
        topics.server = self
    }

    deinit { sockets.free() }

    // MARK: Beginning

    /// Takes over a connection whose 101 is in its output: what it sends from now on are frames. `context` is the
    /// endpoint's own number. Calls `webSocketOpened`.
    public func adopt(_ id: WebSocketID, handler: WebSocketHandler, context: UInt32 = 0) {
        guard loop.isOpen(id) else { return }
        let socket = unsafe sockets.make(id.slot)
        precondition(unsafe socket.pointee.state == .free, "the connection is a WebSocket already")
        handler.server = self
        unsafe socket.pointee = Socket()
        unsafe socket.pointee.generation = id.generation
        unsafe socket.pointee.handler = Unmanaged.passRetained(handler)
        unsafe socket.pointee.context = context
        unsafe socket.pointee.state = .open
        unsafe socket.pointee.lastRead = UInt32(truncatingIfNeeded: heartbeats.now)
        count += 1
        metrics.opened()
        loop.clearDeadline(id)
        loop.setHandler(id, self)
        heartbeats.set(id.slot, after: timeouts.pingInterval)
        if isDraining { unsafe leave(id.slot, socket) }
        handler.webSocketOpened(id)
    }

    /// The number that `adopt` got; 0 for what is no WebSocket of this server.
    public func context(_ id: WebSocketID) -> UInt32 {
        unsafe find(id)?.pointee.context ?? 0
    }

    /// Changes the endpoint's own number.
    public func setContext(_ id: WebSocketID, _ context: UInt32) {
        unsafe find(id)?.pointee.context = context
    }

    /// Whether messages may be sent.
    @inline(__always)
    public func isOpen(_ id: WebSocketID) -> Bool {
        unsafe find(id)?.pointee.state == .open
    }

    /// The state of `id` while it is a WebSocket.
    @inline(__always)
    func find(_ id: WebSocketID) -> UnsafeMutablePointer<Socket>? {
        guard let socket = unsafe sockets.find(id.slot) else { return nil }
        guard unsafe socket.pointee.generation == id.generation, unsafe socket.pointee.state != .free else {
            return nil
        }
        return unsafe socket
    }

    // MARK: Sending

    /// Sends a text message. False: the WebSocket is not open any more.
    @discardableResult
    public func sendText(_ id: WebSocketID, _ text: Span<UInt8>) -> Bool { send(id, .text, text) }

    /// Sends a binary message.
    @discardableResult
    public func sendBinary(_ id: WebSocketID, _ bytes: Span<UInt8>) -> Bool { send(id, .binary, bytes) }

    private func send(_ id: WebSocketID, _ opcode: Opcode, _ payload: Span<UInt8>) -> Bool {
        guard isOpen(id), let output = unsafe loop.output(id) else { return false }
        unsafe FrameWriter.append(opcode, payload, to: &output.pointee)
        return true
    }

    /// Sends frames that were written already (`FrameWriter`, unmasked), without a copy.
    @discardableResult
    public func send(_ id: WebSocketID, frame: SharedBytes) -> Bool {
        guard isOpen(id) else { return false }
        loop.send(id, shared: frame)
        return true
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
        guard let socket = unsafe find(id), unsafe socket.pointee.state == .open else { return }
        sendClose(id, code, Array(reason.utf8).span)
        unsafe socket.pointee.closeCode = code
        unsafe socket.pointee.state = .closeSent
        topics.unsubscribe(id)
        unsafe resume(id, socket)
        heartbeats.set(id.slot, after: timeouts.closeTimeout)
    }

    /// Counts a message that its endpoint can't accept; the endpoint has said why. True: it was the
    /// `maximumBadMessages`-th in the window, and the WebSocket is being closed 3509.
    @discardableResult
    public func countBadMessage(_ id: WebSocketID) -> Bool {
        guard let socket = unsafe find(id), unsafe socket.pointee.state == .open else { return false }
        let now = UInt32(truncatingIfNeeded: heartbeats.now)
        if unsafe socket.pointee.badMessages == 0
            || now &- socket.pointee.badSince >= UInt32(timeouts.badMessageWindow)
        {
            unsafe socket.pointee.badSince = now
            unsafe socket.pointee.badMessages = 0
        }
        unsafe socket.pointee.badMessages &+= 1
        guard unsafe Int(socket.pointee.badMessages) >= timeouts.maximumBadMessages else { return false }
        close(id, .tooManyErrors, reason: "too many bad messages")
        return true
    }

    /// Closes every WebSocket 1001, spread over `seconds` (at most 60) so that not all clients come back at once, and every
    /// one that is still adopted. `completion` is called when the last has ended.
    public func drain(over seconds: Int, _ completion: @escaping () -> Void = {}) {
        isDraining = true
        whenDrained = completion
        guard count > 0 else { return finishDrain() }
        for slot in 0..<sockets.end {
            guard let socket = unsafe sockets.find(slot), unsafe socket.pointee.state == .open else { continue }
            // Spread by the slot, not by chance: a simulated run can be repeated.
            let choices = UInt64(max(0, min(60, seconds)) + 1)
            let delay = Int((UInt64(slot &* 0x9E37_79B9) * choices) >> 32)
            unsafe socket.pointee.flags.insert(.leaving)
            if seconds <= 0 { unsafe leave(slot, socket) } else { heartbeats.set(slot, after: delay) }
        }
    }

    /// Closes every connection now, without a word.
    public func closeAll() {
        for slot in 0..<sockets.end {
            guard let socket = unsafe sockets.find(slot), unsafe socket.pointee.state != .free else { continue }
            unsafe loop.close(WebSocketID(slot: slot, generation: socket.pointee.generation))
        }
    }

    private func leave(_ slot: UInt32, _ socket: UnsafeMutablePointer<Socket>) {
        unsafe socket.pointee.flags.insert(.leaving)
        unsafe close(
            WebSocketID(slot: slot, generation: socket.pointee.generation), .goingAway, reason: "the server is stopping"
        )
    }

    private func finishDrain() {
        let completion = whenDrained
        whenDrained = nil
        completion?()
    }

    func sendClose(_ id: WebSocketID, _ code: CloseCode, _ reason: Span<UInt8>) {
        guard let output = unsafe loop.output(id) else { return }
        unsafe FrameWriter.appendClose(code, reason: reason, to: &output.pointee)
    }

    // MARK: Heartbeat

    /// The wheel's slot of this socket has come: what that means depends on its state.
    private func tick(_ slot: UInt32) {
        guard let socket = unsafe sockets.find(slot), unsafe socket.pointee.state != .free else { return }
        let id = unsafe WebSocketID(slot: slot, generation: socket.pointee.generation)
        switch unsafe socket.pointee.state {
        case .free: break
        case .closeSent, .done: loop.close(id)
        case .open:
            if unsafe socket.pointee.flags.contains(.leaving) {
                unsafe leave(slot, socket)
            } else if unsafe socket.pointee.flags.contains(.awaitsPong) {
                unsafe missedPong(id, socket)
            } else {
                unsafe socket.pointee.flags.insert(.awaitsPong)
                ping(id)
                heartbeats.set(slot, after: timeouts.pongTimeout)
            }
        }
    }

    /// A peer in the middle of a long frame can't answer in between: while its bytes come it is alive.
    private func missedPong(_ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>) {
        let silent = unsafe UInt32(truncatingIfNeeded: heartbeats.now) &- socket.pointee.lastRead
        if unsafe socket.pointee.parser.isInsideMessage && silent < UInt32(timeouts.pongTimeout) {
            heartbeats.set(id.slot, after: timeouts.pongTimeout)
        } else {
            close(id, .noPong, reason: "no pong")
        }
    }

    // MARK: What the loop calls

    public override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        guard let socket = unsafe find(id) else { return bytes.count }
        return unsafe read(id, socket, bytes)
    }

    public override func connectionWillFlush(_ id: ConnectionID) {
        topics.willFlush(id)
    }

    public override func connectionDrained(_ id: ConnectionID) {
        guard let socket = unsafe find(id) else { return }
        unsafe resume(id, socket)
        topics.drained(id)
        guard unsafe socket.pointee.state == .open else { return }
        unsafe socket.pointee.handler?._withUnsafeGuaranteedRef { $0.webSocketDrained(id) }
    }

    /// A peer that has closed its half without a Close frame hears nothing more from us.
    public override func connectionReadClosed(_ id: ConnectionID) {
        loop.closeAfterFlush(id)
    }

    public override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        guard let socket = unsafe find(id) else { return }
        heartbeats.remove(id.slot)
        topics.unsubscribe(id)
        if let assembly = unsafe socket.pointee.assembly { unsafe release(assembly) }
        let code = unsafe socket.pointee.state == .open ? .abnormal : socket.pointee.closeCode
        unsafe socket.pointee.state = .done
        if let handler = unsafe socket.pointee.handler {
            unsafe handler._withUnsafeGuaranteedRef { $0.webSocketClosed(id, code) }
            unsafe handler.release()
        }
        unsafe socket.pointee = Socket()
        count -= 1
        metrics.closed(code)
        if isDraining && count == 0 { finishDrain() }
    }

    func release(_ assembly: UnsafeMutablePointer<ByteBuffer>) {
        unsafe assembly.deinitialize(count: 1)
        unsafe assembly.deallocate()
    }

    /// Reads again from a peer that has taken its output.
    func resume(_ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>) {
        guard unsafe socket.pointee.flags.contains(.paused) else { return }
        unsafe socket.pointee.flags.remove(.paused)
        loop.resumeReading(id)
    }
}
