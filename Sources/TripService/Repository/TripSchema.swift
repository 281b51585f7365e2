import RideDomain
import SQLiteStore

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
    ]

    static func number(of status: TripStatus) -> Int64 {
        switch status {
        case .inProgress: 1
        case .completed: 2
        case .cancelled: 3
        }
    }

    static func status(_ number: Int64) -> TripStatus {
        switch number {
        case 1: .inProgress
        case 2: .completed
        default: .cancelled
        }
    }

    static func number(of kind: TripEventKind) -> Int64 {
        switch kind {
        case .created: 1
        case .pickedUp: 2
        case .completed: 3
        case .cancelled: 4
        }
    }

    static func kind(_ number: Int64) -> TripEventKind {
        switch number {
        case 1: .created
        case 2: .pickedUp
        case 3: .completed
        default: .cancelled
        }
    }

    /// The trip in columns 0–17 of a row of `SELECT * FROM trips`.
    static func trip(_ row: SQLiteRow) -> Trip {
        Trip(
            id: row.text(0), riderID: row.text(1),
            driver: DriverProfile(
                id: row.text(2), name: row.text(3),
                vehicle: Vehicle(
                    make: row.text(4), model: row.text(5), color: row.text(6), plate: row.text(7),
                    category: row.text(8))),
            status: status(row.int64(9)), pickup: Position(lat: row.double(10), lon: row.double(11)),
            dropoff: Position(lat: row.double(12), lon: row.double(13)), createdAt: row.int64(14),
            pickedUpAt: row.int64IfPresent(15), endedAt: row.int64IfPresent(16), seq: UInt64(clamping: row.int64(17)))
    }
}
