import Reactor
import RideDomain
import SQLiteStore

/// Trips in one SQLite file: a writer thread that commits up to 64 changes at once, a reader beside it.
///
/// There is one writer, so what a job reads before it writes is still true when it writes; the unique indexes would
/// catch it if that were ever wrong.
final class SQLiteTripRepository: TripRepository {
    private let loop: EventLoop
    private let path: String
    private let writer: SQLiteWriter
    private let reader: SQLiteReader

    /// Blocking: opens the file and brings its schema up to date.
    init(path: String, loop: EventLoop) throws {
        self.loop = loop
        self.path = path
        writer = try SQLiteWriter(path: path, name: "trip-writer") { try $0.migrate(TripSchema.migrations) }
        reader = try SQLiteReader(path: path, name: "trip-reader")
    }

    func start() throws -> TripStart {
        let database = try SQLiteDatabase(path: path, mode: .readOnly)
        var active: [Trip] = []
        try database.statement("SELECT * FROM trips WHERE status = 1").query { active.append(TripSchema.trip($0)) }
        let watermark = try database.statement("SELECT watermark FROM relay").first { UInt64(clamping: $0.int64(0)) }
        return TripStart(active: active, watermark: watermark ?? 0, lastSeq: try Self.lastSeq(database))
    }

    func close(_ completion: @escaping @Sendable () -> Void) {
        // The last job of each thread ends it; nobody has to wait for them.
        let endWriter = { [writer, loop] in
            writer.submit(
                on: loop, { _ in },
                completion: { _ in
                    writer.close()
                    completion()
                })
        }
        reader.submit(
            on: loop, { _ in },
            completion: { [reader] _ in
                reader.close()
                endWriter()
            })
    }

    // MARK: Changes

    func book(
        _ booking: Booking, deadline: UInt64?, _ completion: @escaping (Result<BookingOutcome, any Error>) -> Void
    ) {
        writer.submit(on: loop, deadline: deadline, { try Self.book(booking, $0) }, completion: completion)
    }

    private static func book(_ booking: Booking, _ database: SQLiteDatabase) throws -> BookingOutcome {
        if let key = booking.key, let outcome = try lookUp(key, booking.keyedAt, database) { return outcome }
        if let trip = try trip(booking.tripID, database) {
            return booking.isMadeBy(trip) ? .existing(trip) : .idTaken
        }
        let active = try database.statement("SELECT id FROM trips WHERE rider_id = ?1 AND status = 1")
            .first(.text(booking.riderID)) { $0.text(0) }
        if let active { return .riderHasActiveTrip(tripID: active) }
        let isTaken = try database.statement("SELECT 1 FROM trips WHERE driver_id = ?1 AND status = 1")
        let driver = try booking.candidates.first { try isTaken.first(.text($0.id)) { _ in true } == nil }
        guard let driver else { return .driversTaken }

        var trip = Trip(
            id: booking.tripID, riderID: booking.riderID, driver: driver, pickup: booking.pickup,
            dropoff: booking.dropoff, createdAt: booking.now)
        trip.seq = try append(.created, trip.id, database)
        try database.statement(
            """
            INSERT INTO trips VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?11, ?12, ?13, ?14, NULL, NULL, ?15)
            """
        ).run(
            .text(trip.id), .text(trip.riderID), .text(driver.id), .text(driver.name), .text(driver.vehicle.make),
            .text(driver.vehicle.model), .text(driver.vehicle.color), .text(driver.vehicle.plate),
            .text(driver.vehicle.category), .real(trip.pickup.lat), .real(trip.pickup.lon), .real(trip.dropoff.lat),
            .real(trip.dropoff.lon), .integer(trip.createdAt), .integer(Int64(clamping: trip.seq)))
        if let key = booking.key {
            // Replaces one that is older than 24 h: lookUp did not see it.
            try database.statement("INSERT OR REPLACE INTO idempotency_keys VALUES (?1, ?2, ?3, ?4, ?5)").run(
                .text(key.key), .blob(key.request), .text(trip.id), .integer(Int64(clamping: trip.seq)),
                .integer(booking.keyedAt)
            )
        }
        return .created(trip)
    }

    func change(
        _ tripID: String, _ action: TripAction, at now: Int64, deadline: UInt64?,
        _ completion: @escaping (Result<ChangeOutcome, any Error>) -> Void
    ) {
        writer.submit(
            on: loop, deadline: deadline, { try Self.change(tripID, action, now, $0) }, completion: completion)
    }

    private static func change(
        _ id: String, _ action: TripAction, _ now: Int64, _ database: SQLiteDatabase
    ) throws -> ChangeOutcome {
        guard var trip = try trip(id, database) else { return .unknown }
        let event: TripEventKind?
        do throws(TripRefusal) {
            event = try trip.apply(action, at: now)
        } catch .alreadyEnded(let status) {
            return .alreadyEnded(status)
        }
        guard let kind = event else { return .unchanged(trip) }
        trip.seq = try append(kind, trip.id, database)
        try database.statement(
            "UPDATE trips SET status = ?2, picked_up_at = ?3, ended_at = ?4, seq = ?5 WHERE id = ?1"
        ).run(
            .text(trip.id), .integer(TripSchema.number(of: trip.status)), .optional(trip.pickedUpAt),
            .optional(trip.endedAt), .integer(Int64(clamping: trip.seq)))
        return .changed(trip, kind)
    }

    /// Adds a row to the outbox and returns its number.
    private static func append(
        _ kind: TripEventKind, _ tripID: String, _ database: SQLiteDatabase
    ) throws -> UInt64 {
        try database.statement("INSERT INTO outbox (trip_id, kind) VALUES (?1, ?2)").run(
            .text(tripID), .integer(TripSchema.number(of: kind)))
        return UInt64(clamping: database.lastInsertRowID)
    }

    func setWatermark(_ seq: UInt64, _ completion: @escaping (Result<Void, any Error>) -> Void) {
        writer.submit(
            on: loop, { try $0.statement("UPDATE relay SET watermark = ?1").run(.integer(Int64(clamping: seq))) },
            completion: completion)
    }

    func forgetKeys(before now: Int64) {
        writer.submit(
            on: loop,
            {
                try $0.statement("DELETE FROM idempotency_keys WHERE created_at < ?1").run(
                    .integer(now &- idempotencyKeyLifetime))
            },
            completion: { _ in })
    }

    // MARK: Questions

    func trip(_ id: String, deadline: UInt64?, _ completion: @escaping (Result<Trip?, any Error>) -> Void) {
        reader.submit(on: loop, deadline: deadline, { try Self.trip(id, $0) }, completion: completion)
    }

    private static func trip(_ id: String, _ database: SQLiteDatabase) throws -> Trip? {
        try database.statement("SELECT * FROM trips WHERE id = ?1").first(.text(id)) { TripSchema.trip($0) }
    }

    func lookUp(
        _ key: IdempotencyKey, at now: Int64, deadline: UInt64?,
        _ completion: @escaping (Result<BookingOutcome?, any Error>) -> Void
    ) {
        reader.submit(on: loop, deadline: deadline, { try Self.lookUp(key, now, $0) }, completion: completion)
    }

    private static func lookUp(
        _ key: IdempotencyKey, _ now: Int64, _ database: SQLiteDatabase
    ) throws -> BookingOutcome? {
        let stored = try database.statement(
            "SELECT request, trip_id, seq FROM idempotency_keys WHERE key = ?1 AND created_at >= ?2"
        ).first(.text(key.key), .integer(now &- idempotencyKeyLifetime)) { row in
            (request: row.blob(0), tripID: row.text(1), seq: UInt64(clamping: row.int64(2)))
        }
        guard let stored else { return nil }
        guard stored.request == key.request else { return .keyReused }
        guard let latest = try trip(stored.tripID, database) else { return nil }
        return .replayed(OutboxEvent(seq: stored.seq, kind: .created, latest: latest).trip)
    }

    func list(
        _ filter: TripFilter, after cursor: TripCursor?, limit: Int, deadline: UInt64?,
        _ completion: @escaping (Result<TripPage, any Error>) -> Void
    ) {
        reader.submit(
            on: loop, deadline: deadline, { try Self.list(filter, cursor, limit, $0) }, completion: completion)
    }

    private static func list(
        _ filter: TripFilter, _ cursor: TripCursor?, _ limit: Int, _ database: SQLiteDatabase
    ) throws -> TripPage {
        // At most 16 texts come out of this; each is prepared once per call, which costs less than a row from the disk.
        var conditions: [String] = []
        var values: [SQLiteValue] = []
        func condition(_ text: String, _ new: SQLiteValue...) {
            conditions.append(text)
            values += new
        }
        if let riderID = filter.riderID { condition("rider_id = ?", .text(riderID)) }
        if let driverID = filter.driverID { condition("driver_id = ?", .text(driverID)) }
        // Spelled out, not bound: only so does SQLite see that the partial index fits.
        if let status = filter.status { condition("status = \(TripSchema.number(of: status))") }
        if let cursor { condition("(created_at, id) < (?, ?)", .integer(cursor.createdAt), .text(cursor.id)) }
        let filterText = conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND ")
        values.append(.integer(Int64(limit + 1)))
        let statement = try database.prepare(
            "SELECT * FROM trips\(filterText) ORDER BY created_at DESC, id DESC LIMIT ?")
        try statement.bind(values)
        var trips: [Trip] = []
        try statement.query { trips.append(TripSchema.trip($0)) }
        let hasMore = trips.count > limit
        if hasMore { trips.removeLast() }
        return TripPage(trips: trips, hasMore: hasMore, seq: try lastSeq(database))
    }

    func outbox(
        after seq: UInt64, limit: Int, _ completion: @escaping (Result<[OutboxEvent], any Error>) -> Void
    ) {
        reader.submit(
            on: loop,
            { database in
                var events: [OutboxEvent] = []
                try database.statement(
                    """
                    SELECT trips.*, outbox.seq, outbox.kind FROM outbox JOIN trips ON trips.id = outbox.trip_id
                    WHERE outbox.seq > ?1 ORDER BY outbox.seq LIMIT ?2
                    """
                ).query(.integer(Int64(clamping: seq)), .integer(Int64(limit))) { row in
                    events.append(
                        OutboxEvent(
                            seq: UInt64(clamping: row.int64(18)), kind: TripSchema.kind(row.int64(19)),
                            latest: TripSchema.trip(row)))
                }
                return events
            }, completion: completion)
    }

    private static func lastSeq(_ database: SQLiteDatabase) throws -> UInt64 {
        try database.statement("SELECT max(seq) FROM outbox").first { UInt64(clamping: $0.int64IfPresent(0) ?? 0) } ?? 0
    }
}
