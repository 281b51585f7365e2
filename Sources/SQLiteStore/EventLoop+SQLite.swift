import Reactor

/// Completions of database jobs run on the loop that submitted them.
extension EventLoop: SQLiteCompletionTarget {}
