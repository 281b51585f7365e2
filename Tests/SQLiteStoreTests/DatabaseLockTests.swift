import Reactor
import SQLiteStore
import Telemetry
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Behaviour 54: one user at a time has a database, by whatever name; a clean stop leaves one complete file.
@Suite struct DatabaseLockTests {
    let folder = TemporaryFolder()

    private func writer(_ path: String) throws -> SQLiteWriter {
        try SQLiteWriter(path: path) { try $0.migrate(["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"]) }
    }

    private func close(_ writer: SQLiteWriter) {
        writer.close()
        writer.waitUntilClosed()
    }

    private var files: [String] {
        var names: [String] = []
        guard let entries = unsafe opendir(folder.path) else { return [] }
        defer { unsafe closedir(entries) }
        while let entry = unsafe readdir(entries) {
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
                unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    // MARK: One at a time

    /// A file of that name would be made, or nothing kept.
    @Test(arguments: [":memory:", ""]) func aDatabaseWithoutAFileIsRefused(path: String) {
        let error = #expect(throws: SQLiteError.self) { try SQLiteWriter(path: path) }
        #expect(error?.message.contains("needs a file") == true)
        #expect(unsafe access(path, F_OK) != 0)
    }

    @Test func behaviour54_aFileIsRefusedByAnyNameWhileItIsInUse() throws {
        let path = folder.file("db")
        let first = try writer(path)
        unsafe symlink(path, folder.file("symbolic"))
        unsafe link(path, folder.file("hard"))
        for name in ["db", "symbolic", "hard"] {
            let error = #expect(throws: DatabaseInUse.self) { try writer(folder.file(name)) }
            #expect(error?.path == folder.file(name))
            #expect(error?.holder.contains(path) == true)
        }
        close(first)
        // SQLite's own locks outlived the refusals, and the file can be had again by another name.
        close(try writer(folder.file("symbolic")))
        close(try writer(path))
    }

    /// A process that has it: flock(1) stands for one.
    private func holder(_ path: String) throws -> pid_t {
        var pid = pid_t()
        // -F: it becomes the sleep, so that there is one process to end.
        let words = ["flock", "-F", "-x", path, "sleep", "60"]
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
        defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
        try #require(unsafe posix_spawnp(&pid, "flock", nil, nil, &arguments, environ) == 0)
        for _ in 0..<500 {
            let descriptor = unsafe open(path, O_RDONLY)
            defer { Glibc.close(descriptor) }
            if descriptor >= 0, flock(descriptor, LOCK_SH | LOCK_NB) != 0 { break }
            usleep(10_000)
        }
        return pid
    }

    @Test func behaviour54_anotherProcessIsNamedAndLeavesNothingBehindWhenItIsKilled() throws {
        let path = folder.file("db")
        close(try writer(path))
        let pid = try holder(path)
        let error = #expect(throws: DatabaseInUse.self) { try writer(path) }
        #expect(error?.description.contains("process \(pid) (") == true, "\(error?.description ?? "")")
        kill(pid, SIGKILL)
        var status: Int32 = 0
        unsafe waitpid(pid, &status, 0)
        close(try writer(path))
    }

    @Test func aLogThatSomebodyStillWritesIsNotOpenedWithAnotherFile() throws {
        let path = folder.file("db")
        let first = try writer(path)
        // Another file is put in its place while it runs: the log beside it is the old one's.
        copyFile(path, folder.file("copy"))
        unsafe rename(folder.file("copy"), path)
        #expect(throws: DatabaseInUse.self) { try writer(path) }
        close(first)
    }

    @Test func aFileThatIsNoneSaysSo() throws {
        for (path, words) in [(folder.path, "no regular file"), (folder.path + "/no/db", "No such file")] {
            let error = #expect(throws: SQLiteError.self) { try writer(path) }
            #expect(
                error?.message.contains(path) == true && error?.message.contains(words) == true,
                "\(String(describing: error))")
        }
    }

    // MARK: A clean stop

    /// The one file alone, as a backup takes it.
    private func rows(_ path: String) throws -> Int? {
        copyFile(path, folder.file("alone"))
        defer { unsafe unlink(folder.file("alone")) }
        return try SQLiteDatabase(path: folder.file("alone"), mode: .readOnly).statement("SELECT count(*) FROM t")
            .first { try $0.int(0) }
    }

    @Test func behaviour54_aCleanStopLeavesOneCompleteFile() async throws {
        let path = folder.file("db")
        let writer = try writer(path)
        let reader = try SQLiteReader(path: path)
        for number in 0..<100 {
            try await writer.perform { try $0.statement("INSERT INTO t VALUES (?, 'x')").run(.integer(Int64(number))) }
        }
        #expect(try await reader.perform { try $0.statement("SELECT count(*) FROM t").first { try $0.int(0) } } == 100)
        #expect(files == ["db", "db-shm", "db-wal"])
        await withCheckedContinuation { done in
            reader.close { writer.close { done.resume() } }
        }
        #expect(files == ["db"])
        #expect(try rows(path) == 100)
    }

    @Test func behaviour54_aReaderInTheMiddleOfALongSearchDoesNotHoldTheStopUp() async throws {
        let path = folder.file("db")
        let writer = try writer(path)
        let reader = try SQLiteReader(path: path)
        try await writer.perform { try $0.statement("INSERT INTO t VALUES (1, 'x')").run() }
        let loop = Mailbox()
        var error: SQLiteError?
        reader.submit(on: loop) { database in
            try database.statement(
                "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c, t"
            ).first { try $0.int(0) }
        } completion: {
            if case .failure(let failure) = $0 { error = failure as? SQLiteError }
        }
        // It is in the middle of it, not in the queue.
        usleep(50_000)
        await withCheckedContinuation { done in
            reader.close { writer.close { done.resume() } }
        }
        loop.run { error != nil }
        #expect(error == .closed)
        #expect(files == ["db"])
        #expect(try rows(path) == 1)
    }

    @Test func aSearchEndsAtItsDeadline() async throws {
        let path = folder.file("db")
        let writer = try writer(path)
        let reader = try SQLiteReader(path: path)
        let error = await #expect(throws: SQLiteError.self) {
            try await reader.perform(deadline: SystemClock.monotonicNanoseconds() + 20_000_000) { database in
                try database.statement(
                    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c"
                ).first { try $0.int(0) }
            }
        }
        #expect(error == .deadlineExceeded)
        // And the next one is as good as new.
        #expect(try await reader.perform { try $0.statement("SELECT count(*) FROM t").first { try $0.int(0) } } == 0)
        reader.close()
        reader.waitUntilClosed()
        close(writer)
    }

    /// A start that fails after the database was opened ends the process that way.
    @Test func behaviour54_theWorkBeforeTheExitClosesWhatIsOpen() async {
        // In a process of its own: it closes every database of its process.
        await #expect(processExitsWith: .success) {
            let folder = TemporaryFolder()
            let path = folder.file("db")
            let writer = try SQLiteWriter(path: path) { try $0.execute("CREATE TABLE t (v TEXT)") }
            let reader = try SQLiteReader(path: path)
            guard unsafe access(path + "-wal", F_OK) == 0 else { exit(2) }
            ExitWork.shared.run(within: 10_000)
            guard unsafe access(path + "-wal", F_OK) != 0, unsafe access(path, F_OK) == 0 else { exit(1) }
            withExtendedLifetime((writer, reader)) {}
        }
    }

    @Test func aSetUpThatFailsLeavesTheFileFreeAndWhole() throws {
        struct Refused: Error {}
        let path = folder.file("db")
        #expect(throws: Refused.self) {
            try SQLiteWriter(path: path) { database in
                try database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
                throw Refused()
            }
        }
        #expect(files == ["db"])
        #expect(try rows(path) == 0)
    }

    // MARK: A file that is not there any more

    @Test func aFileThatWasMovedAwayTakesNoMoreWritesUntilItIsBack() async throws {
        let path = folder.file("db")
        let writer = try writer(path)
        func insert() async throws {
            try await writer.perform { try $0.statement("INSERT INTO t VALUES (NULL, 'x')").run() }
        }
        try await insert()
        unsafe rename(path, folder.file("elsewhere"))
        let error = await #expect(throws: SQLiteError.self) { try await insert() }
        #expect(error == .moved && error?.isFailureOfTheDatabase == true)
        unsafe rename(folder.file("elsewhere"), path)
        try await insert()
        unsafe unlink(path + "-wal")
        await #expect(throws: SQLiteError.self) { try await insert() }
        close(writer)
    }

    @Test func aDatabaseOfAnotherServiceIsRefused() throws {
        let path = folder.file("db")
        let steps = ["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)"]
        close(try SQLiteWriter(path: path) { try $0.migrate(steps, owner: 1) })
        #expect(throws: SQLiteError.self) { try SQLiteWriter(path: path) { try $0.migrate(steps, owner: 2) } }
        close(try SQLiteWriter(path: path) { try $0.migrate(steps, owner: 1) })
    }

    // MARK: Who it is

    @Test func anOpeningBeginsAnEpochAndTheIdStays() throws {
        let database = try SQLiteDatabase(path: folder.file("db"))
        func open(_ wall: Int64) throws -> DatabaseIdentity {
            try database.transaction { try DatabaseIdentity(beginningEpochIn: database, wall: wall) }
        }
        let first = try open(1_000_000)
        #expect(first.epoch == 1_000_000 && first.id.count == 32)
        // The clock was set back, or stands in the year 10,000,000.
        let second = try open(5)
        #expect(second.epoch > first.epoch && second.id == first.id)
        let third = try open(.max)
        #expect(third.epoch > second.epoch && third.epoch < 1 << 53)
        #expect(try open(.min).epoch > third.epoch)
    }
}
