import Bytes
import HTTP1
import Memory
import Reactor

/// Bodies that are sent piece by piece, of a length that nobody knows: chunked on HTTP/1.1, up to the connection's end on
/// HTTP/1.0 (RFC 9112 §6.3). One that does not become whole never looks as if it had: the last chunk is missing, or the
/// connection ends by a reset.
extension HTTPServer {
    func beginStream(_ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields) {
        guard let connection = alive(responder) else { return }
        if isCurrent(responder) && !context.value.isAnswered { park(connection) }
        guard let target = claim(responder), let answer = target.answer else { return }
        answer.value.state = .streaming
        answer.value.status = status
        if !HTTP1Status.allowsBody(status) { answer.value.flags.insert(.noBody) }
        if target.flags.contains(.version10) {
            answer.value.flags.insert(.close)
            if !answer.value.flags.contains(.noBody) { loop.endsWithConnection(connection.value.id) }
        }
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

    // MARK: By a function

    /// Runs `work` as a task on the loop, which writes the body of the answer by `writer`.
    func stream(_ writer: HTTPBodyWriter, _ work: @escaping (HTTPBodyWriter) async throws -> Void) {
        let responder = writer.responder
        guard let connection = alive(responder) else { return }
        if isCurrent(responder), !context.value.isAnswered { park(connection) }
        guard let answer = find(responder, connection), answer.value.state == .waiting else { return }
        let bound = LoopBound((writer, work), loop: loop)
        let task = loop.spawn {
            let (writer, work) = bound.value
            do {
                try await work(writer)
                writer.finish()
            } catch {
                writer.fail(error)
            }
        }
        answer.value.task = task
        answer.value.writer = writer
        writer.begin(task, silence: core.value.limits.$streamSilence)
    }

    /// Whether the next piece of an answer's body can be written: it is its turn, and the client takes what is there. nil: nobody
    /// wants it any more.
    func hasRoom(_ responder: HTTPResponder) -> Bool? {
        guard let connection = alive(responder), let answer = find(responder, connection), answer.value.state != .ready
        else { return nil }
        guard connection.value.answered == responder.sequence else { return false }
        if loop.pendingOutput(connection.value.id) <= core.value.limits.outputHighWater { return true }
        goOnOnceWritten(connection)
        return false
    }

    /// Begins the body that a function writes. False: nobody wants it, or it has none and the answer is complete.
    func beginBody(_ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields) -> Bool {
        beginStream(responder, status, type, fields)
        guard let connection = alive(responder), let answer = stream(responder, connection) else { return false }
        if !answer.value.flags.contains(.noBody) { return true }
        endStream(responder)
        return false
    }

    /// Writes what `piece` appends. It is there that the room was looked for.
    func writePiece(_ responder: HTTPResponder, _ piece: (inout ByteBuffer) -> Void) {
        withScratch(piece) { bytes in
            guard let connection = alive(responder), let answer = stream(responder, connection) else { return }
            write(bytes, of: answer, responder, connection, isLast: false)
        }
    }

    /// A body that has begun can't become whole: its client is to see that.
    func breakOff(_ responder: HTTPResponder) {
        guard let connection = alive(responder), let answer = stream(responder, connection) else { return }
        let duration = loop.now &- answer.value.startedAt
        core.value.metrics?.count(route: answer.value.route, status: 500, nanoseconds: duration)
        note(answer.value.route, 500, duration, answer.value.requestID, answer.value.trace)
        loop.close(connection.value.id)
    }
}
