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
@safe class SQLiteJob: @unchecked Sendable {
    enum Stage { case new, waiting, begun, cancelled }

    let target: (any SQLiteCompletionTarget)?
    /// Monotonic nanoseconds after which the job is not begun; nil: whenever its turn comes.
    let deadline: UInt64?
    var failure: (any Error)?
    /// The task that waits for it. Set before the job is handed over.
    var continuation: UnsafeContinuation<Void, Never>?
    /// Where it is with its thread, which alone touches it, under its lock.
    var stage = Stage.new

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

    /// Once it is finished.
    var result: Result<Value, any Error> {
        if let failure { return .failure(failure) }
        return value.map { .success($0) } ?? .failure(SQLiteError.closed)
    }

    override func run(_ database: SQLiteDatabase) throws { value = try work(database) }

    override func finish() {
        completion(result)
        unsafe continuation?.resume()
    }
}
