import CSQLite

/// The current row of a query. Columns count from 0; a column outside the row traps, for it is a mistake in the program.
///
/// What the file holds is not the program's: a value of another type, out of range or without meaning is an error that
/// names the column, never a value that was made of it.
public struct SQLiteRow {
    let statement: SQLiteStatement

    public func isNull(_ column: Int32) -> Bool { statement.type(of: column) == SQLITE_NULL }

    public func int64(_ column: Int32) throws(SQLiteError) -> Int64 {
        try expect(column, [SQLITE_INTEGER], "an integer")
        return statement.integer(column)
    }

    public func int(_ column: Int32) throws(SQLiteError) -> Int {
        guard let value = Int(exactly: try int64(column)) else {
            throw unreadable(column, "an integer of this machine")
        }
        return value
    }

    public func int32(_ column: Int32) throws(SQLiteError) -> Int32 {
        guard let value = Int32(exactly: try int64(column)) else { throw unreadable(column, "an integer of 32 bits") }
        return value
    }

    /// A number that counts, such as a sequence number.
    public func uint64(_ column: Int32) throws(SQLiteError) -> UInt64 {
        guard let value = UInt64(exactly: try int64(column)) else { throw unreadable(column, "an integer from 0 on") }
        return value
    }

    /// A finite number.
    public func double(_ column: Int32) throws(SQLiteError) -> Double {
        try expect(column, [SQLITE_FLOAT, SQLITE_INTEGER], "a number")
        let value = statement.real(column)
        guard value.isFinite else { throw unreadable(column, "a finite number") }
        return value
    }

    public func text(_ column: Int32) throws(SQLiteError) -> String {
        try expect(column, [SQLITE_TEXT], "text")
        guard let text = statement.text(column) else { throw unreadable(column, "text in UTF-8") }
        return text
    }

    public func blob(_ column: Int32) throws(SQLiteError) -> [UInt8] {
        try expect(column, [SQLITE_BLOB], "bytes")
        return statement.blob(column)
    }

    public func int64IfPresent(_ column: Int32) throws(SQLiteError) -> Int64? {
        isNull(column) ? nil : try int64(column)
    }
    public func uint64IfPresent(_ column: Int32) throws(SQLiteError) -> UInt64? {
        isNull(column) ? nil : try uint64(column)
    }
    public func doubleIfPresent(_ column: Int32) throws(SQLiteError) -> Double? {
        isNull(column) ? nil : try double(column)
    }
    public func textIfPresent(_ column: Int32) throws(SQLiteError) -> String? {
        isNull(column) ? nil : try text(column)
    }
    public func blobIfPresent(_ column: Int32) throws(SQLiteError) -> [UInt8]? {
        isNull(column) ? nil : try blob(column)
    }

    /// What `make` makes of the value, or the error that it means nothing.
    /// - Parameter expected: what it should have been: "a status of trips".
    public func value<Read, Value>(
        _ read: Read, _ column: Int32, _ expected: String, _ make: (Read) -> Value?
    ) throws(SQLiteError) -> Value {
        guard let value = make(read) else { throw unreadable(column, expected) }
        return value
    }

    /// The error of a value that means nothing; the first column, which is most often the key, tells the row.
    public func unreadable(_ column: Int32, _ expected: String) -> SQLiteError {
        let key = statement.text(0) ?? "?"
        return .unreadable(
            "\(statement.name(of: column)) of the row \(key.prefix(80)) is \(describe(column)), not \(expected)")
    }

    private func expect(_ column: Int32, _ types: [Int32], _ expected: String) throws(SQLiteError) {
        if !types.contains(statement.type(of: column)) { throw unreadable(column, expected) }
    }

    private func describe(_ column: Int32) -> String {
        switch statement.type(of: column) {
        case SQLITE_NULL: "NULL"
        case SQLITE_INTEGER: "\(statement.integer(column))"
        case SQLITE_FLOAT: "\(statement.real(column))"
        case SQLITE_TEXT: "the text \"\((statement.text(column) ?? "not UTF-8").prefix(40))\""
        default: "bytes"
        }
    }
}
