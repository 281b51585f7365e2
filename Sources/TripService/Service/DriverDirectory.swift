import RideAPI
import RideDomain
import Telemetry

/// A driver as the driver service knows them.
struct KnownDriver: Sendable {
    let snapshot: DriverProfile
    /// On duty, with or without a trip.
    let isPresent: Bool
    /// Metres from the position that was asked for.
    let distance: Double
    /// As they are handed on to callers.
    let message: Driver_V1_Driver
}

/// What the trip service asks the driver service. Calls and answers on the loop.
protocol DriverDirectory: AnyObject {
    /// nil: there is no such driver. `timeout` in nanoseconds.
    func driver(
        _ id: String, from position: Position, timeout: UInt64, origin: RequestOrigin,
        _ completion: @escaping (Result<KnownDriver?, TripError>) -> Void)

    /// Available drivers, nearest first, at most `limit`; within `radius` metres and of `category` if given.
    func nearest(
        to position: Position, radius: Double?, limit: Int, category: String?, timeout: UInt64, origin: RequestOrigin,
        _ completion: @escaping (Result<[KnownDriver], TripError>) -> Void)
}
