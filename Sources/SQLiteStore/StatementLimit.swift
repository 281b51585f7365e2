import Reactor
import Synchronization

/// Until when a connection's statement may run: SQLite asks every few microseconds of its work.
///
/// Proof of `@unchecked Sendable`: `deadline` and `isUncancellable` belong to the connection's thread; `isCancelled` is
/// atomic.
final class StatementLimit: @unchecked Sendable {
    /// Monotonic nanoseconds.
    var deadline = UInt64.max
    private var isUncancellable = false
    private let isCancelled = Atomic<Bool>(false)

    /// Whether the running statement has to end, with `SQLITE_INTERRUPT`.
    var isReached: Bool {
        if isUncancellable { return false }
        return isCancelled.load(ordering: .relaxed) || deadline != .max && SystemClock.monotonicNanoseconds() > deadline
    }

    /// Ends the running statement and every later one. Thread-safe.
    func cancel() { isCancelled.store(true, ordering: .relaxed) }

    /// For what closing a connection does itself.
    func allowOnce() { isUncancellable = true }
}
