/// What a repository says when it can't do what it was asked, in words that know nothing of the database behind it: those above
/// it need not know which one it is.
public enum StorageError: Error, Sendable, Equatable {
    /// The deadline passed before the storage came to it; nothing was changed.
    case deadlineExceeded
    /// Whoever asked was cancelled before the storage came to it; nothing was changed.
    case cancelled
    /// This one was refused (the storage is closing, or has too much to do); others may be served.
    case refused(String)
    /// It can't be used now. The reason is for an operator, with the remedy; the detail for the log.
    case unavailable(reason: String, detail: String)
    /// It holds what this service can't have written. As above.
    case corrupt(reason: String, detail: String)

    /// From what a job of a database thread ended with.
    public init(_ error: any Error) {
        switch error {
        case let error as StorageError: self = error
        case is CancellationError: self = .cancelled
        case let error as SQLiteError where error == .deadlineExceeded: self = .deadlineExceeded
        case let error as SQLiteError where !error.isFailureOfTheDatabase: self = .refused("\(error)")
        case let error as SQLiteError where error.isCorruption:
            self = .corrupt(reason: error.reason, detail: "\(error)")
        case let error as SQLiteError: self = .unavailable(reason: error.reason, detail: "\(error)")
        default:
            self = .unavailable(reason: "It fails in an unexpected way; the log has the words.", detail: "\(error)")
        }
    }
}
