import RideDomain

/// Why a request was refused. The problem codes are those of the API (public/docs/errors.html).
enum TripError: Error, Sendable {
    /// The request itself is wrong: which field (a path of names with slashes), and the rule with the remedy.
    case invalid(field: String, String)
    /// A parameter of a list is wrong.
    case invalidParameter(String, String)
    case tripNotFound(String)
    case unknownDriver(String)
    case driverUnavailable(driverID: String, reason: Reason, alternatives: [KnownDriver])
    /// Nobody is free within so many metres of the pickup, in a car of the category if one was asked for.
    case noDriverAvailable(within: Double, category: String?)
    /// The selected driver is so many metres from the pickup; so many are allowed.
    case driverTooFar(driverID: String, distance: Double, limit: Double)
    /// The selected driver's car is of another category than the one that was asked for.
    case wrongCategory(driverID: String, category: String)
    case riderHasActiveTrip(tripID: String)
    case tripAlreadyEnded(TripStatus)
    case keyInProgress
    case keyReused
    /// Somebody else's trip has the id that this request brought.
    case idTaken(String)
    /// The driver service or the database can't be asked now.
    case unavailable(String)
    case deadlineExceeded(String)
    /// Nobody waits for the answer any more.
    case cancelled
    /// The caller is another rider, or another driver.
    case notYours(String)

    enum Reason: Sendable { case taken, absent }

    /// The problem code.
    var code: String {
        switch self {
        case .invalid: "invalid-body"
        case .invalidParameter: "invalid-parameter"
        case .tripNotFound: "trip-not-found"
        case .unknownDriver: "unknown-driver"
        case .driverUnavailable: "driver-unavailable"
        case .noDriverAvailable: "no-driver-available"
        case .driverTooFar: "driver-too-far"
        case .wrongCategory: "wrong-category"
        case .riderHasActiveTrip: "rider-has-active-trip"
        case .tripAlreadyEnded: "trip-already-ended"
        case .keyInProgress: "key-in-progress"
        case .keyReused: "key-reused"
        case .idTaken: "invalid-body"
        case .unavailable: "backend-unavailable"
        case .deadlineExceeded: "backend-timeout"
        case .cancelled: "cancelled"
        case .notYours: "not-yours"
        }
    }
}
