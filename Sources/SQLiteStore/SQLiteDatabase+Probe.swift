extension SQLiteDatabase {
    /// Writes as much as any one request does, within a job of the writer: where there is room for a page and not for a booking,
    /// nothing works again yet. It leaves one row behind, which the next probe replaces.
    public func probeWriting() throws {
        try execute("CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, room BLOB NOT NULL) STRICT")
        try statement("INSERT OR REPLACE INTO probe VALUES (1, randomblob(65536))").run()
    }
}
