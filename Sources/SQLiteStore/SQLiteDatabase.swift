import CSQLite

/// One connection to a SQLite file. It belongs to the thread that uses it (`SQLiteWriter` and `SQLiteReader` have one
/// each) and is never used on a loop: every call may block on the disk.
///
/// A writable one runs in WAL mode with `synchronous=FULL`: a committed transaction survives kill −9 and power loss,
/// and readers do not wait for the writer.
@safe public final class SQLiteDatabase {
    public enum Mode: Sendable { case readWrite, readOnly }

    private let handle: OpaquePointer
    /// Ends statements that take too long; asked by SQLite in between.
    let limit = StatementLimit()
    private let mode: Mode
    private var isClosed = false
    /// Statements by the address of their text, which for a literal never changes.
    private var statements: [UInt: SQLiteStatement] = [:]

    /// How long a call waits for another process's lock, in milliseconds.
    static let busyTimeout: Int32 = 5_000
    /// The same for the last checkpoint. Reason: whoever ends the program waits for it.
    static let lastBusyTimeout: Int32 = 1_000
    /// Instructions of SQLite's machine between two looks at the clock: some 10 µs.
    static let limitStep: Int32 = 1_000
    /// Pages of the log after which a commit brings them into the file (SQLite's default), and bytes of the log that are
    /// kept for the next ones. Reason: after a burst the log would keep its size until the end.
    static let keptLog = 16 << 20

    /// Opens the file, making it when it is missing and `mode` is `.readWrite`.
    public init(path: String, mode: Mode = .readWrite) throws(SQLiteError) {
        let flags =
            switch mode {
            case .readWrite: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
            case .readOnly: SQLITE_OPEN_READONLY
            }
        self.mode = mode
        var opened: OpaquePointer?
        let code = unsafe sqlite3_open_v2(path, &opened, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard let database = unsafe opened else {
            throw SQLiteError(code: code, message: "\(path) cannot be opened: out of memory")
        }
        guard code == SQLITE_OK else {
            let text = unsafe String(cString: sqlite3_errmsg(database))
            unsafe sqlite3_close_v2(database)
            throw SQLiteError(code: code, message: "\(path) cannot be opened: \(text)")
        }
        unsafe handle = database
        unsafe sqlite3_busy_timeout(database, Self.busyTimeout)
        // The connection does not outlive this object, so the callback may find the limit unretained.
        unsafe sqlite3_progress_handler(
            database, Self.limitStep,
            {
                unsafe Unmanaged<StatementLimit>.fromOpaque($0.unsafelyUnwrapped)._withUnsafeGuaranteedRef {
                    $0.isReached ? 1 : 0
                }
            },
            Unmanaged.passUnretained(limit).toOpaque())
        switch mode {
        case .readWrite:
            try execute(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                    + "PRAGMA journal_size_limit=\(Self.keptLog);")
        case .readOnly:
            try execute("PRAGMA query_only=ON;")
        }
    }

    deinit { close() }

    /// Closes the connection; nothing of it may be used any more. The last writable one of a file brings the whole log into
    /// the file first, so that one complete file is left and nothing beside it.
    ///
    /// - Returns: why that could not be done, nil if it was. (Everything that was committed is in the log then.)
    @discardableResult
    public func close() -> SQLiteError? {
        guard !isClosed else { return nil }
        isClosed = true
        limit.deadline = .max
        limit.allowOnce()
        statements = [:]
        var failure: SQLiteError?
        if mode == .readWrite {
            unsafe sqlite3_busy_timeout(handle, Self.lastBusyTimeout)
            let code = unsafe sqlite3_wal_checkpoint_v2(handle, nil, SQLITE_CHECKPOINT_TRUNCATE, nil, nil)
            if code != SQLITE_OK { failure = error }
        }
        // v2: if somebody still has a statement, the connection lives on until it is finalized.
        unsafe sqlite3_close_v2(handle)
        return failure
    }

    /// Runs a script of statements without parameters, such as a schema.
    public func execute(_ script: String) throws(SQLiteError) {
        guard unsafe sqlite3_exec(handle, script, nil, nil, nil) == SQLITE_OK else { throw error }
    }

    /// The statement for a literal, prepared on first use and kept: no parsing and no hashing of text afterwards.
    public func statement(_ sql: StaticString) throws(SQLiteError) -> SQLiteStatement {
        let key = unsafe UInt(bitPattern: sql.utf8Start)
        if let statement = statements[key] { return statement }
        let statement = try prepare(sql.description)
        statements[key] = statement
        return statement
    }

    /// Prepares a statement that is made at run time; the caller keeps it.
    public func prepare(_ sql: String) throws(SQLiteError) -> SQLiteStatement {
        var prepared: OpaquePointer?
        let code = unsafe sqlite3_prepare_v3(
            handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil)
        guard code == SQLITE_OK else { throw error }
        guard let statement = unsafe prepared else {
            throw SQLiteError(code: SQLITE_MISUSE, message: "there is no statement in \"\(sql)\"")
        }
        return unsafe SQLiteStatement(handle: statement, database: handle)
    }

    // MARK: Transactions

    /// Runs `body` in one transaction that is committed when `body` returns and rolled back when it throws.
    public func transaction<Value>(_ body: () throws -> Value) throws -> Value {
        try begin()
        let value: Value
        do {
            value = try body()
            try commit()
        } catch {
            rollBack()
            throw error
        }
        return value
    }

    func begin() throws(SQLiteError) { try statement("BEGIN IMMEDIATE").run() }
    func commit() throws(SQLiteError) { try statement("COMMIT").run() }

    /// Rolls back if anything is open. SQLite answers an error when it already did so itself: that is the wanted state.
    func rollBack() {
        guard isInTransaction else { return }
        try? statement("ROLLBACK").run()
    }

    /// Whether a transaction is open: false too when SQLite rolled it back by itself.
    public var isInTransaction: Bool { unsafe sqlite3_get_autocommit(handle) == 0 }

    /// The row id of the last inserted row.
    public var lastInsertRowID: Int64 { unsafe sqlite3_last_insert_rowid(handle) }

    /// Rows changed by the last INSERT, UPDATE or DELETE.
    public var changes: Int { Int(unsafe sqlite3_changes64(handle)) }

    // MARK: Schema

    /// Brings the schema up to date: `steps[n]` takes version n to n + 1, each in its own transaction, and the
    /// version is kept in `user_version`. A file from a newer program, and another program's file, are refused.
    ///
    /// - Parameter owner: a number in the file that says which service it belongs to; 0 if it belongs to none.
    public func migrate(_ steps: [String], owner: Int32 = 0) throws {
        let version = try prepare("PRAGMA user_version").first { try $0.int(0) } ?? 0
        let found = try prepare("PRAGMA application_id").first { try $0.int32(0) } ?? 0
        guard found == owner || found == 0 else {
            throw SQLiteError(
                code: SQLITE_SCHEMA, message: "the database belongs to another service; give each a file of its own")
        }
        guard (0...steps.count).contains(version) else {
            throw SQLiteError(
                code: SQLITE_SCHEMA,
                message: "the database has schema version \(version), this program knows up to \(steps.count)")
        }
        if found != owner { try execute("PRAGMA application_id=\(owner)") }
        for step in version..<steps.count {
            try transaction {
                try execute(steps[step])
                try execute("PRAGMA user_version=\(step + 1)")
            }
        }
    }

    // MARK: Errors

    private var error: SQLiteError { unsafe Self.error(of: handle) }

    /// The connection's last error.
    static func error(of database: OpaquePointer) -> SQLiteError {
        unsafe SQLiteError(
            code: sqlite3_extended_errcode(database), message: String(cString: sqlite3_errmsg(database)))
    }
}
