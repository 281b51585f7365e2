import SQLiteStore
import Testing

@Suite struct SQLiteDatabaseTests {
    let folder = TemporaryFolder()

    func database() throws -> SQLiteDatabase { try SQLiteDatabase(path: folder.file("db")) }

    @Test func everyTypeComesBackAsItWasBound() throws {
        let database = try database()
        try database.execute("CREATE TABLE t (a, b, c, d, e, f)")
        try database.statement("INSERT INTO t VALUES (?,?,?,?,?,?)").run(
            .integer(.min), .real(53.561234), .text("Größe 🚕"), .blob([0, 255, 1]), .null, .text(""))
        let row = try database.statement("SELECT * FROM t").first { (row) throws in
            #expect(try row.int64(0) == .min)
            #expect(try row.double(1) == 53.561234)
            #expect(try row.text(2) == "Größe 🚕")
            #expect(try row.blob(3) == [0, 255, 1])
            #expect(try row.isNull(4) && row.textIfPresent(4) == nil && row.int64IfPresent(4) == nil)
            #expect(try row.textIfPresent(5) == "")
            return true
        }
        #expect(row == true)
    }

    @Test func aUniqueViolationIsToldFromOtherErrors() throws {
        let database = try database()
        try database.execute("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER NOT NULL, u TEXT UNIQUE)")
        try database.statement("INSERT INTO t VALUES ('a', 1, 'x')").run()
        for sql in ["INSERT INTO t VALUES ('a', 2, 'y')", "INSERT INTO t VALUES ('b', 2, 'x')"] {
            let error = #expect(throws: SQLiteError.self) { try database.prepare(sql).run() }
            #expect(error?.isUniqueViolation == true)
        }
        let error = #expect(throws: SQLiteError.self) {
            try database.prepare("INSERT INTO t VALUES ('c', NULL, 'z')").run()
        }
        #expect(error?.isUniqueViolation == false)
        #expect(error?.message == "NOT NULL constraint failed: t.n")
    }

    @Test func aStatementIsPreparedOnceAndStartsCleanAfterAnError() throws {
        let database = try database()
        try database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
        func insert() throws -> SQLiteStatement { try database.statement("INSERT INTO t VALUES (?, ?)") }
        try insert().run(1, "one")
        #expect(throws: SQLiteError.self) { try insert().run(1, "again") }
        try insert().run(2)  // the second parameter is NULL, not what was bound before
        #expect(try insert() === insert())
        #expect(try database.statement("SELECT v FROM t WHERE id = 2").first { $0.isNull(0) } == true)
    }

    @Test func aTransactionThatThrowsLeavesNothing() throws {
        struct Refused: Error {}
        let database = try database()
        try database.execute("CREATE TABLE t (v)")
        #expect(throws: Refused.self) {
            try database.transaction {
                try database.statement("INSERT INTO t VALUES (1)").run()
                throw Refused()
            }
        }
        #expect(!database.isInTransaction)
        #expect(try database.statement("SELECT count(*) FROM t").first { try $0.int(0) } == 0)
    }

    @Test func aSchemaIsMigratedStepByStepAndANewerOneIsRefused() throws {
        let steps = ["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y"]
        try database().migrate([steps[0]])
        let second = try database()
        try second.migrate(steps)
        try second.migrate(steps)
        try second.statement("INSERT INTO a VALUES (1, 2)").run()
        #expect(throws: SQLiteError.self) { try database().migrate([steps[0]]) }
    }

    @Test func writesAreDurableByDefault() throws {
        let database = try database()
        #expect(try database.statement("PRAGMA journal_mode").first { try $0.text(0) } == "wal")
        #expect(try database.statement("PRAGMA synchronous").first { try $0.int(0) } == 2)
    }

    @Test func aFileThatCannotBeOpenedSaysWhich() throws {
        let error = #expect(throws: SQLiteError.self) { try SQLiteDatabase(path: folder.path + "/no/such/db") }
        #expect(error?.message.contains("/no/such/db") == true)
    }

    /// A disk with room for one page, and not for a booking: the check said "works again" a second after each refusal.
    @Test func aProbeNeedsTheRoomOfARequest() throws {
        let database = try database()
        try database.execute("CREATE TABLE t (x BLOB); INSERT INTO t VALUES (zeroblob(100))")
        try database.probeWriting()
        let pages = try database.statement("PRAGMA page_count").first { try $0.int(0) } ?? 0
        try database.execute("DELETE FROM probe; PRAGMA wal_checkpoint(TRUNCATE); VACUUM")
        try database.execute("PRAGMA max_page_count = \(max(1, pages - 10))")
        try database.execute("UPDATE t SET x = zeroblob(101)")
        let error = #expect(throws: SQLiteError.self) { try database.probeWriting() }
        #expect(error?.isFailureOfTheDatabase == true)
        try database.execute("PRAGMA max_page_count = 1000000")
        try database.probeWriting()
        try database.probeWriting()
    }
}
