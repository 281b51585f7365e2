import ProtobufWire
import Reactor

/// Whoever makes the messages of a `MessageStream`, and can be told to hold them back.
protocol MessageSource {
    func pauseReading()
    func resumeReading()
    /// Nobody wants the messages any more.
    func abandon()
}

extension ServerCallToken: MessageSource {
    /// The handler decides how its call ends.
    func abandon() {}
}

extension ClientCall: MessageSource {
    func abandon() { cancel() }

    /// Its answers as a stream, which its closures must feed.
    @usableFromInline
    func stream<Response>(of type: Response.Type) -> MessageStream<Response> { MessageStream(channel.loop, from: self) }
}

/// The messages that come on a call, one by one: a client's requests for an async handler, or a server's answers for a caller.
///
/// One message is decoded ahead at most. The others wait as bytes that are counted on their connection, and when the flow-control
/// window is full they wait at the sender. `next` throws the error with which the call ends (CANCELLED for a handler whose client
/// has gone), and returns nil when the other side has sent its last message.
///
/// For one task of the loop that owns the call. On the client, cancelling the task that waits, or letting go of the stream, cancels
/// the call.
public final class MessageStream<Message: ProtobufMessage>: AsyncSequence, AsyncIteratorProtocol {
    private let loop: EventLoop
    private let source: any MessageSource
    private let waiter: Waiter
    private var message: Message?
    private var end: Result<Void, RPCError>?

    init(_ loop: EventLoop, from source: any MessageSource) {
        self.loop = loop
        self.source = source
        waiter = Waiter(loop) { source.abandon() }
    }

    deinit {
        if end != nil { return }
        if loop.isOnLoop { return source.abandon() }
        let bound = LoopBound(source, loop: loop)
        loop.submit { bound.value.abandon() }
    }

    /// The messages can be taken once: a second iteration goes on where the first has stopped.
    public func makeAsyncIterator() -> MessageStream { self }

    /// The next message; nil at the end.
    public func next(isolation: isolated (any Actor)? = #isolation) async throws(RPCError) -> Message? {
        while true {
            if let message {
                self.message = nil
                return message
            }
            if let end {
                try end.get()
                return nil
            }
            // What has been kept is delivered before this returns.
            source.resumeReading()
            if message != nil || end != nil { continue }
            await waiter.wait(isolation: isolation) { message != nil || end != nil }
        }
    }

    @usableFromInline
    func receive(_ message: Message) {
        self.message = message
        source.pauseReading()
        waiter.wake()
    }

    /// No more will come. The first end counts.
    @usableFromInline
    func close(_ error: RPCError?) {
        if end != nil { return }
        end = error.map { .failure($0) } ?? .success(())
        waiter.wake()
    }
}
