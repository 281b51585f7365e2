import Reactor
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A thread for librdkafka's blocking calls (metadata, assign, destroy), so that no loop ever waits in one.
/// It takes no signal, and neither does any thread that is made on it.
///
/// Work runs in order. The thread lives until `finish()` and whatever was submitted before it.
final class BlockingThread: Sendable {
    private struct State: Sendable {
        var work: [@Sendable () -> Void] = []
        var finished = false
    }

    private let state = Mutex(State())
    private let wake: WakeSemaphore

    /// - Throws: if the system has no thread to give.
    init() throws(KafkaError) {
        wake = WakeSemaphore()
        do throws(SystemError) {
            try SystemThread("kafka-blocking") { self.run() }.detach()
        } catch {
            throw KafkaError.configuration(error.description)
        }
    }

    /// Thread-safe. Work submitted after `finish()` is dropped.
    func submit(_ work: @escaping @Sendable () -> Void) {
        state.withLock { if !$0.finished { $0.work.append(work) } }
        wake.post()
    }

    /// Runs `body` here, then `completion` on `loop`. Called on `loop`.
    func run<Value: Sendable>(
        on loop: EventLoop, _ body: @escaping @Sendable () -> Value, then completion: @escaping (Value) -> Void
    ) {
        let bound = LoopBound(completion, loop: loop)
        submit {
            let value = body()
            loop.submit { bound.value(value) }
        }
    }

    /// Ends the thread after what was submitted before.
    func finish() {
        state.withLock { $0.finished = true }
        wake.post()
    }

    private func run() {
        while true {
            wake.wait()
            let (batch, finished) = state.withLock { state in
                defer { state.work.removeAll() }
                return (state.work, state.finished)
            }
            for work in batch { work() }
            if finished { return }
        }
    }
}

/// A POSIX semaphore. Proof of `@unchecked Sendable`: `sem_post` and `sem_wait` are thread-safe, the memory is stable.
@safe private final class WakeSemaphore: @unchecked Sendable {
    private let semaphore: UnsafeMutablePointer<sem_t>

    init() {
        unsafe semaphore = .allocate(capacity: 1)
        unsafe sem_init(semaphore, 0, 0)
    }

    deinit {
        unsafe sem_destroy(semaphore)
        unsafe semaphore.deallocate()
    }

    func post() { unsafe sem_post(semaphore) }

    func wait() { while unsafe sem_wait(semaphore) != 0 {} }
}
