import Access
import AccessTokens
import Bytes
import HTTP1
import HTTPServer
import RideAPI
import RideDomain

/// Who a request of one loop comes from, and whether they may what they ask for. Belongs to its loop.
final class AccessControl {
    private let backends: Backends
    let authenticator: Authenticator
    /// Whose pages a browser's session is for: a cookie is sent along by itself, and so `*` does not count.
    private let origins: OriginPolicy
    /// How many new tokens an address may bring; nil: as many as it likes.
    let limits: LoopLimits?
    /// Who has done what; nil: nobody keeps it.
    let audit: Audit?
    /// Fetches an issuer's keys anew; nil: no issuer publishes any.
    private let refetch: ((PublishedIssuer) async -> Void)?
    var configuration: AccessConfiguration { authenticator.configuration }

    init(
        backends: Backends, configuration: AccessConfiguration, origins: OriginPolicy = .init(),
        revocations: Revocations = Revocations(began: nil), metrics: AccessMetrics = AccessMetrics(),
        limits: LoopLimits? = nil, audit: Audit? = nil,
        refetch: ((PublishedIssuer) async -> Void)? = nil
    ) {
        self.refetch = refetch
        self.audit = audit
        self.backends = backends
        self.limits = limits
        self.origins = origins.listedOnly
        authenticator = Authenticator(
            loop: backends.loop, configuration: configuration, revocations: revocations, metrics: metrics)
    }

    /// What counts from now on; what was verified with the keys before is verified again.
    ///
    /// Issuers that publish their keys stay those that they were: which there are is settled at start.
    func use(_ configuration: AccessConfiguration) {
        var configuration = configuration
        configuration.published = authenticator.configuration.published
        authenticator.use(configuration)
    }

    /// An issuer's tokens are verified with these keys from now on.
    func use(_ keys: JSONWebKeySet, of issuer: String) { authenticator.use(keys, of: issuer) }

    /// The gates of an operation: by whose ticket (as often as an address may bring new tokens), who it is, how often (`limit`), who may, whose thing it is about.
    func guarded(_ routes: RouteGroup, _ operation: Operation, limit: [any Gate]) -> RouteGroup {
        if operation.isForEverybody { return routes.group(gates: limit) }
        var group = routes
        if operation.isSocket { group = group.group(gates: [TicketGate(access: self, backends: backends)]) }
        // Who is refused has asked, too: a flood of refusals, each with its line in the audit, has the same bound.
        let judged: [any Gate] = limit + [RoleGate(access: self, operation: operation)]
        group = group.group(gates: [CallerGate(access: self)] + judged)
        return operation.subject == .ownTrip ? group.group(gates: [OwnTripGate(backends: backends)]) : group
    }

    // MARK: Who

    /// Why it is not known who sends a request.
    enum Doubt: Error {
        case problem(Problem)
        /// The issuer may have published the token's key by now.
        case keyMayBeNew(PublishedIssuer)
    }

    /// Who sends a request; nil: they do not say. By a ticket, by the field (RFC 6750 §2.1), by a subprotocol of a handshake, or
    /// by a browser's session.
    func principal(of request: borrowing HTTPRequest) throws(Doubt) -> Principal? {
        if let known = request[Principal.self] { return known }
        switch request.head.count(of: "authorization") {
        case 0: break
        case 1: return try verify(try bearer(request), request)
        default: throw .problem(.invalidRequest("Authorization is given more than once; give it once."))
        }
        switch BearerSubprotocol.find(in: request.head) {
        case .none: return try principalOfSession(request)
        case .malformed:
            throw .problem(.invalidRequest("The token of Sec-WebSocket-Protocol must be there once, in base64url."))
        case .token(let token):
            let principal = try verify(token.span, request)
            request.attach(CallerToken(token.span))
            return principal
        }
    }

    @_lifetime(copy request)
    private func bearer(_ request: borrowing HTTPRequest) throws(Doubt) -> Span<UInt8> {
        guard let value = request.head.value("authorization"), let token = BearerScheme.token(in: value)
        else { throw .problem(.unauthenticated("Authorization has another scheme than Bearer, or nothing behind it.")) }
        return token
    }

    /// Who a browser's session stands for. One that has expired is none: the page begins the next one.
    private func principalOfSession(_ request: borrowing HTTPRequest) throws(Doubt) -> Principal? {
        guard let token = SessionCookie.access.value(in: request) else { return nil }
        guard isOwnPage(request) else { throw .problem(.foreignOrigin("use a session")) }
        if let principal = authenticator.recall(token.span) {
            request.attach(CallerToken(token.span))
            return principal
        }
        try admitNewToken(request)
        do throws(Authenticator.Failure) {
            let principal = try authenticator.verify(token.span)
            request.attach(CallerToken(token.span))
            return principal
        } catch {
            if case .busy = error { throw .problem(.authenticationBusy) }
            // A session's tokens are made here: no issuer need be asked.
            return nil
        }
    }

    /// Who a page's session stands for by its access token; nil: it has none that is good, or nobody can tell just now.
    func principalOfPage(_ request: borrowing HTTPRequest) -> Principal? {
        do throws(Doubt) { return try principalOfSession(request) } catch { return nil }
    }

    /// Seconds until an access token expires.
    func secondsLeft(of principal: Principal) -> Int64 {
        principal.expires - TokenVerifier.skew - backends.loop.wallClockMilliseconds / 1000
    }

    /// Whether a browser's session may count: its cookies come with whatever a page does. A page of this gateway's own origin, or
    /// of one that is listed, has sent what changes something or opens a WebSocket; browsers leave `Origin` out of a plain GET
    /// of one's own.
    func isOwnPage(_ request: borrowing HTTPRequest) -> Bool {
        let verdict = request.verdict(by: origins)
        return verdict == .allowed || verdict == .none && request.method == .get && !request.head.has("upgrade")
    }

    /// A new token costs a verification, whether or not it is good: one address is not to take the time of all.
    private func admitNewToken(_ request: borrowing HTTPRequest) throws(Doubt) {
        do throws(Problem) { try limits?.takeToken(of: request) } catch { throw .problem(error) }
    }

    private func verify(_ token: Span<UInt8>, _ request: borrowing HTTPRequest) throws(Doubt) -> Principal {
        if let principal = authenticator.recall(token) { return principal }
        try admitNewToken(request)
        return try verifyAnew(token)
    }

    /// Whom a token stands for that is not known yet.
    private func verifyAnew(_ token: Span<UInt8>) throws(Doubt) -> Principal {
        do throws(Authenticator.Failure) {
            return try authenticator.verify(token)
        } catch {
            switch error {
            case .refused(let refusal): throw .problem(.invalidToken(refusal))
            case .busy: throw .problem(.authenticationBusy)
            case .issuerAway: throw .problem(.issuerAway)
            case .keyMayBeNew(let issuer): throw refetch == nil ? .problem(.issuerAway) : .keyMayBeNew(issuer)
            }
        }
    }

    /// Whom a token stands for that came in a message.
    func principal(ofToken text: String) throws(Problem) -> Principal {
        let bytes = Array(text.utf8)
        if let principal = authenticator.recall(bytes.span) { return principal }
        do throws(Doubt) {
            return try verifyAnew(bytes.span)
        } catch {
            switch error {
            case .problem(let problem): throw problem
            // A message waits for nobody; its sender may try again.
            case .keyMayBeNew: throw .invalidToken(.unknownKey)
            }
        }
    }

    /// Waits until an issuer has been asked for its keys.
    fileprivate func ask(_ issuer: PublishedIssuer) async { await refetch?(issuer) }

    /// Counts a request that is refused; `reason` is one of few words.
    func count(_ reason: String) { authenticator.metrics.refused(reason) }

    // MARK: Tokens of our own

    /// A new access token of this installation.
    ///
    /// - Parameters:
    ///   - issued: Unix seconds, as the driver service says them: revocations go by its clock.
    ///   - id: its own name; nil: a new one.
    /// - Throws: a problem if this gateway makes none.
    func token(
        for subject: String, _ roles: Roles, seconds: Int64, at issued: Int64, id: String? = nil
    ) throws(Problem) -> String {
        guard let signer = configuration.signer else { throw .madeElsewhere }
        guard
            let text = signer.token(
                for: subject, roles, seconds: seconds, at: issued, id: id ?? backends.mint(), client: "cabstand")
        else { throw Problem(500, "internal", "No token can be made; the gateway is out of memory.") }
        return text
    }
}

/// Attaches who sends a request, if they say so. Waits only for an issuer that may have a new key.
private struct CallerGate: Gate, AsyncGate {
    let access: AccessControl

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        do throws(AccessControl.Doubt) {
            try identify(request)
            return .pass
        } catch {
            switch error {
            case .problem(let problem): throw problem
            case .keyMayBeNew: return .undecided
            }
        }
    }

    func admit(_ request: HeldRequest, _ responder: HTTPResponder) async throws(Problem) -> Admission {
        var hasAsked = false
        while true {
            do throws(AccessControl.Doubt) {
                let isThere: Void? = try request.view { (request) throws(AccessControl.Doubt) in try identify(request) }
                return isThere == nil ? .answered : .pass
            } catch {
                switch error {
                case .problem(let problem): throw problem
                case .keyMayBeNew(let issuer):
                    if hasAsked { throw .invalidToken(.unknownKey) }
                    hasAsked = true
                    await access.ask(issuer)
                }
            }
        }
    }

    private func identify(_ request: borrowing HTTPRequest) throws(AccessControl.Doubt) {
        if let principal = try access.principal(of: request) { request.attach(principal) }
    }
}

/// Lets through whose role allows an operation.
private struct RoleGate: Gate {
    let access: AccessControl
    let operation: Operation
    /// Those of the operation, operators apart.
    private let roles: Roles
    /// Its driver is the caller.
    private let isForOwnDriver: Bool

    init(access: AccessControl, operation: Operation) {
        self.access = access
        self.operation = operation
        roles = operation.roles
        isForOwnDriver = operation.subject == .ownDriver
    }

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        guard let principal = request[Principal.self] else {
            if operation.isPublicList && access.configuration.publicLists { return .pass }
            access.count("missing")
            throw .unauthenticated("This is for those who say who they are: Authorization: Bearer TOKEN.")
        }
        guard principal.isOperator || !principal.roles.isDisjoint(with: roles) else {
            access.count("scope")
            let problem = Problem.insufficientScope(roles.union([.operator]))
            access.audit?.refuse(operation, request, principal, problem)
            throw problem
        }
        if isForOwnDriver, !principal.isDriver(request.pathParameter("id") ?? "") {
            access.count("other")
            let problem = Problem.somebodyElses("driver")
            access.audit?.refuse(operation, request, principal, problem)
            throw problem
        }
        return .pass
    }
}

/// Lets riders and drivers through to their own trips; others' are not there. A trip's rider and driver never change, so that
/// what was looked at holds when the handler asks again; the trip is attached for one that only shows it.
private struct OwnTripGate: Gate, AsyncGate {
    let backends: Backends

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        request[Principal.self]?.isOperator == false ? .undecided : .pass
    }

    func admit(_ request: HeldRequest, _ responder: HTTPResponder) async throws(Problem) -> Admission {
        guard let principal = request[Principal.self] else { return .pass }
        let id = request.pathParameter("id") ?? ""
        guard Identifier.isValid(id),
            let scope = request.view({ (request) throws(Never) in RequestScope(request, responder) })
        else { throw .noTrip(id) }
        let answer = try await backends.ask(.trip, scope) { [trips = backends.trips] options, done in
            trips.getTrip(Trip_V1_GetTripRequest(tripID: id), options: options, done)
        }
        guard let trip = answer.trip else { throw .backendBroken(.trip) }
        guard principal.owns(trip) else { throw .noTrip(id) }
        request.attach(trip)
        return .pass
    }
}

// MARK: Refusals

/// RFC 6750 §3: what is wrong, and with which scheme to come.
extension Problem {
    static func challenge(_ parameters: String = "") -> HTTPFields {
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

    /// More new tokens come than are verified in the time that is for it.
    static var authenticationBusy: Problem {
        Problem(
            503, "authentication-busy", "Too many new tokens come at once; try again in a moment.",
            fields: ["Retry-After": "1"])
    }

    /// The keys of the token's issuer could not be had yet.
    static var issuerAway: Problem {
        Problem(
            503, "issuer-unavailable", "The keys of the token's issuer can't be had; try again in a moment.",
            fields: ["Retry-After": "5"])
    }

    /// There is no key here to make tokens with.
    static var madeElsewhere: Problem { Problem(404, "not-found", "Tokens are made by other issuers.") }

    static func insufficientScope(_ roles: Roles) -> Problem {
        let words = roles.words
        return Problem(
            403, "insufficient-scope", "This is for \(words.joined(separator: " or ")) only.",
            fields: challenge(", error=\"insufficient_scope\", scope=\"\(words.joined(separator: " "))\""))
    }

    /// The token is good for others of its kind.
    static func somebodyElses(_ thing: String) -> Problem {
        Problem(403, "not-yours", "The token is another \(thing)'s.")
    }
}
