import CSQLite

/// A prepared statement: bind, step, read columns, reset.
///
/// It belongs to its database's thread. `run`, `query` and `first` bind, step and reset in one call and are what
/// repositories use; `bind`, `step` and `reset` are the parts. A statement that is being stepped by `query` cannot be
/// used again before that `query` returns (a nested use traps: it would silently end the outer one).
@safe public final class SQLiteStatement {
    private let handle: OpaquePointer
    private let database: OpaquePointer
    private var isStepping = false
    /// Whether columns can be read: the last `step` found a row.
    private var hasRow = false
    private let columnCount: Int32

    init(handle: OpaquePointer, database: OpaquePointer) {
        unsafe self.handle = handle
        unsafe self.database = database
        columnCount = unsafe sqlite3_column_count(handle)
    }

    deinit {
        unsafe sqlite3_finalize(handle)
    }

    // MARK: Whole statements

    /// Binds `values` to parameters 1, 2, … and runs the statement to its end, ignoring rows.
    public func run(_ values: SQLiteValue...) throws(SQLiteError) {
        try bind(values)
        try run()
    }

    /// Runs the statement with what is bound, to its end, then resets it.
    public func run() throws(SQLiteError) {
        defer { reset() }
        while try step() {}
    }

    /// Binds `values`, then calls `body` with each row. The row is valid during the call only.
    public func query(_ values: SQLiteValue..., body: (SQLiteRow) throws -> Void) throws {
        try bind(values)
        try query(body)
    }

    /// Calls `body` with each row of the statement as it is bound.
    public func query(_ body: (SQLiteRow) throws -> Void) throws {
        precondition(!isStepping, "a statement was used again inside its own query")
        isStepping = true
        defer {
            isStepping = false
            reset()
        }
        while try step() { try body(SQLiteRow(statement: self)) }
    }

    /// Binds `values` and returns what `body` makes of the first row, or nil if there is none.
    public func first<Value>(_ values: SQLiteValue..., body: (SQLiteRow) throws -> Value) throws -> Value? {
        try bind(values)
        return try first(body)
    }

    /// Returns what `body` makes of the first row of the statement as it is bound, or nil if there is none.
    public func first<Value>(_ body: (SQLiteRow) throws -> Value) throws -> Value? {
        precondition(!isStepping, "a statement was used again inside its own query")
        isStepping = true
        defer {
            isStepping = false
            reset()
        }
        return try step() ? try body(SQLiteRow(statement: self)) : nil
    }

    // MARK: Parts

    /// Binds an array of values to parameters 1, 2, ….
    public func bind(_ values: [SQLiteValue]) throws(SQLiteError) {
        precondition(!isStepping, "a statement was bound inside its own query")
        var index: Int32 = 1
        for value in values {
            switch value {
            case .null: try bindNull(at: index)
            case .integer(let value): try bind(value, at: index)
            case .real(let value): try bind(value, at: index)
            case .text(let value): try bind(value, at: index)
            case .blob(let value): try bind(value, at: index)
            }
            index += 1
        }
    }

    /// Parameters count from 1.
    public func bindNull(at index: Int32) throws(SQLiteError) {
        try check(unsafe sqlite3_bind_null(handle, index))
    }

    public func bind(_ value: Int64, at index: Int32) throws(SQLiteError) {
        try check(unsafe sqlite3_bind_int64(handle, index, value))
    }

    public func bind(_ value: Double, at index: Int32) throws(SQLiteError) {
        try check(unsafe sqlite3_bind_double(handle, index, value))
    }

    public func bind(_ value: String, at index: Int32) throws(SQLiteError) {
        var value = value
        let code = value.withUTF8 { bytes in
            // An empty string may have no base address, and a nil pointer would bind NULL.
            guard let base = bytes.baseAddress else { return unsafe csqlite_bind_text_copy(handle, index, "", 0) }
            return unsafe base.withMemoryRebound(to: CChar.self, capacity: bytes.count) {
                unsafe csqlite_bind_text_copy(handle, index, $0, Int32(clamping: bytes.count))
            }
        }
        try check(code)
    }

    public func bind(_ value: [UInt8], at index: Int32) throws(SQLiteError) {
        let code = unsafe value.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, unsafe !bytes.isEmpty else {
                return unsafe sqlite3_bind_zeroblob(handle, index, 0)
            }
            return unsafe csqlite_bind_blob_copy(handle, index, base, Int32(clamping: bytes.count))
        }
        try check(code)
    }

    /// Goes to the next row: true if there is one.
    public func step() throws(SQLiteError) -> Bool {
        let code = unsafe sqlite3_step(handle)
        hasRow = code == SQLITE_ROW
        if code == SQLITE_ROW || code == SQLITE_DONE { return hasRow }
        throw unsafe SQLiteDatabase.error(of: database)
    }

    /// Ends the rows and forgets the bound values, so that the statement can be used again.
    public func reset() {
        hasRow = false
        unsafe sqlite3_reset(handle)
        unsafe sqlite3_clear_bindings(handle)
    }

    private func check(_ code: Int32) throws(SQLiteError) {
        guard code == SQLITE_OK else { throw unsafe SQLiteDatabase.error(of: database) }
    }

    // MARK: Columns (of the current row)

    /// The handle, once it is sure that a column may be read: outside a row SQLite's answer is undefined.
    private func column(_ index: Int32) -> OpaquePointer {
        precondition(hasRow && index >= 0 && index < columnCount, "a column was read outside its row")
        return unsafe handle
    }

    /// `SQLITE_INTEGER`, `SQLITE_FLOAT`, `SQLITE_TEXT`, `SQLITE_BLOB` or `SQLITE_NULL`: of the value, not of the column.
    func type(of index: Int32) -> Int32 { unsafe sqlite3_column_type(column(index), index) }
    func integer(_ index: Int32) -> Int64 { unsafe sqlite3_column_int64(column(index), index) }
    func real(_ index: Int32) -> Double { unsafe sqlite3_column_double(column(index), index) }

    /// nil: it is not UTF-8.
    func text(_ index: Int32) -> String? {
        guard let base = unsafe sqlite3_column_text(column(index), index) else { return "" }
        let count = Int(unsafe sqlite3_column_bytes(handle, index))
        let bytes = unsafe Span(_unsafeElements: UnsafeBufferPointer(start: base, count: count))
        guard let text = try? UTF8Span(validating: bytes) else { return nil }
        return String(copying: text)
    }

    func name(of index: Int32) -> String {
        guard let name = unsafe sqlite3_column_name(column(index), index) else { return "column \(index)" }
        return unsafe String(cString: name)
    }

    func blob(_ index: Int32) -> [UInt8] {
        guard let base = unsafe sqlite3_column_blob(column(index), index) else { return [] }
        let count = Int(unsafe sqlite3_column_bytes(handle, index))
        return unsafe [UInt8](UnsafeRawBufferPointer(start: base, count: count))
    }
}
