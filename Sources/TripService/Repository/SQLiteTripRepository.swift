import Reactor
import RideDomain
import SQLiteStore
import Storage
import Telemetry

/// Trips in one SQLite file: a writer thread that commits up to 64 changes at once, and two readers beside it: what a
/// booking waits for (trips and keys, one row each) never waits behind somebody's list.
///
/// There is one writer, so what a job reads before it writes is still true when it writes; the unique indexes would
/// catch it if that were ever wrong.
final class SQLiteTripRepository: TripRepository {
    private let loop: EventLoop
    let writer: SQLiteWriter
    private let lookups: SQLiteReader
    private let listings: SQLiteReader
    private let begin: TripStart
    var onChange: (Trip, TripEventKind, TraceContext) -> Void = { _, _, _ in }

    /// Blocking: takes the file, brings its schema up to date, and begins a new epoch of its numbers at `wall` (Unix
    /// milliseconds).
    init(path: String, loop: EventLoop, wall: Int64) throws {
        self.loop = loop
        var begin: TripStart?
        writer = try SQLiteWriter(path: path, name: "trip-writer") { database in
            try database.migrate(TripSchema.migrations, owner: TripSchema.owner)
            begin = try database.transaction { try Self.begin(database, wall) }
        }
        guard let begin else { throw SQLiteError.closed }
        self.begin = begin
        lookups = try SQLiteReader(path: path, name: "trip-lookups")
        listings = try SQLiteReader(path: path, name: "trip-listings")
    }

    func start() -> TripStart { begin }

    private static func begin(_ database: SQLiteDatabase, _ wall: Int64) throws -> TripStart {
        var active: [Trip] = []
        try database.statement("SELECT * FROM trips WHERE status = 1").query { active.append(try TripSchema.trip($0)) }
        let watermark = try database.statement("SELECT watermark FROM relay").first { try $0.uint64(0) } ?? 0
        let lastSeq = try lastSeq(database)
        let identity = try DatabaseIdentity(beginningEpochIn: database, wall: wall)
        // An epoch in which nothing was numbered says nothing.
        let first = Int64(clamping: lastSeq &+ 1)
        try database.statement("DELETE FROM epochs WHERE first_seq >= ?1").run(.integer(first))
        try database.statement("INSERT INTO epochs VALUES (?1, ?2)").run(
            .integer(Int64(clamping: identity.epoch)), .integer(first))
        var epochs = TripEpochs()
        try database.statement("SELECT epoch, first_seq FROM epochs ORDER BY epoch").query { row in
            epochs.add(try row.uint64(0), from: try row.uint64(1))
        }
        return TripStart(
            active: active, watermark: watermark, lastSeq: lastSeq, databaseID: identity.id, epochs: epochs)
    }

    func close() async {
        // Whoever reads first: the last one to close brings the log into the file.
        for reader in [listings, lookups] {
            await withCheckedContinuation { continuation in reader.close { continuation.resume() } }
        }
        await withCheckedContinuation { continuation in writer.close { continuation.resume() } }
    }

    func probe(writing: Bool) async throws(StorageError) {
        try await write(nil, { if writing { try $0.probeWriting() } })
    }

    @inline(__always)
    private func write<Value: Sendable>(
        _ deadline: UInt64?, _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value,
        durable: @escaping (Value) -> Void = { _ in }
    ) async throws(StorageError) -> Value {
        do {
            return try await writer.perform(on: loop, deadline: deadline, work, durable: durable)
        } catch {
            throw StorageError(error)
        }
    }

    @inline(__always)
    private func read<Value: Sendable>(
        _ reader: SQLiteReader, _ deadline: UInt64?, _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value
    ) async throws(StorageError) -> Value {
        do {
            return try await reader.perform(on: loop, deadline: deadline, work)
        } catch {
            throw StorageError(error)
        }
    }

    // MARK: Changes

    func book(
        _ booking: Booking, id: String, candidates: [DriverProfile], at now: Int64, keyedAt: Int64, trace: TraceContext,
        deadline: UInt64?
    ) async throws(StorageError) -> BookingOutcome {
        try await write(
            deadline, { try Self.book(booking, id, candidates, now, keyedAt, trace, $0) },
            durable: { [onChange] in if case .created(let trip) = $0 { onChange(trip, .created, trace) } })
    }

    private static func book(
        _ booking: Booking, _ id: String, _ candidates: [DriverProfile], _ now: Int64, _ keyedAt: Int64,
        _ trace: TraceContext, _ database: SQLiteDatabase
    ) throws -> BookingOutcome {
        if let key = booking.key, let outcome = try lookUp(key, keyedAt, database) { return outcome }
        if let trip = try trip(id, database) { return booking.isMade(by: trip) ? .existing(trip) : .idTaken }
        let active = try database.statement("SELECT id FROM trips WHERE rider_id = ?1 AND status = 1")
            .first(.text(booking.riderID)) { try $0.text(0) }
        if let active { return .riderHasActiveTrip(tripID: active) }
        let isTaken = try database.statement("SELECT 1 FROM trips WHERE driver_id = ?1 AND status = 1")
        let driver = try candidates.first { try isTaken.first(.text($0.id)) { _ in true } == nil }
        guard let driver else { return .driversTaken }

        var trip = Trip(
            id: id, riderID: booking.riderID, driver: driver, pickup: booking.pickup, dropoff: booking.dropoff,
            createdAt: now)
        trip.seq = try append(.created, trip.id, trace, database)
        try database.statement(
            """
            INSERT INTO trips VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?11, ?12, ?13, ?14, NULL, NULL, ?15, NULL)
            """
        ).run(
            .text(trip.id), .text(trip.riderID), .text(driver.id), .text(driver.name), .text(driver.vehicle.make),
            .text(driver.vehicle.model), .text(driver.vehicle.color), .text(driver.vehicle.plate),
            .text(driver.vehicle.category), .real(trip.pickup.lat), .real(trip.pickup.lon), .real(trip.dropoff.lat),
            .real(trip.dropoff.lon), try TripSchema.value(trip.createdAt), .integer(Int64(clamping: trip.seq)))
        if let key = booking.key {
            // Replaces one that is older than 24 h: lookUp did not see it.
            try database.statement("INSERT OR REPLACE INTO idempotency_keys VALUES (?1, ?2, ?3, ?4, ?5)").run(
                .text(key.key), .blob(key.request), .text(trip.id), .integer(Int64(clamping: trip.seq)),
                .integer(keyedAt))
        }
        return .created(trip)
    }

    func change(
        _ tripID: String, _ action: TripAction, at now: Int64, trace: TraceContext, deadline: UInt64?
    ) async throws(StorageError) -> ChangeOutcome {
        try await write(
            deadline, { try Self.change(tripID, action, now, trace, $0) },
            durable: { [onChange] in if case .changed(let trip, let kind) = $0 { onChange(trip, kind, trace) } })
    }

    private static func change(
        _ id: String, _ action: TripAction, _ now: Int64, _ trace: TraceContext, _ database: SQLiteDatabase
    ) throws -> ChangeOutcome {
        guard var trip = try trip(id, database) else { return .unknown }
        let event: TripEventKind?
        do throws(TripRefusal) {
            event = try trip.apply(action, at: now)
        } catch .alreadyEnded(let status) {
            return .alreadyEnded(status)
        }
        guard let kind = event else { return .unchanged(trip) }
        trip.seq = try append(kind, trip.id, trace, database)
        try database.statement(
            "UPDATE trips SET status = ?2, picked_up_at = ?3, ended_at = ?4, seq = ?5, end_reason = ?6 WHERE id = ?1"
        ).run(
            .text(trip.id), .integer(TripSchema.number(of: trip.status)), try TripSchema.value(trip.pickedUpAt),
            try TripSchema.value(trip.endedAt), .integer(Int64(clamping: trip.seq)), .optional(trip.endReason))
        return .changed(trip, kind)
    }

    /// Adds a row to the outbox and returns its number.
    private static func append(
        _ kind: TripEventKind, _ tripID: String, _ trace: TraceContext, _ database: SQLiteDatabase
    ) throws -> UInt64 {
        try database.statement("INSERT INTO outbox (trip_id, kind, traceparent) VALUES (?1, ?2, ?3)").run(
            .text(tripID), .integer(TripSchema.number(of: kind)), .optional(trace.isNone ? nil : trace.traceparent))
        return UInt64(clamping: database.lastInsertRowID)
    }

    func setWatermark(_ seq: UInt64) async throws(StorageError) {
        try await write(nil) {
            try $0.statement("UPDATE relay SET watermark = ?1").run(.integer(Int64(clamping: seq)))
        }
    }

    func forgetKeys(before now: Int64) async throws(StorageError) {
        // In portions: a booking that shares the transaction waits for it.
        var mayHaveMore = true
        while mayHaveMore {
            mayHaveMore = try await write(nil) { database in
                try database.statement(
                    """
                    DELETE FROM idempotency_keys WHERE key IN
                        (SELECT key FROM idempotency_keys WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)
                    """
                ).run(.integer(now &- idempotencyKeyLifetime), .integer(Int64(TripLimits.keysPerSweep)))
                return database.changes == TripLimits.keysPerSweep
            }
        }
    }

    // MARK: Questions

    func trip(_ id: String, deadline: UInt64?) async throws(StorageError) -> Trip? {
        try await read(lookups, deadline) { try Self.trip(id, $0) }
    }

    private static func trip(_ id: String, _ database: SQLiteDatabase) throws -> Trip? {
        try database.statement("SELECT * FROM trips WHERE id = ?1").first(.text(id)) { try TripSchema.trip($0) }
    }

    func lookUp(
        _ key: IdempotencyKey, at now: Int64, deadline: UInt64?
    ) async throws(StorageError) -> BookingOutcome? {
        try await read(lookups, deadline) { try Self.lookUp(key, now, $0) }
    }

    private static func lookUp(
        _ key: IdempotencyKey, _ now: Int64, _ database: SQLiteDatabase
    ) throws -> BookingOutcome? {
        let stored = try database.statement(
            "SELECT request, trip_id, seq FROM idempotency_keys WHERE key = ?1 AND created_at >= ?2"
        ).first(.text(key.key), .integer(now &- idempotencyKeyLifetime)) { row in
            (request: try row.blob(0), tripID: try row.text(1), seq: try row.uint64(2))
        }
        guard let stored else { return nil }
        guard stored.request == key.request else { return .keyReused }
        guard let latest = try trip(stored.tripID, database) else { return nil }
        return .replayed(OutboxEvent(seq: stored.seq, epoch: 0, kind: .created, latest: latest).trip)
    }

    func list(
        _ filter: TripFilter, after cursor: TripCursor?, limit: Int, deadline: UInt64?
    ) async throws(StorageError) -> TripPage {
        try await read(listings, deadline) { try Self.list(filter, cursor, limit, $0) }
    }

    private static func list(
        _ filter: TripFilter, _ cursor: TripCursor?, _ limit: Int, _ database: SQLiteDatabase
    ) throws -> TripPage {
        // Prepared once per call, which costs less than a row from the disk.
        let listing = TripListing(filter, after: cursor, limit: limit + 1)
        let statement = try database.prepare(listing.text)
        try statement.bind(listing.values)
        var trips: [Trip] = []
        try statement.query { trips.append(try TripSchema.trip($0)) }
        let hasMore = trips.count > limit
        if hasMore { trips.removeLast() }
        return TripPage(trips: trips, hasMore: hasMore, seq: try lastSeq(database))
    }

    func outbox(after seq: UInt64, limit: Int) async throws(StorageError) -> [OutboxEvent] {
        try await read(listings, nil) { [epochs = begin.epochs] database in
            var events: [OutboxEvent] = []
            try database.statement(
                """
                SELECT trips.*, outbox.seq, outbox.kind, outbox.traceparent
                FROM outbox JOIN trips ON trips.id = outbox.trip_id WHERE outbox.seq > ?1 ORDER BY outbox.seq LIMIT ?2
                """
            ).query(.integer(Int64(clamping: seq)), .integer(Int64(limit))) { row in
                let seq = try row.uint64(19)
                events.append(
                    OutboxEvent(
                        seq: seq, epoch: epochs.epoch(of: seq),
                        kind: try row.value(try row.int64(20), 20, "a kind of event", TripSchema.kind),
                        latest: try TripSchema.trip(row),
                        trace: row.isNull(21) ? .none : TraceContext(try row.text(21).utf8.span)))
            }
            return events
        }
    }

    private static func lastSeq(_ database: SQLiteDatabase) throws -> UInt64 {
        try database.statement("SELECT max(seq) FROM outbox").first { try $0.uint64IfPresent(0) ?? 0 } ?? 0
    }
}
