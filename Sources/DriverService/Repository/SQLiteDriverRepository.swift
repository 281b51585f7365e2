import Reactor
import RideDomain
import SQLiteStore

/// The driver service's data in SQLite: drivers with their profile, state and active trip; the cursor of the trip
/// events; the reserved revision.
final class SQLiteDriverRepository: DriverRepository {
    private let loop: EventLoop
    private let writer: SQLiteWriter

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
        """
    ]

    /// What `open` gives: the writer, running, and what was stored.
    struct Opened: Sendable {
        let writer: SQLiteWriter
        let stored: StoredDrivers
    }

    /// Opens the file, brings its schema up to date, reads everything and reserves revisions: a crash right after the start
    /// must not give a number twice. Blocking: before the loop runs. `wall` are Unix milliseconds.
    static func open(path: String, wall: Int64) throws -> Opened {
        var stored = StoredDrivers()
        let writer = try SQLiteWriter(path: path, name: "driver-sqlite") { database in
            try database.migrate(schema)
            stored = try read(database, wall)
            if let revision = stored.revisions.reservation() { try reserve(revision, database) }
        }
        return Opened(writer: writer, stored: stored)
    }

    init(loop: EventLoop, writer: SQLiteWriter) {
        self.loop = loop
        self.writer = writer
    }

    var pending: Int { writer.pending }

    func close(_ completion: @escaping () -> Void) {
        // Jobs are done in order: when this one is, all are.
        writer.submit(on: loop) { _ in
        } completion: { [writer] _ in
            writer.close()
            completion()
        }
    }

    // MARK: Writing

    func insert(_ driver: Driver, deadline: UInt64?, _ completion: @escaping Completion) {
        writer.submit(on: loop, deadline: deadline) { database in
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
        } completion: {
            completion($0)
        }
    }

    func saveStates(_ drivers: [Driver], deadline: UInt64?, _ completion: @escaping Completion) {
        writer.submit(on: loop, deadline: deadline) { database in
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
        } completion: {
            completion($0)
        }
    }

    func saveTrips(_ trips: [TripProjection], cursor: EventCursor?, _ completion: @escaping Completion) {
        writer.submit(on: loop) { database in
            for trip in trips {
                try database.statement(
                    "UPDATE drivers SET active_trip_id = ?, trip_seq = ?, updated_at = ?, revision = ? WHERE id = ?"
                ).run(
                    .optional(trip.activeTripID), .integer(Int64(clamping: trip.tripSeq)), .integer(trip.updatedAt),
                    .integer(Int64(clamping: trip.revision)), .text(trip.driverID))
            }
            guard let cursor else { return }
            let known = try database.statement("SELECT value FROM facts WHERE name = 'event_cluster'").first {
                $0.text(0)
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
        } completion: {
            completion($0)
        }
    }

    func reserveRevision(_ revision: UInt64, _ completion: @escaping Completion) {
        writer.submit(on: loop) { database in
            try Self.reserve(revision, database)
        } completion: {
            completion($0)
        }
    }

    private static func reserve(_ revision: UInt64, _ database: SQLiteDatabase) throws {
        try database.statement(
            """
            INSERT INTO facts VALUES ('reserved_revision', ?)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value
            """
        ).run(.text(String(revision)))
    }

    // MARK: Reading (at start)

    private static func read(_ database: SQLiteDatabase, _ wall: Int64) throws -> StoredDrivers {
        var stored = StoredDrivers()
        try database.statement(
            """
            SELECT id, name, make, model, color, plate, category, lat, lon, heading, speed, measured_at, presence,
                has_streamed, active_trip_id, trip_seq, updated_at, revision FROM drivers
            """
        ).query { row in
            let vehicle = Vehicle(
                make: row.text(2), model: row.text(3), color: row.text(4), plate: row.text(5), category: row.text(6))
            stored.drivers.append(
                Driver(
                    profile: DriverProfile(id: row.text(0), name: row.text(1), vehicle: vehicle),
                    position: Position(lat: row.double(7), lon: row.double(8)), heading: row.doubleIfPresent(9),
                    speed: row.doubleIfPresent(10), measuredAt: row.int64(11),
                    presence: Presence(rawValue: row.int64(12)) ?? .offline, hasStreamed: row.int64(13) != 0,
                    activeTripID: row.textIfPresent(14), tripSeq: UInt64(clamping: row.int64(15)),
                    updatedAt: row.int64(16),
                    revision: UInt64(clamping: row.int64(17))))
        }
        var reserved: UInt64 = 0
        try database.statement("SELECT name, value FROM facts").query { row in
            switch row.text(0) {
            case "event_cluster": stored.cursor.clusterID = row.text(1)
            case "reserved_revision": reserved = UInt64(row.text(1)) ?? 0
            default: break
            }
        }
        stored.revisions = RevisionCounter(reserved: reserved, wall: wall)
        try database.statement("SELECT partition, next_offset FROM event_offsets").query { row in
            stored.cursor.offsets[Int32(clamping: row.int64(0))] = row.int64(1)
        }
        return stored
    }
}
