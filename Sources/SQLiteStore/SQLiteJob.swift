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
@safe @usableFromInline final class SQLiteJob: @unchecked Sendable {
    enum Stage { case new, waiting, begun, cancelled }

    let target: (any SQLiteCompletionTarget)?
    /// Monotonic nanoseconds after which the job is not begun; nil: whenever its turn comes.
    let deadline: UInt64?
    /// On the database thread.
    let run: (SQLiteDatabase) throws -> Void
    /// On the submitting loop, with what the job failed by.
    private let completion: ((any Error)?) -> Void
    @usableFromInline var failure: (any Error)?
    /// The task that waits for it. Set before the job is handed over.
    var continuation: UnsafeContinuation<Void, Never>?
    /// Where it is with its thread, which alone touches it, under its lock.
    var stage = Stage.new

    @usableFromInline
    init(
        target: (any SQLiteCompletionTarget)?, deadline: UInt64?, run: @escaping (SQLiteDatabase) throws -> Void,
        completion: @escaping ((any Error)?) -> Void
    ) {
        self.target = target
        self.deadline = deadline
        self.run = run
        self.completion = completion
    }

    /// On the submitting loop.
    func finish() {
        completion(failure)
        unsafe continuation?.resume()
    }
}

// What a job makes is kept beside it, in a variable of the caller's own type: a generic job would look that type up again with
// each step.
extension SQLiteThread {
    /// Runs `work` on the thread, then `completion` on `target`.
    @inlinable @inline(__always)
    func submit<Value: Sendable>(
        on target: (any SQLiteCompletionTarget)?, deadline: UInt64?,
        _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value,
        completion: @escaping (Result<Value, any Error>) -> Void
    ) {
        var value: Value?
        submit(
            SQLiteJob(
                target: target, deadline: deadline, run: { value = try work($0) },
                completion: { failure in completion(Result { try Self.outcome(failure, value) }) }))
    }

    /// Runs `work` on the thread, then `done` on `target`; returns on the task's executor.
    @inlinable @inline(__always)
    nonisolated(nonsending) func perform<Value: Sendable>(
        on target: (any SQLiteCompletionTarget)?, deadline: UInt64?,
        _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value, done: @escaping (Value) -> Void
    ) async throws -> Value {
        var value: Value?
        let job = SQLiteJob(
            target: target, deadline: deadline, run: { value = try work($0) },
            completion: { if $0 == nil, let value { done(value) } })
        await wait(for: job)
        return try Self.outcome(job.failure, value)
    }

    @inlinable @inline(__always)
    static func outcome<Value>(_ failure: (any Error)?, _ value: Value?) throws -> Value {
        if let failure { throw failure }
        guard let value else { throw SQLiteError.closed }
        return value
    }
}
