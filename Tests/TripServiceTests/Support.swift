import KafkaClient
import Reactor
import RideAPI
import RideDomain
import SQLiteStore
import Storage
import Synchronization
import Telemetry
import TestSupport
import Testing

@testable import TripService

#if canImport(Glibc)
    import Glibc
#endif

/// The driver service as a test wants it.
final class FakeDirectory: DriverDirectory {
    var drivers: [KnownDriver] = []
    var failure: TripError?
    private let loop: EventLoop
    /// Nanoseconds until it answers.
    var delay: UInt64 = 0
    /// It does not answer as long as somebody waits.
    var isMute = false
    private(set) var questions = 0

    init(loop: EventLoop, drivers count: Int) {
        self.loop = loop
        for number in 0..<count { drivers.append(Self.make("d\(number)", distance: Double(100 * (number + 1)))) }
    }

    static func make(
        _ id: String, distance: Double, isPresent: Bool = true, category: String = "standard"
    ) -> KnownDriver {
        let vehicle = Vehicle(make: "Skoda", model: "Octavia", color: "white", plate: "NB-C 12", category: category)
        let driver = Driver(
            profile: DriverProfile(id: id, name: "Ada", vehicle: vehicle), position: Position(lat: 53.55, lon: 13.26),
            measuredAt: 1, presence: isPresent ? .present : .offline, updatedAt: 1, revision: 1)
        return KnownDriver(driver: driver, distance: distance)
    }

    private func answer() async throws(TripError) {
        questions += 1
        if delay > 0 { await loop.pause(delay) }
        while isMute {
            if Task.isCancelled { throw .cancelled }
            await loop.pause(1_000_000)
        }
        if let failure { throw failure }
    }

    func driver(
        _ id: String, from position: Position, timeout: UInt64, origin: RequestOrigin
    ) async throws(TripError) -> KnownDriver? {
        try await answer()
        return drivers.first { $0.driver.id == id }
    }

    func nearest(
        to position: Position, radius: Double?, limit: Int, category: String?, timeout: UInt64, origin: RequestOrigin
    ) async throws(TripError) -> [KnownDriver] {
        try await answer()
        let found = drivers.filter {
            $0.isPresent && $0.distance <= radius ?? .infinity
                && category.map([$0.profile.vehicle.category].contains) ?? true
        }
        return Array(found.sorted { $0.distance < $1.distance }.prefix(limit))
    }
}

/// A trip book on its own loop, file and fake driver service. Everything runs on the test's thread: a question turns the
/// loop until its answer comes.
final class Desk {
    let loop: EventLoop
    let repository: SQLiteTripRepository
    let directory: FakeDirectory
    let book: TripBook
    let start: TripStart
    private let folder = TemporaryFolder()
    private let path: String
    private let isSimulated: Bool
    private var deadline: UInt64 { isSimulated ? .max : loop.now + 10_000_000_000 }

    /// - Parameter path: of the database; nil: a new one.
    /// - Parameter simulated: a loop in virtual time, on which no deadline passes: the database's thread lives in the real one.
    /// - Parameter maximumPickup: metres.
    init(
        drivers: Int = 5, path: String? = nil, simulated: EventLoop? = nil,
        maximumPickup: Double = TripLimits.maximumPickup
    ) throws {
        loop = try simulated ?? EventLoop()
        isSimulated = simulated != nil
        let path = path ?? folder.file("trip.db")
        self.path = path
        repository = try SQLiteTripRepository(path: path, loop: loop, wall: loop.wallClockMilliseconds)
        start = repository.start()
        directory = FakeDirectory(loop: loop, drivers: drivers)
        book = TripBook(
            loop: loop, repository: repository, directory: directory, start: start, maximumPickup: maximumPickup)
    }

    /// Closes the file, so that another desk may open it.
    func close() {
        var isClosed = false
        loop.start { [self] in
            await repository.close()
            isClosed = true
        }
        turn { isClosed }
    }

    /// Turns the loop until `isDone`, at most 20 s.
    func turn(until isDone: () -> Bool) {
        let limit = ContinuousClock.now + .seconds(20)
        while !isDone() {
            guard ContinuousClock.now < limit else {
                Issue.record("no answer within 20 s")
                return
            }
            // The turn of a real loop waits for the answer, at most so long.
            let timer = loop.schedule(after: 100_000_000) {}
            loop.turn()
            loop.cancel(timer)
        }
    }

    /// What a task of the loop comes to.
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

    func request(
        rider: String, driver: String? = nil, category: String? = nil, id: String? = nil, key: String? = nil
    ) -> Booking {
        Booking(
            id: id, riderID: rider, driverID: driver, category: category, pickup: Position(lat: 53.55, lon: 13.26),
            dropoff: Position(lat: 53.56, lon: 13.27), key: key)
    }

    func create(
        rider: String, driver: String? = nil, category: String? = nil, id: String? = nil, key: String? = nil
    ) throws -> Result<TripBook.Created, TripError> {
        let request = request(rider: rider, driver: driver, category: category, id: id, key: key)
        return answer { [self] () async throws(TripError) in try await book.create(request, deadline: deadline) }
    }

    /// All at the same instant; the answers in the order of the requests.
    func createAtOnce(
        _ requests: [Booking], origin: RequestOrigin = .none
    ) -> [Result<TripBook.Created, TripError>] {
        var answers: [Int: Result<TripBook.Created, TripError>] = [:]
        for (index, request) in requests.enumerated() {
            loop.start { [self] in
                do throws(TripError) {
                    answers[index] = .success(
                        try await book.create(request, deadline: deadline, origin: origin))
                } catch {
                    answers[index] = .failure(error)
                }
            }
        }
        turn { answers.count == requests.count }
        return requests.indices.compactMap { answers[$0] }
    }

    func change(_ id: String, _ action: TripAction) throws -> Result<Trip, TripError> {
        answer { [self] () async throws(TripError) in try await book.change(id, action, deadline: deadline) }
    }

    func get(_ id: String) throws -> Result<Trip, TripError> {
        answer { [self] () async throws(TripError) in try await book.get(id, deadline: deadline) }
    }

    func list(_ filter: TripFilter, after cursor: TripCursor? = nil, limit: Int = 20) throws -> TripPage {
        try answer { [self] () async throws(TripError) in
            try await book.list(filter, after: cursor, limit: limit, deadline: deadline)
        }.get()
    }

    /// Watches a trip from now on.
    func watch(
        _ id: String, _ tell: @escaping (Result<Trip, TripError>?) -> Void
    ) -> Result<TripWatchers.Token, TripError> {
        answer { [self] () async throws(TripError) in try await book.watch(id, deadline: deadline, tell) }
    }

    func forgetOldKeys() { loop.start { [book] in await book.forgetOldKeys() } }

    /// Holds the writer up in a job of its own.
    func holdWriter() -> Gate {
        let gate = Gate()
        repository.writer.submit(on: loop, { _ in gate.wait() }, completion: { _ in })
        turn { gate.isReached }
        return gate
    }

    /// Changes the file by hand, as no rule allows.
    func edit(_ sql: String) throws {
        let database = try SQLiteDatabase(path: path)
        defer { database.close() }
        try database.execute(sql)
    }

    func count(_ table: String) throws -> Int? {
        let database = try SQLiteDatabase(path: path, mode: .readOnly)
        return try database.prepare("SELECT count(*) FROM \(table)").first { try $0.int(0) }
    }

    func outbox(after seq: UInt64 = 0) throws -> [OutboxEvent] {
        try answer { [self] () async throws(StorageError) in
            try await repository.outbox(after: seq, limit: 10_000)
        }.get()
    }
}

/// The code of a refusal, "" for a success.
func code<Value>(_ result: Result<Value, TripError>) -> String {
    switch result {
    case .success: ""
    case .failure(let error): error.code
    }
}

/// Where a thread waits until the test lets it go on.
final class Gate: Sendable {
    private let reached = Atomic(false)
    private let opened = Atomic(false)

    var isReached: Bool { reached.load(ordering: .acquiring) }

    func open() { opened.store(true, ordering: .releasing) }

    func wait() {
        reached.store(true, ordering: .releasing)
        while !opened.load(ordering: .acquiring) { usleep(100) }
    }
}
