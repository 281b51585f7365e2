import Reactor
import ReactorSim
import SQLiteStore
import Storage
import Telemetry
import Testing

/// Whether a database works, in virtual time.
@Suite struct DatabaseHealthTests {
    private final class World {
        let network = SimulatedNetwork(seed: 1)
        let loop: EventLoop
        var outcome: Result<Void, StorageError> = .success(())
        var probes: [(at: UInt64, writing: Bool)] = []
        var changes: [String?] = []
        var health: DatabaseHealth!
        var whenProbed: () -> Void = {}

        init() throws {
            loop = try network.makeLoop()
            health = DatabaseHealth(loop: loop, logger: Logger(label: "test", sink: LogSink(descriptor: -1))) {
                [unowned self] writing throws(StorageError) in
                probes.append((loop.now, writing))
                whenProbed()
                let outcome = outcome
                await loop.wait { loop.execute($0) }
                try outcome.get()
            }
            health.onChange = { [unowned self] in changes.append($0) }
        }

        func run(seconds: UInt64) {
            var isOver = false
            loop.schedule(after: seconds * 1_000_000_000) { isOver = true }
            network.run(until: { isOver }, limit: (seconds + 1) * 1_000_000_000)
        }
    }

    @Test func aFailureIsSaidAndTheProbeBringsTheEndOfIt() throws {
        let world = try World()
        world.outcome = .failure(StorageError(SQLiteError(code: 13, message: "database or disk is full")))
        world.health.failed(StorageError(SQLiteError(code: 13, message: "database or disk is full")))
        #expect(world.changes == ["The disk is full; make room."])
        world.run(seconds: 10)
        #expect(world.health.isFailing)
        #expect((9...10).contains(world.probes.count) && world.probes.allSatisfy(\.writing))
        world.outcome = .success(())
        world.run(seconds: 2)
        #expect(!world.health.isFailing && world.changes.last == .some(nil))
        let count = world.probes.count
        world.run(seconds: 20)
        // A look now and then, which writes nothing.
        #expect((3...4).contains(world.probes.count - count))
        #expect(world.probes.suffix(3).allSatisfy { !$0.writing })
    }

    /// The database is closed while the answer of a probe is on its way: that is no news, and nobody probes it again.
    @Test(arguments: [true, false]) func aProbeUnderWayIsTheLast(isFailing: Bool) throws {
        let world = try World()
        let full = StorageError(SQLiteError(code: 13, message: "database or disk is full"))
        if isFailing { world.health.failed(full) } else { world.outcome = .failure(full) }
        let known = world.changes
        world.whenProbed = { world.health.stop() }
        world.run(seconds: 20)
        #expect(world.probes.count == 1 && world.changes == known)
    }

    @Test func aFileThatGoesAwayIsNoticedWithoutAnyWrite() throws {
        let world = try World()
        world.outcome = .failure(StorageError(SQLiteError.moved))
        world.run(seconds: 6)
        #expect(world.health.isFailing)
        #expect(world.changes.first??.contains("deleted, moved or replaced") == true)
    }

    @Test func whatSaysNothingAboutTheDatabaseChangesNothing() throws {
        let world = try World()
        for error in [
            SQLiteError.deadlineExceeded, .closed, .queueFull(5), SQLiteError(code: 2067, message: "UNIQUE"),
        ] { world.health.failed(StorageError(error)) }
        #expect(world.changes.isEmpty && !world.health.isFailing)
    }

    @Test func everyFailureHasWordsForAnOperator() {
        for code in [1, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15, 16, 20, 23, 24, 26, 1032, 4874] as [Int32] {
            let reason = SQLiteError(code: code, message: "secret words").reason
            #expect(!reason.contains("secret") && reason.hasSuffix("."), "\(code)")
        }
    }
}
