import Reactor
import Synchronization
import Telemetry

/// The one writer of a database file: a thread that commits what waits, at most 64 jobs, in one transaction.
///
/// A commit with `synchronous=FULL` waits for the disk, so jobs that arrive meanwhile share the next one. When one throws,
/// the transaction is rolled back and the others run again, so a job may run more than once and is atomic all the same.
/// (A savepoint for each would have SQLite copy every page before a job changes it: more writes than the change itself.)
/// Completions run on the submitting loop after the commit; a completion with a value means that the change is durable.
///
/// Thread-safe.
public final class SQLiteWriter: Sendable {
    /// Jobs in one transaction. Reason: beyond it a commit gains little and the first job in it waits for the last.
    public static let jobsPerCommit = 64
    /// Jobs that may wait; more are refused with `SQLiteError.queueFull`.
    public static let defaultCapacity = 8_192

    @usableFromInline let thread: SQLiteThread
    private let commitCount = Atomic<Int>(0)

    /// Takes the file for this process alone, opens it (blocking: at start, not on a loop that serves), runs `setUp` on it
    /// (the schema), and starts the thread.
    /// - Throws: `DatabaseInUse` if somebody else has the file; what opening or `setUp` throws.
    public init(
        path: String, name: String = "sqlite-writer", capacity: Int = SQLiteWriter.defaultCapacity,
        setUp: (SQLiteDatabase) throws -> Void = { _ in }
    ) throws {
        let lock = try DatabaseLock(path)
        let database: SQLiteDatabase
        do {
            database = try SQLiteDatabase(path: path)
        } catch {
            lock.release()
            throw error
        }
        let thread = SQLiteThread(name: name, capacity: capacity, batch: Self.jobsPerCommit)
        self.thread = thread
        let registry = MetricRegistry.shared
        let seconds = registry.histogram(
            name: .own("sqlite_commit_seconds"), help: "A transaction of the writer, from begin to durable.",
            labels: ["thread": name])
        let size = registry.histogram(
            name: .own("sqlite_commit_jobs"), help: "Jobs that shared one transaction.",
            labels: ["thread": name], bounds: [1, 2, 4, 8, 16, 32, 64])
        registry.sampledGauge(
            name: .own("sqlite_queue"), help: "Jobs that wait for a database thread or run.",
            labels: ["thread": name]
        ) { [weak thread] in Double(thread?.pending ?? 0) }
        let logger = Logger(label: "sqlite").with("thread", name)
        let closed: @Sendable (SQLiteError?) -> Void = { failure in
            lock.release()
            if let failure {
                logger.warning(
                    "closed with a log beside the file: keep both together",
                    metadata: ["path": path, "error": "\(failure)"])
            }
        }
        do {
            try setUp(database)
            lock.holdLog()
            // The thread keeps itself alive until it is closed; the writer need not outlive it.
            try thread.start(database, closed: closed) { [weak self] jobs, database in
                let begin = SystemClock.monotonicNanoseconds()
                Self.process(jobs, database, lock)
                self?.commitCount.add(1, ordering: .relaxed)
                seconds.observe(nanoseconds: SystemClock.monotonicNanoseconds() - begin)
                size.observe(Double(jobs.count))
            }
        } catch {
            closed(database.close())
            throw error
        }
    }

    /// Transactions so far.
    public var commits: Int { commitCount.load(ordering: .relaxed) }

    deinit { thread.close() }

    /// Jobs that wait or run.
    public var pending: Int { thread.pending }

    /// Runs `work` on the writer's thread inside a transaction, then `completion` on `loop` after the commit. `work` has no
    /// effect but on the database: it may run again.
    ///
    /// `deadline` (monotonic nanoseconds): a job whose turn comes later is not begun and ends with
    /// `SQLiteError.deadlineExceeded`. `completion` gets what `work` threw, or the error of the commit.
    @inlinable public func submit<Value: Sendable>(
        on loop: any SQLiteCompletionTarget, deadline: UInt64? = nil,
        _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value,
        completion: @escaping (Result<Value, any Error>) -> Void
    ) {
        thread.submit(on: loop, deadline: deadline, work, completion: completion)
    }

    /// The same for a task: returns after the commit, on the task's executor. Cancelling the task takes a job that has not begun
    /// out of the queue.
    ///
    /// - Parameter durable: called on `loop` before any task that waits for a job of the same transaction goes on, in the order
    ///   of the jobs: for what has to follow the order of the changes.
    /// - Throws: what `work` threw, `SQLiteError`, or `CancellationError` for a job that was taken out.
    @inlinable @inline(__always)
    public nonisolated(nonsending) func perform<Value: Sendable>(
        on loop: (any SQLiteCompletionTarget)? = nil, deadline: UInt64? = nil,
        _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value, durable: @escaping (Value) -> Void = { _ in }
    ) async throws -> Value {
        try await thread.perform(on: loop, deadline: deadline, work, done: durable)
    }

    /// Takes no more jobs. What waits is committed, then the log is brought into the file and the file is closed, complete;
    /// readers of it have to be closed before. `completion` is called then, on any thread.
    public func close(_ completion: (@Sendable () -> Void)? = nil) { thread.close(completion) }

    /// Waits until the file is closed. Never on a loop: it blocks.
    public func waitUntilClosed() { thread.waitUntilClosed() }

    // MARK: On the thread

    private static func process(_ jobs: [SQLiteJob], _ database: SQLiteDatabase, _ lock: DatabaseLock) {
        let now = SystemClock.monotonicNanoseconds()
        // What goes into a file that nobody will find again is not stored.
        guard lock.isInPlace else {
            for job in jobs { job.failure = SQLiteError.moved }
            return
        }
        for job in jobs {
            if let deadline = job.deadline, deadline < now { job.failure = SQLiteError.deadlineExceeded }
        }
        do {
            // Each round is the last one or has one job less than the one before.
            while jobs.contains(where: { $0.failure == nil }) {
                try database.begin()
                if run(jobs, database) { return try database.commit() }
                database.rollBack()
            }
        } catch {
            database.rollBack()
            for job in jobs where job.failure == nil { job.failure = error }
        }
    }

    /// Runs what has not failed, up to the first job that throws; false: there was one.
    private static func run(_ jobs: [SQLiteJob], _ database: SQLiteDatabase) -> Bool {
        for job in jobs where job.failure == nil {
            do {
                try job.run(database)
            } catch {
                job.failure = error
                return false
            }
        }
        return true
    }
}
