import RideDomain
import Telemetry

/// A driver as the driver service knows them.
struct KnownDriver: Sendable {
    let driver: Driver
    /// Metres from the position that was asked for.
    let distance: Double

    var profile: DriverProfile { driver.profile }
    /// On duty, with or without a trip.
    var isPresent: Bool { driver.isOnDuty }
}

/// What the trip service asks the driver service. For tasks of the loop; cancelling one cancels its question. `timeout` in
/// nanoseconds.
protocol DriverDirectory: AnyObject {
    /// nil: there is no such driver.
    func driver(
        _ id: String, from position: Position, timeout: UInt64, origin: RequestOrigin
    ) async throws(TripError) -> KnownDriver?

    /// Available drivers, nearest first, at most `limit`; within `radius` metres and of `category` if given.
    func nearest(
        to position: Position, radius: Double?, limit: Int, category: String?, timeout: UInt64, origin: RequestOrigin
    ) async throws(TripError) -> [KnownDriver]
}
