import SQLiteStore
import Testing

/// What a file holds is not the program's: a value is what it is, or an error that names it.
@Suite struct SQLiteRowTests {
    let folder = TemporaryFolder()

    private func read<Value>(_ literal: String, _ body: (SQLiteRow) throws -> Value) throws -> Value? {
        let database = try SQLiteDatabase(path: folder.file("db"))
        return try database.prepare("SELECT 'the key' AS id, \(literal) AS value").first(body)
    }

    @Test func aValueOfAnotherTypeIsAnErrorThatNamesRowAndColumn() throws {
        for literal in ["NULL", "'7'", "7.5", "x'00'", "'x'"] {
            let error = #expect(throws: SQLiteError.self) { try read(literal) { try $0.int64(1) } }
            #expect(error?.message.hasPrefix("value of the row the key is ") == true, "\(String(describing: error))")
        }
        for literal in ["NULL", "7", "7.5", "x'00'"] {
            #expect(throws: SQLiteError.self) { try read(literal) { try $0.text(1) } }
        }
        for literal in ["NULL", "'1'", "x'00'", "9e999", "-9e999"] {
            #expect(throws: SQLiteError.self) { try read(literal) { try $0.double(1) } }
        }
        #expect(throws: SQLiteError.self) { try read("'1'") { try $0.blob(1) } }
        #expect(try read("7") { try $0.double(1) } == 7)
    }

    @Test func aNumberOutOfRangeIsAnError() throws {
        for literal in ["-1", "-9223372036854775808"] {
            #expect(throws: SQLiteError.self) { try read(literal) { try $0.uint64(1) } }
        }
        for literal in ["2147483648", "-2147483649", "9223372036854775807"] {
            #expect(throws: SQLiteError.self) { try read(literal) { try $0.int32(1) } }
        }
        #expect(try read("9223372036854775807") { try $0.uint64(1) } == UInt64(Int64.max))
    }

    @Test func textThatIsNoUTF8IsAnError() throws {
        #expect(throws: SQLiteError.self) { try read("CAST(x'ff41' AS TEXT)") { try $0.text(1) } }
        #expect(try read("'Größe'") { try $0.text(1) } == "Größe")
    }

    @Test func aValueThatMeansNothingIsAnError() throws {
        let error = #expect(throws: SQLiteError.self) {
            try read("9") { row in try row.value(try row.int64(1), 1, "a status") { $0 < 4 ? $0 : nil } }
        }
        #expect(error?.message == "value of the row the key is 9, not a status")
        #expect(error?.isFailureOfTheDatabase == true)
    }
}
