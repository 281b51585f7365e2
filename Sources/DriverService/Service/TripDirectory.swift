import RideDomain

/// A page of the trip service's list of trips in progress.
struct TripListPage: Sendable {
    let trips: [TripFact]
    /// The number of the last change that the page knows of.
    let asOf: UInt64
    /// The epoch of the trip database; 0: it was not said.
    let epoch: UInt64
    /// Names the next page; nil: this is the last one.
    let next: String?
}

/// What the driver service asks the trip service. For tasks of the loop; cancelling one cancels its question.
protocol TripDirectory: AnyObject {
    /// The trips in progress on a page, or on the first one.
    /// - Throws: `DriverError.unavailable`, with the words for an operator.
    func inProgress(page: String?) async throws(DriverError) -> TripListPage

    /// The trip that a driver is on, once every booking that is being made now has come to its end; nil: none. `deadline` in the
    /// loop's nanoseconds.
    /// - Throws: `DriverError.unavailable`, or that the deadline passed.
    func trip(ofDriver id: String, deadline: UInt64) async throws(DriverError) -> String?
}
