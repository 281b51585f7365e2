import Reactor
import Telemetry

/// A thread that answers queries from its own read-only connection: readers do not wait for the writer's disk.
///
/// Each job sees everything that was committed before it began, and one snapshot for its whole length. Thread-safe.
public final class SQLiteReader: Sendable {
    /// Jobs that are taken from the queue at once.
    static let jobsPerTurn = 64
    /// Jobs that may wait; more are refused with `SQLiteError.queueFull`.
    public static let defaultCapacity = 8_192

    @usableFromInline let thread: SQLiteThread

    /// Opens the file, which must exist (the writer made it). Blocking: at start only.
    public init(path: String, name: String = "sqlite-reader", capacity: Int = SQLiteReader.defaultCapacity) throws {
        let database = try SQLiteDatabase(path: path, mode: .readOnly)
        let thread = SQLiteThread(name: name, capacity: capacity, batch: Self.jobsPerTurn)
        self.thread = thread
        MetricRegistry.shared.sampledGauge(
            name: .own("sqlite_queue"), help: "Jobs that wait for a database thread or run.",
            labels: ["thread": name]
        ) { [weak thread] in Double(thread?.pending ?? 0) }
        try thread.start(database) { [weak thread] jobs, database in
            for job in jobs { Self.process(job, database, isClosing: thread?.isClosing ?? true) }
        }
    }

    deinit { thread.close(interrupting: true) }

    /// Jobs that wait or run.
    public var pending: Int { thread.pending }

    /// Runs `work` on the reader's thread, then `completion` on `loop`.
    ///
    /// `deadline` (monotonic nanoseconds): a job that is not done by then ends with `SQLiteError.deadlineExceeded`, also in
    /// the middle of its work: one long search does not hold up the others for longer than it may take itself.
    @inlinable public func submit<Value: Sendable>(
        on loop: any SQLiteCompletionTarget, deadline: UInt64? = nil,
        _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value,
        completion: @escaping (Result<Value, any Error>) -> Void
    ) {
        thread.submit(on: loop, deadline: deadline, work, completion: completion)
    }

    /// The same for a task: returns on the task's executor. Cancelling the task takes a job that has not begun out of the queue.
    ///
    /// - Throws: what `work` threw, `SQLiteError`, or `CancellationError` for a job that was taken out.
    @inlinable @inline(__always)
    public nonisolated(nonsending) func perform<Value: Sendable>(
        on loop: (any SQLiteCompletionTarget)? = nil, deadline: UInt64? = nil,
        _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value
    ) async throws -> Value {
        try await thread.perform(on: loop, deadline: deadline, work) { _ in }
    }

    /// Takes no more jobs; what waits or runs is answered with `SQLiteError.closed`. `completion` is called when the
    /// connection is closed, on any thread.
    public func close(_ completion: (@Sendable () -> Void)? = nil) { thread.close(interrupting: true, completion) }

    /// Waits until the file is closed. Never on a loop: it blocks.
    public func waitUntilClosed() { thread.waitUntilClosed() }

    // MARK: On the thread

    private static func process(_ job: SQLiteJob, _ database: SQLiteDatabase, isClosing: Bool) {
        if isClosing {
            job.failure = SQLiteError.closed
        } else if let deadline = job.deadline, deadline < SystemClock.monotonicNanoseconds() {
            job.failure = SQLiteError.deadlineExceeded
        } else {
            database.limit.deadline = job.deadline ?? .max
            do {
                try database.statement("BEGIN").run()
                try job.run(database)
            } catch {
                job.failure = error
                if (error as? SQLiteError)?.wasInterrupted == true {
                    let isLate = job.deadline.map { $0 < SystemClock.monotonicNanoseconds() } ?? false
                    job.failure = isLate ? SQLiteError.deadlineExceeded : SQLiteError.closed
                }
            }
            // The end of the snapshot takes its time whatever the job took.
            database.limit.deadline = .max
            database.rollBack()
        }
    }
}
