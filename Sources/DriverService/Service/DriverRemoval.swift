import Telemetry

/// Takes drivers away for good. For tasks of the loop.
///
///     on a trip, here or at the trip service? ─▶ one transaction: the driver, what they sign in with, the revocation
///         ─▶ out of every list, streams ended ─▶ the revocation to everybody ─▶ answer
///
/// The trip service is the authority on who drives whom, and is asked: its last events may not have come yet. A booking that is
/// being made in this very moment may still come through; its trip then stands without a driver who can be asked, and is cancelled
/// by its rider or ended by an operator.
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
        var tripID = try book.find(id).driver.activeTripID
        if tripID == nil { tripID = try await directory.trip(ofDriver: id, deadline: deadline) }
        if let tripID { throw .driverOnTrip(driverID: id, tripID: tripID) }
        let ended = try await book.delete(id, reason: "The driver was deleted.", deadline: deadline, trace: trace)
        // Where Kafka does not take it in time it goes out later: the driver has gone either way.
        _ = await publish(ended, deadline)
    }
}
