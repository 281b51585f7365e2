import Bytes
import HTTP1
import Memory
import Reactor

extension HTTPServer {
    func setDeadline(
        _ connection: Place<HTTPConnection>, _ kind: HTTPConnection.Deadline, _ time: UInt64
    ) {
        connection.value.deadline = kind
        loop.setDeadline(connection.value.id, at: loop.now &+ time)
    }

    /// Nothing is asked for now.
    @inline(__always)
    func beQuiet(_ connection: Place<HTTPConnection>) {
        if core.value.endsQuiet { return finish(connection) }
        setDeadline(connection, .idle, core.value.limits.$idleTime)
    }

    func clearDeadline(_ connection: Place<HTTPConnection>) {
        if connection.value.deadline == .none { return }
        connection.value.deadline = .none
        loop.clearDeadline(connection.value.id)
    }

    /// A deadline has passed: decides by what it stood for.
    func deadlinePassed(_ connection: Place<HTTPConnection>) {
        let kind = connection.value.deadline
        connection.value.deadline = .none
        let limits = core.value.limits
        switch kind {
        case .none: break
        case .idle:
            if loop.pendingOutput(connection.value.id) > 0 {
                // Not quiet but slow: how fast it must read is the loop's affair.
                setDeadline(connection, .idle, limits.$idleTime)
            } else {
                finish(connection)
            }
        case .head:
            let seconds = limits.$headTime / 1_000_000_000
            refuse(connection, Problem(408, "request-timeout", "The request's head took longer than \(seconds) s."))
        case .body:
            bodyDeadlinePassed(connection)
        }
    }

    /// Counted in milliseconds: a body of 2⁶³ bytes at one byte a second is no overflow.
    private func bodyDeadlinePassed(_ connection: Place<HTTPConnection>) {
        let limits = core.value.limits
        let elapsed = (loop.now &- connection.value.bodyBegan) / 1_000_000
        let grace = limits.$bodyGrace / 1_000_000
        let rate = UInt64(max(1, limits.bodyRate))
        let came = UInt64(max(0, connection.value.bodyBytes))
        // When, from the beginning, this many bytes are due.
        let paid = grace &+ came / rate &* 1000 &+ came % rate &* 1000 / rate
        if paid > elapsed {
            // Nothing is owed yet: look again when it would be.
            setDeadline(connection, .body, max(1000, paid - elapsed) &* 1_000_000)
        } else if connection.value.pending == .none {
            // It was answered already: a second answer would be taken for the next request's.
            connection.value.flags.insert(.last)
            endIfAnswered(connection)
        } else {
            dropPending(connection)
            let detail = "The request's body came slower than \(limits.bodyRate) bytes a second."
            refuse(connection, Problem(408, "request-timeout", detail))
        }
    }

    /// Everything is said: writes what waits, half-closes, reads on for a moment, closes.
    func finish(_ connection: Place<HTTPConnection>) {
        connection.value.flags.insert([.last, .closing])
        connection.value.deadline = .none
        // Nobody will hear what waits behind the last answer.
        dropWaiting(connection)
        loop.closeAfterFlush(connection.value.id, drain: true)
    }

    /// Nothing further is looked at (`last`) or will come (`readClosed`): once everything is answered, the connection ends.
    /// What was read before the client's end and waits for its turn is answered first.
    ///
    /// - Returns: whether it was ended.
    @discardableResult
    func endIfAnswered(_ connection: Place<HTTPConnection>) -> Bool {
        let flags = connection.value.flags
        guard connection.value.inFlight == 0 else { return false }
        guard flags.contains(.last) || flags.contains(.readClosed) && !flags.contains(.paused) else { return false }
        finish(connection)
        return true
    }

    /// Output was taken, or a turn has passed: answers that waited follow, and reading goes on.
    func goOn(_ connection: Place<HTTPConnection>) {
        passOn(connection)
        settle(connection)
    }

    func resumeIfPaused(_ connection: Place<HTTPConnection>) {
        let limits = core.value.limits
        guard connection.value.flags.contains(.paused), connection.value.inFlight < limits.pipelineDepth else { return }
        guard held(connection) <= limits.outputHighWater else { return goOnOnceWritten(connection) }
        connection.value.flags.remove(.paused)
        loop.resumeReading(connection.value.id)
    }

    /// Goes on when the output that waits now is taken.
    func goOnOnceWritten(_ connection: Place<HTTPConnection>) {
        let id = connection.value.id
        // After a short write `connectionDrained` comes; when this turn's flush takes everything at once, nothing does.
        if loop.pendingOutput(id) > 0 && !loop.isBacklogged(id) { goOnNextTurn(connection) }
    }

    func goOnNextTurn(_ connection: Place<HTTPConnection>) {
        if connection.value.flags.contains(.looks) { return }
        connection.value.flags.insert(.looks)
        let handle = connection.value.handle
        // A nanosecond from now is the next turn, behind this one's flush.
        loop.schedule(after: 1) { [weak self] in
            guard let self, let connection = core.value.connections.find(handle) else { return }
            connection.value.flags.remove(.looks)
            goOn(connection)
        }
    }
}
