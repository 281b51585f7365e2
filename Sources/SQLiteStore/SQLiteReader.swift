import Telemetry

/// A thread that answers queries from its own read-only connection: readers do not wait for the writer's disk.
///
/// Each job sees everything that was committed before it began, and one snapshot for its whole length. Thread-safe.
public final class SQLiteReader: Sendable {
    /// Jobs that are taken from the queue at once.
    static let jobsPerTurn = 64
    /// Jobs that may wait; more are refused with `SQLiteError.queueFull`.
    public static let defaultCapacity = 8_192

    private let thread: SQLiteThread

    /// Opens the file, which must exist (the writer made it). Blocking: at start only.
    public init(path: String, name: String = "sqlite-reader", capacity: Int = SQLiteReader.defaultCapacity) throws {
        let database = try SQLiteDatabase(path: path, mode: .readOnly)
        let thread = SQLiteThread(name: name, capacity: capacity, batch: Self.jobsPerTurn)
        self.thread = thread
        MetricRegistry.shared.sampledGauge(
            name: "cabstand_sqlite_queue", help: "Jobs that wait for a database thread or run.",
            labels: ["thread": name]
        ) { [weak thread] in Double(thread?.pending ?? 0) }
        try thread.start(database) { jobs, database in Self.process(jobs, database) }
    }

    deinit { thread.close() }

    /// Jobs that wait or run.
    public var pending: Int { thread.pending }

    /// Runs `work` on the reader's thread, then `completion` on `loop`.
    ///
    /// `deadline` (monotonic nanoseconds): a job whose turn comes later ends with `SQLiteError.deadlineExceeded`.
    public func submit<Value: Sendable>(
        on loop: any SQLiteCompletionTarget, deadline: UInt64? = nil,
        _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value,
        completion: @escaping (Result<Value, any Error>) -> Void
    ) {
        thread.submit(SQLiteJobOf(target: loop, deadline: deadline, work: work, completion: completion))
    }

    /// The same for tasks: returns on the task's own executor.
    public func perform<Value: Sendable>(
        deadline: UInt64? = nil, _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            thread.submit(
                SQLiteJobOf(target: nil, deadline: deadline, work: work) { continuation.resume(with: $0) })
        }
    }

    /// Takes no more jobs; what waits is answered.
    public func close() { thread.close() }

    /// Waits until the file is closed. Never on a loop: it blocks.
    public func waitUntilClosed() { thread.waitUntilClosed() }

    // MARK: On the thread

    private static func process(_ jobs: [SQLiteJob], _ database: SQLiteDatabase) {
        let now = SQLiteThread.monotonicNow()
        for job in jobs {
            if let deadline = job.deadline, deadline < now {
                job.failure = SQLiteError.deadlineExceeded
                continue
            }
            do {
                try database.statement("BEGIN").run()
                defer { try? database.statement("COMMIT").run() }
                try job.run(database)
            } catch {
                job.failure = error
            }
        }
    }
}
