import Bytes
import HTTP2
import Memory
import Reactor

// What a client owes, and until when. A connection that owes nothing has one deadline, for the next keepalive; one that owes
// something is looked at every `checkInterval`.
extension ServerConnections {
    // MARK: Calls

    /// Arms the timer of a call that was not answered at once.
    @inline(__always)
    func armDeadline(_ name: Handle<ServerCall>) {
        guard let call = calls.find(name), call.value.deadline != 0, call.value.timer == .none else { return }
        let now = loop.now
        let delay = call.value.deadline > now ? call.value.deadline - now : 0
        call.value.timer = loop.schedule(after: delay, timers.deadline, name.token)
    }

    func deadlinePassed(_ name: Handle<ServerCall>) {
        guard let call = calls.find(name) else { return }
        call.value.timer = .none
        switch call.value.phase {
        case .cancelled:
            release(name, call)
        case .ending:
            abandon(name, call, .cancel)
        case .receiving, .running:
            interrupt(name, RPCError(code: .deadlineExceeded, message: "the deadline has passed"))
        }
    }

    // MARK: Connections

    /// From now on a connection is looked at often.
    @inline(__always)
    func watch(_ connection: Place<ServerConnection>) {
        if connection.value.isWatched { return }
        connection.value.isWatched = true
        guard connection.value.session.hasPeerSettings else { return }
        loop.setDeadline(connection.value.id, at: loop.now.after(GRPCLimits.checkInterval))
    }

    /// What a read has left over.
    @inline(__always)
    func noteHalf(_ connection: Place<ServerConnection>, isHalf: Bool, hasMoved: Bool) {
        let isHeldBack = connection.value.isHeldBack
        if isHeldBack || !isHalf {
            connection.value.halfSince = 0
            if connection.value.incomplete > 0 { watch(connection) }
            return
        }
        let isNew = connection.value.halfSince == 0
        if hasMoved || isNew { connection.value.halfSince = loop.now }
        watch(connection)
    }

    /// A connection's deadline: is it as far as it should be?
    func check(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>) {
        let id = connection.value.id
        guard connection.value.phase != .closing, let output = unsafe loop.output(id) else { return }
        let now = loop.now
        guard connection.value.session.hasPeerSettings else { return expire(handle, connection, .preface) }
        if connection.value.halfSince != 0, now >= connection.value.halfSince.after(limits.frameTimeout) {
            return expire(handle, connection, .frame)
        }
        let backlog = loop.isBacklogged(id) ? loop.pendingOutput(id) : 0
        if connection.value.reading.stalls(
            backlog, now: now, patience: limits.outputTimeout, rate: GRPCLimits.minimumRate)
        {
            return expire(handle, connection, .output)
        }
        if connection.value.pingSent != 0 {
            // Output in front of the PING that goes on leaving is an answer, too.
            let heard = max(connection.value.lastRead, backlog > 0 ? now : 0)
            if heard >= connection.value.pingSent {
                connection.value.pingSent = 0
            } else if now >= connection.value.pingSent.after(limits.keepaliveTimeout) {
                return expire(handle, connection, .keepalive)
            }
        }
        connection.value.isWatched = false
        checkCalls(handle, connection, now)
        // A handler may have closed it.
        guard connection.value.phase != .closing else { return }
        var due = connection.value.lastRead.after(limits.keepaliveInterval)
        if connection.value.pingSent != 0 {
            due = connection.value.pingSent.after(limits.keepaliveTimeout)
        } else if now >= due {
            unsafe connection.value.session.sendPing(0, output: &output.pointee)
            connection.value.pingSent = now
            due = now.after(limits.keepaliveTimeout)
        }
        let isHalf = connection.value.halfSince != 0
        let isHeldBack = connection.value.isHeldBack
        if isHalf || isHeldBack || backlog > 0 {
            connection.value.isWatched = true
        }
        if connection.value.isWatched { due = min(due, now.after(GRPCLimits.checkInterval)) }
        loop.setDeadline(id, at: max(due, now + 1))
    }

    /// Ends the calls of a connection that make no progress.
    private func checkCalls(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, _ now: UInt64) {
        var name = connection.value.firstCall
        var steps = 0
        while let call = calls.find(name) {
            steps += 1
            let next = call.value.next
            checkCall(name, call, connection, now)
            // It, or its handler, may have ended others: the list is looked at again in five seconds.
            guard next == .none || calls.contains(next) else { break }
            name = next
        }
        if name != .none { connection.value.isWatched = true }
        countWork(steps / 16)
    }

    private func checkCall(
        _ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ connection: Place<ServerConnection>, _ now: UInt64
    ) {
        guard call.value.phase != .cancelled else { return }
        let pending = connection.value.session.pendingCount(call.value.stream)
        let isEnding = call.value.phase == .ending
        if pending > 0 || isEnding {
            connection.value.isWatched = true
            let patience = isEnding ? limits.outputTimeout : limits.pausedStreamTimeout
            if call.value.reading.stalls(pending, now: now, patience: patience, rate: GRPCLimits.minimumRate) {
                metrics.callExpired()
                return abandon(name, call, .enhanceYourCalm)
            }
        }
        guard call.value.phase == .receiving, call.value.hold.isEmpty else { return }
        let isOneRequest = if case .oneRequest = methods[call.value.method].kind { true } else { false }
        let isHalf = !call.value.body.isEmpty
        guard isOneRequest || isHalf else { return }
        connection.value.isWatched = true
        let earned = UInt64(call.value.body.count) &* (1_000_000_000 / UInt64(GRPCLimits.minimumRate))
        guard now >= call.value.messageSince.after(limits.requestTimeout).after(earned) else { return }
        metrics.callExpired()
        interrupt(name, RPCError(code: .deadlineExceeded, message: "the request's message came too slowly"))
    }

    /// What a connection that is closed by a deadline has not done.
    enum Debt: String, CaseIterable {
        case preface = "no HTTP/2 preface and SETTINGS"
        case frame = "a frame, or a header block, is not whole"
        case output = "the answers are not read"
        case keepalive = "no answer to a keepalive PING"
    }

    private func expire(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, _ debt: Debt) {
        guard beginClosing(handle, connection) else { return }
        metrics.connectionExpired(debt)
        loop.close(connection.value.id)
    }
}
