import ProtobufWire
import Reactor

/// A call as its async handler sees it. It belongs to the loop that serves the call, like everything that a handler gets.
public final class ServerContext {
    @usableFromInline let token: ServerCallToken
    /// Sent with the end of a call that succeeds.
    public var trailers = Metadata()

    init(token: ServerCallToken) { self.token = token }

    /// The loop that serves the call; the handler's task runs on it.
    public var loop: EventLoop { token.loop }
    /// The client's custom metadata.
    public var metadata: Metadata { token.metadata }
    /// When the client stops waiting, in nanoseconds of `EventLoop.now`. Nil: it set no deadline.
    public var deadline: UInt64? { token.deadline }
    /// Whether the client cancelled, the deadline passed or the connection was lost: `Task.isCancelled` says the same.
    public var isCancelled: Bool { token.isCancelled }
    /// The client's address.
    public var peer: SocketAddress? { token.peer }
    /// Whom the client's certificate names; nil: the connection is not TLS, or the client has shown none.
    public var peerCertificate: TLSPeerCertificate? { token.peerCertificate }

    /// Whether the request message that came last was compressed.
    public var requestWasCompressed: Bool { token.requestWasCompressed }

    /// Sends the response's headers now: for metadata that go before the first message, and for compression. Without it they go out
    /// with the first message, or with the end. Once they have gone out this does nothing.
    ///
    /// - Parameters:
    ///   - metadata: at most 7 KiB, else the call ends with RESOURCE_EXHAUSTED.
    ///   - compression: of the messages of the answer. With gzip they go as they are to a client that does not take it.
    public func sendHeaders(_ metadata: Metadata = Metadata(), compression: MessageCompression = .identity) {
        token.sendHeaders(metadata, compression)
    }

    /// What an interceptor has attached of this type; nil if none has, or the call has ended.
    @inlinable
    public subscript<Value>(type: Value.Type) -> Value? { token[type] }
}

/// An error that knows how callers are told of it. An async handler may throw any error: an `RPCError` and one of these go to
/// the client, any other is INTERNAL without its words, which go to the log.
public protocol RPCErrorConvertible: Error {
    /// What the client is told.
    var rpcError: RPCError { get }
}

// Calls that a task answers. The task runs on the call's loop, and is cancelled when the call ends otherwise: the client goes
// away, the deadline passes, the connection is closed. The call counts as open until the task has returned.

extension UnaryServerCall {
    /// Answers with what `operation` returns or throws.
    @inlinable
    public func answer(_ operation: @escaping (ServerContext) async throws -> Response) {
        token.run { context in
            let response = try await operation(context)
            return { self.respond(response, trailers: context.trailers) }
        }
    }
}

extension ServerStreamingServerCall {
    /// Answers with what `operation` sends; the stream ends when it returns, or throws.
    @inlinable
    public func answer(
        _ operation: @escaping (MessageSender<Response>, ServerContext) async throws -> Void
    ) {
        let sender = token.sender(Response.self)
        onWritable = { sender.becameWritable() }
        token.run(closing: sender.close) { context in
            try await operation(sender, context)
            return { self.finish(trailers: context.trailers) }
        }
    }
}

extension ClientStreamingServerCall {
    /// Answers with what `operation` returns or throws; it need not take all that the client sends.
    @inlinable
    public func answer(
        _ operation: @escaping (MessageStream<Request>, ServerContext) async throws -> Response
    ) {
        let requests = stream()
        token.run(closing: requests.close) { context in
            let response = try await operation(requests, context)
            return { self.respond(response, trailers: context.trailers) }
        }
    }
}

extension BidirectionalServerCall {
    /// Answers with what `operation` sends; the stream ends when it returns, or throws. It need not take all that the client
    /// sends.
    @inlinable
    public func answer(
        _ operation: @escaping (MessageStream<Request>, MessageSender<Response>, ServerContext) async throws -> Void
    ) {
        let requests = stream()
        let sender = token.sender(Response.self)
        onWritable = { sender.becameWritable() }
        let close = { (error: RPCError) in
            requests.close(error)
            sender.close(error)
        }
        token.run(closing: close) { context in
            try await operation(requests, sender, context)
            return { self.finish(trailers: context.trailers) }
        }
    }
}

extension ReceivingServerCall {
    /// The messages as a stream instead of by `onMessage`.
    @usableFromInline
    func stream() -> MessageStream<Request> {
        let requests = MessageStream<Request>(loop, from: token)
        onMessage = { requests.receive($0) }
        onEnd = { requests.close(nil) }
        return requests
    }
}

extension ServerCallToken {
    @inlinable
    func sender<Response: ProtobufMessage>(_ type: Response.Type) -> MessageSender<Response> {
        MessageSender(loop, isWritable: { isWritable }, write: { send($0, compressed: $1) })
    }

    /// Lets a task answer the call.
    /// - Parameters:
    ///   - close: called when the call has ended, or the task; nothing comes or goes any more.
    ///   - operation: what the task does. Returns what ends the call.
    @usableFromInline
    func run(
        closing close: @escaping (RPCError) -> Void = { _ in },
        _ operation: @escaping (ServerContext) async throws -> () -> Void
    ) {
        guard server.beginWork(call) else { return }
        let bound = LoopBound((self, close, operation), loop: loop)
        let task = loop.spawn {
            let (token, close, operation) = bound.value
            let end: () -> Void
            do {
                end = try await operation(ServerContext(token: token))
            } catch {
                let failure = token.server.failure(of: error, in: token.call)
                end = { token.fail(failure) }
            }
            close(.callHasEnded)
            token.server.endWork(token.call)
            end()
        }
        onCancel = {
            close(.callHasEnded)
            task.cancel()
        }
    }
}
