import CSQLite

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What SQLite refused, with its extended result code and the text that names the constraint or the statement.
public struct SQLiteError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The extended result code (`SQLITE_CONSTRAINT_UNIQUE` = 2067, …).
    public let code: Int32
    /// SQLite's own words, such as "UNIQUE constraint failed: trips.driver_id". For the log, not for users.
    public let message: String

    public init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    /// A row with the same unique key exists (a unique index or the primary key).
    public var isUniqueViolation: Bool {
        code == Self.constraintUnique || code == Self.constraintPrimaryKey || code == Self.constraintRowID
    }

    /// The statement was ended from outside before it was done.
    var wasInterrupted: Bool { primaryCode == SQLITE_INTERRUPT }

    /// The primary result code, without the extension.
    public var primaryCode: Int32 { code & 0xFF }

    /// The job was refused because the thread's queue is full: the caller answers "try again later".
    public static func queueFull(_ capacity: Int) -> SQLiteError {
        SQLiteError(code: SQLITE_BUSY, message: "\(capacity) jobs are waiting for the database already")
    }

    /// The job's deadline passed before the database came to its end; nothing was changed.
    public static let deadlineExceeded = SQLiteError(
        code: SQLITE_INTERRUPT, message: "the deadline passed while the job waited for the database")

    /// The thread was closed before the job was done; nothing was changed.
    public static let closed = SQLiteError(code: SQLITE_MISUSE, message: "the database is closed")

    /// The file was deleted, moved or replaced while it is open: what is written now would be lost.
    public static let moved = SQLiteError(
        code: SQLITE_READONLY | (4 << 8), message: "the file is not where it was opened")

    /// A value in the database that can't have been written by this program.
    static func unreadable(_ message: String) -> SQLiteError { SQLiteError(code: SQLITE_CORRUPT, message: message) }

    /// A system call on the file failed.
    static func system(_ what: String, _ code: Int32) -> SQLiteError {
        let reason = unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)"
        return SQLiteError(code: SQLITE_CANTOPEN, message: "\(what): \(reason)")
    }

    /// Whether it says something about the state of the database, and not about one job, one caller's hurry, or the load.
    public var isFailureOfTheDatabase: Bool {
        switch primaryCode {
        case SQLITE_CONSTRAINT, SQLITE_INTERRUPT, SQLITE_MISUSE: false
        case SQLITE_BUSY: !message.hasSuffix("waiting for the database already")
        default: true
        }
    }

    /// Whether the file holds what it can't.
    var isCorruption: Bool { [SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT].contains(primaryCode) }

    /// Why the database can't be used, in words for an operator: the cause and the remedy.
    public var reason: String {
        if self == .moved {
            return "The file was deleted, moved or replaced while it was in use; put it back, or restart the service."
        }
        switch primaryCode {
        case SQLITE_FULL: return "The disk is full; make room."
        case SQLITE_IOERR: return "The disk can't be read or written (full, over a quota, or failing)."
        case SQLITE_READONLY, SQLITE_PERM, SQLITE_AUTH: return "The file or its disk is read-only; make it writable."
        case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT: return "The file is damaged; restore it from a backup."
        case SQLITE_CANTOPEN: return "The file can't be opened; its folder is gone, or not accessible."
        case SQLITE_BUSY, SQLITE_LOCKED: return "Another program holds the file's lock; end it."
        case SQLITE_NOMEM: return "There is no memory left for it."
        default: return "It fails with the unexpected error \(code); the log has its words."
        }
    }

    public var description: String { "SQLite error \(code): \(message)" }

    // Extended codes are macros with arithmetic that Swift does not import.
    private static let constraintUnique: Int32 = SQLITE_CONSTRAINT | (8 << 8)
    private static let constraintPrimaryKey: Int32 = SQLITE_CONSTRAINT | (6 << 8)
    private static let constraintRowID: Int32 = SQLITE_CONSTRAINT | (10 << 8)
}
