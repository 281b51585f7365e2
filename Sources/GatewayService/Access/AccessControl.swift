import Access
import AccessTokens
import Bytes
import GRPCRuntime
import HTTPServer
import RideAPI
import RideDomain

/// Who a request of one loop comes from, and whether they may what they ask for. Belongs to its loop.
final class AccessControl {
    private let backends: Backends
    private let authenticator: Authenticator
    var configuration: AccessConfiguration { authenticator.configuration }

    init(backends: Backends, configuration: AccessConfiguration, metrics: AccessMetrics = AccessMetrics()) {
        self.backends = backends
        authenticator = Authenticator(loop: backends.loop, configuration: configuration, metrics: metrics)
    }

    /// What counts from now on; what was verified with the keys before is verified again.
    func use(_ configuration: AccessConfiguration) { authenticator.use(configuration) }

    /// The gate of an operation: who may.
    func gate(_ operation: Operation) -> any Gate { RoleGate(access: self, operation: operation) }

    /// The gate of operations on a trip: whose trip.
    var ownTripGate: any AsyncGate { OwnTripGate(backends: backends) }

    /// Adds what others verify this issuer's tokens with (RFC 7517 §5).
    func register(on router: Router) {
        router.get("/.well-known/jwks.json") { [self] _, responder in
            guard let set = configuration.keySet else {
                return responder.problem(Problem(404, "not-found", "Tokens are made by other issuers."))
            }
            responder.respond(200, "application/jwk-set+json", fields: ["Cache-Control": "max-age=600"]) {
                $0.append(utf8: set)
            }
        }
    }

    // MARK: Who

    /// Who sends a request; nil: they do not say (RFC 6750 §2.1: the field is the only way).
    func principal(of request: borrowing HTTPRequest) throws(Problem) -> Principal? {
        switch request.head.count(of: "authorization") {
        case 0: return nil
        case 1: break
        default: throw .invalidRequest("Authorization is given more than once; give it once.")
        }
        guard let value = request.head.value("authorization"), value.count > 7,
            ASCII.equalsIgnoringCase(value.extracting(..<7), "bearer ")
        else { throw .unauthenticated("Authorization has another scheme than Bearer, or nothing behind it.") }
        var start = 7
        while start < value.count && value[start] == UInt8(ascii: " ") { start += 1 }
        return try verify(value.extracting(start...))
    }

    private func verify(_ token: Span<UInt8>) throws(Problem) -> Principal {
        do throws(Authenticator.Failure) {
            return try authenticator.principal(of: token)
        } catch {
            switch error {
            case .refused(let refusal): throw .invalidToken(refusal)
            case .busy:
                throw Problem(
                    503, "authentication-busy", "Too many new tokens come at once; try again in a moment.",
                    fields: ["Retry-After": "1"])
            }
        }
    }

    /// Counts a request that is refused; `reason` is one of few words.
    func count(_ reason: String) { authenticator.metrics.refused(reason) }
}

/// Lets through whose role allows an operation, and attaches who they are.
private struct RoleGate: Gate {
    let access: AccessControl
    let operation: Operation

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        guard let principal = try access.principal(of: request) else {
            if operation.isPublicList && access.configuration.publicLists { return .pass }
            access.count("missing")
            throw .unauthenticated("This is for those who say who they are: Authorization: Bearer TOKEN.")
        }
        guard principal.isOperator || !principal.roles.isDisjoint(with: operation.roles) else {
            access.count("scope")
            throw .insufficientScope(operation.roles.union([.operator]))
        }
        if operation.subject == .ownDriver, !principal.isDriver(request.pathParameter("id") ?? "") {
            access.count("other")
            throw .somebodyElses("driver")
        }
        request.attach(principal)
        return .pass
    }
}

/// Lets riders and drivers through to their own trips; others' are not there. A trip's rider and driver never change, so that
/// what was looked at holds when the handler asks again.
private struct OwnTripGate: AsyncGate {
    let backends: Backends

    func admit(_ request: HeldRequest, _ responder: HTTPResponder) async throws(Problem) -> Admission {
        guard let principal = request[Principal.self], !principal.isOperator else { return .pass }
        let id = request.pathParameter("id") ?? ""
        guard Identifier.isValid(id),
            let scope = request.view({ (request) throws(Never) in RequestScope(request, responder) })
        else { throw .noTrip(id) }
        let trip = try await backends.trip(id, scope)
        guard principal.owns(trip) else { throw .noTrip(id) }
        return .pass
    }
}

extension Backends {
    /// A trip, for a REST request.
    fileprivate func trip(_ id: String, _ scope: RequestScope) async throws(Problem) -> Trip_V1_Trip {
        let result = await withCheckedContinuation { continuation in
            call(.trip, scope) { [trips] options, done in
                trips.getTrip(Trip_V1_GetTripRequest(tripID: id), options: options, done)
            } _: { (result: Result<Trip_V1_GetTripResponse, Problem>) in
                continuation.resume(returning: result.promised(\.trip, by: .trip))
            }
        }
        return try result.get().message
    }
}

// MARK: Refusals

/// RFC 6750 §3: what is wrong, and with which scheme to come.
extension Problem {
    private static func challenge(_ parameters: String = "") -> HTTPFields {
        ["WWW-Authenticate": "Bearer realm=\"cabstand\"" + parameters]
    }

    /// No token was sent: the challenge has no error code.
    static func unauthenticated(_ detail: String) -> Problem {
        Problem(401, "unauthenticated", detail, fields: challenge())
    }

    static func invalidRequest(_ detail: String) -> Problem {
        Problem(
            400, "invalid-request", detail,
            fields: challenge(", error=\"invalid_request\", error_description=\"\(detail)\""))
    }

    static func invalidToken(_ refusal: TokenRefusal) -> Problem {
        Problem(
            401, "invalid-token", "\(refusal)",
            fields: challenge(", error=\"invalid_token\", error_description=\"\(refusal)\""))
    }

    static func insufficientScope(_ roles: Set<Role>) -> Problem {
        let words = roles.map(\.rawValue).sorted()
        return Problem(
            403, "insufficient-scope", "This is for \(words.joined(separator: " or ")) only.",
            fields: challenge(", error=\"insufficient_scope\", scope=\"\(words.joined(separator: " "))\""))
    }

    /// The token is good for others of its kind.
    static func somebodyElses(_ thing: String) -> Problem {
        Problem(403, "not-yours", "The token is another \(thing)'s.")
    }
}
