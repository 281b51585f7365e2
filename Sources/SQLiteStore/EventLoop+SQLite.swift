import Reactor

/// Completions of database jobs run on the loop that submitted them.
extension EventLoop: SQLiteCompletionTarget {
    public func afterEvents(_ work: @escaping @Sendable () -> Void) {
        if isOnLoop { execute(work) } else { work() }
    }
}
