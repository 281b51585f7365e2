import ProtobufWire
import Reactor

/// Sends the messages of a stream: an async handler's answers, or a caller's requests.
///
/// For one task of the loop that owns the call.
public final class MessageSender<Message: ProtobufMessage> {
    private let isWritable: () -> Bool
    private let write: (Message, _ compressed: Bool) -> Void
    private let halfClose: () -> Void
    private let waiter: Waiter
    private var end: RPCError?

    @usableFromInline
    init(
        _ loop: EventLoop, isWritable: @escaping () -> Bool, write: @escaping (Message, _ compressed: Bool) -> Void,
        halfClose: @escaping () -> Void = {}, cancel: @escaping () -> Void = {}
    ) {
        self.isWritable = isWritable
        self.write = write
        self.halfClose = halfClose
        waiter = Waiter(loop, cancel: cancel)
    }

    /// Sends one message, as soon as what was sent before has left this process up to a small rest: a task that sends faster than
    /// the other side reads is held back, and nothing piles up.
    ///
    /// Throws when the call has ended: with its error, or with CANCELLED. On the client, cancelling the task that waits cancels
    /// the call.
    ///
    /// - Parameter compressed: false keeps this message as it is in a call that is compressed.
    public func send(
        _ message: Message, compressed: Bool = true, isolation: isolated (any Actor)? = #isolation
    ) async throws(RPCError) {
        while end == nil, !isWritable() {
            await waiter.wait(isolation: isolation) { end != nil || isWritable() }
        }
        if let end { throw end }
        write(message, compressed)
    }

    /// On the client: the last message has been sent. A handler ends its stream by returning.
    public func finish() { halfClose() }

    @usableFromInline
    func becameWritable() { waiter.wake() }

    /// Nothing can be sent any more. The first end counts.
    @usableFromInline
    func close(_ error: RPCError) {
        if end != nil { return }
        end = error
        waiter.wake()
    }
}
