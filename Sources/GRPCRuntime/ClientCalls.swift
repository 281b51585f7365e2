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

    /// Calls a method that answers a stream of messages. `onEnd` is called exactly once, with nil for OK, on the channel's
    /// loop, never before this returns.
    @inlinable
    public func serverStreaming<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, _ request: Request, options: CallOptions = CallOptions(),
        onMessage: @escaping (Response) -> Void, onEnd: @escaping (RPCError?) -> Void
    ) -> ServerStreamingCall {
        let call = unsafe ClientCall(
            channel: self, path: path, options: options,
            onMessage: ResponseDecoding.each(onMessage), onEnd: { error, _ in onEnd(error) })
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

    /// Calls a method that takes and answers streams of messages, each at its own pace. `onEnd` is called exactly once, with nil
    /// for OK, on the channel's loop, never before this returns.
    @inlinable
    public func bidirectional<Request: ProtobufMessage, Response: ProtobufMessage>(
        _ path: StaticString, options: CallOptions = CallOptions(),
        onMessage: @escaping (Response) -> Void, onEnd: @escaping (RPCError?) -> Void
    ) -> BidirectionalCall<Request> {
        let call = unsafe ClientCall(
            channel: self, path: path, options: options,
            onMessage: ResponseDecoding.each(onMessage), onEnd: { error, _ in onEnd(error) })
        call.start()
        return BidirectionalCall(core: call)
    }
}

/// A unary call that is under way.
public struct UnaryCall {
    @usableFromInline let core: ClientCall

    @usableFromInline
    init(core: ClientCall) { self.core = core }

    /// The server's initial metadata, nil until it has come.
    public var initialMetadata: Metadata? { core.initialMetadata }
    /// The metadata that came with the end of a call that has succeeded; those of an error are in it.
    public var trailers: Metadata { core.trailers }
    /// Whether the answer was compressed.
    public var answerWasCompressed: Bool { core.compression.contains(.wasCompressed) }

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
    /// The metadata that came with the end of a call that has succeeded; those of an error are in it.
    public var trailers: Metadata { core.trailers }
    /// Whether the message that `onMessage` is being called with was compressed.
    public var answerWasCompressed: Bool { core.compression.contains(.wasCompressed) }

    /// Ends the call with CANCELLED, if it has not ended: `onEnd` is called in this turn of the loop.
    public func cancel() { core.cancel() }
    /// Takes no more messages: the flow-control window is not refilled.
    public func pause() { core.pauseReading() }
    /// Takes messages again.
    public func resume() { core.resumeReading() }
}

/// A call that sends a stream of messages. On the channel's loop.
public class SendingCall<Request: ProtobufMessage> {
    @usableFromInline final let core: ClientCall

    @usableFromInline
    init(core: ClientCall) { self.core = core }

    /// Whether what was sent has left this process up to a small rest. What is sent when it is false is queued, up to
    /// `ChannelOptions.maximumQueuedBytes`; beyond that the call ends with RESOURCE_EXHAUSTED.
    public final var isWritable: Bool { core.isWritable }

    /// Called when `isWritable` turns true again.
    public final var onWritable: (() -> Void)? {
        get { core.onWritable }
        set { core.onWritable = newValue }
    }

    /// The server's initial metadata, nil until it has come.
    public final var initialMetadata: Metadata? { core.initialMetadata }
    /// The metadata that came with the end of a call that has succeeded; those of an error are in it.
    public final var trailers: Metadata { core.trailers }
    /// Whether the one answer was compressed; in a stream of answers, the message that `onMessage` is being called with.
    public final var answerWasCompressed: Bool { core.compression.contains(.wasCompressed) }

    /// Whether the call has ended: what is sent now is lost.
    public final var isEnded: Bool { core.isEnded }

    /// Sends one message; `compressed: false` keeps it as it is in a call that is compressed.
    @inlinable
    public final func send(_ request: Request, compressed: Bool = true) {
        guard !core.isEnded else { return }
        if !compressed { core.skipCompression() }
        core.beginMessage(size: request.encodedSize)
        request.encode(into: &core.request.cell.value)
        core.endMessage()
    }

    /// Ends the stream of requests: the last one has been sent. The call goes on until the server ends it.
    public final func finish() { core.halfClose() }

    /// Ends the call with CANCELLED, if it has not ended.
    public final func cancel() { core.cancel() }
}

/// A call that sends a stream of messages and receives one. On the channel's loop.
public final class ClientStreamingCall<Request: ProtobufMessage, Response: ProtobufMessage>: SendingCall<Request> {
    @usableFromInline let outcome: CallOutcome<Response>

    @usableFromInline
    init(core: ClientCall, outcome: CallOutcome<Response>) {
        self.outcome = outcome
        super.init(core: core)
    }

    /// Called once when the call ends (nil: OK), also when it ends before `finish`.
    public var onEnd: ((Result<Response, RPCError>) -> Void)? {
        get { outcome.completion }
        set { outcome.completion = newValue }
    }

    /// Ends the stream; `completion` gets the answer. If the call has ended before, it gets that end, later in this turn.
    public func finish(_ completion: @escaping (Result<Response, RPCError>) -> Void) {
        outcome.whenSet(completion, on: core.channel.loop)
        core.halfClose()
    }
}

/// A call that sends and receives streams of messages. On the channel's loop.
public final class BidirectionalCall<Request: ProtobufMessage>: SendingCall<Request> {
    /// Takes no more messages: the flow-control window is not refilled.
    public func pause() { core.pauseReading() }
    /// Takes messages again.
    public func resume() { core.resumeReading() }
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

    /// Decodes each message of a stream.
    @inlinable
    static func each<Response: ProtobufMessage>(
        _ onMessage: @escaping (Response) -> Void
    ) -> (UnsafeRawBufferPointer) -> RPCError? {
        { bytes in
            let result: Result<Response, RPCError> = unsafe ResponseDecoding.result(bytes)
            switch result {
            case .success(let message):
                onMessage(message)
                return nil
            case .failure(let error):
                return error
            }
        }
    }
}

/// How a call with one answer ended: told to whoever asks for it, before or after.
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
