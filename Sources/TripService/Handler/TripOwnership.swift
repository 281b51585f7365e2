import Access
import RideAPI
import RideDomain

/// Whose trips a caller may ask for: riders and drivers theirs, operators and the services whose task it is (`RPCRight`) all. Where
/// access is not restricted there is no caller, and no question.
///
/// A trip's rider and driver never change, so what was looked at once holds.
enum TripOwnership {
    /// A rider books for themselves, and need not say who they are.
    static func own(_ request: inout Trip_V1_CreateTripRequest, _ caller: Principal?) throws(TripError) {
        guard let caller else { return }
        if request.riderID.isEmpty, caller.roles.contains(.rider) { request.riderID = caller.subject }
        guard caller.speaksFor(rider: request.riderID) else { throw .notYours("rider") }
    }

    /// Lists are of one's own trips: as a driver if those are asked for, else as a rider.
    static func own(_ request: inout Trip_V1_ListTripsRequest, _ caller: Principal?) throws(TripError) {
        guard let caller, !caller.isService, !caller.isOperator else { return }
        if request.riderID == nil && request.driverID == nil {
            if caller.roles.contains(.rider) {
                request.riderID = caller.subject
            } else {
                request.driverID = caller.subject
            }
        }
        guard request.riderID.map(caller.isRider) == true || request.driverID.map(caller.isDriver) == true else {
            throw .notYours(request.riderID == nil ? "driver" : "rider")
        }
    }

    /// Others' trips are not there.
    static func check(_ caller: Principal?, sees trip: Trip) throws(TripError) {
        guard let caller else { return }
        guard caller.speaksFor(rider: trip.riderID) || caller.speaksFor(driver: trip.driverID) else {
            throw .tripNotFound(trip.id)
        }
    }

    /// Whether somebody may do that to a trip which they see: its driver picks up and completes. Ending by force is for operators
    /// (`RPCRight`).
    static func check(_ caller: Principal?, may action: TripAction, _ trip: Trip) throws(TripError) {
        try check(caller, sees: trip)
        guard let caller, action != .cancel else { return }
        guard caller.speaksFor(driver: trip.driverID) else { throw .notYours("driver") }
    }
}
