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
            // It counts as open until its handler answers. One that has not by now never will.
            if loop.now >= call.value.deadline.after(limits.$handlerTimeout) { return release(name, call) }
            waitForHandler(name, call)
        case .ending:
            abandon(name, call, .cancel)
        case .intercepted, .receiving, .running:
            interruptCall(name, RPCError(code: .deadlineExceeded, message: "the deadline has passed"))
        }
    }

    /// Ends a call for a reason from outside, whether its handler can be told or not.
    func interruptCall(_ name: Handle<ServerCall>, _ error: RPCError) {
        guard let call = calls.find(name), call.value.phase.isOpen else { return }
        if isDeaf(call) { interruptAtWork(name, call, error) } else { interrupt(name, error) }
    }

    /// The client waits no more, but the handler is at work.
    func waitForHandler(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        guard call.value.deadline != 0, call.value.timer == .none else { return }
        call.value.timer = loop.schedule(after: limits.$handlerTimeout, timers.deadline, name.token)
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

    /// After a read: what is owed has a deadline.
    @inline(__always)
    func noteDebt(_ connection: Place<ServerConnection>) {
        let incomplete = connection.value.incomplete
        if connection.value.session.owed != .nothing || incomplete > 0 { watchDebt(connection) }
    }

    @inline(never)
    private func watchDebt(_ connection: Place<ServerConnection>) {
        countSession(connection)
        if connection.value.incomplete > 0 { armNewCalls(connection) }
        watch(connection)
    }

    /// Calls that have begun in this read, and whose request is not whole: their deadlines pass all the same.
    private func armNewCalls(_ connection: Place<ServerConnection>) {
        var name = connection.value.firstCall
        while let call = calls.find(name), call.value.startedAt == loop.now {
            armDeadline(name)
            name = call.value.next
        }
    }

    /// A connection's deadline: is it as far as it should be?
    func check(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>) {
        let id = connection.value.id
        guard connection.value.phase != .closing, let output = unsafe loop.output(id) else { return }
        let now = loop.now
        guard connection.value.session.hasPeerSettings else { return expire(handle, connection, .preface) }
        if !connection.value.isHeldBack,
            let debt = connection.value.session.overdue(
                now: now, patience: limits.$frameTimeout, readingSince: connection.value.readingSince)
        {
            return expire(handle, connection, debt == .settingsAck ? .settings : .frame)
        }
        // The loop sees to it that what is written is read.
        let backlog = loop.isBacklogged(id) ? loop.pendingOutput(id) : 0
        if connection.value.pingSent != 0 {
            // Output in front of the PING that goes on leaving is an answer, too.
            let heard = max(connection.value.lastRead, backlog > 0 ? now : 0)
            if heard >= connection.value.pingSent {
                connection.value.pingSent = 0
            } else if now >= connection.value.pingSent.after(limits.$keepaliveTimeout) {
                return expire(handle, connection, .keepalive)
            }
        }
        connection.value.isWatched = false
        while let stream = connection.value.refused.next(now: now, patience: limits.$outputTimeout) {
            unsafe connection.value.session.reset(stream, .noError, now: now, output: &output.pointee)
        }
        checkCalls(handle, connection, now)
        // A handler may have closed it.
        guard connection.value.phase != .closing else { return }
        var due = connection.value.lastRead.after(limits.$keepaliveInterval)
        if connection.value.pingSent != 0 {
            due = connection.value.pingSent.after(limits.$keepaliveTimeout)
        } else if now >= due {
            unsafe connection.value.session.sendPing(0, output: &output.pointee)
            connection.value.pingSent = now
            due = now.after(limits.$keepaliveTimeout)
        }
        countSession(connection)
        let isOwed = connection.value.session.owed != .nothing
        let isHeldBack = connection.value.isHeldBack
        let hasRefused = !connection.value.refused.isEmpty
        if isOwed || isHeldBack || backlog > 0 || hasRefused {
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
            let patience = isEnding ? limits.$outputTimeout : limits.$pausedStreamTimeout
            let taken = connection.value.session.takenCount(call.value.stream)
            if call.value.reading.stalls(
                pending, taken: taken, now: now, patience: patience, rate: GRPCLimits.minimumRate)
            {
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
        guard now >= call.value.messageSince.after(limits.$requestTimeout).after(earned) else { return }
        metrics.callExpired()
        interrupt(name, RPCError(code: .deadlineExceeded, message: "the request's message came too slowly"))
    }

    /// What a connection that is closed by a deadline has not done.
    enum Debt: String, CaseIterable {
        case preface = "no HTTP/2 preface and SETTINGS"
        case settings = "no acknowledgement of SETTINGS"
        case frame = "a frame, or a header block, is not whole"
        case output = "the answers are not read"
        case keepalive = "no answer to a keepalive PING"

        /// What the client is told; nil: it does not read.
        var code: HTTP2ErrorCode? {
            switch self {
            case .preface, .settings: .settingsTimeout
            case .frame: .enhanceYourCalm
            case .output, .keepalive: nil
            }
        }
    }

    private func expire(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, _ debt: Debt) {
        let id = connection.value.id
        if let code = debt.code, let output = unsafe loop.output(id) {
            unsafe connection.value.session.sendGoAway(code, output: &output.pointee)
        }
        guard beginClosing(handle, connection) else { return }
        metrics.connectionExpired(debt)
        if debt.code == nil { loop.close(id) } else { loop.closeAfterFlush(id, drain: true) }
    }
}
