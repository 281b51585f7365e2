import RideDomain

/// The trips in progress, as far as they are durable: the database's partial indexes, mirrored on the loop.
///
/// It is changed when a commit is answered and before the caller is, so whoever asks after an answer sees it. What it
/// has is true; what waits for its commit is not in it yet, and there the database decides.
struct ActiveTrips {
    private var trips: [String: Trip] = [:]
    private var tripByDriver: [String: String] = [:]
    private var tripByRider: [String: String] = [:]

    var count: Int { trips.count }

    init(_ trips: [Trip]) {
        for trip in trips { store(trip) }
    }

    func trip(_ id: String) -> Trip? { trips[id] }
    func tripID(ofDriver id: String) -> String? { tripByDriver[id] }
    func tripID(ofRider id: String) -> String? { tripByRider[id] }

    /// Takes a durable change in. Changes of one trip come in order.
    mutating func store(_ trip: Trip) {
        if trip.status == .inProgress {
            trips[trip.id] = trip
            tripByDriver[trip.driverID] = trip.id
            tripByRider[trip.riderID] = trip.id
        } else {
            trips[trip.id] = nil
            if tripByDriver[trip.driverID] == trip.id { tripByDriver[trip.driverID] = nil }
            if tripByRider[trip.riderID] == trip.id { tripByRider[trip.riderID] = nil }
        }
    }
}
