import GRPCRuntime
import RideAPI
import RideDomain

/// Domain errors as gRPC statuses: the API's problem codes in `grpc-status-details-bin`, and sentences that say the value, the
/// rule and the remedy.
extension TripError {
    var rpcError: RPCError { RPCError(problem, code: statusCode) }

    private var statusCode: StatusCode {
        switch self {
        case .invalid, .invalidParameter, .unknownDriver: .invalidArgument
        case .tripNotFound: .notFound
        case .driverUnavailable, .noDriverAvailable, .driverTooFar, .wrongCategory, .riderHasActiveTrip,
            .tripAlreadyEnded:
            .failedPrecondition
        case .keyInProgress: .aborted
        case .keyReused, .idTaken: .alreadyExists
        case .unavailable: .unavailable
        case .deadlineExceeded: .deadlineExceeded
        case .cancelled: .cancelled
        case .notYours: .permissionDenied
        }
    }

    private var problem: ProblemDetails {
        switch self {
        case .invalid(let field, let detail):
            ProblemDetails(
                code: code, detail: detail, violations: [.init(pointer: "/" + field, detail: detail)])
        case .invalidParameter(let name, let detail):
            ProblemDetails(code: code, detail: detail, metadata: ["parameter": name])
        case .tripNotFound(let id):
            ProblemDetails(code: code, detail: "There is no trip \(id).")
        case .unknownDriver(let id):
            refused("/driver_id", "There is no driver \(id); leave driver_id out to be matched with the nearest one.")
        case .driverUnavailable(_, .taken, let alternatives):
            ProblemDetails(
                code: code,
                detail: "This driver was booked a moment ago; alternatives lists the nearest free ones.",
                alternatives: alternatives.map(Driver_V1_Driver.init(offered:)))
        case .driverUnavailable(let id, .absent, let alternatives):
            ProblemDetails(
                code: code, detail: "Driver \(id) is offline; alternatives lists the nearest free ones.",
                alternatives: alternatives.map(Driver_V1_Driver.init(offered:)))
        case .noDriverAvailable(let radius, let category):
            ProblemDetails(
                code: code,
                detail:
                    "No driver \(category.map { "of category \($0) " } ?? "")within \(Self.words(radius, beside: radius)) of "
                    + "the pickup is free; try again in a moment.")
        case .driverTooFar(let id, let distance, let limit):
            refused(
                "/driver_id",
                "Driver \(id) is \(Self.words(distance, beside: limit)) from the pickup, and at most "
                    + "\(Self.words(limit, beside: limit)) are allowed; "
                    + "leave driver_id out to be matched with the nearest one.")
        case .wrongCategory(let id, let category):
            refused(
                "/category",
                "The car of driver \(id) is of category \(category); leave category out, or driver_id to be matched.")
        case .riderHasActiveTrip(let tripID):
            ProblemDetails(
                code: code,
                detail: "This rider has a trip in progress, \(tripID); complete or cancel it before booking another.",
                metadata: ["active_trip_id": tripID])
        case .tripAlreadyEnded(let status):
            ProblemDetails(
                code: code, detail: "The trip is \(status.word); what has ended stays as it is.")
        case .keyInProgress:
            ProblemDetails(
                code: code, detail: "A request with this Idempotency-Key is running; repeat it in a second.",
                retryAfter: 1000)
        case .keyReused:
            ProblemDetails(
                code: code,
                detail: "This Idempotency-Key was used with another body; take a new key for a new request.")
        case .idTaken(let id):
            ProblemDetails(
                code: code, detail: "The id \(id) belongs to another trip; leave it out or take a new one.",
                violations: [.init(pointer: "/id", detail: "It belongs to another trip.")])
        case .unavailable(let detail):
            ProblemDetails(code: code, detail: detail, retryAfter: 1000)
        case .deadlineExceeded(let detail):
            ProblemDetails(code: code, detail: detail)
        case .cancelled:
            ProblemDetails(code: code, detail: "The caller has gone away.")
        case .notYours(let thing):
            ProblemDetails(code: code, detail: "The token is another \(thing)'s.")
        }
    }

    private func refused(_ pointer: String, _ detail: String) -> ProblemDetails {
        ProblemDetails(code: code, detail: detail, violations: [.init(pointer: pointer, detail: detail)])
    }

    /// A distance as it is compared with `limit`: in kilometres with at most one decimal where that says the limit exactly, in
    /// metres otherwise. It is rounded up, so that it is never shown as the limit that it exceeds.
    private static func words(_ metres: Double, beside limit: Double) -> String {
        if limit >= 1_000, limit.remainder(dividingBy: 100) == 0 {
            return "\(Rules.text((metres / 100).rounded(.up) / 10)) km"
        }
        return "\(Rules.text(metres.rounded(.up))) m"
    }
}

extension Driver_V1_Driver {
    /// A driver whom somebody may book instead, but has not.
    fileprivate init(offered known: KnownDriver) {
        self.init(known.driver, distance: known.distance, seenAs: .stranger)
    }
}
