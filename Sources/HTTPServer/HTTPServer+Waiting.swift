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
                return answer.value.output.release()
            }
            let isLast = answer.value.flags.contains(.close)
            dropFirst(connection, answer)
            connection.value.answered &+= 1
            if isLast { return finish(connection) }
        }
    }

    // MARK: Streams

    func beginStream(_ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields) {
        guard let connection = alive(responder) else { return }
        if isCurrent(responder) && !context.value.isAnswered { park(connection) }
        guard let target = claim(responder), let answer = target.answer else { return }
        answer.value.state = .streaming
        answer.value.status = status
        if target.flags.contains(.version10) { answer.value.flags.insert(.close) }
        writeHead(target, status, type, fields, length: nil)
        if !target.inTurn { holds(connection, answer.value.output.count) }
    }

    func writeStream(_ responder: HTTPResponder, _ bytes: Span<UInt8>) {
        guard let connection = alive(responder), let answer = stream(responder, connection),
            !answer.value.flags.contains(.noBody)
        else { return }
        // Half an answer can't become an error: it is cut off.
        if copied(connection) > core.value.limits.heldAnswers { return loop.close(connection.value.id) }
        write(bytes, of: answer, responder, connection, isLast: false)
    }

    /// A piece of a stream, or its end, where it belongs.
    private func write(
        _ bytes: Span<UInt8>, of answer: Place<WaitingAnswer>, _ responder: HTTPResponder,
        _ connection: Place<HTTPConnection>, isLast: Bool
    ) {
        let isPlain = answer.value.flags.contains(.version10)
        func put(_ output: inout ByteBuffer) {
            if isLast {
                HTTP1Writer.lastChunk(to: &output)
            } else if isPlain {
                output.append(bytes)
            } else {
                HTTP1Writer.chunk(bytes, to: &output)
            }
        }
        if connection.value.answered == responder.sequence, answer.value.output.isEmpty {
            guard let output = wire(connection) else { return }
            put(&output.value)
        } else {
            let before = answer.value.output.count
            put(&answer.value.output)
            holds(connection, answer.value.output.count - before)
        }
        if held(connection) > core.value.limits.outputHighWater { connection.value.flags.insert(.full) }
    }

    func endStream(_ responder: HTTPResponder) {
        guard let connection = alive(responder), let answer = stream(responder, connection) else { return }
        let flags = answer.value.flags
        if flags.isDisjoint(with: [.noBody, .version10]) {
            write(Span(), of: answer, responder, connection, isLast: true)
        }
        core.value.metrics?.count(
            route: answer.value.route, status: answer.value.status, nanoseconds: loop.now &- answer.value.startedAt)
        if core.value.log.noteFrom == 0 {
            // A stream takes as long as it takes: it is never slow.
            note(answer.value.route, answer.value.status, 0, answer.value.requestID, answer.value.trace)
        }
        if connection.value.answered == responder.sequence, answer.value.output.isEmpty {
            dropFirst(connection, answer)
            answered(connection, closes: flags.contains(.close))
            settle(connection)
        } else {
            answer.value.state = .ready
        }
    }

    func streamPending(_ responder: HTTPResponder) -> Int {
        guard let connection = alive(responder), stream(responder, connection) != nil else { return 0 }
        return held(connection)
    }

    @_lifetime(immortal)
    private func stream(_ responder: HTTPResponder, _ connection: Place<HTTPConnection>) -> Place<WaitingAnswer>? {
        guard let answer = find(responder, connection), answer.value.state == .streaming else { return nil }
        return answer
    }
}
