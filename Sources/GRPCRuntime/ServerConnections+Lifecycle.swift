import Bytes
import HTTP2
import Memory
import Reactor

// Pings, draining, and output that waits.
extension ServerConnections {
    // MARK: Output

    /// After events were handled: tells calls that their bytes have left, and sees to what could not be written.
    func afterUse(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>) {
        while let context = connection.value.session.popDrained() { drained(name(context)) }
        schedulePump(handle, connection)
        countQueue(connection, connection.value.queuedBytes)
        closeIfDrained(handle)
    }

    /// Takes what waits on a connection now into the server's sum.
    @inline(__always)
    func countQueue(_ connection: Place<ServerConnection>, _ bytes: Int) {
        let change = bytes - connection.value.countedQueue
        guard change != 0 else { return }
        connection.value.countedQueue = bytes
        state.value.queued += change
    }

    /// Takes what a connection's session keeps now into its account and the server's.
    func countSession(_ connection: Place<ServerConnection>, isOver: Bool = false) {
        let bytes = isOver ? 0 : connection.value.session.stateBytes
        let change = bytes - connection.value.sessionBytes
        guard change != 0 else { return }
        connection.value.sessionBytes = bytes
        state.value.session += change
        metrics.setSession(state.value.session)
    }

    /// Enough for this turn: an event budget is used up, or the output is not read. Reading goes on when output has left.
    func holdBack(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>) {
        if connection.value.isHeldBack { return }
        connection.value.isHeldBack = true
        loop.pauseReading(connection.value.id)
        watch(connection)
    }

    /// Streams have more to send than the output takes now, or reading is held back: go on when the kernel has taken some.
    func schedulePump(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>) {
        let wantsPump = connection.value.session.wantsPump
        let isHeldBack = connection.value.isHeldBack
        guard wantsPump || isHeldBack,
            connection.value.pumpTimer == .none, connection.value.phase != .closing
        else { return }
        // A timer that is due now fires in the next turn, after this turn's flush. If the flush was short,
        // `connectionDrained` goes on instead.
        connection.value.pumpTimer = loop.schedule(after: 0, timers.pump, handle.token)
    }

    func pump(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>) {
        guard connection.value.phase != .closing, let output = unsafe loop.output(connection.value.id) else { return }
        resume(connection)
        unsafe connection.value.session.pump(output: &output.pointee)
        afterUse(handle, connection)
    }

    private func resume(_ connection: Place<ServerConnection>) {
        guard connection.value.isHeldBack else { return }
        connection.value.isHeldBack = false
        connection.value.readingSince = loop.now
        loop.resumeReading(connection.value.id)
    }

    func pumpTimerFired(_ handle: Handle<ServerConnection>) {
        guard let connection = connections.find(handle) else { return }
        connection.value.pumpTimer = .none
        let id = connection.value.id
        // It was only this server's own time that was up.
        if loop.pendingOutput(id) < http2Limits.outputHighWater { resume(connection) }
        // After a short write `connectionDrained` goes on. Output that was added in the last flush is written in this one:
        // without a short write nobody would call.
        if loop.isBacklogged(id) { return }
        if loop.pendingOutput(id) == 0 { pump(handle, connection) } else { schedulePump(handle, connection) }
    }

    // MARK: Errors

    func fail(
        _ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, _ failure: HTTP2Failure
    ) {
        let peer = loop.peerAddress(connection.value.id).map { "\($0)" } ?? "a peer"
        metrics.connectionFailed(failure.reason)
        if failure.reason == .http1Preface {
            unsafe loop.output(connection.value.id)?.pointee.append(Self.http1Hint)
        }
        beginClosing(handle, connection)
        loop.closeAfterFlush(connection.value.id, drain: true)
        onNotice?("gRPC connection of \(peer) ended: \(failure)")
        if let logger, let heldBack = failureLines.admit(now: loop.now) {
            logger.warning(
                "connection ended", metadata: ["peer": peer, "reason": "\(failure)", "held_back": "\(heldBack)"])
        }
    }

    private static var http1Hint: StaticString {
        """
        HTTP/1.1 505 HTTP Version Not Supported\r
        Content-Type: text/plain; charset=utf-8\r
        Content-Length: 52\r
        Connection: close\r
        \r
        This port speaks gRPC: HTTP/2 with prior knowledge.\n
        """
    }

    // MARK: Pings

    /// A client may ping for a reason; one that pings too often while nothing is sent to it is stopped.
    func countPing(
        _ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        let now = loop.now
        let last = connection.value.lastPing
        connection.value.lastPing = now
        guard last != 0 && now < last.after(limits.$minimumPingInterval) else { return }
        connection.value.pingStrikes += 1
        guard connection.value.pingStrikes > limits.maximumPingStrikes else { return }
        unsafe connection.value.session.sendGoAway(
            .enhanceYourCalm, debug: "too_many_pings", output: &output.pointee)
        beginClosing(handle, connection)
        loop.closeAfterFlush(connection.value.id, drain: true)
    }

    func pong(_ connection: Place<ServerConnection>, _ value: UInt64) {
        if value == ServerConnection.drainPing { return endDrain(connection) }
        // An answer that nobody asked for must not put the connection's deadline off.
        guard connection.value.pingSent != 0 else { return }
        connection.value.pingSent = 0
        let interval = limits.$keepaliveInterval
        let pause = connection.value.isWatched ? min(interval, GRPCLimits.checkInterval) : interval
        loop.setDeadline(connection.value.id, at: loop.now.after(pause))
    }

    // MARK: Draining

    /// Stops all connections in order (RFC 9113 §6.8): GOAWAY(2³¹−1), and a round trip later, when streams that were on the
    /// way have arrived, GOAWAY with the last of them. Calls in flight finish, then the connection closes.
    func drain(_ completion: @escaping () -> Void) {
        state.value.isDraining = true
        onEmpty = completion
        guard !connections.isEmpty else { return becameEmpty() }
        state.value.drainSlot = 0
        work()
    }

    func beginDrain(_ connection: Place<ServerConnection>, _ handle: Handle<ServerConnection>) {
        guard let output = unsafe loop.output(connection.value.id), connection.value.enter(.announced) else { return }
        unsafe connection.value.session.announceGoAway(output: &output.pointee)
        unsafe connection.value.session.sendPing(ServerConnection.drainPing, output: &output.pointee)
        loop.cancel(connection.value.drainTimer)
        connection.value.drainTimer = loop.schedule(after: limits.$drainGrace, timers.drain, handle.token)
    }

    /// Lets a new connection drain when it is old enough.
    func limitAge(_ connection: Place<ServerConnection>, _ handle: Handle<ServerConnection>, _ most: UInt64) {
        let age = min(most, GRPCTimeout.longest)
        let tenth = age / 10
        connection.value.drainTimer = loop.schedule(
            after: age - tenth + ages.next() % (2 * tenth + 1), timers.drain, handle.token)
    }

    /// A connection is old, the grace between the GOAWAYs is over, or the time that a drain may take.
    func drainTimerFired(_ handle: Handle<ServerConnection>) {
        guard let connection = connections.find(handle) else { return }
        connection.value.drainTimer = .none
        if connection.value.phase == .open { return beginDrain(connection, handle) }
        if connection.value.phase == .announced { return endDrain(connection) }
        guard beginClosing(handle, connection) else { return }
        loop.closeAfterFlush(connection.value.id, drain: true)
    }

    private func endDrain(_ connection: Place<ServerConnection>) {
        guard connection.value.phase == .announced, let output = unsafe loop.output(connection.value.id),
            connection.value.enter(.drained)
        else { return }
        let handle = handle(connection.value.id)
        loop.cancel(connection.value.drainTimer)
        connection.value.drainTimer = loop.schedule(after: limits.$drainTimeout, timers.drain, handle.token)
        unsafe connection.value.session.sendGoAway(output: &output.pointee)
        closeIfDrained(handle)
    }

    @inline(__always)
    func closeIfDrained(_ handle: Handle<ServerConnection>) {
        guard let connection = connections.find(handle), connection.value.phase == .drained else { return }
        guard connection.value.session.openStreams + connection.value.session.heldStreams == 0 else { return }
        guard beginClosing(handle, connection) else { return }
        loop.closeAfterFlush(connection.value.id, drain: true)
    }

    func becameEmpty() {
        let completion = onEmpty
        onEmpty = nil
        completion?()
    }
}
