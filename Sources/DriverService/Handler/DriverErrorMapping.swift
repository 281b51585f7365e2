import GRPCRuntime
import RideAPI
import RideDomain

/// Domain errors as gRPC statuses: the API's problem codes in `grpc-status-details-bin`, and sentences that say the value, the
/// rule and the remedy.
extension DriverError: RPCErrorConvertible {
    var rpcError: RPCError { RPCError(problem, code: statusCode) }

    private var statusCode: StatusCode {
        switch self {
        case .invalid, .invalidParameter: .invalidArgument
        case .driverNotFound: .notFound
        case .driverExists: .alreadyExists
        case .driverOnTrip, .driverSuspended: .failedPrecondition
        case .unavailable: .unavailable
        case .deadlineExceeded: .deadlineExceeded
        case .cancelled: .cancelled
        case .tooMany: .resourceExhausted
        case .refreshTokenInvalid, .refreshTokenReused, .enrolmentInvalid, .ticketInvalid, .tokenRevoked:
            .unauthenticated
        case .notYours, .notSimulated: .permissionDenied
        }
    }

    private var problem: ProblemDetails {
        switch self {
        case .invalid(let violations):
            ProblemDetails(
                code: "invalid-body", detail: violations.first?.detail ?? "The request is not valid.",
                violations: violations)
        case .invalidParameter(let name, let detail):
            ProblemDetails(code: "invalid-parameter", detail: detail, metadata: ["parameter": name])
        case .driverNotFound(let id):
            ProblemDetails(code: "driver-not-found", detail: "There is no driver \(id).")
        case .driverExists(let id):
            ProblemDetails(
                code: "driver-exists",
                detail: "The id \(id) belongs to a driver with another profile; leave it out or take a new one.",
                violations: [BodyViolation(pointer: "/id", detail: "It belongs to a driver with another profile.")])
        case .driverOnTrip(let driverID, let tripID):
            ProblemDetails(
                code: "driver-on-trip",
                detail: "Driver \(driverID) is on trip \(tripID); complete or cancel it first.",
                metadata: ["active_trip_id": tripID])
        case .driverSuspended(let driverID, let reason):
            ProblemDetails(
                code: "driver-suspended",
                detail: "Driver \(driverID) is suspended; they can go on duty when an operator has restored them.",
                metadata: ["reason": reason])
        case .unavailable(let detail):
            ProblemDetails(code: "backend-unavailable", detail: detail, retryAfter: 1_000)
        case .deadlineExceeded(let detail):
            ProblemDetails(code: "backend-timeout", detail: detail)
        case .cancelled:
            ProblemDetails(code: "cancelled", detail: "The caller has gone away.")
        case .tooMany(let detail):
            ProblemDetails(code: "rate-limited", detail: detail, retryAfter: 5_000)
        case .refreshTokenInvalid:
            ProblemDetails(
                code: "refresh-token-invalid", detail: "The refresh token is unknown or has ended; sign in again.")
        case .refreshTokenReused:
            ProblemDetails(
                code: "refresh-token-reused",
                detail:
                    "The refresh token was used before, so somebody else may have it: its session has ended; sign in again."
            )
        case .enrolmentInvalid:
            ProblemDetails(
                code: "enrolment-invalid",
                detail: "The code is unknown, used or older than 24 hours; ask the operator for another one.")
        case .ticketInvalid:
            ProblemDetails(
                code: "ticket-invalid",
                detail: "The ticket is unknown, used, older than 30 seconds or for another path; ask for another one.")
        case .tokenRevoked: ProblemDetails(code: "invalid-token", detail: "The token was revoked.")
        case .notYours:
            ProblemDetails(code: "not-yours", detail: "The token is another driver's.")
        case .notSimulated:
            ProblemDetails(
                code: "not-yours",
                detail: "A program registers and enrols simulated drivers only, whose ids begin with "
                    + "\(Identifier.simulatedDriverPrefix).")
        }
    }
}
