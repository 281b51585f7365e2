import Bytes
import ProtobufWire
import Reactor

/// A call that waits for its one answer. Copyable: keep it and answer later, on the loop that serves it.
///
/// Exactly one of `respond` and `fail` counts, the first; what comes after the end of a call (or after the client has gone)
/// is ignored. A call that is never answered counts as open until its connection ends, or
/// `GRPCLimits.handlerTimeout` after its deadline.
public struct UnaryServerCall<Response: ProtobufMessage> {
    @usableFromInline let token: ServerCallToken

    @inlinable
    init(token: ServerCallToken) { self.token = token }

    /// The loop that serves the call.
    public var loop: EventLoop { token.loop }
    /// The client's custom metadata.
    public var metadata: Metadata { token.metadata }
    /// When the client stops waiting, in nanoseconds of `EventLoop.now`. Nil: it set no deadline.
    public var deadline: UInt64? { token.deadline }
    /// Whether the client cancelled, the deadline passed or the connection was lost: no answer will be read.
    public var isCancelled: Bool { token.isCancelled }
    /// The client's address.
    public var peer: SocketAddress? { token.peer }
    /// Whom the client's certificate names; nil: the connection is not TLS, or the client has shown none.
    public var peerCertificate: TLSPeerCertificate? { token.peerCertificate }

    /// Called once when the call ends before it was answered. Set on a call that has ended, it is called at
    /// once.
    public var onCancel: (() -> Void)? {
        get { token.onCancel }
        nonmutating set { token.onCancel = newValue }
    }

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

    /// Answers with OK.
    @inlinable
    public func respond(_ response: Response, trailers: Metadata = Metadata()) {
        let size = response.encodedSize
        guard let output = unsafe token.beginMessage(size: size) else { return }
        unsafe response.encode(into: &output.pointee)
        token.endMessage()
        token.finish(trailers)
    }

    /// Answers with OK and the bytes of a `Response`, which are copied: for who encodes it better than message by message.
    public func respond(encoded response: Span<UInt8>, trailers: Metadata = Metadata()) {
        guard let output = unsafe token.beginMessage(size: response.count) else { return }
        unsafe output.pointee.append(response)
        token.endMessage()
        token.finish(trailers)
    }

    /// Answers with an error.
    public func fail(_ error: RPCError) { token.fail(error) }
}
