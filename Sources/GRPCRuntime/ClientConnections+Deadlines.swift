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

    /// What a read has left over.
    @inline(__always)
    func noteHalf(_ connection: Place<ClientConnection>, isHalf: Bool, hasMoved: Bool) {
        let isHeldBack = connection.value.isHeldBack
        if isHeldBack || !isHalf {
            connection.value.halfSince = 0
            return
        }
        let isNew = connection.value.halfSince == 0
        if hasMoved || isNew { connection.value.halfSince = loop.now }
        watch(connection)
    }

    /// Our PING was answered.
    func pingAnswered(_ connection: Place<ClientConnection>) {
        let interval = options.keepaliveInterval
        connection.value.pingSent = 0
        let pause = connection.value.isWatched ? min(interval, GRPCLimits.checkInterval) : interval
        loop.setDeadline(connection.value.id, at: loop.now.after(pause))
    }

    func check(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        let id = connection.value.id
        guard connection.value.phase != .closing, let output = unsafe loop.output(id) else { return }
        let now = loop.now
        guard connection.value.wasReady else {
            return expire(handle, connection, "no HTTP/2 settings within the connect timeout")
        }
        if connection.value.halfSince != 0, now >= connection.value.halfSince.after(options.frameTimeout) {
            return expire(handle, connection, "a frame did not become whole")
        }
        let backlog = loop.isBacklogged(id) ? loop.pendingOutput(id) : 0
        if connection.value.reading.stalls(
            backlog, now: now, patience: options.outputTimeout, rate: GRPCLimits.minimumRate)
        {
            return expire(handle, connection, "the server does not read")
        }
        if connection.value.phase == .retired, now >= connection.value.retiredSince.after(options.drainTimeout) {
            return expire(handle, connection, "the server goes away, and its calls did not end")
        }
        if connection.value.pingSent != 0 {
            // Output in front of the PING that goes on leaving is an answer, too.
            let heard = max(connection.value.lastRead, backlog > 0 ? now : 0)
            if heard >= connection.value.pingSent {
                connection.value.pingSent = 0
            } else if now >= connection.value.pingSent.after(options.keepaliveTimeout) {
                return expire(handle, connection, "no answer to a keepalive PING")
            }
        }
        connection.value.isWatched = false
        checkCalls(connection, now)
        guard connection.value.phase != .closing else { return }
        var due = connection.value.lastRead.after(options.keepaliveInterval)
        if connection.value.pingSent != 0 {
            due = connection.value.pingSent.after(options.keepaliveTimeout)
        } else if now >= due {
            // Without calls there is nothing to keep alive, and a server would count the PINGs.
            if connection.value.session.openStreams > 0 {
                unsafe connection.value.session.sendPing(0, output: &output.pointee)
                connection.value.pingSent = now
                due = now.after(options.keepaliveTimeout)
            } else {
                due = now.after(options.keepaliveInterval)
            }
        }
        let isHalf = connection.value.halfSince != 0
        let isRetired = connection.value.phase == .retired
        if isHalf || isRetired || backlog > 0 {
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
                if now >= call.messageDeadline(options.answerTimeout) {
                    call.abort(
                        RPCError(code: .deadlineExceeded, message: "the server's message came too slowly"), .cancel)
                }
            }
            guard next == .none || calls.contains(next) else { break }
            name = next
        }
        countWork(steps / 16)
    }

    private func expire(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>, _ text: String) {
        connection.value.fail(text)
        guard beginClosing(handle, connection) else { return }
        loop.close(connection.value.id)
    }
}
