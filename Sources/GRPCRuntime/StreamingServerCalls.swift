import Bytes
import ProtobufWire
import Reactor

/// What is attached to a streaming call and told what happens to it. On the loop.
public class ServerCallReceiver {
    @usableFromInline
    init() {}

    /// One request message. False: it could not be decoded, and the call has been failed.
    @usableFromInline
    func receive(_ bytes: UnsafeRawBufferPointer) {}
    /// The client has ended its side.
    @usableFromInline
    func receiveEnd() {}
    /// What was sent has left; there is room again.
    @usableFromInline
    func becameWritable() {}
}

/// A call that answers a stream of messages.
public final class ServerStreamingServerCall<Response: ProtobufMessage>: ServerCallReceiver {
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

    /// Called once when the call ends before `finish` or `fail`.
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

    @usableFromInline
    override func becameWritable() { onWritable?() }
}

/// A call that takes a stream of messages and answers one.
public final class ClientStreamingServerCall<Request: ProtobufMessage, Response: ProtobufMessage>: ServerCallReceiver {
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

    /// Called once when the call ends before it was answered.
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

    @inlinable
    override func receive(_ bytes: UnsafeRawBufferPointer) {
        let request: Request
        do throws(ProtobufError) {
            request = unsafe try Request(decoding: Span(_unsafeBytes: bytes))
        } catch {
            return token.rejectRequest("\(error)")
        }
        onMessage(request)
    }

    @usableFromInline
    override func receiveEnd() { onEnd() }
}

/// A call with streams in both directions.
@usableFromInline
final class BidirectionalServerCall<Request: ProtobufMessage, Response: ProtobufMessage>: ServerCallReceiver {
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

    @inlinable
    override func receive(_ bytes: UnsafeRawBufferPointer) {
        let request: Request
        do throws(ProtobufError) {
            request = unsafe try Request(decoding: Span(_unsafeBytes: bytes))
        } catch {
            return token.rejectRequest("\(error)")
        }
        onMessage(request)
    }

    @usableFromInline
    override func receiveEnd() { onEnd() }
}
