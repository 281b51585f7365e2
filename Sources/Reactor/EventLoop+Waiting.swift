import Basics

extension EventLoop {
    /// For a task of this loop: returns when `work` calls back, or after `timeout` if that is earlier. Later calls are ignored.
    public nonisolated(nonsending) func wait(
        atMost timeout: Duration? = nil, for work: (@escaping () -> Void) -> Void
    ) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            var waiting: CheckedContinuation<Void, Never>? = continuation
            var timer: TimerID?
            let finish = {
                waiting?.resume()
                waiting = nil
                if let timer { self.cancel(timer) }
            }
            if let timeout { timer = schedule(after: timeout, finish) }
            work(finish)
        }
    }

    /// For a task of this loop: returns after `delay`, never early.
    public nonisolated(nonsending) func pause(_ delay: Duration) async { await pause(delay.nanoseconds) }

    /// In nanoseconds.
    package nonisolated(nonsending) func pause(_ delay: UInt64) async { await wait { schedule(after: delay, $0) } }
}
