extension EventLoop {
    /// Runs `work`, which may block, on a thread of its own, then `completion` on the loop. The thread ends with the work:
    /// this is for what is rare and long, such as reading a folder. While the system has no thread to give, the work
    /// waits and is tried again each second. On the loop.
    ///
    /// - Parameter name: up to 15 bytes; shows in `top -H`.
    public func runBlocking<Value: Sendable>(
        _ name: String, _ work: @escaping @Sendable () -> Value, then completion: @escaping (Value) -> Void
    ) {
        // The closure waits on the loop; the other thread carries a box that only the loop opens.
        let waiting = LoopBound(completion, loop: self)
        do throws(SystemError) {
            try SystemThread(name) {
                let value = work()
                waiting.loop.submit { waiting.value(value) }
            }.detach()
        } catch {
            schedule(after: 1_000_000_000) { [weak self] in self?.runBlocking(name, work, then: completion) }
        }
    }
}
