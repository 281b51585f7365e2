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
}
