import Telemetry

/// Takes drivers away for good. For tasks of the loop.
///
///     on a trip, as far as is known here? ─▶ off duty ─▶ on a trip, says the trip service?
///         ─▶ one transaction: the driver, what they sign in with, the revocation
///         ─▶ out of every list, streams ended ─▶ the revocation to everybody ─▶ answer
///
/// The trip service is the authority on who drives whom, and is asked: its last events may not have come yet. Who is off duty when it
/// is asked is booked by nobody from then on, and it waits for the bookings that are being made: a trip whose booking has asked for
/// the driver before is in its answer. (A trip service that is older does not wait.) A driver who stays is on duty again.
final class DriverRemoval {
    private let book: DriverBook
    private let directory: any TripDirectory
    private let publish: (RevocationOutcome, UInt64) async -> Bool

    /// - Parameter publish: tells everybody of a revocation by the deadline, or later: `SessionBook.publish`.
    init(
        book: DriverBook, directory: any TripDirectory,
        publish: @escaping (_ ended: RevocationOutcome, _ deadline: UInt64) async -> Bool
    ) {
        self.book = book
        self.directory = directory
        self.publish = publish
    }

    /// `deadline` in the loop's nanoseconds.
    func remove(_ id: String, deadline: UInt64, trace: TraceContext = .none) async throws(DriverError) {
        let (slot, driver) = try book.find(id)
        if let tripID = driver.activeTripID { throw .driverOnTrip(driverID: id, tripID: tripID) }
        book.beginRemoval(slot, trace: trace)
        defer { book.endRemoval(slot, trace: trace) }
        // Its event may have come while it was asked.
        if let tripID = try await directory.trip(ofDriver: id, deadline: deadline) ?? book.driver(slot)?.activeTripID {
            throw .driverOnTrip(driverID: id, tripID: tripID)
        }
        // Another removal may have been faster, and somebody else may have the id now.
        guard try book.find(id).slot == slot else { throw .driverNotFound(id) }
        let ended = try await book.delete(id, reason: "The driver was deleted.", deadline: deadline, trace: trace)
        // Where Kafka does not take it in time it goes out later: the driver has gone either way.
        _ = await publish(ended, deadline)
    }
}
