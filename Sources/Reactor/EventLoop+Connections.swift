import Basics
import Bytes
import Memory

/// What a handler does with its connections. Every verb ignores an identifier that names nothing any more.
extension EventLoop {
    @inline(__always)
    @_lifetime(immortal)
    func connection(_ id: ConnectionID) -> Place<Connection>? {
        guard let place = hot.value.find(id.token), place.value.kind == .connection else { return nil }
        return place
    }

    private static let mute: ConnectionFlags = [.closed, .finishing, .lingering]
    private static let notOpen: ConnectionFlags = [.closed, .finishing, .lingering, .broken]
    private static let muteOrBacklogged: ConnectionFlags = [.closed, .finishing, .lingering, .backlogged]

    /// Appends to the connection's output, which this turn's flush sends.
    /// - Returns: false if the connection is closed or closing; `append` is not called then.
    @discardableResult
    @inlinable
    public func write(_ id: ConnectionID, _ append: (inout ByteBuffer) -> Void) -> Bool {
        guard let output = unsafe output(id) else { return false }
        unsafe append(&output.pointee)
        return true
    }

    /// The connection's output, for engines: append to it, and this turn's flush sends it. nil if the connection is closed or closing.
    /// The pointer is valid until the running callback returns.
    public func output(_ id: ConnectionID) -> UnsafeMutablePointer<ByteBuffer>? {
        guard let place = connection(id), place.value.flags.isDisjoint(with: Self.mute) else { return nil }
        if place.value.output.capacity == 0 { hot.value.takeBuffer(&place.value.output) }
        queueFlush(place, id.token)
        return unsafe withUnsafeMutablePointer(to: &place.value.output) { unsafe $0 }
    }

    /// Sends `shared` behind what is in `output(id)` now. The bytes are not copied, unless shared bytes wait there already:
    /// then the fewer of both are. In `connectionWillFlush`, with nothing in front of them, they are written at
    /// once, and only what the kernel does not take is kept: a broadcast retains nothing.
    public func send(_ id: ConnectionID, shared: SharedBytes) {
        guard let place = connection(id), place.value.flags.isDisjoint(with: Self.mute) else { return }
        send(place, id, shared)
    }

    /// As `send`, unless a short write has left output over: then false, and `connectionDrained` will come.
    public func sendUnlessBacklogged(_ id: ConnectionID, shared: SharedBytes) -> Bool {
        guard let place = connection(id) else { return true }
        let flags = place.value.flags
        if flags.isDisjoint(with: Self.muteOrBacklogged) {
            send(place, id, shared)
            return true
        }
        return !flags.contains(.backlogged)
    }

    @inline(__always)
    private func send(_ place: Place<Connection>, _ id: ConnectionID, _ shared: SharedBytes) {
        if hot.value.flushing == id.token && writeNow(shared, place, id.token) { return }
        queueFlush(place, id.token)
        if unsafe place.value.shared == nil && shared.count > 0 {
            unsafe place.value.shared = Unmanaged.passRetained(shared)
            place.value.sharedAfter = place.value.output.count
            place.value.sharedOffset = 0
        } else {
            appendShared(place, shared)
        }
    }

    /// Shared bytes wait already, and a connection keeps one of them: the other becomes output. It is never the longer one, so that a
    /// peer that asks for a short thing and then for a long one does not have the long one copied.
    @inline(never)
    private func appendShared(_ place: Place<Connection>, _ shared: SharedBytes) {
        let behind = place.value.output.count - place.value.sharedAfter
        let first = unsafe place.value.shared?.takeUnretainedValue()
        guard let first, shared.count > first.count - place.value.sharedOffset + behind else {
            if place.value.output.capacity == 0 { hot.value.takeBuffer(&place.value.output) }
            return unsafe shared.withUnsafeBytes { unsafe place.value.output.append($0) }
        }
        var all = ByteBuffer(capacity: place.value.pendingOutput)
        let (before, offset) = (place.value.sharedAfter, place.value.sharedOffset)
        unsafe place.value.output.withUnsafeBytes { output in
            unsafe all.append(UnsafeRawBufferPointer(rebasing: output[..<before]))
            unsafe first.withUnsafeBytes { unsafe all.append(UnsafeRawBufferPointer(rebasing: $0[offset...])) }
            unsafe all.append(UnsafeRawBufferPointer(rebasing: output[before...]))
        }
        dropShared(place)
        swap(&all, &place.value.output)
        unsafe place.value.shared = Unmanaged.passRetained(shared)
        place.value.sharedAfter = place.value.output.count
    }

    /// Bytes of output that the kernel has not taken. 0 also if the connection is closed.
    public func pendingOutput(_ id: ConnectionID) -> Int { connection(id)?.value.pendingOutput ?? 0 }

    /// Whether a short write has left output over: `connectionDrained` will come. Tells a slow reader from one whose output
    /// of this turn is simply still to be written.
    public func isBacklogged(_ id: ConnectionID) -> Bool {
        connection(id)?.value.flags.contains(.backlogged) ?? false
    }

    /// Asks for `connectionWillFlush` in this turn's flush; within a flush, in the next turn's.
    public func requestFlush(_ id: ConnectionID) {
        guard let place = connection(id), place.value.flags.isDisjoint(with: Self.mute) else { return }
        place.value.flags.insert(.asks)
        queueFlush(place, id.token)
    }

    /// No more reads until `resumeReading`. TCP slows the peer down once its window is full.
    public func pauseReading(_ id: ConnectionID) {
        connection(id)?.value.flags.insert(.paused)
    }

    /// Reads go on; input that was kept is presented again in this turn, or in the next one.
    public func resumeReading(_ id: ConnectionID) {
        guard let place = connection(id), place.value.flags.contains(.paused) else { return }
        place.value.flags.remove(.paused)
        guard place.value.flags.isDisjoint(with: .deaf) else { return }
        applyInterest(place, id.token)
        let isTLS = unsafe place.value.tls != nil
        let waits = place.value.keptCount > 0 || isTLS || place.value.flags.contains(.broken)
        if waits, !place.value.flags.contains(.resumes) { presentSoon(place, id.token) }
    }

    /// Calls `connectionDeadline` at `at`, loop nanoseconds, instead of at any deadline set before. It costs a store: the
    /// timer behind it is armed once and moves on when it finds that the deadline has moved. Without effect before
    /// `connectionOpened` and after `closeAfterFlush`, when the loop's own deadlines hold.
    public func setDeadline(_ id: ConnectionID, at deadline: UInt64) {
        guard let place = connection(id), place.value.flags.isDisjoint(with: .deaf) else { return }
        armDeadline(place, id.token, at: deadline)
    }

    /// Calls `connectionDeadline` so long after the beginning of this turn, as `setDeadline(_:at:)` does.
    public func setDeadline(_ id: ConnectionID, after span: Duration) {
        setDeadline(id, at: now.later(by: span.nanoseconds))
    }

    /// Takes the deadline away.
    public func clearDeadline(_ id: ConnectionID) {
        guard let place = connection(id), place.value.flags.isDisjoint(with: .deaf) else { return }
        place.value.deadline = 0
    }

    /// Closes now: output that waits is dropped. Freed, with the last callback, at the end of the turn.
    public func close(_ id: ConnectionID) {
        guard let place = connection(id) else { return }
        close(place, id.token, .local)
    }

    /// Writes everything, then closes; `output` is closed from now on, and nothing is read for the handler any more.
    /// - Parameter drain: half-close after the output, then read and forget what still comes, for at most
    ///   `lingerTimeout` and `lingerBytes`: input that was in flight must not turn the answer into a reset (RFC 9112 §9.6).
    public func closeAfterFlush(_ id: ConnectionID, drain: Bool = false) {
        guard let place = connection(id), place.value.flags.isDisjoint(with: Self.mute) else { return }
        if place.value.flags.contains(.connecting) { return close(place, id.token, .local) }
        if place.value.flags.contains(.broken) { return close(place, id.token, .reset, place.value.detail) }
        place.value.flags.insert(drain ? [.finishing, .drains] : .finishing)
        hot.value.endings &+= 1
        place.value.flags.remove([.paused, .asks])
        place.value.deadline = 0
        watchOutput(place, id.token)
        if drain { applyInterest(place, id.token) }
        queueFlush(place, id.token)
    }

    /// From now on something is sent whose end is the connection's own (a body of HTTP/1.0, RFC 9112 §6.3): whatever ends the
    /// connection before `closeAfterFlush` has written everything ends it by a reset, so that the other side does not take what it
    /// has for the whole.
    public func endsWithConnection(_ id: ConnectionID) { connection(id)?.value.flags.insert(.unbounded) }

    /// Hands the connection to another handler (an upgrade): it gets the following reads, beginning with the bytes that the
    /// running `connectionRead` leaves unconsumed. `connectionOpened` is not called again.
    public func setHandler(_ id: ConnectionID, _ handler: ConnectionHandler) {
        guard let place = connection(id), !place.value.flags.contains(.closed) else { return }
        replaceHandler(place, handler)
    }

    /// The handler's own number of this connection, 0 at first.
    public func context(_ id: ConnectionID) -> UInt32 {
        UInt32(truncatingIfNeeded: connection(id)?.value.context ?? 0)
    }

    /// Keeps a number of the handler's own with the connection, for `context`.
    public func setContext(_ id: ConnectionID, _ context: UInt32) { connection(id)?.value.context = UInt64(context) }

    /// The handle under which the handler keeps its own state of this connection; `none` at first and after the end.
    @inlinable
    public func handle<Element: ~Copyable>(_ id: ConnectionID, of type: Element.Type) -> Handle<Element> {
        Handle(token: contextToken(id))
    }

    /// Keeps a handle of the handler's own with the connection, for `handle`.
    @inlinable
    public func setHandle<Element: ~Copyable>(_ id: ConnectionID, _ handle: Handle<Element>) {
        setContextToken(id, handle.token)
    }

    @usableFromInline
    func contextToken(_ id: ConnectionID) -> UInt64 { connection(id)?.value.context ?? 0 }

    @usableFromInline
    func setContextToken(_ id: ConnectionID, _ token: UInt64) { connection(id)?.value.context = token }

    /// Whether output can still arrive: the connection is neither closed nor closing, and not known to be broken.
    public func isOpen(_ id: ConnectionID) -> Bool {
        connection(id)?.value.flags.isDisjoint(with: Self.notOpen) ?? false
    }

    /// How often any connection has ceased to be open. Who does many things for one compares this before and after each, and
    /// asks `isOpen` only when it has changed.
    @inlinable
    public var endings: UInt64 { unsafe endingCount.pointee }

    /// Whether the connection speaks TLS.
    public func isTLS(_ id: ConnectionID) -> Bool { connection(id)?.value.flags.contains(.tls) ?? false }

    /// The other side's address, or whom a proxy has named in its PROXY header; nil if the connection is gone.
    public func peerAddress(_ id: ConnectionID) -> SocketAddress? {
        guard let place = connection(id), place.value.descriptor >= 0 else { return nil }
        if let guest = guest(place) { return guest.address }
        return system.peerAddress(place.value.descriptor)
    }

    /// This side's address; nil if the connection is gone.
    public func localAddress(_ id: ConnectionID) -> SocketAddress? {
        guard let place = connection(id), place.value.descriptor >= 0 else { return nil }
        return system.localAddress(place.value.descriptor)
    }
}
