import Bytes
import HTTP1
import Memory
import Reactor

/// Requests whose gate, or handler, waits for something.
extension HTTPServer {
    /// Adds field lines to the answer of the request that is looked at.
    func addResponseFields(_ fields: HTTPFields) {
        let responder = HTTPResponder(
            anchor: anchor, connection: context.value.handle, sequence: context.value.sequence)
        if context.value.isAnswered {
            // It waits, and its fields with it.
            guard let connection = alive(responder), let answer = find(responder, connection) else { return }
            answer.value.fields.append(fields.lines)
        } else if context.value.extras.contains(.fields) {
            context.value.fields += fields.lines
        } else {
            context.value.extras.insert(.fields)
            context.value.fields = fields.lines
        }
    }

    /// Runs `work` as a task on the loop, for the request that is looked at.
    func wait(
        _ responder: HTTPResponder, for request: HeldRequest, _ span: Duration?,
        _ work: @escaping () async throws(Problem) -> Void
    ) {
        guard let connection = alive(responder) else { return }
        if isCurrent(responder), !context.value.isAnswered { park(connection) }
        guard let answer = find(responder, connection), answer.value.state == .waiting else { return }
        if answer.value.flags.contains(.mayUpgrade) { connection.value.flags.insert(.undecided) }
        holdsRequest(connection, answer, request.byteCount)
        let deadline = span == nil ? nil : AnswerDeadline()
        let bound = LoopBound((responder, work, deadline), loop: loop)
        let task = loop.spawn {
            let (responder, work, deadline) = bound.value
            do throws(Problem) { try await work() } catch { responder.fail(error) }
            if let timer = deadline?.timer { bound.loop.cancel(timer) }
        }
        answer.value.task = task
        guard let span else { return }
        deadline?.timer = loop.schedule(after: span) {
            responder.fail(.deadlineExceeded)
            task.cancel()
        }
    }
}

/// When the time of a task that answers is up. It belongs to the loop.
private final class AnswerDeadline {
    var timer: TimerID?
}

extension HTTPResponder {
    /// The answer is a problem; a body that has begun is cut off.
    fileprivate func fail(_ error: Problem) {
        problem(error)
        server { $0.breakOff(self) }
    }

    /// Lets a task answer: `work` runs on the server's loop and is cancelled when the client goes away. The problem that it
    /// throws is the answer.
    ///
    /// - Parameters:
    ///   - request: the copy that the task works with.
    ///   - span: what the task may take; then it is cancelled, and the answer, if there is none yet, is 504. nil: as long as
    ///     the client waits.
    public func wait(
        for request: HeldRequest, within span: Duration? = nil, _ work: @escaping () async throws(Problem) -> Void
    ) {
        server { $0.wait(self, for: request, span, work) }
    }
}
