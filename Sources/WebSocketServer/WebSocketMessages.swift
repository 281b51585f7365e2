import Bytes
import Reactor
import WebSockets

/// A message as a task gets it.
public enum WebSocketMessage: Sendable, Equatable {
    /// UTF-8 text (RFC 6455 §5.6).
    case text(String)
    /// Bytes that mean what the application says.
    case binary([UInt8])
}

/// Messages that wait for a task.
final class MessageInbox {
    /// Messages above which nothing more is read: who sends more than is taken, waits.
    static let limit = 16

    var messages: [WebSocketMessage] = []
    var hasEnded = false
    var isPaused = false
    private var waiter: CheckedContinuation<Void, Never>?

    func wake() {
        waiter?.resume()
        waiter = nil
    }

    nonisolated(nonsending) func wait() async {
        precondition(waiter == nil, "two tasks wait for messages of one WebSocket")
        await withCheckedContinuation { waiter = $0 }
    }
}

extension WebSocket {
    /// What arrives waits for `receive` from now on; the closures for messages are taken. Call it before the first message comes:
    /// when the WebSocket is opened.
    public func collectMessages() {
        let inbox = MessageInbox()
        self.inbox = inbox
        onText = { [unowned self] in take(.text(String(utf8: $0))) }
        onBinary = { [unowned self] in take(.binary(unsafe $0.withUnsafeBufferPointer { unsafe Array($0) })) }
        onClose = { code in
            inbox.hasEnded = true
            inbox.wake()
        }
    }

    private func take(_ message: WebSocketMessage) {
        guard let inbox else { return }
        inbox.messages.append(message)
        if inbox.messages.count >= MessageInbox.limit {
            inbox.isPaused = true
            server.loop.pauseReading(id)
        }
        inbox.wake()
    }

    /// The next message; nil: the WebSocket has ended and there is none. For a task of the loop, after `collectMessages`.
    public nonisolated(nonsending) func receive() async -> WebSocketMessage? {
        guard let inbox else { preconditionFailure("collectMessages comes before receive") }
        while inbox.messages.isEmpty && !inbox.hasEnded { await inbox.wait() }
        guard !inbox.messages.isEmpty else { return nil }
        let message = inbox.messages.removeFirst()
        if inbox.isPaused, inbox.messages.isEmpty {
            inbox.isPaused = false
            server.loop.resumeReading(id)
        }
        return message
    }
}
