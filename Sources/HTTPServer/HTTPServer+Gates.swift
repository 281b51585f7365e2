import Bytes
import HTTP1
import Memory
import Reactor

/// Requests whose gate, or handler, waits for something.
extension HTTPServer {
    /// Adds a field line to the answer of the request that is looked at.
    func addResponseField(_ name: StaticString, _ value: String) {
        let responder = HTTPResponder(
            anchor: anchor, connection: context.value.handle, sequence: context.value.sequence)
        var fields = HTTPFields()
        fields.add(name, value)
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
    func wait(_ responder: HTTPResponder, for request: HeldRequest, _ work: @escaping () async throws(Problem) -> Void)
    {
        guard let connection = alive(responder) else { return }
        if isCurrent(responder), !context.value.isAnswered { park(connection) }
        guard let answer = find(responder, connection), answer.value.state == .waiting else { return }
        if answer.value.flags.contains(.mayUpgrade) { connection.value.flags.insert(.undecided) }
        holdsRequest(connection, answer, request.byteCount)
        let bound = LoopBound((responder, work), loop: loop)
        answer.value.task = loop.spawn {
            let (responder, work) = bound.value
            do throws(Problem) { try await work() } catch { responder.problem(error) }
        }
    }
}

extension HTTPResponder {
    /// Lets a task answer: `work` runs on the server's loop and is cancelled when the client goes away. The problem that it
    /// throws is the answer.
    ///
    /// - Parameter request: the copy that the task works with.
    public func wait(for request: HeldRequest, _ work: @escaping () async throws(Problem) -> Void) {
        server { $0.wait(self, for: request, work) }
    }
}
