import RideAPI
import Storage

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
    /// An operator has taken the driver off duty.
    case driverSuspended(driverID: String, reason: String)
    /// The database can't take it now.
    case unavailable(String)
    case deadlineExceeded(String)
    /// Nobody waits for the answer any more.
    case cancelled
    case tooMany(String)
    /// The caller is another driver.
    case notYours
    /// The caller is a program that brings simulated drivers along, and this is none of them.
    case notSimulated
    /// The refresh token is unknown, or its session has ended.
    case refreshTokenInvalid
    /// The refresh token was used before; its session has ended now.
    case refreshTokenReused
    case enrolmentInvalid
    case ticketInvalid
    /// A ticket is asked for with a token that is revoked.
    case tokenRevoked

    /// There is no room for another revocation.
    static var tooManyRevocations: DriverError {
        .tooMany(
            "There are \(AuthLimits.revocations) revocations, and no more are kept; a new key (CABSTAND_AUTH_KEY) in the place "
                + "of the old one ends all tokens.")
    }

    /// What a failure of the storage means for the caller, who is not shown its words.
    ///
    /// - Parameters:
    ///   - deadline: the caller's, and the loop's time now.
    ///   - report: hears of what is the storage's own fault.
    init(_ error: StorageError, by deadline: UInt64, at now: UInt64, _ report: (StorageError) -> Void) {
        switch error {
        case .deadlineExceeded: self = .deadlineExceeded("The database did not answer in time.")
        case .cancelled where now < deadline: self = .cancelled
        case .cancelled: self = .deadlineExceeded("The deadline passed.")
        case .refused, .unavailable, .corrupt:
            report(error)
            self = .unavailable("The driver service can't store anything now; try again in a moment.")
        }
    }
}
