import Storage

extension StorageError {
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
