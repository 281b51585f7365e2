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

/// A call that answers a stream of messages.
public final class ServerStreamingServerCall<Response: ProtobufMessage> {
    @usableFromInline let token: ServerCallToken
    /// Called when `isWritable` turns true again.
    public var onWritable: (() -> Void)?

    @usableFromInline
    init(token: ServerCallToken) { self.token = token }

    public var loop: EventLoop { token.loop }
    public var metadata: Metadata { token.metadata }
    /// In nanoseconds of `EventLoop.now`. Nil: the client set no deadline.
    public var deadline: UInt64? { token.deadline }
    /// Whether the client cancelled, the deadline passed or the connection was lost.
    public var isCancelled: Bool { token.isCancelled }
    public var peer: SocketAddress? { token.peer }

    /// Whether what was sent has left this process up to a small rest. What is sent when it is false is queued; a queue
    /// above `GRPCLimits.maximumQueuedBytes` fails the call with RESOURCE_EXHAUSTED.
    public var isWritable: Bool { token.isWritable }

    /// Called once when the call ends before `finish` or `fail`. Set on a call that has ended, it is called at
    /// once.
    public var onCancel: (() -> Void)? {
        get { token.onCancel }
        set { token.onCancel = newValue }
    }

    /// Sends one message.
    @inlinable
    public func send(_ response: Response) {
        guard let output = unsafe token.beginMessage(size: response.encodedSize) else { return }
        unsafe response.encode(into: &output.pointee)
        token.endMessage()
    }

    /// Ends the stream with OK, after what was sent.
    public func finish(trailers: Metadata = Metadata()) { token.finish(trailers) }

    /// Ends the stream with an error, after what was sent.
    public func fail(_ error: RPCError) { token.fail(error) }

}

/// A call that takes a stream of messages and answers one.
public final class ClientStreamingServerCall<Request: ProtobufMessage, Response: ProtobufMessage> {
    @usableFromInline let token: ServerCallToken
    /// Called with each message, in order. What arrives before it is set is lost: set it in the handler.
    public var onMessage: (Request) -> Void = { _ in }
    /// Called once when the client has sent its last message.
    public var onEnd: () -> Void = {}

    @usableFromInline
    init(token: ServerCallToken) { self.token = token }

    public var loop: EventLoop { token.loop }
    public var metadata: Metadata { token.metadata }
    /// In nanoseconds of `EventLoop.now`. Nil: the client set no deadline.
    public var deadline: UInt64? { token.deadline }
    /// Whether the client cancelled, the deadline passed or the connection was lost.
    public var isCancelled: Bool { token.isCancelled }
    public var peer: SocketAddress? { token.peer }

    /// Called once when the call ends before it was answered. Set on a call that has ended, it is called at
    /// once.
    public var onCancel: (() -> Void)? {
        get { token.onCancel }
        set { token.onCancel = newValue }
    }

    /// Answers with OK. Also before the client's end: it is told to stop sending.
    @inlinable
    public func respond(_ response: Response, trailers: Metadata = Metadata()) {
        guard let output = unsafe token.beginMessage(size: response.encodedSize) else { return }
        unsafe response.encode(into: &output.pointee)
        token.endMessage()
        token.finish(trailers)
    }

    /// Answers with an error.
    public func fail(_ error: RPCError) { token.fail(error) }

    /// Takes no more from the client: its flow-control window is not refilled, messages that are here already are kept.
    public func pause() { token.pauseReading() }
    /// Takes messages again; those that were kept are delivered first, before this returns.
    public func resume() { token.resumeReading() }

}

/// A call with streams in both directions.
@usableFromInline
final class BidirectionalServerCall<Request: ProtobufMessage, Response: ProtobufMessage> {
    @usableFromInline let token: ServerCallToken
    @usableFromInline var onMessage: (Request) -> Void = { _ in }
    @usableFromInline var onEnd: () -> Void = {}

    @usableFromInline
    init(token: ServerCallToken) { self.token = token }

    @inlinable
    func send(_ response: Response) {
        guard let output = unsafe token.beginMessage(size: response.encodedSize) else { return }
        unsafe response.encode(into: &output.pointee)
        token.endMessage()
    }

    func finish() { token.finish(Metadata()) }

    func fail(_ error: RPCError) { token.fail(error) }
}
