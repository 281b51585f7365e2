import Bytes
import ProtobufWire
import Reactor

/// What is attached to a streaming call and told what happens to it: the types erased by closures, which the service's module
/// specializes (methods of a generic class would find their types at run time). On the loop.
@safe @usableFromInline
final class ServerCallReceiver {
    /// The call object lives as long as the call.
    private let call: AnyObject
    /// One request message.
    let receive: (UnsafeRawBufferPointer) -> Void
    /// The client has ended its side.
    let receiveEnd: () -> Void
    /// What was sent has left; there is room again.
    let becameWritable: () -> Void
    /// The call has ended: what was set on the call object is dropped, since it tends to hold the call.
    let ended: () -> Void

    @usableFromInline
    init(
        call: AnyObject, receive: @escaping (UnsafeRawBufferPointer) -> Void = { _ in },
        receiveEnd: @escaping () -> Void = {}, becameWritable: @escaping () -> Void = {},
        ended: @escaping () -> Void
    ) {
        self.call = call
        unsafe self.receive = receive
        self.receiveEnd = receiveEnd
        self.becameWritable = becameWritable
        self.ended = ended
    }
}

/// What a streaming call says of itself, whatever streams. On the loop that serves it.
public class StreamingServerCall {
    @usableFromInline final let token: ServerCallToken
    /// What a subclass offers as `onWritable`.
    @usableFromInline final var whenWritable: (() -> Void)?

    @usableFromInline
    init(token: ServerCallToken) { self.token = token }

    /// The loop that serves the call.
    public final var loop: EventLoop { token.loop }
    /// The client's custom metadata.
    public final var metadata: Metadata { token.metadata }
    /// In nanoseconds of `EventLoop.now`. Nil: the client set no deadline.
    public final var deadline: UInt64? { token.deadline }
    /// Whether the client cancelled, the deadline passed or the connection was lost.
    public final var isCancelled: Bool { token.isCancelled }
    /// The client's address.
    public final var peer: SocketAddress? { token.peer }
    /// Whom the client's certificate names; nil: the connection is not TLS, or the client has shown none.
    public final var peerCertificate: TLSPeerCertificate? { token.peerCertificate }

    /// Called once when the call ends before its handler has ended it. Set on a call that has ended, it is called at
    /// once.
    public final var onCancel: (() -> Void)? {
        get { token.onCancel }
        set { token.onCancel = newValue }
    }

    /// What an interceptor has attached of this type; nil if none has, or the call has ended.
    @inlinable
    public final subscript<Value>(type: Value.Type) -> Value? { token[type] }

    /// Whether the request message that came last was compressed.
    public final var requestWasCompressed: Bool { token.requestWasCompressed }

    /// Sends the response's headers now: for metadata that go before the first message, and for compression. Without it they go out
    /// with the first message, or with the end. Once they have gone out this does nothing.
    ///
    /// - Parameters:
    ///   - metadata: at most 7 KiB, else the call ends with RESOURCE_EXHAUSTED.
    ///   - compression: of the messages of the answer. With gzip they go as they are to a client that does not take it.
    public final func sendHeaders(_ metadata: Metadata = Metadata(), compression: MessageCompression = .identity) {
        token.sendHeaders(metadata, compression)
    }

    /// Ends the call with an error, after what was sent.
    public final func fail(_ error: RPCError) { token.fail(error) }
}

/// A call that takes a stream of messages.
public class ReceivingServerCall<Request: ProtobufMessage>: StreamingServerCall {
    /// Called with each message, in order. What arrives before it is set is lost: set it in the handler.
    public final var onMessage: (Request) -> Void = { _ in }
    /// Called once when the client has sent its last message.
    public final var onEnd: () -> Void = {}

    /// Takes no more from the client: its flow-control window is not refilled, messages that are here already are kept.
    public final func pause() { token.pauseReading() }
    /// Takes messages again; those that were kept are delivered first, before this returns.
    public final func resume() { token.resumeReading() }
}

/// A call that answers a stream of messages.
public final class ServerStreamingServerCall<Response: ProtobufMessage>: StreamingServerCall {
    /// Whether what was sent has left this process up to a small rest. What is sent when it is false is queued; a queue
    /// above `GRPCLimits.maximumQueuedBytes` fails the call with RESOURCE_EXHAUSTED.
    public var isWritable: Bool { token.isWritable }

    /// Called when `isWritable` turns true again.
    public var onWritable: (() -> Void)? {
        get { whenWritable }
        set { whenWritable = newValue }
    }

    /// Sends one message; `compressed: false` keeps it as it is in a call that is compressed.
    @inlinable
    public func send(_ response: Response, compressed: Bool = true) { token.send(response, compressed: compressed) }

    /// Ends the stream with OK, after what was sent.
    public func finish(trailers: Metadata = Metadata()) { token.finish(trailers) }
}

/// A call that takes a stream of messages and answers one.
public final class ClientStreamingServerCall<Request: ProtobufMessage, Response: ProtobufMessage>:
    ReceivingServerCall<Request>
{
    /// Answers with OK. Also before the client's end: it is told to stop sending.
    @inlinable
    public func respond(_ response: Response, trailers: Metadata = Metadata()) {
        token.send(response)
        token.finish(trailers)
    }
}

/// A call with streams in both directions, each at its own pace: a message need not answer one. While what was sent waits for
/// the client to read, no messages are taken from it: who asks without reading must not make us collect answers.
public final class BidirectionalServerCall<Request: ProtobufMessage, Response: ProtobufMessage>:
    ReceivingServerCall<Request>
{
    /// Whether what was sent has left this process up to a small rest. What is sent when it is false is queued; a queue
    /// above `GRPCLimits.maximumQueuedBytes` fails the call with RESOURCE_EXHAUSTED.
    public var isWritable: Bool { token.isWritable }

    /// Called when `isWritable` turns true again.
    public var onWritable: (() -> Void)? {
        get { whenWritable }
        set { whenWritable = newValue }
    }

    /// Sends one message. Also after the client's end. `compressed: false` keeps it as it is in a call that is compressed.
    @inlinable
    public func send(_ response: Response, compressed: Bool = true) { token.send(response, compressed: compressed) }

    /// Ends the call with OK, after what was sent. Also before the client's end: it is told to stop sending.
    public func finish(trailers: Metadata = Metadata()) { token.finish(trailers) }
}
