import Bytes
import ProtobufWire
import Reactor

extension GRPCChannel {
    /// Calls a method that takes one message and answers one. `completion` is called exactly once, on the channel's loop,
    /// never before this returns.
    ///
    /// - Parameter path: `/package.Service/Method`.
    @inlinable
    @discardableResult
    public func unary<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, _ request: Request, options: CallOptions = CallOptions(),
        _ completion: @escaping (Result<Response, RPCError>) -> Void
    ) -> UnaryCall {
        let call = ClientCall(
            channel: self, path: path, options: options, receiver: UnaryReceiver(completion))
        unsafe request.encode(into: &call.beginMessage(size: request.encodedSize).pointee)
        call.endMessage()
        call.halfClose()
        call.start()
        return UnaryCall(core: call)
    }

    /// Calls a method that takes one message and answers one. For a task of the channel's loop (`EventLoop.spawn`);
    /// cancelling the task cancels the call.
    @inlinable
    public func unary<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, _ request: Request, options: CallOptions = CallOptions()
    ) async throws(RPCError) -> Response {
        let cancellation = CallCancellation(loop: loop)
        let result: Result<Response, RPCError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let call = unary(path, request, options: options) { (result: Result<Response, RPCError>) in
                    continuation.resume(returning: result)
                }
                cancellation.attach(call)
            }
        } onCancel: {
            cancellation.cancel()
        }
        return try result.get()
    }

    /// Calls a method that answers a stream of messages. `onEnd` is called exactly once, with nil for OK, on the channel's
    /// loop, never before this returns.
    @inlinable
    public func serverStreaming<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, _ request: Request, options: CallOptions = CallOptions(),
        onMessage: @escaping (Response) -> Void, onEnd: @escaping (RPCError?) -> Void
    ) -> ServerStreamingCall {
        let call = ClientCall(
            channel: self, path: path, options: options, receiver: StreamReceiver(onMessage, onEnd))
        unsafe request.encode(into: &call.beginMessage(size: request.encodedSize).pointee)
        call.endMessage()
        call.halfClose()
        call.start()
        return ServerStreamingCall(core: call)
    }

    /// Calls a method that takes a stream of messages and answers one.
    @inlinable
    public func clientStreaming<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, options: CallOptions = CallOptions()
    ) -> ClientStreamingCall<Request, Response> {
        let receiver = UnaryReceiver<Response>(nil)
        let call = ClientCall(channel: self, path: path, options: options, receiver: receiver)
        call.start()
        return ClientStreamingCall(core: call, receiver: receiver)
    }
}

/// A unary call that is under way.
public struct UnaryCall {
    @usableFromInline let core: ClientCall

    @usableFromInline
    init(core: ClientCall) { self.core = core }

    /// Ends the call with CANCELLED, if it has not ended.
    public func cancel() { core.cancel() }
}

/// A call that receives a stream of messages. On the channel's loop.
public final class ServerStreamingCall {
    @usableFromInline let core: ClientCall

    @usableFromInline
    init(core: ClientCall) { self.core = core }

    /// The server's initial metadata, nil until it has come.
    public var initialMetadata: Metadata? { core.initialMetadata }

    /// Ends the call with CANCELLED, if it has not ended: `onEnd` is called in this turn of the loop.
    public func cancel() { core.cancel() }
    /// Takes no more messages: the flow-control window is not refilled.
    public func pause() { core.pauseReading() }
    /// Takes messages again.
    public func resume() { core.resumeReading() }
}

/// A call that sends a stream of messages and receives one. On the channel's loop.
public final class ClientStreamingCall<Request: ProtobufMessage, Response: ProtobufMessage> {
    @usableFromInline let core: ClientCall
    @usableFromInline let receiver: UnaryReceiver<Response>

    @usableFromInline
    init(core: ClientCall, receiver: UnaryReceiver<Response>) {
        self.core = core
        self.receiver = receiver
    }

    /// Whether what was sent has left this process up to a small rest. What is sent when it is false is queued, up to
    /// `ChannelOptions.maximumQueuedBytes`; beyond that the call ends with RESOURCE_EXHAUSTED.
    public var isWritable: Bool { core.isWritable }

    /// Called when `isWritable` turns true again.
    public var onWritable: (() -> Void)? {
        get { core.onWritable }
        set { core.onWritable = newValue }
    }

    /// Called once when the call ends (nil: OK), also when it ends before `finish`.
    public var onEnd: ((Result<Response, RPCError>) -> Void)? {
        get { receiver.completion }
        set { receiver.completion = newValue }
    }

    /// Whether the call has ended: what is sent now is lost.
    public var isEnded: Bool { core.isEnded }

    /// Sends one message.
    @inlinable
    public func send(_ request: Request) {
        guard !core.isEnded else { return }
        unsafe request.encode(into: &core.beginMessage(size: request.encodedSize).pointee)
        core.endMessage()
    }

    /// Ends the stream; `completion` gets the answer. If the call has ended before, it gets that end, later in this turn.
    public func finish(_ completion: @escaping (Result<Response, RPCError>) -> Void) {
        receiver.complete(completion, on: core.channel.loop)
        core.halfClose()
    }

    /// Ends the stream; the answer goes to `onEnd`.
    public func finish() { core.halfClose() }

    /// Ends the call with CANCELLED, if it has not ended.
    public func cancel() { core.cancel() }
}

/// What a call's messages and its end go to, the types erased.
@usableFromInline
class ClientCallReceiver {
    @usableFromInline
    init() {}
    /// A message. An error ends the call.
    @usableFromInline
    func receive(_ bytes: UnsafeRawBufferPointer) -> RPCError? { nil }
    /// The call has ended; nil: with OK.
    @usableFromInline
    func end(_ error: RPCError?) {}
}

/// Receives exactly one message.
@usableFromInline
final class UnaryReceiver<Response: ProtobufMessage>: ClientCallReceiver {
    @usableFromInline var completion: ((Result<Response, RPCError>) -> Void)?
    @usableFromInline var response: Response?
    /// The end, when it came before anyone asked for it.
    @usableFromInline var outcome: Result<Response, RPCError>?

    @usableFromInline
    init(_ completion: ((Result<Response, RPCError>) -> Void)?) {
        self.completion = completion
    }

    @usableFromInline
    func complete(_ completion: @escaping (Result<Response, RPCError>) -> Void, on loop: EventLoop) {
        if let outcome {
            loop.execute { completion(outcome) }
        } else {
            self.completion = completion
        }
    }

    @inlinable
    override func receive(_ bytes: UnsafeRawBufferPointer) -> RPCError? {
        guard response == nil else {
            return RPCError(code: .internal, message: "the server answered a unary call with more than one message")
        }
        let message: Response
        do throws(ProtobufError) {
            message = unsafe try Response(decoding: Span(_unsafeBytes: bytes))
        } catch {
            return RPCError(code: .internal, message: "the response could not be decoded: \(error)")
        }
        response = message
        return nil
    }

    @inlinable
    override func end(_ error: RPCError?) {
        let result: Result<Response, RPCError>
        if let error {
            result = .failure(error)
        } else if let response {
            result = .success(response)
        } else {
            result = .failure(RPCError(code: .internal, message: "the server answered OK without a message"))
        }
        response = nil
        outcome = result
        let completion = self.completion
        self.completion = nil
        completion?(result)
    }
}

/// Receives any number of messages.
@usableFromInline
final class StreamReceiver<Response: ProtobufMessage>: ClientCallReceiver {
    @usableFromInline var onMessage: ((Response) -> Void)?
    @usableFromInline var onEnd: ((RPCError?) -> Void)?

    @usableFromInline
    init(_ onMessage: @escaping (Response) -> Void, _ onEnd: @escaping (RPCError?) -> Void) {
        self.onMessage = onMessage
        self.onEnd = onEnd
    }

    @inlinable
    override func receive(_ bytes: UnsafeRawBufferPointer) -> RPCError? {
        let message: Response
        do throws(ProtobufError) {
            message = unsafe try Response(decoding: Span(_unsafeBytes: bytes))
        } catch {
            return RPCError(code: .internal, message: "a response could not be decoded: \(error)")
        }
        onMessage?(message)
        return nil
    }

    @inlinable
    override func end(_ error: RPCError?) {
        let onEnd = self.onEnd
        self.onEnd = nil
        onMessage = nil
        onEnd?(error)
    }
}

/// Carries a task's cancellation, which may come on any thread, to its call on the loop.
@usableFromInline
final class CallCancellation: @unchecked Sendable {
    // Proof: `call` and `isCancelled` are touched on the loop only; other threads only submit to it.
    private let loop: EventLoop
    private var call: UnaryCall?
    private var isCancelled = false

    @usableFromInline
    init(loop: EventLoop) { self.loop = loop }

    @usableFromInline
    func attach(_ call: UnaryCall) {
        self.call = call
        if isCancelled { call.cancel() }
    }

    @usableFromInline
    func cancel() {
        loop.submit {
            self.isCancelled = true
            self.call?.cancel()
        }
    }
}
