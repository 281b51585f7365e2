import Bytes
import HTTP1
import Reactor

extension HTTPServer {
    func setDeadline(
        _ connection: Ref<HTTPConnection>, _ kind: HTTPConnection.Deadline, _ time: UInt64
    ) {
        connection.value.deadline = kind
        loop.setDeadline(connection.value.id, at: loop.now &+ time)
    }

    /// A deadline has passed: decides by what it stood for.
    func deadlinePassed(_ connection: Ref<HTTPConnection>) {
        let kind = connection.value.deadline
        connection.value.deadline = .none
        let limits = core.value.limits
        switch kind {
        case .none: break
        case .idle:
            let waiting = loop.pendingOutput(connection.value.id)
            if waiting > 0 && waiting != connection.value.outputSeen {
                // It is slow but it reads: look again later.
                connection.value.outputSeen = waiting
                setDeadline(connection, .idle, limits.idleTime)
            } else if waiting > 0 {
                loop.close(connection.value.id)
            } else {
                finish(connection)
            }
        case .head:
            refuse(
                connection, loop.context(connection.value.id),
                Problem(
                    408, "request-timeout", "The request's head took longer than \(limits.headTime / 1_000_000_000) s.")
            )
        case .body:
            let elapsed = loop.now &- connection.value.bodyBegan
            let counted = elapsed > limits.bodyGrace ? elapsed - limits.bodyGrace : 0
            let wanted = Double(counted) * 1e-9 * Double(limits.bodyRate)
            if Double(connection.value.bodyBytes) >= wanted {
                // Nothing is owed yet: look again when it would be.
                let paid = Double(connection.value.bodyBytes) / Double(limits.bodyRate) * 1e9
                let ahead = UInt64(paid) + limits.bodyGrace
                setDeadline(
                    connection, .body, max(1_000_000_000, ahead > elapsed ? ahead - elapsed : 0))
            } else {
                dropPending(connection)
                refuse(
                    connection, loop.context(connection.value.id),
                    Problem(
                        408, "request-timeout",
                        "The request's body came slower than \(limits.bodyRate) bytes a second."))
            }
        }
    }

    /// Everything is said: writes what waits, half-closes, reads on for a moment, closes.
    func finish(_ connection: Ref<HTTPConnection>) {
        connection.value.flags.insert([.last, .closing])
        loop.closeAfterFlush(connection.value.id, drain: true)
    }

    /// The client has closed its side: once its last request is answered, there is nothing more to do.
    func closeIfReadClosed(_ connection: Ref<HTTPConnection>) {
        guard connection.value.inFlight == 0 && !connection.value.flags.contains(.paused) else { return }
        finish(connection)
    }

    func resumeIfPaused(_ connection: Ref<HTTPConnection>) {
        guard connection.value.flags.contains(.paused),
            connection.value.inFlight < core.value.limits.pipelineDepth
        else { return }
        connection.value.flags.remove(.paused)
        loop.resumeReading(connection.value.id)
    }
}
