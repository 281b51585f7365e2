import RideAPI
import RideDomain

/// Tells the world about changes of drivers. On the loop.
protocol DriverAnnouncer: AnyObject {
    /// `driver` is as he is after the change.
    func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason)
}
