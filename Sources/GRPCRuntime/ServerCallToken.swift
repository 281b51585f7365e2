import Bytes
import Memory
import ProtobufWire
import Reactor

/// Names one call for those who answer it. One that is kept too long finds nothing.
@usableFromInline
struct ServerCallToken {
    @usableFromInline let server: ServerConnections
    @usableFromInline let call: Handle<ServerCall>

    @usableFromInline
    init(server: ServerConnections, call: Handle<ServerCall>) {
        self.server = server
        self.call = call
    }

    @usableFromInline var loop: EventLoop { server.loop }
    var metadata: Metadata { server.metadata(call) }
    var deadline: UInt64? { server.deadline(call) }
    var isCancelled: Bool { server.isCancelled(call) }
    @usableFromInline var isWritable: Bool { server.isWritable(call) }
    var peer: SocketAddress? { server.peer(call) }
    var peerCertificate: TLSPeerCertificate? { server.peerCertificate(call) }

    var onCancel: (() -> Void)? {
        get { server.onCancel(call) }
        nonmutating set { server.setOnCancel(call, newValue) }
    }

    @usableFromInline
    func attach(_ receiver: ServerCallReceiver) { server.attach(call, receiver) }

    /// Where to encode a message of `size` bytes; nil when nobody waits for it. `endMessage` must follow.
    @usableFromInline
    func beginMessage(size: Int) -> UnsafeMutablePointer<ByteBuffer>? { unsafe server.beginMessage(call, size) }

    @usableFromInline
    func endMessage() { server.endMessage(call) }

    /// Sends one message, if anybody waits for it. Inlined: the message's module knows how to encode it.
    @inlinable @inline(__always)
    func send(_ message: some ProtobufMessage) {
        guard let output = unsafe beginMessage(size: message.encodedSize) else { return }
        unsafe message.encode(into: &output.pointee)
        endMessage()
    }

    /// As above; `compressed: false` keeps this message as it is.
    @inlinable @inline(__always)
    func send(_ message: some ProtobufMessage, compressed: Bool) {
        if !compressed { skipCompression() }
        send(message)
    }

    @usableFromInline
    func skipCompression() { server.skipCompression(call) }

    func sendHeaders(_ metadata: Metadata, _ compression: MessageCompression) {
        server.sendHeaders(call, metadata, compression)
    }

    var requestWasCompressed: Bool { server.requestWasCompressed(call) }

    @usableFromInline
    func finish(_ trailers: Metadata) { server.finish(call, .ok(trailers)) }

    @usableFromInline
    func fail(_ error: RPCError) { server.finish(call, .failure(error)) }

    @usableFromInline
    func rejectRequest(_ problem: String) {
        server.interrupt(
            call, RPCError(code: .internal, message: "the request could not be decoded: \(problem)"))
    }

    func pauseReading() { server.pauseReading(call) }
    func resumeReading() { server.resumeReading(call) }
}
