import CSQLite

/// What SQLite refused, with its extended result code and the text that names the constraint or the statement.
public struct SQLiteError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The extended result code (`SQLITE_CONSTRAINT_UNIQUE` = 2067, …).
    public let code: Int32
    /// SQLite's own words, such as "UNIQUE constraint failed: trips.driver_id".
    public let message: String

    public init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    /// A row with the same unique key exists (a unique index or the primary key).
    public var isUniqueViolation: Bool {
        code == Self.constraintUnique || code == Self.constraintPrimaryKey || code == Self.constraintRowID
    }

    /// The primary result code, without the extension.
    public var primaryCode: Int32 { code & 0xFF }

    /// The job was refused because the thread's queue is full: the caller answers "try again later".
    public static func queueFull(_ capacity: Int) -> SQLiteError {
        SQLiteError(code: SQLITE_BUSY, message: "\(capacity) jobs are waiting for the database already")
    }

    /// The job's deadline passed before the database thread came to it; nothing was done.
    public static let deadlineExceeded = SQLiteError(
        code: SQLITE_INTERRUPT, message: "the deadline passed while the job waited for the database")

    /// The thread was closed before the job was submitted; nothing was done.
    public static let closed = SQLiteError(code: SQLITE_MISUSE, message: "the database is closed")

    public var description: String { "SQLite error \(code): \(message)" }

    // Extended codes are macros with arithmetic that Swift does not import.
    private static let constraintUnique: Int32 = SQLITE_CONSTRAINT | (8 << 8)
    private static let constraintPrimaryKey: Int32 = SQLITE_CONSTRAINT | (6 << 8)
    private static let constraintRowID: Int32 = SQLITE_CONSTRAINT | (10 << 8)
}
