import Bytes
import HTTP1
import Memory
import Reactor

/// Answers that wait: for their handler, for their turn, or for the client to take what is before them.
///
///     park ──▶ waiting ──answer──▶ ready ──its turn──▶ written
///                 └────begin─────▶ streaming ──its turn: written as it comes──end──▶ gone
extension HTTPServer {
    /// Keeps what a later answer to the current request needs.
    func park(_ connection: Place<HTTPConnection>) {
        // From now on the waiting answer speaks for it.
        context.value.isAnswered = true
        _ = addWaiting(connection)
    }

    /// A place at the end of the queue for the current request.
    @_lifetime(immortal)
    func addWaiting(_ connection: Place<HTTPConnection>) -> Place<WaitingAnswer>? {
        guard let handle = core.value.answers.insert(WaitingAnswer()), let answer = core.value.answers.find(handle)
        else {
            return nil
        }
        answer.value.flags = context.value.flags
        answer.value.route = context.value.route
        answer.value.startedAt = context.value.startedAt
        answer.value.requestID = context.value.requestID
        answer.value.trace = context.value.trace
        writeExtraFields(&answer.value.fields)
        if let last = core.value.answers.find(connection.value.lastWaiting) {
            last.value.next = handle
        } else {
            connection.value.firstWaiting = handle
        }
        connection.value.lastWaiting = handle
        return answer
    }

    /// The waiting answer of a responder's request: so many places behind the first as its number is behind the first one's.
    @_lifetime(immortal)
    func find(_ responder: HTTPResponder, _ connection: Place<HTTPConnection>) -> Place<WaitingAnswer>? {
        var handle = connection.value.firstWaiting
        var distance = responder.sequence &- connection.value.answered
        while let answer = core.value.answers.find(handle) {
            if distance == 0 { return answer }
            distance &-= 1
            handle = answer.value.next
        }
        return nil
    }

    /// The first in the queue is written, or will never be.
    func dropFirst(_ connection: Place<HTTPConnection>, _ answer: Place<WaitingAnswer>) {
        let handle = connection.value.firstWaiting
        holds(connection, -answer.value.output.count)
        answer.value.output.release()
        answer.value.shared = nil
        answer.value.task = nil
        answer.value.writer?.wake()
        answer.value.writer = nil
        holdsRequest(connection, answer, 0)
        connection.value.firstWaiting = answer.value.next
        if answer.value.next == .none { connection.value.lastWaiting = .none }
        core.value.answers.remove(handle)
        reclaimAtEndOfTurn()
    }

    /// None of those that wait will be written.
    func dropWaiting(_ connection: Place<HTTPConnection>) {
        while let answer = core.value.answers.find(connection.value.firstWaiting) {
            answer.value.task?.cancel()
            dropFirst(connection, answer)
        }
    }

    /// Sets what the copy of an answer's request takes.
    func holdsRequest(_ connection: Place<HTTPConnection>, _ answer: Place<WaitingAnswer>, _ bytes: Int) {
        let change = bytes - answer.value.requestBytes
        if change == 0 { return }
        answer.value.requestBytes = bytes
        connection.value.requestBytes += change
        holdsBodies(change)
        if held(connection) > core.value.limits.outputHighWater { connection.value.flags.insert(.full) }
    }

    /// Counts bytes that begin or cease to wait.
    func holds(_ connection: Place<HTTPConnection>, _ change: Int) {
        if change == 0 { return }
        connection.value.waitingBytes += change
        core.value.heldAnswerBytes += change
        core.value.metrics?.holdsAnswers(change)
    }

    /// Writes the answers whose turn has come, as far as the client takes them.
    func passOn(_ connection: Place<HTTPConnection>) {
        let id = connection.value.id
        while let answer = core.value.answers.find(connection.value.firstWaiting), answer.value.state != .waiting {
            if loop.pendingOutput(id) > core.value.limits.outputHighWater { return goOnOnceWritten(connection) }
            guard let output = wire(connection) else { return }
            output.value.append(answer.value.output.span)
            if let shared = answer.value.shared { loop.send(id, shared: shared) }
            if answer.value.state == .streaming {
                // It goes on, straight to the output.
                holds(connection, -answer.value.output.count)
                answer.value.output.release()
                break
            }
            let isLast = answer.value.flags.contains(.close)
            dropFirst(connection, answer)
            connection.value.answered &+= 1
            if isLast { return finish(connection) }
        }
        // Who writes a body has its turn now, or room.
        core.value.answers.find(connection.value.firstWaiting)?.value.writer?.wake()
    }
}
