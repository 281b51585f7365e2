import SQLiteStore
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct SQLiteWriterTests {
    let folder = TemporaryFolder()
    let loop = Mailbox()

    func writer(capacity: Int = SQLiteWriter.defaultCapacity) throws -> SQLiteWriter {
        try SQLiteWriter(path: folder.file("db"), capacity: capacity) {
            try $0.migrate(["CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT UNIQUE)"])
        }
    }

    func count(_ path: String? = nil) throws -> Int? {
        try SQLiteDatabase(path: path ?? folder.file("db")).statement("SELECT count(*) FROM t").first { try $0.int(0) }
    }

    @Test func completionsRunOnTheLoopInOrderAfterTheCommit() throws {
        let writer = try writer()
        var seen: [Int] = []
        for number in 0..<500 {
            writer.submit(on: loop) { database in
                try database.statement("INSERT INTO t VALUES (?, ?)").run(.integer(Int64(number)), .text("\(number)"))
                return number
            } completion: { result in
                // Whoever is told so may look with a connection of his own.
                if number % 100 == 0 { #expect((try? count()) ?? 0 > number) }
                if let number = try? result.get() { seen.append(number) }
            }
        }
        loop.run { seen.count == 500 }
        #expect(seen == Array(0..<500))
        writer.close()
        writer.waitUntilClosed()
        #expect(try count() == 500)
    }

    @Test func jobsThatWaitShareOneTransactionOfAtMost64() throws {
        let writer = try writer()
        let gate = Atomic<Bool>(false)
        let isRunning = Atomic<Bool>(false)
        writer.submit(on: loop) { _ in
            isRunning.store(true, ordering: .releasing)
            while !gate.load(ordering: .acquiring) { usleep(100) }
        } completion: { _ in
        }
        while !isRunning.load(ordering: .acquiring) { usleep(100) }
        var left = 200
        for number in 0..<200 {
            writer.submit(on: loop) { database in
                if number % 3 == 0 { throw SQLiteError.closed }
                try database.statement("INSERT INTO t VALUES (?, NULL)").run(.integer(Int64(number)))
            } completion: { _ in
                left -= 1
            }
        }
        gate.store(true, ordering: .releasing)
        loop.run { left == 0 }
        #expect(try count() == 133)
        #expect(writer.commits == 1 + 4)  // the gate's own, then 64 + 64 + 64 + 8
    }

    @Test func aFailingJobUndoesItsOwnChangesOnly() throws {
        let writer = try writer()
        var outcomes: [Int: Bool] = [:]
        for number in 0..<64 {
            writer.submit(on: loop) { database in
                try database.statement("INSERT INTO t VALUES (?, NULL)").run(.integer(Int64(number)))
                try database.statement("INSERT INTO t VALUES (?, ?)").run(
                    .integer(Int64(1_000 + number)), .text(number % 2 == 0 ? "same" : "\(number)"))
            } completion: { result in
                if case .success = result { outcomes[number] = true } else { outcomes[number] = false }
            }
        }
        loop.run { outcomes.count == 64 }
        #expect(outcomes.filter(\.value).count == 33)
        #expect(outcomes[0] == true && outcomes[2] == false && outcomes[3] == true)
        #expect(try count() == 66)
    }

    @Test func aTransactionThatSQLiteRolledBackIsDoneAgainWithoutTheJobThatFailed() throws {
        let writer = try writer()
        let gate = Atomic<Bool>(false)
        var outcomes: [Int: Bool] = [:]
        writer.submit(on: loop) { _ in
            while !gate.load(ordering: .acquiring) { usleep(100) }
        } completion: { _ in
        }
        usleep(5_000)
        for number in 0..<10 {
            writer.submit(on: loop) { database in
                try database.statement("INSERT INTO t VALUES (?, NULL)").run(.integer(Int64(number)))
                if number == 5 {
                    // What a full disk or an I/O error does.
                    try database.execute("ROLLBACK")
                    throw SQLiteError(code: 13, message: "database or disk is full")
                }
            } completion: { result in
                if case .success = result { outcomes[number] = true } else { outcomes[number] = false }
            }
        }
        gate.store(true, ordering: .releasing)
        loop.run { outcomes.count == 10 }
        // A job is acknowledged exactly when its row is there.
        let rows = try SQLiteDatabase(path: folder.file("db"))
        for number in 0..<10 {
            let there = try rows.statement("SELECT 1 FROM t WHERE id = ?").first(.integer(Int64(number))) { _ in true }
            #expect((there ?? false) == outcomes[number], "job \(number)")
        }
        #expect(outcomes.filter { !$0.value }.map(\.key) == [5])
    }

    @Test func aFullQueueRefusesAndSaysSo() throws {
        let writer = try writer(capacity: 3)
        let gate = Atomic<Bool>(false)
        var refused = 0
        var done = 0
        for _ in 0..<5 {
            writer.submit(on: loop) { _ in
                while !gate.load(ordering: .acquiring) { usleep(100) }
            } completion: {
                done += 1
                if case .failure(let error as SQLiteError) = $0, error == .queueFull(3) { refused += 1 }
            }
        }
        gate.store(true, ordering: .releasing)
        loop.run { done == 5 }
        #expect(refused == 2)
    }

    @Test func aJobWhoseDeadlinePassedIsNotBegun() async throws {
        let writer = try writer()
        let error = await #expect(throws: SQLiteError.self) {
            try await writer.perform(deadline: 1) { try $0.statement("INSERT INTO t VALUES (1, NULL)").run() }
        }
        #expect(error == .deadlineExceeded)
        #expect(try count() == 0)
    }

    /// Of a crowd that waits, every second one leaves: nothing of theirs is done, and their places are free for others.
    @Test func aTaskThatIsCancelledTakesItsJobOutOfTheQueue() async throws {
        let writer = try writer(capacity: 101)
        let gate = Atomic<Bool>(false)
        let begun = Atomic<Bool>(false)
        let first = Task {
            try await writer.perform { _ in
                begun.store(true, ordering: .releasing)
                while !gate.load(ordering: .acquiring) { usleep(100) }
            }
        }
        while !begun.load(ordering: .acquiring) { await Task.yield() }
        let waiting = (0..<100).map { number in
            Task {
                try await writer.perform { try $0.statement("INSERT INTO t VALUES (?, NULL)").run(.integer(number)) }
            }
        }
        while writer.pending < 101 { await Task.yield() }
        for (number, task) in waiting.enumerated() where number % 2 == 0 { task.cancel() }
        // They end while the first job still has the thread.
        for (number, task) in waiting.enumerated() where number % 2 == 0 {
            await #expect(throws: CancellationError.self) { try await task.value }
        }
        #expect(writer.pending == 51)
        // Too late: it has begun.
        first.cancel()
        gate.store(true, ordering: .releasing)
        try await first.value
        for (number, task) in waiting.enumerated() where number % 2 == 1 { try await task.value }
        #expect(try count() == 50)
        let never = Task {
            while !Task.isCancelled { await Task.yield() }
            try await writer.perform { try $0.statement("DELETE FROM t").run() }
        }
        never.cancel()
        await #expect(throws: CancellationError.self) { try await never.value }
        #expect(try count() == 50)
        #expect(writer.pending == 0)
    }

    @Test func closeFinishesWhatWaitsAndRefusesTheRest() throws {
        let writer = try writer()
        var results: [Bool] = []
        for number in 0..<200 {
            if number == 100 { writer.close() }
            writer.submit(on: loop) { database in
                try database.statement("INSERT INTO t VALUES (?, NULL)").run(.integer(Int64(number)))
            } completion: { result in
                if case .success = result { results.append(true) } else { results.append(false) }
            }
        }
        writer.waitUntilClosed()
        loop.run { results.count == 200 }
        #expect(results.filter { $0 }.count == 100)
        #expect(try count() == 100)
    }

    /// The files as they are at the moment of an acknowledgement are what kill −9 leaves.
    @Test func behaviour33_whatWasAcknowledgedIsThereAfterKill() async throws {
        let writer = try writer()
        for number in 0..<50 {
            try await writer.perform { database in
                try database.statement("INSERT INTO t VALUES (?, NULL)").run(.integer(Int64(number)))
            }
            guard number % 10 == 9 else { continue }
            let copy = folder.file("after-\(number)")
            copyFile(folder.file("db"), copy)
            copyFile(folder.file("db-wal"), copy + "-wal")
            #expect(try count(copy) == number + 1)
        }
    }

    @Test func aReaderSeesWhatWasCommittedAndCannotWrite() async throws {
        let writer = try writer()
        let reader = try SQLiteReader(path: folder.file("db"))
        for number in 0..<20 {
            try await writer.perform { database in
                try database.statement("INSERT INTO t VALUES (?, NULL)").run(.integer(Int64(number)))
            }
            let rows = try await reader.perform { try $0.statement("SELECT count(*) FROM t").first { try $0.int(0) } }
            #expect(rows == number + 1)
        }
        await #expect(throws: SQLiteError.self) {
            try await reader.perform { try $0.statement("DELETE FROM t").run() }
        }
        reader.close()
        reader.waitUntilClosed()
    }
}
