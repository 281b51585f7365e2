import ProtobufWire
import Reactor

// Calls for tasks of the channel's loop (`EventLoop.spawn`). Cancelling the task that waits for a call cancels the call: the
// server is told by RST_STREAM.
extension GRPCChannel {
    /// Calls a method that takes one message and answers one.
    ///
    /// - Parameter path: `/package.Service/Method`.
    @inlinable @inline(__always)
    public nonisolated(nonsending) func unary<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, _ request: Request, options: CallOptions = CallOptions()
    ) async throws(RPCError) -> Response {
        let end = CallEnd()
        var outcome = Result<Response, RPCError>.failure(.callHasEnded)
        let call = unary(path, request, options: options) {
            outcome = $0
            end.come()
        }
        await end.wait(for: call.core)
        return try outcome.get()
    }

    /// Calls a method that answers a stream of messages. The call begins at once, and ends at the latest when the stream is let go.
    @inlinable
    public func serverStreaming<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, _ request: Request, options: CallOptions = CallOptions()
    ) -> MessageStream<Response> {
        weak var responses: MessageStream<Response>?
        let call = serverStreaming(path, request, options: options) { (response: Response) in
            responses?.receive(response)
        } onEnd: {
            responses?.close($0)
        }
        let stream = call.core.stream(of: Response.self)
        responses = stream
        return stream
    }

    /// Calls a method that takes a stream of messages and answers one. The stream ends when `send` returns; if it throws, the call
    /// is cancelled. A server may answer before it has everything: then what `send` sends throws, and the answer counts.
    @inlinable
    public func clientStreaming<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, options: CallOptions = CallOptions(),
        _ send: (MessageSender<Request>) async throws(RPCError) -> Void
    ) async throws(RPCError) -> Response {
        let call: ClientStreamingCall<Request, Response> = clientStreaming(path, options: options)
        let sender = call.sender(loop)
        let end = CallEnd()
        var outcome = Result<Response, RPCError>.failure(.callHasEnded)
        call.onEnd = {
            sender.close(RPCError(of: $0))
            outcome = $0
            end.come()
        }
        do throws(RPCError) {
            try await send(sender)
        } catch {
            guard call.isEnded else {
                call.cancel()
                throw error
            }
        }
        if Task.isCancelled { call.cancel() } else { call.finish() }
        await end.wait(for: call.core)
        return try outcome.get()
    }

    /// Calls a method that takes and answers streams of messages, each at its own pace. The call begins at once, and ends at the
    /// latest when the stream of responses is let go.
    @inlinable
    public func bidirectional<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, options: CallOptions = CallOptions()
    ) -> (requests: MessageSender<Request>, responses: MessageStream<Response>) {
        weak var requests: MessageSender<Request>?
        weak var responses: MessageStream<Response>?
        let call: BidirectionalCall<Request> = bidirectional(path, options: options) { (response: Response) in
            responses?.receive(response)
        } onEnd: { error in
            requests?.close(error ?? .callHasEnded)
            responses?.close(error)
        }
        let sender = call.sender(loop)
        let stream = call.core.stream(of: Response.self)
        requests = sender
        responses = stream
        return (sender, stream)
    }
}

extension SendingCall {
    /// Sends with back pressure.
    @inlinable
    func sender(_ loop: EventLoop) -> MessageSender<Request> {
        let sender = MessageSender<Request>(
            loop, isWritable: { self.isWritable }, write: { self.send($0, compressed: $1) },
            halfClose: { self.finish() },
            cancel: { self.cancel() })
        onWritable = { [weak sender] in sender?.becameWritable() }
        return sender
    }
}

/// The end of a call, for the one task that waits for it.
@safe @usableFromInline
final class CallEnd {
    private var continuation: UnsafeContinuation<Void, Never>?
    private var hasCome = false

    @usableFromInline init() {}

    /// Until the call has ended; cancelling the task cancels the call.
    @usableFromInline
    nonisolated(nonsending) func wait(for call: ClientCall) async {
        let bound = LoopBound(call, loop: call.channel.loop)
        await withTaskCancellationHandler {
            // Proof: what is resumed is forgotten, and a call ends.
            unsafe await withUnsafeContinuation { continuation in
                if hasCome { unsafe continuation.resume() } else { unsafe self.continuation = continuation }
            }
        } onCancel: {
            bound.loop.submit { bound.value.cancel() }
        }
    }

    @usableFromInline
    func come() {
        hasCome = true
        let waiting = unsafe continuation
        unsafe continuation = nil
        unsafe waiting?.resume()
    }
}

extension RPCError {
    /// What a stream says after the call's end.
    @usableFromInline static let callHasEnded = RPCError(code: .cancelled, message: "the call has ended")

    @usableFromInline
    init<Response>(of result: Result<Response, RPCError>) {
        switch result {
        case .success: self = .callHasEnded
        case .failure(let error): self = error
        }
    }
}
