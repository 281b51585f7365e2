import ProtobufWire
import Reactor

// Calls for tasks of the channel's loop (`EventLoop.spawn`). Cancelling the task that waits for a call cancels the call: the
// server is told by RST_STREAM.
extension GRPCChannel {
    /// Calls a method that takes one message and answers one.
    ///
    /// - Parameter path: `/package.Service/Method`.
    @inlinable
    public func unary<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, _ request: Request, options: CallOptions = CallOptions()
    ) async throws(RPCError) -> Response {
        let outcome = CallOutcome<Response>()
        let call = unary(path, request, options: options) { outcome.set($0) }
        return try await outcome.value(of: call.core)
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
        let outcome = CallOutcome<Response>()
        call.onEnd = { result in
            sender.close(RPCError(of: result))
            outcome.set(result)
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
        return try await outcome.value(of: call.core)
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
            loop, isWritable: { self.isWritable }, write: { self.send($0) }, halfClose: { self.finish() },
            cancel: { self.cancel() })
        onWritable = { [weak sender] in sender?.becameWritable() }
        return sender
    }
}

extension CallOutcome {
    /// How the call ends; cancelling the task cancels the call.
    @usableFromInline
    func value(of call: ClientCall) async throws(RPCError) -> Response {
        let bound = LoopBound(call, loop: call.channel.loop)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                whenSet({ continuation.resume(returning: $0) }, on: bound.loop)
            }
        } onCancel: {
            bound.loop.submit { bound.value.cancel() }
        }
        return try result.get()
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
