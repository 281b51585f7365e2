import Bytes
import Memory
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
        let call = unsafe ClientCall(
            channel: self, path: path, options: options, onMessage: nil,
            onEnd: { error, bytes in
                if let error { return completion(.failure(error)) }
                unsafe completion(ResponseDecoding.result(bytes))
            })
        call.beginMessage(size: request.encodedSize)
        request.encode(into: &call.request.cell.value)
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
        let call = unsafe ClientCall(
            channel: self, path: path, options: options,
            onMessage: { bytes in
                let result: Result<Response, RPCError> = unsafe ResponseDecoding.result(bytes)
                switch result {
                case .success(let message):
                    onMessage(message)
                    return nil
                case .failure(let error):
                    return error
                }
            }, onEnd: { error, _ in onEnd(error) })
        call.beginMessage(size: request.encodedSize)
        request.encode(into: &call.request.cell.value)
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
        let outcome = CallOutcome<Response>()
        let call = unsafe ClientCall(
            channel: self, path: path, options: options, onMessage: nil,
            onEnd: { error, bytes in
                if let error {
                    outcome.set(.failure(error))
                } else {
                    unsafe outcome.set(ResponseDecoding.result(bytes))
                }
            })
        call.start()
        return ClientStreamingCall(core: call, outcome: outcome)
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
    @usableFromInline let outcome: CallOutcome<Response>

    @usableFromInline
    init(core: ClientCall, outcome: CallOutcome<Response>) {
        self.core = core
        self.outcome = outcome
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
        get { outcome.completion }
        set { outcome.completion = newValue }
    }

    /// Whether the call has ended: what is sent now is lost.
    public var isEnded: Bool { core.isEnded }

    /// Sends one message.
    @inlinable
    public func send(_ request: Request) {
        guard !core.isEnded else { return }
        core.beginMessage(size: request.encodedSize)
        request.encode(into: &core.request.cell.value)
        core.endMessage()
    }

    /// Ends the stream; `completion` gets the answer. If the call has ended before, it gets that end, later in this turn.
    public func finish(_ completion: @escaping (Result<Response, RPCError>) -> Void) {
        outcome.whenSet(completion, on: core.channel.loop)
        core.halfClose()
    }

    /// Ends the stream; the answer goes to `onEnd`.
    public func finish() { core.halfClose() }

    /// Ends the call with CANCELLED, if it has not ended.
    public func cancel() { core.cancel() }
}

/// Decodes answers.
@usableFromInline
enum ResponseDecoding {
    @inlinable
    static func result<Response: ProtobufMessage>(_ bytes: UnsafeRawBufferPointer) -> Result<Response, RPCError> {
        do throws(ProtobufError) {
            return .success(unsafe try Response(decoding: Span(_unsafeBytes: bytes)))
        } catch {
            return .failure(RPCError(code: .internal, message: "the response could not be decoded: \(error)"))
        }
    }
}

/// How a client stream ended: told to whoever asks for it, before or after.
@usableFromInline
final class CallOutcome<Response: ProtobufMessage> {
    @usableFromInline var completion: ((Result<Response, RPCError>) -> Void)?
    @usableFromInline var result: Result<Response, RPCError>?

    @usableFromInline
    init() {}

    @usableFromInline
    func set(_ result: Result<Response, RPCError>) {
        self.result = result
        let completion = self.completion
        self.completion = nil
        completion?(result)
    }

    @usableFromInline
    func whenSet(_ completion: @escaping (Result<Response, RPCError>) -> Void, on loop: EventLoop) {
        if let result {
            loop.execute { completion(result) }
        } else {
            self.completion = completion
        }
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
