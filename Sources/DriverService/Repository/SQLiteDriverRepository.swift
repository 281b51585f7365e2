import Reactor
import RideAPI
import RideDomain
import SQLiteStore
import Storage

/// The driver service's data in SQLite: drivers with their profile, state and active trip; the cursor of the trip
/// events; the reserved revision.
final class SQLiteDriverRepository: DriverRepository {
    private let loop: EventLoop
    let writer: SQLiteWriter
    /// In the same file.
    let sessions: any SessionRepository

    /// Schema, step by step; never change one that was released, add another.
    private static let schema = [
        """
        CREATE TABLE drivers (
            id TEXT PRIMARY KEY, name TEXT NOT NULL,
            make TEXT NOT NULL, model TEXT NOT NULL, color TEXT NOT NULL, plate TEXT NOT NULL, category TEXT NOT NULL,
            lat REAL NOT NULL, lon REAL NOT NULL, heading REAL, speed REAL, measured_at INTEGER NOT NULL,
            presence INTEGER NOT NULL, has_streamed INTEGER NOT NULL,
            active_trip_id TEXT, trip_seq INTEGER NOT NULL,
            updated_at INTEGER NOT NULL, revision INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        CREATE TABLE event_offsets (partition INTEGER PRIMARY KEY, next_offset INTEGER NOT NULL) STRICT;
        CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
        """,
        """
        -- Which epoch of the trip database trip_seq counts in; 0: it was not known.
        ALTER TABLE drivers ADD COLUMN trip_epoch INTEGER NOT NULL DEFAULT 0;
        """,
        AuthSchema.tables,
        """
        -- Why an operator has taken the driver off duty, and when. NULL: none has.
        ALTER TABLE drivers ADD COLUMN suspension_reason TEXT;
        ALTER TABLE drivers ADD COLUMN suspended_at INTEGER;
        """,
        AuthSchema.sessionEnds,
        AuthSchema.unusedSessions,
    ]

    /// Says in the file that it belongs to this service: "driv" in ASCII.
    private static let owner: Int32 = 0x6472_6976

    /// Opens the file, brings its schema up to date, reads everything and reserves revisions: a crash right after the start
    /// must not give a number twice. Blocking: before the loop runs. `wall` are Unix milliseconds.
    static func open(
        path: String, loop: EventLoop, wall: Int64
    ) throws -> (SQLiteDriverRepository, StoredDrivers) {
        var stored = StoredDrivers()
        let writer = try SQLiteWriter(path: path, name: "driver-sqlite") { database in
            try database.migrate(schema, owner: owner)
            stored = try read(database, wall)
            stored.databaseID = try database.transaction {
                try DatabaseIdentity(beginningEpochIn: database, wall: wall).id
            }
            if let revision = stored.revisions.reservation() { try reserve(revision, database) }
        }
        return (SQLiteDriverRepository(loop: loop, writer: writer), stored)
    }

    private init(loop: EventLoop, writer: SQLiteWriter) {
        self.loop = loop
        self.writer = writer
        sessions = SQLiteSessionRepository(loop: loop, writer: writer)
    }

    func close() async {
        await withCheckedContinuation { continuation in writer.close { continuation.resume() } }
    }

    func probe(writing: Bool) async throws(StorageError) {
        try await write { if writing { try $0.probeWriting() } }
    }

    private func write<Value: Sendable>(
        _ deadline: UInt64? = nil, _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value
    ) async throws(StorageError) -> Value {
        do {
            return try await writer.perform(on: loop, deadline: deadline, work)
        } catch {
            throw StorageError(error)
        }
    }

    func insert(_ driver: Driver, deadline: UInt64?) async throws(StorageError) {
        try await write(deadline) { database in
            let vehicle = driver.profile.vehicle
            // A repeated insert is one whose answer was lost with the process's predecessor: same id, same driver.
            try database.statement(
                """
                INSERT INTO drivers (id, name, make, model, color, plate, category, lat, lon, heading, speed, measured_at,
                    presence, has_streamed, active_trip_id, trip_seq, updated_at, revision)
                VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING
                """
            ).run(
                .text(driver.id), .text(driver.profile.name), .text(vehicle.make), .text(vehicle.model),
                .text(vehicle.color), .text(vehicle.plate), .text(vehicle.category), .real(driver.position.lat),
                .real(driver.position.lon), .optional(driver.heading), .optional(driver.speed),
                .integer(driver.measuredAt), .integer(driver.presence.rawValue), .integer(driver.hasStreamed ? 1 : 0),
                .optional(driver.activeTripID), .integer(Int64(clamping: driver.tripSeq)), .integer(driver.updatedAt),
                .integer(Int64(clamping: driver.revision)))
        }
    }

    func saveStates(_ drivers: [Driver], deadline: UInt64?) async throws(StorageError) {
        try await write(deadline) { database in
            let update = try database.statement(
                """
                UPDATE drivers SET lat = ?, lon = ?, heading = ?, speed = ?, measured_at = ?, presence = ?,
                    has_streamed = ?, updated_at = ?, revision = ? WHERE id = ?
                """)
            for driver in drivers {
                try update.bind(driver.position.lat, at: 1)
                try update.bind(driver.position.lon, at: 2)
                if let heading = driver.heading { try update.bind(heading, at: 3) }
                if let speed = driver.speed { try update.bind(speed, at: 4) }
                try update.bind(driver.measuredAt, at: 5)
                try update.bind(driver.presence.rawValue, at: 6)
                try update.bind(driver.hasStreamed ? 1 : 0 as Int64, at: 7)
                try update.bind(driver.updatedAt, at: 8)
                try update.bind(Int64(clamping: driver.revision), at: 9)
                try update.bind(driver.id, at: 10)
                try update.run()
            }
        }
    }

    // MARK: What operators do

    func update(
        _ driverID: String, _ change: ProfileChange, deadline: UInt64?
    ) async throws(StorageError) -> Bool {
        try await write(deadline) { database in
            try database.statement(
                """
                UPDATE drivers SET name = ifnull(?2, name), make = ifnull(?3, make), model = ifnull(?4, model),
                    color = ifnull(?5, color), plate = ifnull(?6, plate), category = ifnull(?7, category) WHERE id = ?1
                """
            ).run(
                .text(driverID), .optional(change.name), .optional(change.make), .optional(change.model),
                .optional(change.color), .optional(change.plate), .optional(change.category))
            return database.changes > 0
        }
    }

    func suspend(
        _ driverID: String, _ suspension: Suspension?, deadline: UInt64?
    ) async throws(StorageError) -> Bool {
        try await write(deadline) { database in
            try database.statement(
                "UPDATE drivers SET suspension_reason = ?2, suspended_at = ?3, presence = ?4 WHERE id = ?1"
            ).run(
                .text(driverID), .optional(suspension?.reason), .optional(suspension?.at),
                .integer(Presence.offline.rawValue))
            return database.changes > 0
        }
    }

    func delete(
        _ driverID: String, reason: String, at: Int64, deadline: UInt64?
    ) async throws(StorageError) -> DeletionOutcome {
        try await write(deadline) { database in
            let isKnown = try database.statement("SELECT 1 FROM drivers WHERE id = ?1").first(.text(driverID)) { _ in
                true
            }
            guard isKnown != nil else { return .unknown }
            let revocation = Revocation(target: .subject(driverID), at: at, reason: reason)
            guard let ended = try SQLiteSessionRepository.revoke(revocation, database) else { return .full }
            try database.statement("DELETE FROM drivers WHERE id = ?1").run(.text(driverID))
            return .deleted(ended)
        }
    }

    // MARK: Trips and revisions

    func saveTrips(_ trips: [TripProjection], cursor: EventCursor?, epoch: UInt64?) async throws(StorageError) {
        try await write { database in
            for trip in trips {
                try database.statement(
                    """
                    UPDATE drivers SET active_trip_id = ?, trip_seq = ?, trip_epoch = ?, updated_at = ?, revision = ?
                        WHERE id = ?
                    """
                ).run(
                    .optional(trip.activeTripID), .integer(Int64(clamping: trip.tripSeq)),
                    .integer(Int64(clamping: trip.tripEpoch)), .integer(trip.updatedAt),
                    .integer(Int64(clamping: trip.revision)), .text(trip.driverID))
            }
            if let epoch { try Self.set("trip_epoch", String(epoch), database) }
            guard let cursor else { return }
            let known = try database.statement("SELECT value FROM facts WHERE name = 'event_cluster'").first {
                try $0.text(0)
            }
            if known != cursor.clusterID {
                // Offsets of another cluster mean nothing.
                try database.statement("DELETE FROM event_offsets").run()
                try database.statement("DELETE FROM facts WHERE name = 'event_cluster'").run()
                if let cluster = cursor.clusterID {
                    try database.statement("INSERT INTO facts VALUES ('event_cluster', ?)").run(.text(cluster))
                }
            }
            for (partition, offset) in cursor.offsets {
                try database.statement(
                    """
                    INSERT INTO event_offsets VALUES (?, ?)
                    ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset
                    """
                ).run(.integer(Int64(partition)), .integer(offset))
            }
        }
    }

    func reserveRevision(_ revision: UInt64) async throws(StorageError) {
        try await write { try Self.reserve(revision, $0) }
    }

    private static func reserve(_ revision: UInt64, _ database: SQLiteDatabase) throws {
        try set("reserved_revision", String(revision), database)
    }

    private static func set(_ fact: String, _ value: String, _ database: SQLiteDatabase) throws {
        try database.statement(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ).run(.text(fact), .text(value))
    }

    // MARK: Reading (at start)

    private static func read(_ database: SQLiteDatabase, _ wall: Int64) throws -> StoredDrivers {
        var stored = StoredDrivers()
        try database.statement(
            """
            SELECT id, name, make, model, color, plate, category, lat, lon, heading, speed, measured_at, presence,
                has_streamed, active_trip_id, trip_seq, updated_at, revision, trip_epoch, suspension_reason,
                suspended_at FROM drivers
            """
        ).query { stored.drivers.append(try driver($0)) }
        var reserved: UInt64 = 0
        try database.statement("SELECT name, value FROM facts").query { row in
            func number() throws(SQLiteError) -> UInt64 {
                try row.value(try row.text(1), 1, "a number below 2^53") { text in
                    UInt64(text).flatMap { $0 < RevisionCounter.bound ? $0 : nil }
                }
            }
            switch try row.text(0) {
            case "event_cluster": stored.cursor.clusterID = try row.text(1)
            case "reserved_revision": reserved = try number()
            case "trip_epoch": stored.tripEpoch = try number()
            default: break
            }
        }
        stored.revisions = RevisionCounter(reserved: reserved, wall: wall)
        try database.statement("SELECT partition, next_offset FROM event_offsets").query { row in
            let offset = try row.value(try row.int64(1), 1, "an offset") { $0 >= 0 ? $0 : nil }
            stored.cursor.offsets[try row.int32(0)] = offset
        }
        return stored
    }

    /// - Throws: `SQLiteError`, which names the driver and the column, for what no driver can have.
    private static func driver(_ row: SQLiteRow) throws(SQLiteError) -> Driver {
        func identifier(_ column: Int32) throws(SQLiteError) -> String {
            try row.value(try row.text(column), column, "an identifier") { Identifier.isWellFormed($0) ? $0 : nil }
        }
        func instant(_ column: Int32) throws(SQLiteError) -> Int64 {
            try row.value(try row.int64(column), column, "an instant") {
                Moment.walls.contains($0) ? $0 : nil
            }
        }
        let vehicle = Vehicle(
            make: try row.text(2), model: try row.text(3), color: try row.text(4), plate: try row.text(5),
            category: try row.text(6))
        let position = Position(lat: try row.double(7), lon: try row.double(8))
        return Driver(
            profile: DriverProfile(id: try identifier(0), name: try row.text(1), vehicle: vehicle),
            position: try row.value(position, 7, "a position on earth") { $0.isValid ? $0 : nil },
            heading: try row.doubleIfPresent(9), speed: try row.doubleIfPresent(10), measuredAt: try instant(11),
            presence: try row.value(try row.int64(12), 12, "a presence", Presence.init(rawValue:)),
            hasStreamed: try row.int64(13) != 0, activeTripID: row.isNull(14) ? nil : try identifier(14),
            tripSeq: try row.uint64(15), tripEpoch: try row.uint64(18),
            suspension: row.isNull(19) ? nil : Suspension(reason: try row.text(19), at: try instant(20)),
            updatedAt: try instant(16),
            revision: try row.value(try row.uint64(17), 17, "a revision below 2^53") {
                $0 < RevisionCounter.bound ? $0 : nil
            })
    }
}
