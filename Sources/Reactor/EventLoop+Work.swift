import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EventLoop {
    /// Runs `work` on the loop, in the order of the calls. Thread-safe: this is the mailbox.
    public func submit(_ work: @escaping @Sendable () -> Void) { post(.work(work)) }

    /// Runs `work` later in this turn, or in the next one. On the loop, without a lock.
    public func execute(_ work: @escaping () -> Void) {
        precondition(isOnLoop, "execute is for the loop's own thread; submit is for the others")
        hot.value.work.append(.work(work))
    }

    /// Starts a task whose code runs on this loop's thread for its whole life, but for calls of code that is isolated
    /// elsewhere. Thread-safe.
    @discardableResult
    public func spawn(_ operation: @escaping @Sendable () async -> Void) -> Task<Void, Never> {
        Task(executorPreference: self, operation: operation)
    }

    /// Starts a task at once: what comes before its first wait is done when this returns, the rest runs on this loop's thread
    /// for the task's whole life. On the loop, so `operation` may use what belongs to it.
    @discardableResult
    public func start(_ operation: @escaping () async -> Void) -> Task<Void, Never> {
        precondition(isOnLoop, "start is for the loop's own thread; spawn is for the others")
        // Proof: the task runs on this loop's thread for its whole life, like whoever made the operation.
        nonisolated(unsafe) let operation = operation
        return Task.immediate(executorPreference: self) { unsafe await operation() }
    }

    private func post(_ item: WorkItem) {
        if mailbox.post(item) { system.wake() }
    }

    /// Runs the mailbox and this loop's own work until nothing is left or the turn's budget is used up.
    @inline(__always)
    func runWork() {
        mailbox.drain(into: &hot.value.work)
        if hot.value.hasWork { runItems() }
    }

    @inline(never)
    private func runItems() {
        var done = 0
        while done < configuration.workPerTurn, done == 0 || !isTurnSpent() {
            if hot.value.batchDone == hot.value.batch.count {
                mailbox.drain(into: &hot.value.work)
                guard hot.value.nextBatch() else { break }
            }
            let item = hot.value.batch[hot.value.batchDone]
            hot.value.batchDone += 1
            done += 1
            switch item {
            case .work(let work): work()
            case .job(let job):
                // As a task's executor, not as an actor's: code without isolation would leave the actor with each wait, which
                // makes two jobs of one.
                unsafe job.runSynchronously(on: asUnownedTaskExecutor())
            }
        }
        hot.value.dropFinishedBatch()
        let queued = hot.value.work.count + hot.value.batch.count - hot.value.batchDone
        counters.queued.store(queued, ordering: .relaxed)
    }

    // MARK: Executor

    /// Takes a task's job, for the executor that the loop is. Thread-safe.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isOnLoop { hot.value.work.append(.job(job)) } else { post(.job(job)) }
    }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        unsafe UnownedSerialExecutor(ordinary: self)
    }

    public func checkIsolated() {
        precondition(isOnLoop, "this code belongs on its event loop")
    }

    public func isIsolatingCurrentContext() -> Bool? { isOnLoop }
}

/// A value that belongs to one loop, in the hands of concurrent code: it may be carried anywhere, and reached on the loop's
/// thread only. That is checked in release builds too.
///
/// Proof of `@unchecked Sendable`: the value cannot be reached from another thread.
public struct LoopBound<Value>: @unchecked Sendable {
    private let stored: Value
    /// The loop that the value belongs to. Thread-safe.
    public let loop: EventLoop

    /// Binds `value` to `loop`. On the loop, or before it runs.
    public init(_ value: Value, loop: EventLoop) {
        stored = value
        self.loop = loop
    }

    /// Traps off the loop.
    public var value: Value {
        precondition(loop.isOnLoop, "a value that belongs to an event loop was used on another thread")
        return stored
    }
}
