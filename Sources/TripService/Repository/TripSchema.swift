import RideDomain
import SQLiteStore
import Storage

/// The tables of the trip database and how rows become trips.
enum TripSchema {
    /// Steps of `SQLiteDatabase.migrate`; never changed, only added to.
    static let migrations = [
        """
        CREATE TABLE trips (
            id TEXT PRIMARY KEY,
            rider_id TEXT NOT NULL,
            driver_id TEXT NOT NULL,
            driver_name TEXT NOT NULL,
            make TEXT NOT NULL,
            model TEXT NOT NULL,
            color TEXT NOT NULL,
            plate TEXT NOT NULL,
            category TEXT NOT NULL,
            status INTEGER NOT NULL,
            pickup_lat REAL NOT NULL,
            pickup_lon REAL NOT NULL,
            dropoff_lat REAL NOT NULL,
            dropoff_lon REAL NOT NULL,
            created_at INTEGER NOT NULL,
            picked_up_at INTEGER,
            ended_at INTEGER,
            seq INTEGER NOT NULL
        ) WITHOUT ROWID;
        -- Status 1 is in progress. These two are the promise: whatever the code above does, nobody is booked twice.
        CREATE UNIQUE INDEX trips_active_driver ON trips (driver_id) WHERE status = 1;
        CREATE UNIQUE INDEX trips_active_rider ON trips (rider_id) WHERE status = 1;
        CREATE INDEX trips_by_rider ON trips (rider_id, created_at, id);
        CREATE INDEX trips_by_driver ON trips (driver_id, created_at, id);
        CREATE INDEX trips_by_time ON trips (created_at, id);
        CREATE INDEX trips_in_progress_by_time ON trips (created_at, id) WHERE status = 1;
        CREATE TABLE idempotency_keys (
            key TEXT PRIMARY KEY,
            request BLOB NOT NULL,
            trip_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            created_at INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
        -- Append-only. AUTOINCREMENT: a number is never used twice, so that it can order events for ever.
        CREATE TABLE outbox (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            trip_id TEXT NOT NULL,
            kind INTEGER NOT NULL
        );
        CREATE TABLE relay (watermark INTEGER NOT NULL);
        INSERT INTO relay VALUES (0);
        """,
        """
        -- AUTOINCREMENT writes one more page with each commit, and says nothing new: nothing is ever deleted here, so the number
        -- behind the last one was never used.
        CREATE TABLE numbered (
            seq INTEGER PRIMARY KEY,
            trip_id TEXT NOT NULL,
            kind INTEGER NOT NULL
        );
        INSERT INTO numbered SELECT seq, trip_id, kind FROM outbox;
        DROP TABLE outbox;
        ALTER TABLE numbered RENAME TO outbox;
        """,
        """
        -- Every listing is a range of one index, whatever it is filtered by: of the filter's own index, or of three of them
        -- (one per status) that are merged. See TripListing.
        DROP INDEX trips_by_rider;
        DROP INDEX trips_by_driver;
        DROP INDEX trips_by_time;
        DROP INDEX trips_in_progress_by_time;
        CREATE INDEX trips_by_status ON trips (status, created_at, id);
        CREATE INDEX trips_by_rider ON trips (rider_id, status, created_at, id);
        CREATE INDEX trips_by_driver ON trips (driver_id, status, created_at, id);
        CREATE INDEX trips_by_rider_and_driver ON trips (rider_id, driver_id, status, created_at, id);
        -- Whose numbers these are. A start begins a new epoch: what others know of an older one is compared with it, and
        -- a copy that was restored is told from the original. See DatabaseIdentity.
        CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL);
        """,
        """
        -- Of the request that made the change, as it travels (W3C Trace Context §3.2). NULL: it had none.
        ALTER TABLE outbox ADD COLUMN traceparent TEXT;
        """,
        """
        -- Why an operator ended the trip. NULL: none has.
        ALTER TABLE trips ADD COLUMN end_reason TEXT;
        """,
    ]

    /// Says in the file that it belongs to this service: "trip" in ASCII.
    static let owner: Int32 = 0x7472_6970

    static func number(of status: TripStatus) -> Int64 {
        switch status {
        case .inProgress: 1
        case .completed: 2
        case .cancelled: 3
        }
    }

    /// nil: no status has this number.
    static func status(_ number: Int64) -> TripStatus? { TripStatus.allCases.first { self.number(of: $0) == number } }

    static func number(of kind: TripEventKind) -> Int64 {
        switch kind {
        case .created: 1
        case .pickedUp: 2
        case .completed: 3
        case .cancelled: 4
        }
    }

    /// nil: no kind has this number.
    static func kind(_ number: Int64) -> TripEventKind? {
        TripEventKind.allCases.first { self.number(of: $0) == number }
    }

    /// The trip in columns 0–18 of a row of `SELECT * FROM trips`.
    /// - Throws: `SQLiteError`, which names the trip and the column, for what no trip can have.
    static func trip(_ row: SQLiteRow) throws(SQLiteError) -> Trip {
        Trip(
            id: try identifier(row, 0), riderID: try identifier(row, 1),
            driver: DriverProfile(
                id: try identifier(row, 2), name: try row.text(3),
                vehicle: Vehicle(
                    make: try row.text(4), model: try row.text(5), color: try row.text(6), plate: try row.text(7),
                    category: try row.text(8))),
            status: try row.value(try row.int64(9), 9, "a status", status), pickup: try position(row, 10),
            dropoff: try position(row, 12), createdAt: try instant(row, 14),
            pickedUpAt: row.isNull(15) ? nil : try instant(row, 15),
            endedAt: row.isNull(16) ? nil : try instant(row, 16), endReason: row.isNull(18) ? nil : try row.text(18),
            seq: try row.uint64(17))
    }

    private static func identifier(_ row: SQLiteRow, _ column: Int32) throws(SQLiteError) -> String {
        try row.value(try row.text(column), column, "an identifier") { Identifier.isWellFormed($0) ? $0 : nil }
    }

    /// In the column and the next one.
    private static func position(_ row: SQLiteRow, _ column: Int32) throws(SQLiteError) -> Position {
        let position = Position(lat: try row.double(column), lon: try row.double(column + 1))
        return try row.value(position, column, "a position on earth") { $0.isValid ? $0 : nil }
    }

    private static func instant(_ row: SQLiteRow, _ column: Int32) throws(SQLiteError) -> Int64 {
        try row.value(try row.int64(column), column, "an instant") { Moment.walls.contains($0) ? $0 : nil }
    }

    /// An instant as it is stored; nil is NULL.
    /// - Throws: what could not be read again: a clock says it.
    static func value(_ instant: Int64?) throws(StorageError) -> SQLiteValue {
        guard let instant, !Moment.walls.contains(instant) else { return .optional(instant) }
        throw .unavailable(
            reason: "The clock of this machine is before 1970 or after 9999; set it.",
            detail: "the instant \(instant) can't be stored")
    }
}
