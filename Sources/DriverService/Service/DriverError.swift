import RideAPI

/// Why a request was refused. The problem codes are those of the API (public/docs/errors.html).
enum DriverError: Error, Sendable, Equatable {
    /// The request's content is wrong: which fields, and the rule with the remedy.
    case invalid([BodyViolation])
    /// A parameter of a list is wrong: its name, and the rule.
    case invalidParameter(String, String)
    case driverNotFound(String)
    /// Another driver has the id that a registration brought.
    case driverExists(String)
    case driverOnTrip(driverID: String, tripID: String)
    /// The database can't take it now.
    case unavailable(String)
    case deadlineExceeded(String)
    /// Nobody waits for the answer any more.
    case cancelled
    case tooMany(String)
}
