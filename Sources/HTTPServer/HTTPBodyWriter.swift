import Bytes
import Reactor

/// Writes the body of one answer piece by piece, for the function of `HTTPResponder.stream`: as fast as the client takes it, so
/// that nothing piles up. It belongs to the server's loop, and one task at a time may write.
///
/// What was not yet begun can still become another answer: status and fields go out with the first piece.
public final class HTTPBodyWriter {
    let responder: HTTPResponder
    private let status: Int
    private let type: StaticString
    private let fields: HTTPFields
    private let loop: EventLoop
    private let waiter: Waiter
    private var hasBegun = false
    private var isWaiting = false
    /// When it last kept nobody waiting, loop nanoseconds.
    private var active: UInt64
    private var timer: TimerID?
    private var task: Task<Void, Never>?

    init(_ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields, loop: EventLoop) {
        self.responder = responder
        self.status = status
        self.type = type
        self.fields = fields
        self.loop = loop
        // Where a task is cancelled its answer goes, which wakes it.
        waiter = Waiter(loop, cancel: {})
        active = loop.now
    }

    /// Writes what `piece` appends, as soon as it is this answer's turn and the client has taken most of what was written before.
    /// `piece` is called once, when there is room.
    ///
    /// - Throws: `CancellationError` when nobody wants the body any more: the client has gone, or asked for the head alone.
    public func write(
        isolation: isolated (any Actor)? = #isolation, _ piece: (inout ByteBuffer) -> Void
    ) async throws(CancellationError) {
        while true {
            guard let hasRoom = responder.server({ $0.hasRoom(responder) }) ?? nil else { throw CancellationError() }
            if hasRoom { break }
            isWaiting = true
            await waiter.wait(isolation: isolation) { (responder.server { $0.hasRoom(responder) } ?? nil) != false }
            isWaiting = false
        }
        active = loop.now
        if !hasBegun {
            hasBegun = responder.server { $0.beginBody(responder, status, type, fields) } ?? false
            if !hasBegun { throw CancellationError() }
        }
        responder.server { $0.writePiece(responder, piece) }
    }

    /// Writes text as UTF-8, as `write` does.
    public func write(
        _ text: String, isolation: isolated (any Actor)? = #isolation
    ) async throws(CancellationError) {
        try await write(isolation: isolation) { $0.append(utf8: text) }
    }

    /// Writes bytes, as `write` does.
    public func write(
        _ bytes: [UInt8], isolation: isolated (any Actor)? = #isolation
    ) async throws(CancellationError) {
        try await write(isolation: isolation) { $0.append(bytes) }
    }

    func wake() { waiter.wake() }

    // MARK: The task

    func begin(_ task: Task<Void, Never>, silence: UInt64) {
        self.task = task
        watch(silence, from: silence)
    }

    /// Looks again when the silence would have lasted too long.
    private func watch(_ silence: UInt64, from delay: UInt64) {
        timer = loop.schedule(after: delay) { [weak self] in
            guard let self else { return }
            timer = nil
            // How fast the client takes it is the loop's affair.
            if isWaiting { active = loop.now }
            let quiet = loop.now &- active
            if quiet < silence { return watch(silence, from: silence - quiet) }
            let task = task
            fail(Problem.deadlineExceeded)
            task?.cancel()
        }
    }

    /// The function has returned: the body is whole.
    func finish() {
        end()
        if !hasBegun { _ = responder.server { $0.beginBody(responder, status, type, fields) } }
        responder.server { $0.endStream(responder) }
    }

    /// The function has failed. The client hears why, or sees at least that the body is not whole.
    func fail(_ error: any Error) {
        end()
        if hasBegun {
            responder.server { $0.breakOff(responder) }
        } else {
            responder.problem(error as? Problem ?? .unanswered)
        }
    }

    private func end() {
        if let timer { loop.cancel(timer) }
        timer = nil
        task = nil
    }
}

extension HTTPResponder {
    /// Answers with a body that `work` writes piece by piece, as a task on the server's loop: of unknown length, so chunked on HTTP/1.1
    /// and up to the connection's end on HTTP/1.0.
    ///
    ///     response.stream(200, "text/csv") { body in
    ///         while let row = try await rows.next() { try await body.write("\(row)\n") }
    ///     }
    ///
    /// The body ends when `work` returns. What `work` throws before the first piece is the answer, if it is a `Problem`, else 500; later
    /// the connection is cut off, so that nobody takes what was written for the whole. The task is cancelled when the client goes away,
    /// and when it writes nothing for `HTTPLimits.streamSilence`. For a HEAD request `work` runs up to its first piece.
    ///
    /// - Parameters:
    ///   - status: HTTP status of the answer, unless `work` throws before the first piece.
    ///   - type: content type of the body.
    ///   - fields: further header fields.
    ///   - work: writes the body. It may keep no view of the request; `HeldRequest` is a copy.
    public func stream(
        _ status: Int = 200, _ type: StaticString, fields: HTTPFields = .init(),
        _ work: @escaping (HTTPBodyWriter) async throws -> Void
    ) {
        server { $0.stream(HTTPBodyWriter(self, status, type, fields, loop: $0.loop), work) }
    }
}
