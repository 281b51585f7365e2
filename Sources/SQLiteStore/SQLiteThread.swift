import CSQLite
import Reactor
import Synchronization

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
/// Proof of `@unchecked Sendable`: `waiting`, `isClosed` and `isFinished` are touched under `mutex` only, the rest never
/// changes after `init`.
@safe final class SQLiteThread: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wakeUp: UnsafeMutablePointer<pthread_cond_t>
    private let finished: UnsafeMutablePointer<pthread_cond_t>
    private var waiting: [SQLiteJob] = []
    private var isClosed = false
    private var isFinished = false
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
        unsafe pthread_cond_init(finished, nil)
    }

    deinit {
        unsafe pthread_mutex_destroy(mutex)
        unsafe pthread_cond_destroy(wakeUp)
        unsafe pthread_cond_destroy(finished)
        unsafe mutex.deallocate()
        unsafe wakeUp.deallocate()
        unsafe finished.deallocate()
    }

    /// Jobs that wait or run. Readable from every thread.
    var pending: Int { depth.load(ordering: .relaxed) }

    /// Puts a job into the queue; a full or closed queue finishes it with the error at once. Thread-safe.
    func submit(_ job: SQLiteJob) {
        unsafe pthread_mutex_lock(mutex)
        let refusal: SQLiteError? =
            isClosed ? .closed : depth.load(ordering: .relaxed) >= capacity ? .queueFull(capacity) : nil
        if refusal == nil {
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

    private func wake() { unsafe pthread_cond_signal(wakeUp) }

    /// Starts the thread. `process` runs on it with each batch; the thread owns `database` and closes it at its end.
    /// - Throws: `SystemError` if the system has no thread to give.
    func start(
        _ database: SQLiteDatabase, process: @escaping @Sendable ([SQLiteJob], SQLiteDatabase) -> Void
    ) throws(SystemError) {
        let start = Start(thread: self, database: database, process: process)
        try SystemThread(name) { start.thread.run(start) }.detach()
    }

    /// Takes no more jobs; what waits is still done, then the database is closed. Thread-safe, does not wait.
    func close() {
        unsafe pthread_mutex_lock(mutex)
        isClosed = true
        unsafe pthread_mutex_unlock(mutex)
        wake()
    }

    /// Waits until everything is done and the database is closed. Never on a loop.
    func waitUntilClosed() {
        unsafe pthread_mutex_lock(mutex)
        while !isFinished { unsafe pthread_cond_wait(finished, mutex) }
        unsafe pthread_mutex_unlock(mutex)
    }

    // MARK: On the thread

    /// What a new thread is given. Proof of `@unchecked Sendable`: one thread makes it, then the new one alone uses it.
    private final class Start: @unchecked Sendable {
        let thread: SQLiteThread
        var database: SQLiteDatabase?
        let process: @Sendable ([SQLiteJob], SQLiteDatabase) -> Void

        init(
            thread: SQLiteThread, database: SQLiteDatabase,
            process: @escaping @Sendable ([SQLiteJob], SQLiteDatabase) -> Void
        ) {
            self.thread = thread
            self.database = database
            self.process = process
        }
    }

    private func run(_ start: Start) {
        while let jobs = take() {
            if let database = start.database { start.process(jobs, database) }
            depth.subtract(jobs.count, ordering: .relaxed)
            Self.deliver(jobs)
        }
        start.database = nil
        unsafe pthread_mutex_lock(mutex)
        isFinished = true
        unsafe pthread_cond_broadcast(finished)
        unsafe pthread_mutex_unlock(mutex)
    }

    /// Waits for jobs and takes at most a batch of them; nil when the queue is closed and empty.
    private func take() -> [SQLiteJob]? {
        unsafe pthread_mutex_lock(mutex)
        defer { unsafe pthread_mutex_unlock(mutex) }
        while waiting.isEmpty {
            if isClosed { return nil }
            unsafe pthread_cond_wait(wakeUp, mutex)
        }
        var taken: [SQLiteJob] = []
        if waiting.count <= batch {
            swap(&taken, &waiting)
        } else {
            taken = Array(waiting.prefix(batch))
            waiting.removeFirst(batch)
        }
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

    /// The monotonic clock that deadlines are given in, in nanoseconds.
    static func monotonicNow() -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
