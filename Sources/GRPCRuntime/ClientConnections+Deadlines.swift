import HTTP2
import Memory
import Reactor

// Keepalive, and what a server owes: SETTINGS, whole frames, whole messages, and to take what it is sent.
extension ClientConnections {
    /// From now on a connection is looked at often.
    @inline(__always)
    func watch(_ connection: Place<ClientConnection>) {
        if connection.value.isWatched { return }
        connection.value.isWatched = true
        guard connection.value.wasReady else { return }
        loop.setDeadline(connection.value.id, at: loop.now.after(GRPCLimits.checkInterval))
    }

    /// After a read: what is owed has a deadline.
    @inline(__always)
    func noteDebt(_ connection: Place<ClientConnection>) {
        if connection.value.session.owed != .nothing { watchDebt(connection) }
    }

    @inline(never)
    private func watchDebt(_ connection: Place<ClientConnection>) {
        countSession(connection)
        watch(connection)
    }

    /// Takes what a connection's session keeps now into its account and the channel's, and what waits for its windows.
    func countSession(_ connection: Place<ClientConnection>, isOver: Bool = false) {
        let bytes = isOver ? 0 : connection.value.session.stateBytes
        let pending = isOver ? 0 : connection.value.session.pendingBytes
        metrics.addSession(bytes - connection.value.sessionBytes)
        metrics.addUnsent(pending - connection.value.unsentBytes)
        connection.value.sessionBytes = bytes
        connection.value.unsentBytes = pending
    }

    /// A PING was answered. An answer that nobody asked for must not put the connection's deadline off.
    func pingAnswered(_ connection: Place<ClientConnection>) {
        guard connection.value.pingSent != 0 else { return }
        connection.value.pingSent = 0
        let interval = options.$keepaliveInterval
        let pause = connection.value.isWatched ? min(interval, GRPCLimits.checkInterval) : interval
        loop.setDeadline(connection.value.id, at: loop.now.after(pause))
    }

    func check(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        let id = connection.value.id
        guard connection.value.phase != .closing, let output = unsafe loop.output(id) else { return }
        let now = loop.now
        guard connection.value.wasReady else {
            return expire(handle, connection, "no HTTP/2 settings within the connect timeout", .settingsTimeout)
        }
        if !connection.value.isHeldBack,
            let debt = connection.value.session.overdue(
                now: now, patience: options.$frameTimeout, readingSince: connection.value.readingSince)
        {
            return debt == .settingsAck
                ? expire(handle, connection, "no acknowledgement of SETTINGS", .settingsTimeout)
                : expire(handle, connection, "a frame, or a header block, did not become whole", .enhanceYourCalm)
        }
        let backlog = loop.isBacklogged(id) ? loop.pendingOutput(id) : 0
        if connection.value.phase == .retired, now >= connection.value.retiredSince.after(options.$drainTimeout) {
            return expire(handle, connection, "the server goes away, and its calls did not end")
        }
        if connection.value.pingSent != 0 {
            // Output in front of the PING that goes on leaving is an answer, too.
            let heard = max(connection.value.lastRead, backlog > 0 ? now : 0)
            if heard >= connection.value.pingSent {
                connection.value.pingSent = 0
            } else if now >= connection.value.pingSent.after(options.$keepaliveTimeout) {
                return expire(handle, connection, "no answer to a keepalive PING")
            }
        }
        connection.value.isWatched = false
        checkCalls(connection, now)
        guard connection.value.phase != .closing else { return }
        var due = connection.value.lastRead.after(options.$keepaliveInterval)
        if connection.value.pingSent != 0 {
            due = connection.value.pingSent.after(options.$keepaliveTimeout)
        } else if now >= due {
            // Without calls there is usually nothing to keep alive, and a server counts the PINGs.
            if connection.value.session.openStreams > 0 || options.keepaliveWithoutCalls {
                unsafe connection.value.session.sendPing(0, output: &output.pointee)
                connection.value.pingSent = now
                due = now.after(options.$keepaliveTimeout)
            } else {
                due = now.after(options.$keepaliveInterval)
            }
        }
        countSession(connection)
        let isOwed = connection.value.session.owed != .nothing
        let isHeldBack = connection.value.isHeldBack
        let isRetired = connection.value.phase == .retired
        if isOwed || isHeldBack || isRetired || backlog > 0 {
            connection.value.isWatched = true
        }
        if connection.value.isWatched { due = min(due, now.after(GRPCLimits.checkInterval)) }
        loop.setDeadline(id, at: max(due, now + 1))
    }

    /// Ends calls whose answer has begun and does not go on.
    private func checkCalls(_ connection: Place<ClientConnection>, _ now: UInt64) {
        var name = connection.value.firstCall
        var steps = 0
        while let call = calls.find(name)?.value {
            steps += 1
            let next = call.next
            if call.owesMessage {
                connection.value.isWatched = true
                if now >= call.messageDeadline(options.$answerTimeout) {
                    call.abort(
                        RPCError(code: .deadlineExceeded, message: "the server's message came too slowly"), .cancel)
                }
            }
            if takesTooSlowly(call, connection, now) {
                call.abort(
                    RPCError(code: .deadlineExceeded, message: "the server takes the request too slowly"), .cancel)
            }
            guard next == .none || calls.contains(next) else { break }
            name = next
        }
        countWork(steps / 16)
    }

    /// Whether a request waits for a window that does not come.
    private func takesTooSlowly(_ call: ClientCall, _ connection: Place<ClientConnection>, _ now: UInt64) -> Bool {
        let pending = connection.value.session.pendingCount(call.stream)
        if pending > 0 { connection.value.isWatched = true }
        return call.reading.stalls(
            pending, taken: connection.value.session.takenCount(call.stream), now: now,
            patience: call.isHalfClosed ? options.$outputTimeout : options.$pausedStreamTimeout,
            rate: GRPCLimits.minimumRate)
    }

    /// - Parameter code: what the server is told; nil: it does not read.
    private func expire(
        _ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>, _ text: String,
        _ code: HTTP2ErrorCode? = nil
    ) {
        let id = connection.value.id
        if let code, let output = unsafe loop.output(id) {
            unsafe connection.value.session.sendGoAway(code, output: &output.pointee)
        }
        connection.value.fail(text)
        guard beginClosing(handle, connection) else { return }
        if code == nil { loop.close(id) } else { loop.closeAfterFlush(id, drain: true) }
    }
}
