import Bytes
import Reactor

// Calls for tasks of the client's loop (`EventLoop.spawn`). Cancelling the task cancels the request.
extension HTTPClient {
    /// Sends a request and returns the whole response, whatever its status.
    ///
    /// - Parameter limit: bytes of the body, decoded; a longer one is `.bodyTooLarge`.
    public nonisolated(nonsending) func send(
        _ request: HTTPClientRequest, limit: Int = 1 << 20
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        let outcome = Outcome<HTTPClientResponse>()
        let call = send(request, limit: limit) { outcome.set($0) }
        return try await outcome.value(of: call)
    }

    /// Gets what a URL names, whatever the status of the response.
    ///
    /// - Parameters:
    ///   - limit: bytes of the body, decoded; a longer one is `.bodyTooLarge`.
    ///   - timeout: what all of it may take.
    ///   - redirects: how many are followed.
    public nonisolated(nonsending) func get(
        _ url: String, fields: HTTPClientFields = [:], limit: Int = 1 << 20, timeout: Duration = .seconds(30),
        redirects: Int = 0
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        let request = try HTTPClientRequest(.get, url, fields: fields, timeout: timeout, redirects: redirects)
        return try await send(request, limit: limit)
    }

    /// Sends a request and returns the response when its head is there; the body comes through it.
    public nonisolated(nonsending) func open(_ request: HTTPClientRequest) async throws(HTTPClientError)
        -> HTTPClientStream
    {
        let outcome = Outcome<HTTPClientResponse>()
        let body = BodyPieces()
        let call = stream(request) {
            // Until somebody asks for it.
            body.call?.pause()
            outcome.set(.success($0))
        } onBody: {
            body.receive($0)
        } onEnd: { error in
            // Without effect if the head has come.
            outcome.set(.failure(error ?? .cancelled))
            body.end(error)
        }
        body.call = call
        return HTTPClientStream(try await outcome.value(of: call), body, call)
    }
}

/// What one task waits for; the first counts.
private final class Outcome<Value: Sendable> {
    private var result: Result<Value, HTTPClientError>?
    private var continuation: CheckedContinuation<Result<Value, HTTPClientError>, Never>?

    func set(_ result: Result<Value, HTTPClientError>) {
        if self.result != nil { return }
        self.result = result
        let continuation = self.continuation
        self.continuation = nil
        continuation?.resume(returning: result)
    }

    nonisolated(nonsending) func value(of call: HTTPCall) async throws(HTTPClientError) -> Value {
        let bound = LoopBound(call, loop: call.core.loop)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if let result = self.result {
                    continuation.resume(returning: result)
                } else {
                    self.continuation = continuation
                }
            }
        } onCancel: {
            bound.loop.submit { bound.value.cancel() }
        }
        return try result.get()
    }
}

/// A response whose body comes as it is asked for: at most one piece waits here, the rest at the server.
///
/// For one task of the client's loop. Cancelling the task that waits, or letting go of the stream, cancels the request.
public final class HTTPClientStream: AsyncSequence, AsyncIteratorProtocol {
    /// The head.
    public let response: HTTPClientResponse
    private let body: BodyPieces
    private let call: HTTPCall
    private let waiter: Waiter

    fileprivate init(_ response: HTTPClientResponse, _ body: BodyPieces, _ call: HTTPCall) {
        self.response = response
        self.body = body
        self.call = call
        waiter = Waiter(call.core.loop) { call.cancel() }
        body.waiter = waiter
    }

    deinit {
        if body.outcome != nil { return }
        let loop = call.core.loop
        if loop.isOnLoop { return call.cancel() }
        let bound = LoopBound(call, loop: loop)
        loop.submit { bound.value.cancel() }
    }

    /// The body can be taken once: a second iteration goes on where the first has stopped.
    public func makeAsyncIterator() -> HTTPClientStream { self }

    /// The next bytes of the body; nil at its end.
    public func next(isolation: isolated (any Actor)? = #isolation) async throws(HTTPClientError) -> [UInt8]? {
        while true {
            if let piece = body.take() { return piece }
            if let outcome = body.outcome {
                try outcome.get()
                return nil
            }
            call.resume()
            if body.hasCome { continue }
            await waiter.wait(isolation: isolation) { body.hasCome }
        }
    }
}

/// What waits between a response and the task that reads it.
private final class BodyPieces {
    var call: HTTPCall?
    var waiter: Waiter?
    private var piece = ByteBuffer()
    private(set) var outcome: Result<Void, HTTPClientError>?

    var hasCome: Bool { !piece.isEmpty || outcome != nil }

    func receive(_ bytes: Span<UInt8>) {
        piece.append(bytes)
        call?.pause()
        waiter?.wake()
    }

    func take() -> [UInt8]? {
        if piece.isEmpty { return nil }
        defer { piece.removeAll() }
        return piece.array()
    }

    func end(_ error: HTTPClientError?) {
        if outcome != nil { return }
        outcome = error.map { .failure($0) } ?? .success(())
        waiter?.wake()
    }
}
