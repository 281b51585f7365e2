import RideAPI
import RideDomain
import Telemetry

/// Publishes changes of drivers. On the loop.
protocol DriverAnnouncer: AnyObject {
    /// `driver` is as they are after the change; `trace` is of the request, the stream or the event that made it.
    func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext)
}
