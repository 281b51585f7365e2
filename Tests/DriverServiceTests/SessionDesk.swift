import Access
import Reactor
import ReactorSim
import RideAPI
import RideDomain
import SQLiteStore
import Storage
import TestSupport
import Testing

@testable import DriverService

/// A book of sessions on a loop in virtual time and a real file. Everything runs on the test's thread: a question turns the loop until
/// its answer comes.
final class SessionDesk: RevocationAnnouncer {
    static let day: UInt64 = 86_400_000_000_000

    let network: SimulatedNetwork
    let loop: EventLoop
    private let folder = TemporaryFolder()
    private(set) var path: String
    private(set) var book: SessionBook!
    private(set) var drivers: SQLiteDriverRepository!
    private var copies = 0
    /// What was published, and whether it is acknowledged.
    private(set) var published: [Revocation] = []
    var acknowledges = true

    init(seed: UInt64 = 1, drivers ids: [String] = ["ada"]) throws {
        network = SimulatedNetwork(seed: seed)
        loop = try network.makeLoop()
        path = folder.file("driver.db")
        try open()
        for id in ids {
            let profile = DriverProfile(id: id, name: "Ada", vehicle: Vehicle(Station.vehicle))
            let driver = Driver(profile: profile, position: home, measuredAt: 1, updatedAt: 1, revision: 1)
            _ = answer { [drivers] in try await drivers!.insert(driver, deadline: nil) }
        }
    }

    private func open() throws {
        drivers = try SQLiteDriverRepository.open(path: path, loop: loop, wall: loop.wallClockMilliseconds).0
        book = SessionBook(loop: loop, repository: drivers.sessions, announcer: self)
    }

    func publish(_ revocation: Revocation, delivered: @escaping () -> Void) {
        published.append(revocation)
        if acknowledges { delivered() }
    }

    /// Goes on with a copy of the files as they are now: what kill −9 leaves.
    func crash() throws {
        copies += 1
        let copy = folder.file("after-kill-\(copies).db")
        for suffix in ["", "-wal"] { Files.copy(path + suffix, copy + suffix) }
        close()
        path = copy
        try open()
    }

    /// Changes the file while it is closed.
    func change(_ sql: String) throws {
        close()
        let database = try SQLiteDatabase(path: path)
        try database.execute(sql)
        database.close()
        try open()
    }

    func close() {
        _ = answer { [drivers] () async throws(StorageError) in await drivers!.close() }
    }

    /// Lets time pass.
    func pass(nanoseconds: UInt64) {
        network.run(for: nanoseconds)
        loop.turn()
    }

    func answer<Value, Failure: Error>(
        _ ask: @escaping () async throws(Failure) -> Value
    ) -> Result<Value, Failure> {
        var result: Result<Value, Failure>?
        loop.start {
            do throws(Failure) {
                result = .success(try await ask())
            } catch {
                result = .failure(error)
            }
        }
        turn { result != nil }
        return result!
    }

    /// Turns the loop until `isDone`, at most 60 s.
    func turn(until isDone: () -> Bool) {
        let limit = ContinuousClock.now + .seconds(60)
        while !isDone() {
            guard ContinuousClock.now < limit else {
                Issue.record("no answer within 60 s")
                return
            }
            loop.turn()
        }
    }

    // MARK: Asking

    func begin(_ subject: String, _ roles: Set<Role> = [.rider]) -> Result<Session, DriverError> {
        answer { [book] () async throws(DriverError) in
            try await book!.begin(Identity(subject: subject, roles: roles), deadline: .max)
        }
    }

    func refresh(_ token: String) -> Result<Session, DriverError> {
        answer { [book] () async throws(DriverError) in try await book!.refresh(token, deadline: .max) }
    }

    func end(_ token: String) {
        _ = answer { [book] () async throws(DriverError) in try await book!.end(token, deadline: .max) }
    }

    func enrol(_ driver: String) -> Result<String, DriverError> {
        answer { [book] () async throws(DriverError) in try await book!.enrol(driver, deadline: .max).code.text }
    }

    func redeem(code: String) -> Result<Session, DriverError> {
        answer { [book] () async throws(DriverError) in try await book!.redeem(code: code, deadline: .max) }
    }

    func ticket(_ grant: TicketGrant) -> Result<String, DriverError> {
        answer { [book] () async throws(DriverError) in
            try await book!.makeTicket(grant, deadline: .max).ticket.text
        }
    }

    func redeem(ticket: String, path: String) -> Result<TicketGrant, DriverError> {
        answer { [book] () async throws(DriverError) in
            try await book!.redeem(ticket: ticket, path: path, deadline: .max)
        }
    }

    func revoke(_ target: Revocation.Target) -> Result<Int64, DriverError> {
        answer { [book] () async throws(DriverError) in
            try await book!.revoke(target, reason: "stolen", deadline: .max)
        }
    }

    func sweep() -> Result<SweepOutcome, StorageError> {
        answer { [self] () async throws(StorageError) in
            try await drivers.sessions.sweep(at: loop.wallClockMilliseconds)
        }
    }
}

extension Result {
    /// What it failed by.
    var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
    /// What it is, if it did not fail.
    var value: Success? { try? get() }
}
