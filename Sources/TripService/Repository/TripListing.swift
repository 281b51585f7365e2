import RideDomain
import SQLiteStore

/// The SQL of a list of trips: newest first, by creation and id, from a cursor on.
///
/// It reads a range of one index per status, no more of it than the page takes: a list costs the same whether there are ten
/// trips or ten million. `INDEXED BY` makes SQLite refuse a text whose index does not fit, instead of searching the table.
struct TripListing {
    let text: String
    let values: [SQLiteValue]

    /// - Parameter limit: rows, at most.
    init(_ filter: TripFilter, after cursor: TripCursor?, limit: Int) {
        var values: [SQLiteValue] = []
        var conditions: [String] = []
        func condition(_ column: String, _ value: String?) {
            guard let value else { return }
            values.append(.text(value))
            conditions.append("\(column) = ?\(values.count)")
        }
        condition("rider_id", filter.riderID)
        condition("driver_id", filter.driverID)
        if let cursor {
            values += [.integer(cursor.createdAt), .text(cursor.id)]
            conditions.append("(created_at, id) < (?\(values.count - 1), ?\(values.count))")
        }
        values.append(.integer(Int64(limit)))
        let index =
            switch (filter.riderID, filter.driverID) {
            case (nil, nil): "trips_by_status"
            case (_?, nil): "trips_by_rider"
            case (nil, _?): "trips_by_driver"
            case (_?, _?): "trips_by_rider_and_driver"
            }
        func range(_ status: TripStatus) -> String {
            let all = (["status = \(TripSchema.number(of: status))"] + conditions).joined(separator: " AND ")
            return "SELECT * FROM trips INDEXED BY \(index) WHERE \(all)"
        }
        // Without a status its ranges are merged: each is in order, and no more is read of it than the page takes.
        let ranges = (filter.status.map { [$0] } ?? TripStatus.allCases).map(range)
        text = ranges.joined(separator: " UNION ALL ") + " ORDER BY created_at DESC, id DESC LIMIT ?\(values.count)"
        self.values = values
    }
}
