/// Where a job's completion runs: the event loop that submitted it.
public protocol SQLiteCompletionTarget: AnyObject, Sendable {
    /// Runs `work` on the loop soon. Thread-safe.
    func submit(_ work: @escaping @Sendable () -> Void)
    /// Runs `work` once the loop has handled the events at hand; at once for a caller on another thread.
    func afterEvents(_ work: @escaping @Sendable () -> Void)
}

/// A piece of work for a database thread.
///
/// Proof of `@unchecked Sendable`: its state is handed over, never shared. The loop makes it, the queue's lock passes it to
/// the database thread, and the loop's mailbox passes it back; at each moment one thread holds it.
class SQLiteJob: @unchecked Sendable {
    let target: (any SQLiteCompletionTarget)?
    /// Monotonic nanoseconds after which the job is not begun; nil: whenever its turn comes.
    let deadline: UInt64?
    var failure: (any Error)?

    init(target: (any SQLiteCompletionTarget)?, deadline: UInt64?) {
        self.target = target
        self.deadline = deadline
    }

    /// On the database thread.
    func run(_ database: SQLiteDatabase) throws {}
    /// On the submitting loop.
    func finish() {}
}

/// Proof of `@unchecked Sendable`: as for `SQLiteJob`.
final class SQLiteJobOf<Value: Sendable>: SQLiteJob, @unchecked Sendable {
    private let work: @Sendable (SQLiteDatabase) throws -> Value
    private let completion: (Result<Value, any Error>) -> Void
    private var value: Value?

    init(
        target: (any SQLiteCompletionTarget)?, deadline: UInt64?,
        work: @escaping @Sendable (SQLiteDatabase) throws -> Value,
        completion: @escaping (Result<Value, any Error>) -> Void
    ) {
        self.work = work
        self.completion = completion
        super.init(target: target, deadline: deadline)
    }

    override func run(_ database: SQLiteDatabase) throws { value = try work(database) }

    override func finish() {
        if let failure {
            completion(.failure(failure))
        } else if let value {
            completion(.success(value))
        } else {
            completion(.failure(SQLiteError.closed))
        }
    }
}
