import KafkaClient
import Reactor
import RideAPI
import RideDomain
import SQLiteStore
import Telemetry
import TestSupport
import Testing

@testable import TripService

/// The driver service as a test wants it.
final class FakeDirectory: DriverDirectory {
    var drivers: [KnownDriver] = []
    var failure: TripError?
    private let loop: EventLoop
    /// Nanoseconds until it answers.
    var delay: UInt64 = 0
    private(set) var questions = 0

    init(loop: EventLoop, drivers count: Int) {
        self.loop = loop
        for number in 0..<count { drivers.append(Self.make("d\(number)", distance: Double(100 * (number + 1)))) }
    }

    static func make(
        _ id: String, distance: Double, isPresent: Bool = true, category: String = "standard"
    ) -> KnownDriver {
        let vehicle = Vehicle(make: "Skoda", model: "Octavia", color: "white", plate: "NB-C 12", category: category)
        return KnownDriver(
            snapshot: DriverProfile(id: id, name: "Ada", vehicle: vehicle), isPresent: isPresent, distance: distance,
            message: Driver_V1_Driver(id: id, name: "Ada", distanceM: distance))
    }

    private func answer(_ work: @escaping () -> Void) {
        questions += 1
        if delay > 0 { loop.schedule(after: delay, work) } else { work() }
    }

    func driver(
        _ id: String, from position: Position, timeout: UInt64, origin: RequestOrigin,
        _ completion: @escaping (Result<KnownDriver?, TripError>) -> Void
    ) {
        answer { [self] in
            if let failure { return completion(.failure(failure)) }
            completion(.success(drivers.first { $0.snapshot.id == id }))
        }
    }

    func nearest(
        to position: Position, radius: Double?, limit: Int, category: String?, timeout: UInt64, origin: RequestOrigin,
        _ completion: @escaping (Result<[KnownDriver], TripError>) -> Void
    ) {
        answer { [self] in
            if let failure { return completion(.failure(failure)) }
            let found = drivers.filter {
                $0.isPresent && $0.distance <= radius ?? .infinity
                    && category.map([$0.snapshot.vehicle.category].contains) ?? true
            }
            completion(.success(Array(found.sorted { $0.distance < $1.distance }.prefix(limit))))
        }
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
        let finish = LoopBound({ isClosed = true }, loop: loop)
        repository.close { [loop] in loop.submit { finish.value() } }
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

    private func answer<Value>(_ ask: (@escaping (Value) -> Void) -> Void) throws -> Value {
        var value: Value?
        ask { value = $0 }
        turn { value != nil }
        return try #require(value)
    }

    func request(
        rider: String, driver: String? = nil, category: String? = nil, id: String? = nil, key: String? = nil
    ) -> TripBook.Request {
        TripBook.Request(
            id: id, riderID: rider, driverID: driver, category: category, pickup: Position(lat: 53.55, lon: 13.26),
            dropoff: Position(lat: 53.56, lon: 13.27),
            key: key.map { IdempotencyKey(key: $0, request: Array("\(rider)|\(driver ?? "")".utf8)) },
            deadline: deadline)
    }

    func create(
        rider: String, driver: String? = nil, category: String? = nil, id: String? = nil, key: String? = nil
    ) throws -> Result<TripBook.Created, TripError> {
        try answer {
            book.create(request(rider: rider, driver: driver, category: category, id: id, key: key), $0)
        }
    }

    /// All at the same instant; the answers in the order of the requests.
    func createAtOnce(_ requests: [TripBook.Request]) -> [Result<TripBook.Created, TripError>] {
        var answers: [Int: Result<TripBook.Created, TripError>] = [:]
        for (index, request) in requests.enumerated() { book.create(request) { answers[index] = $0 } }
        turn { answers.count == requests.count }
        return requests.indices.compactMap { answers[$0] }
    }

    func change(_ id: String, _ action: TripAction) throws -> Result<Trip, TripError> {
        try answer { book.change(id, action, deadline: deadline, $0) }
    }

    func get(_ id: String) throws -> Result<Trip, TripError> {
        try answer { book.get(id, deadline: deadline, $0) }
    }

    func list(_ filter: TripFilter, after cursor: TripCursor? = nil, limit: Int = 20) throws -> TripPage {
        try answer { book.list(filter, after: cursor, limit: limit, deadline: deadline, $0) }.get()
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
        try answer { repository.outbox(after: seq, limit: 10_000, $0) }.get()
    }
}

/// The code of a refusal, "" for a success.
func code<Value>(_ result: Result<Value, TripError>) -> String {
    switch result {
    case .success: ""
    case .failure(let error): error.code
    }
}
