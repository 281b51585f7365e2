/// Lets one task of a loop wait for something that happens on the loop. Cancelling the task does not end the wait: it calls
/// `cancel`, later in the turn or in the next one, which sees to it that what is waited for comes.
package final class Waiter {
    private let loop: EventLoop
    private let cancel: () -> Void
    private var continuation: CheckedContinuation<Void, Never>?

    package init(_ loop: EventLoop, cancel: @escaping () -> Void) {
        self.loop = loop
        self.cancel = cancel
    }

    /// Until `wake`, unless what is waited for has come. One at a time.
    ///
    /// - Parameter hasCome: asked when nothing can come between the question and the wait: entering an async function may take a
    ///   round through the loop's queue.
    package func wait(isolation: isolated (any Actor)?, unless hasCome: () -> Bool) async {
        precondition(continuation == nil, "two tasks wait for one stream")
        let bound = LoopBound(cancel, loop: loop)
        await withTaskCancellationHandler {
            await withCheckedContinuation(isolation: isolation) { continuation in
                if hasCome() { continuation.resume() } else { self.continuation = continuation }
            }
        } onCancel: {
            bound.loop.submit { bound.value() }
        }
    }

    package func wake() {
        let continuation = self.continuation
        self.continuation = nil
        continuation?.resume()
    }
}
