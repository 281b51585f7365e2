import RideAPI
import RideDomain

/// Publishes changes of drivers. On the loop.
protocol DriverAnnouncer: AnyObject {
    /// `driver` is as they are after the change.
    func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason)
}
