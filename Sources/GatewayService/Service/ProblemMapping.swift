import Bytes
import GRPCRuntime
import HTTPServer
import JSONWire
import RideAPI

/// The services' errors as problems of REST.
extension Problem {
    /// The problem for an error of a service: by the code in its details, else by its gRPC status.
    init(_ error: RPCError, from backend: Backend) {
        if let details = ProblemDetails(statusDetails: error.statusDetails), let status = Self.status(details.code) {
            self.init(details, status)
        } else {
            self.init(statusOf: error, from: backend)
        }
    }

    /// The same for a call that `request` is answered by. Where the gateway asked in its own name and is not known, no caller can
    /// help it.
    init(_ error: RPCError, from backend: Backend, asking request: RequestScope) {
        if !request.passesOn, ["unauthenticated", "invalid-token", "insufficient-scope"].contains(error.problem?.code) {
            self = Problem(
                500, "internal", "The \(backend.rawValue) does not take the gateway for one; the logs of both say more."
            )
        } else {
            self.init(error, from: backend)
        }
    }

    /// HTTP status by problem code.
    private static func status(_ code: String) -> Int? {
        switch code {
        case "invalid-parameter", "invalid-json": 400
        case "refresh-token-invalid", "refresh-token-reused", "enrolment-invalid", "ticket-invalid", "unauthenticated",
            "invalid-token":
            401
        case "insufficient-scope", "not-yours": 403
        case "driver-not-found", "trip-not-found", "not-found": 404
        case "driver-exists", "driver-on-trip", "driver-suspended", "driver-unavailable", "rider-has-active-trip",
            "no-driver-available", "trip-already-ended", "key-in-progress":
            409
        case "invalid-body", "unknown-driver", "driver-too-far", "wrong-category", "key-reused": 422
        case "rate-limited": 429
        case "backend-unavailable", "authentication-busy": 503
        case "backend-timeout": 504
        default: nil
        }
    }

    private init(_ details: ProblemDetails, _ status: Int) {
        var members = ByteBuffer()
        for (name, value) in details.metadata.sorted(by: { $0.key < $1.key }) where name != "www_authenticate" {
            if !members.isEmpty { members.append(UInt8(ascii: ",")) }
            members.appendJSON(string: name)
            members.append(UInt8(ascii: ":"))
            members.appendJSON(string: value)
        }
        // Always there when a driver was taken: none is an answer too.
        let alternatives = details.alternatives ?? (details.code == "driver-unavailable" ? [] : nil)
        if let alternatives {
            if !members.isEmpty { members.append(UInt8(ascii: ",")) }
            members.append("\"alternatives\":[")
            for driver in alternatives.prefix(3) {
                members.appendJSONSeparator()
                members.appendJSON(driver: driver)
            }
            members.append("]")
        }
        // RFC 9110 §15.5.2
        var fields = HTTPFields()
        if let challenge = details.metadata["www_authenticate"] {
            fields.add("WWW-Authenticate", challenge)
        } else if status == 401 {
            fields = Self.challenge()
        }
        let retryAfter = details.retryAfter ?? (status == 503 || details.code == "key-in-progress" ? 1000 : nil)
        if let retryAfter { fields.add("Retry-After", String(max(1, (retryAfter + 999) / 1000))) }
        self.init(
            status, details.code, details.detail,
            errors: details.violations.map { Item(pointer: $0.pointer, detail: $0.detail) }, members: members.array(),
            fields: fields)
    }

    private init(statusOf error: RPCError, from backend: Backend) {
        switch error.code {
        case .deadlineExceeded: self = .backendTimeout(backend)
        case .unavailable, .resourceExhausted, .cancelled: self = .backendUnavailable(backend)
        case .invalidArgument: self.init(422, "invalid-body", error.message)
        case .notFound: self.init(404, "not-found", error.message)
        case .failedPrecondition, .aborted, .alreadyExists: self.init(409, "conflict", error.message)
        default:
            self.init(500, "internal", "The \(backend.rawValue) failed (\(error.code)); its log says more.")
        }
    }

    /// A service has answered with something else than what it promised.
    static func backendBroken(_ backend: Backend) -> Problem {
        Problem(502, "backend-broken", "The \(backend.rawValue) gave an answer that is none; its log may say more.")
    }

    static func backendTimeout(_ backend: Backend) -> Problem {
        Problem(504, "backend-timeout", "The \(backend.rawValue) did not answer in time; try again.")
    }

    static func backendUnavailable(_ backend: Backend) -> Problem {
        Problem(
            503, "backend-unavailable", "The \(backend.rawValue) can't be reached; try again in a moment.",
            fields: ["Retry-After": "1"])
    }
}
