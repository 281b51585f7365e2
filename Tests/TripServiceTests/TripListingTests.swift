import RideDomain
import SQLiteStore
import Storage
import TestSupport
import Testing

@testable import TripService

/// Lists cost what they show, whatever they are filtered by and however many trips there are.
@Suite struct TripListingTests {
    private static let filters: [TripFilter] = [nil, "r1"].flatMap { rider in
        [nil, "d1"].flatMap { driver in
            ([nil] + TripStatus.allCases).map { TripFilter(riderID: rider, driverID: driver, status: $0) }
        }
    }
    private static let cursors: [TripCursor?] = [nil, TripCursor(createdAt: 500, id: "t500")]

    /// 3,000 trips, several at each instant.
    private func filled(_ folder: TemporaryFolder) throws -> SQLiteDatabase {
        let database = try SQLiteDatabase(path: folder.file("trip.db"))
        try database.migrate(TripSchema.migrations, owner: TripSchema.owner)
        try database.execute(
            """
            WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
            INSERT INTO trips SELECT 't' || i, 'r' || CASE WHEN i % 7 = 0 THEN 1 ELSE i END,
                'd' || CASE WHEN i % 5 = 0 THEN 1 ELSE i END, 'n', 'm', 'm', 'c', 'p', 'k',
                CASE WHEN i % 35 = 0 THEN 2 + i % 2 WHEN i % 7 = 0 OR i % 5 = 0 THEN 2 + i % 2 ELSE 1 + i % 3 END,
                1, 2, 3, 4, i / 4, NULL, CASE WHEN i % 3 = 0 THEN NULL ELSE i END, i, NULL FROM c
            """)
        return database
    }

    @Test func everyFilterAndPageIsRangesOfOneIndex() throws {
        let folder = TemporaryFolder()
        let database = try filled(folder)
        for analysed in [false, true] {
            if analysed { try database.execute("ANALYZE") }
            for filter in Self.filters {
                for cursor in Self.cursors {
                    let listing = TripListing(filter, after: cursor, limit: 21)
                    let plan = try database.prepare("EXPLAIN QUERY PLAN " + listing.text)
                    try plan.bind(listing.values)
                    var steps: [String] = []
                    try plan.query { steps.append(try $0.text(3)) }
                    let searches = steps.filter { $0.hasPrefix("SEARCH trips USING INDEX trips_by_") }
                    #expect(searches.count == (filter.status == nil ? 3 : 1), "\(filter): \(steps)")
                    #expect(
                        searches.allSatisfy {
                            $0.contains("status=?") && (cursor == nil || $0.contains("(created_at,id)<"))
                        },
                        "\(filter): \(steps)")
                    #expect(
                        !steps.contains { $0.contains("SCAN") || $0.contains("TEMP B-TREE") }, "\(filter): \(steps)")
                }
            }
        }
    }

    @Test func aListIsWhatASearchOfEverythingWouldFind() throws {
        let folder = TemporaryFolder()
        let database = try filled(folder)
        var all: [Trip] = []
        try database.prepare("SELECT * FROM trips ORDER BY created_at DESC, id DESC").query {
            all.append(try TripSchema.trip($0))
        }
        for filter in Self.filters {
            for cursor in Self.cursors {
                let expected = all.filter { trip in
                    (filter.riderID == nil || trip.riderID == filter.riderID)
                        && (filter.driverID == nil || trip.driverID == filter.driverID)
                        && (filter.status == nil || trip.status == filter.status)
                        && (cursor.map { (trip.createdAt, trip.id) < ($0.createdAt, $0.id) } ?? true)
                }.prefix(21)
                let listing = TripListing(filter, after: cursor, limit: 21)
                let statement = try database.prepare(listing.text)
                try statement.bind(listing.values)
                var found: [Trip] = []
                try statement.query { found.append(try TripSchema.trip($0)) }
                #expect(found == Array(expected), "\(filter)")
            }
        }
    }

    @Test func aFileOfEachOlderSchemaIsBroughtUpWithItsTrips() throws {
        for version in 1..<TripSchema.migrations.count {
            let folder = TemporaryFolder()
            let path = folder.file("trip.db")
            do {
                let old = try SQLiteDatabase(path: path)
                try old.migrate(Array(TripSchema.migrations[..<version]))
                try old.execute(
                    """
                    INSERT INTO outbox (trip_id, kind) VALUES ('t1', 1), ('t1', 4), ('t2', 1);
                    INSERT INTO trips VALUES ('t1','r','d','n','m','m','c','p','k',3,1,2,3,4,5,NULL,6,2);
                    INSERT INTO trips VALUES ('t2','r','d','n','m','m','c','p','k',1,1,2,3,4,7,NULL,NULL,3);
                    """)
                old.close()
            }
            let desk = try Desk(path: path)
            #expect(desk.start.active.map(\.id) == ["t2"] && desk.start.lastSeq == 3)
            #expect(try desk.list(TripFilter(status: .cancelled)).trips.map(\.id) == ["t1"])
            #expect(try desk.list(TripFilter(riderID: "r")).trips.map(\.id) == ["t2", "t1"])
            // What was numbered before there were epochs belongs to none.
            #expect(try desk.outbox().map(\.epoch) == [0, 0, 0])
            desk.close()
            #expect(TemporaryFolder.names(folder.path) == ["trip.db"])
        }
    }

    /// What can't have been written by this program is an error that names the trip, never another trip.
    @Test func aRowThatNoTripCanHaveIsAnErrorAndNeverMisread() throws {
        let columns: [(String, [String])] = [
            ("status", ["0", "4", "-1", "9223372036854775807", "'completed'"]), ("pickup_lat", ["91", "'x'", "9e999"]),
            ("dropoff_lon", ["-181", "x'00'"]), ("created_at", ["-1", "9223372036854775807", "'soon'", "1.5"]),
            ("picked_up_at", ["-9223372036854775808"]), ("ended_at", ["253402300800000"]), ("seq", ["-1", "'one'"]),
            ("rider_id", ["''", "'a b'", "x'ff'"]), ("driver_name", ["CAST(x'ff' AS TEXT)", "x'61'"]),
        ]
        for (column, values) in columns {
            for value in values {
                let desk = try Desk()
                guard case .success(let created) = try desk.create(rider: "r1", driver: "d0") else {
                    Issue.record("not booked")
                    return
                }
                _ = try desk.change(created.trip.id, .cancel)
                try desk.edit("UPDATE trips SET \(column) = \(value)")
                #expect(code(try desk.get(created.trip.id)) == "backend-unavailable", "\(column) = \(value)")
                desk.close()
            }
        }
    }

    @Test func whatRidersAreShownHasNoWordOfSQLites() throws {
        let desk = try Desk()
        guard case .success(let created) = try desk.create(rider: "r1", driver: "d0") else {
            Issue.record("not booked")
            return
        }
        _ = try desk.change(created.trip.id, .cancel)
        var failures: [String] = []
        desk.book.onStorageFailure = { failures.append("\($0)") }
        try desk.edit("UPDATE trips SET status = 77")
        guard case .failure(let error) = try desk.get(created.trip.id) else {
            Issue.record("it was read")
            return
        }
        #expect(error.rpcError.code == .unavailable)
        #expect(error.rpcError.message == "The trip service can't use its database now; try again in a moment.")
        // Whoever watches the database learns which trip and column.
        #expect(failures.count == 1 && failures[0].contains("status of the row \(created.trip.id) is 77"))
        desk.close()
    }

    @Test func oldKeysAreForgottenInPortions() throws {
        let desk = try Desk()
        let many = TripLimits.keysPerSweep * 2 + 1
        try desk.edit(
            """
            WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < \(many))
            INSERT INTO idempotency_keys SELECT 'k' || i, x'00', 't', 1, 5 FROM c
            """)
        try desk.answer { () async throws(StorageError) in
            try await desk.repository.forgetKeys(before: 6 + idempotencyKeyLifetime)
        }.get()
        #expect(try desk.count("idempotency_keys") == 0)
        desk.close()
    }

    // MARK: Epochs

    @Test func aRestartBeginsAnEpochAndEventsKeepTheirs() throws {
        let folder = TemporaryFolder()
        let path = folder.file("trip.db")
        var epochs: [UInt64] = []
        var ids: Set<String> = []
        for number in 0..<3 {
            let desk = try Desk(path: path)
            #expect(code(try desk.create(rider: "r\(number)", driver: "d\(number)")) == "")
            epochs.append(desk.start.epochs.current)
            ids.insert(desk.start.databaseID)
            #expect(try desk.outbox().map(\.epoch) == epochs)
            desk.close()
        }
        #expect(epochs == epochs.sorted() && Set(epochs).count == 3 && ids.count == 1)
        // An epoch without a number leaves nothing.
        for _ in 0..<5 { try Desk(path: path).close() }
        let desk = try Desk(path: path)
        #expect(try desk.count("epochs") == 4)
        desk.close()
    }

    @Test func aRestoredCopyNumbersAgainInAnEpochOfItsOwn() throws {
        let folder = TemporaryFolder()
        let (path, backup) = (folder.file("trip.db"), folder.file("backup.db"))
        let first = try Desk(path: path)
        #expect(code(try first.create(rider: "r0", driver: "d0")) == "")
        first.close()
        folder.copy("trip.db", "backup.db")
        let lost = try Desk(path: path)
        #expect(code(try lost.create(rider: "r1", driver: "d1")) == "")
        lost.close()
        let restored = try Desk(path: backup)
        #expect(code(try restored.create(rider: "r2", driver: "d2")) == "")
        let events = try restored.outbox()
        #expect(events.map(\.seq) == [1, 2])
        #expect(events.map(\.epoch) == [first.start.epochs.current, restored.start.epochs.current])
        #expect(restored.start.epochs.current != lost.start.epochs.current)
        #expect(restored.start.databaseID == lost.start.databaseID)
        restored.close()
    }
}
