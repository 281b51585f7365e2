import Reactor
import Synchronization
import Telemetry

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A thread with a bounded queue of jobs and one database. What it does with the jobs it takes is `process`.
///
/// Loops put jobs into the queue under a lock that is held for a few instructions and never over a system call other
/// than the wake-up; the thread takes everything that waits (at most `batch`) at once.
///
/// Proof of `@unchecked Sendable`: `waiting`, `cancelled`, `isClosed`, `isFinished`, `whenFinished` and `limit` are touched under `mutex`
/// only, the rest never changes after `init`.
@safe @usableFromInline final class SQLiteThread: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wakeUp: UnsafeMutablePointer<pthread_cond_t>
    private let finished: UnsafeMutablePointer<pthread_cond_t>
    private var waiting: [SQLiteJob] = []
    /// Jobs in `waiting` that were cancelled: they are taken out together, so that a crowd that leaves costs no search for each.
    private var cancelled = 0
    private var isClosed = false
    private var isFinished = false
    private var whenFinished: [@Sendable () -> Void] = []
    /// Of the database, while the thread has it.
    private var limit: StatementLimit?
    private let depth = Atomic<Int>(0)

    let capacity: Int
    private let batch: Int
    private let name: String

    init(name: String, capacity: Int, batch: Int) {
        self.name = name
        self.capacity = capacity
        self.batch = batch
        unsafe mutex = .allocate(capacity: 1)
        unsafe wakeUp = .allocate(capacity: 1)
        unsafe finished = .allocate(capacity: 1)
        unsafe pthread_mutex_init(mutex, nil)
        unsafe pthread_cond_init(wakeUp, nil)
        // Waited for with a deadline of the monotonic clock.
        var attributes = pthread_condattr_t()
        unsafe pthread_condattr_init(&attributes)
        unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        unsafe pthread_cond_init(finished, &attributes)
        unsafe pthread_condattr_destroy(&attributes)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(wakeUp)
        unsafe pthread_cond_destroy(finished)
        unsafe mutex.deallocate()
        unsafe wakeUp.deallocate()
        unsafe finished.deallocate()
    }

    /// Whether no more jobs are taken.
    var isClosing: Bool {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        return isClosed
    }

    /// Jobs that wait or run. Readable from every thread.
    var pending: Int { depth.load(ordering: .relaxed) }

    /// Puts a job into the queue; a full or closed queue finishes it with the error at once. Thread-safe.
    @usableFromInline
    func submit(_ job: SQLiteJob) {
        unsafe pthread_mutex_lock(mutex)
        let refusal: (any Error)? =
            if job.stage == .cancelled {
                CancellationError()
            } else if isClosed {
                SQLiteError.closed
            } else if depth.load(ordering: .relaxed) >= capacity {
                SQLiteError.queueFull(capacity)
            } else {
                nil
            }
        if refusal == nil {
            job.stage = .waiting
            waiting.append(job)
            depth.add(1, ordering: .relaxed)
        }
        let wasIdle = refusal == nil && waiting.count == 1
        unsafe pthread_mutex_unlock(mutex)
        if wasIdle {
            // Not before the loop has seen the rest of its events: the jobs that they bring go into the same batch.
            if let target = job.target { target.afterEvents { self.wake() } } else { wake() }
        }
        if let refusal {
            job.failure = refusal
            Self.deliver([job])
        }
    }

    /// Lets a task wait until a job is done. One that is cancelled takes its job out of the queue, if the thread has not begun it.
    @usableFromInline
    nonisolated(nonsending) func wait(for job: SQLiteJob) async {
        await withTaskCancellationHandler {
            // Proof: a job is finished once.
            unsafe await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
                unsafe job.continuation = continuation
                submit(job)
            }
        } onCancel: {
            cancel(job)
        }
    }

    /// Ends a job that has not begun, or was not even submitted, with `CancellationError`. Thread-safe.
    private func cancel(_ job: SQLiteJob) {
        unsafe pthread_mutex_lock(mutex)
        let wasWaiting = job.stage == .waiting
        if wasWaiting {
            cancelled += 1
            depth.subtract(1, ordering: .relaxed)
        }
        if job.stage != .begun { job.stage = .cancelled }
        if cancelled * 2 > waiting.count { dropCancelled() }
        unsafe pthread_mutex_unlock(mutex)
        guard wasWaiting else { return }
        job.failure = CancellationError()
        Self.deliver([job])
    }

    private func dropCancelled() {
        waiting.removeAll { $0.stage == .cancelled }
        cancelled = 0
    }

    private func wake() { unsafe pthread_cond_signal(wakeUp) }

    /// Starts the thread. `process` runs on it with each batch; the thread owns `database` and closes it at its end.
    ///
    /// However the program ends in order, the database is closed before: the thread adds itself to `ExitWork`.
    /// - Parameter closed: called on the thread when the database is closed.
    /// - Throws: `SystemError` if the system has no thread to give; the database is as it was then.
    func start(
        _ database: SQLiteDatabase, closed: @escaping @Sendable (SQLiteError?) -> Void = { _ in },
        process: @escaping @Sendable ([SQLiteJob], SQLiteDatabase) -> Void
    ) throws(SystemError) {
        limit = database.limit
        let exit = ExitWork.shared.add { deadline in
            self.close()
            self.waitUntilClosed(until: deadline)
        }
        let start = Start(thread: self, database: database, process: process) { failure in
            closed(failure)
            ExitWork.shared.remove(exit)
        }
        do throws(SystemError) {
            try SystemThread(name) { start.thread.run(start) }.detach()
        } catch {
            ExitWork.shared.remove(exit)
            throw error
        }
    }

    /// Takes no more jobs; what waits is still done (or, with `interrupting`, ended as soon as SQLite looks up from its
    /// work), then the database is closed. Thread-safe, does not wait; `completion` is called on any thread.
    func close(interrupting: Bool = false, _ completion: (@Sendable () -> Void)? = nil) {
        unsafe pthread_mutex_lock(mutex)
        isClosed = true
        if interrupting { limit?.cancel() }
        let isOver = isFinished
        if let completion, !isOver { whenFinished.append(completion) }
        unsafe pthread_mutex_unlock(mutex)
        wake()
        if isOver { completion?() }
    }

    /// Waits until everything is done and the database is closed, or the monotonic clock has reached `deadline`
    /// (nanoseconds). Never on a loop.
    func waitUntilClosed(until deadline: UInt64 = .max) {
        let seconds = min(deadline / 1_000_000_000, UInt64(Int32.max))
        var end = timespec(tv_sec: Int(seconds), tv_nsec: Int(deadline % 1_000_000_000))
        unsafe pthread_mutex_lock(mutex)
        while !isFinished, unsafe pthread_cond_timedwait(finished, mutex, &end) != ETIMEDOUT {}
        unsafe pthread_mutex_unlock(mutex)
    }

    // MARK: On the thread

    /// What a new thread is given. Proof of `@unchecked Sendable`: one thread makes it, then the new one alone uses it.
    private final class Start: @unchecked Sendable {
        let thread: SQLiteThread
        var database: SQLiteDatabase?
        let process: @Sendable ([SQLiteJob], SQLiteDatabase) -> Void
        let closed: @Sendable (SQLiteError?) -> Void

        init(
            thread: SQLiteThread, database: SQLiteDatabase,
            process: @escaping @Sendable ([SQLiteJob], SQLiteDatabase) -> Void,
            closed: @escaping @Sendable (SQLiteError?) -> Void
        ) {
            self.thread = thread
            self.database = database
            self.process = process
            self.closed = closed
        }
    }

    private func run(_ start: Start) {
        while let jobs = take() {
            if let database = start.database { start.process(jobs, database) }
            depth.subtract(jobs.count, ordering: .relaxed)
            Self.deliver(jobs)
        }
        let failure = start.database?.close()
        start.database = nil
        start.closed(failure)
        unsafe pthread_mutex_lock(mutex)
        isFinished = true
        limit = nil
        let completions = whenFinished
        whenFinished = []
        unsafe pthread_cond_broadcast(finished)
        unsafe pthread_mutex_unlock(mutex)
        for completion in completions { completion() }
    }

    /// Waits for jobs and takes at most a batch of them; nil when the queue is closed and empty.
    private func take() -> [SQLiteJob]? {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while waiting.isEmpty {
            if isClosed { return nil }
            unsafe pthread_cond_wait(wakeUp, mutex)
        }
        if cancelled > 0 { dropCancelled() }
        var taken: [SQLiteJob] = []
        if waiting.count <= batch {
            swap(&taken, &waiting)
        } else {
            taken = Array(waiting.prefix(batch))
            waiting.removeFirst(batch)
        }
        for job in taken { job.stage = .begun }
        return taken
    }

    /// Runs the completions on their loops, one mailbox entry per loop.
    static func deliver(_ jobs: [SQLiteJob]) {
        var index = 0
        while index < jobs.count {
            guard let target = jobs[index].target else {
                jobs[index].finish()
                index += 1
                continue
            }
            var end = index + 1
            while end < jobs.count, jobs[end].target === target { end += 1 }
            let group = jobs[index..<end]
            target.submit { for job in group { job.finish() } }
            index = end
        }
    }
}
