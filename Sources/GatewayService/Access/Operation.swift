import Access
import HTTP1
import HTTPServer
import Operations

/// Everything that can be asked of the gateway, and who may: the one table. Routes are added by their operation
/// (`GuardedRoutes`), so that none is without a row. The page, its files and health are for everybody.
enum Operation: String, CaseIterable {
    case findAvailableDrivers, listDrivers, getDriver, registerDriver, setDriverStatus
    case updateDriver, deleteDriver, suspendDriver, restoreDriver
    case createTrip, listTrips, getTrip, pickUpTrip, completeTrip, cancelTrip, endTrip
    case watchAvailableDrivers, watchTrip, reportLocation
    case signInAsGuest, signInAsDriver, refreshTokens, signOut
    case beginSession, showSession, endSession, beginSignIn, finishSignIn
    case createEnrolment, createTicket, revoke

    /// Methods and path.
    var route: (methods: [HTTP1Method], pattern: String) {
        switch self {
        case .findAvailableDrivers: ([.get], "/drivers/available")
        case .listDrivers: ([.get], "/drivers")
        case .getDriver: ([.get], "/drivers/{id}")
        case .registerDriver: ([.post], "/drivers")
        case .setDriverStatus: ([.patch], "/drivers/{id}/status")
        case .updateDriver: ([.patch], "/drivers/{id}")
        case .deleteDriver: ([.delete], "/drivers/{id}")
        case .suspendDriver: ([.post], "/drivers/{id}/suspend")
        case .restoreDriver: ([.post], "/drivers/{id}/restore")
        case .createTrip: ([.post], "/trips")
        case .listTrips: ([.get], "/trips")
        case .getTrip: ([.get], "/trips/{id}")
        case .pickUpTrip: ([.post, .patch], "/trips/{id}/pickup")
        case .completeTrip: ([.post, .patch], "/trips/{id}/complete")
        case .cancelTrip: ([.post, .patch], "/trips/{id}/cancel")
        case .endTrip: ([.post], "/trips/{id}/end")
        case .watchAvailableDrivers: ([.get], "/ws/drivers/available")
        case .watchTrip: ([.get], "/ws/trips/{id}")
        case .reportLocation: ([.get], "/ws/drivers/{id}/location")
        case .signInAsGuest: ([.post], "/auth/guest")
        case .signInAsDriver: ([.post], "/auth/driver")
        case .refreshTokens: ([.post], "/auth/refresh")
        case .signOut: ([.post], "/auth/sign-out")
        case .beginSession: ([.post], "/auth/session")
        case .showSession: ([.get], "/auth/session")
        case .endSession: ([.delete], "/auth/session")
        case .beginSignIn: ([.get], "/auth/login")
        case .finishSignIn: ([.get], "/auth/callback")
        case .createEnrolment: ([.post], "/drivers/{id}/enrolment")
        case .createTicket: ([.post], "/ws/tickets")
        case .revoke: ([.post], "/auth/revocations")
        }
    }

    /// Who may; operators always.
    var roles: Roles {
        switch self {
        // Who is free, and where: everybody, where lists are public.
        case .findAvailableDrivers, .watchAvailableDrivers: [.rider, .driver]
        case .listDrivers, .registerDriver, .updateDriver, .deleteDriver, .suspendDriver, .restoreDriver, .endTrip: []
        case .getDriver: [.rider, .driver]
        case .setDriverStatus, .reportLocation: [.driver]
        case .createTrip: [.rider]
        case .listTrips, .getTrip, .watchTrip, .cancelTrip: [.rider, .driver]
        case .pickUpTrip, .completeTrip: [.driver]
        case .showSession, .createTicket: [.rider, .driver]
        case .createEnrolment, .revoke: []
        case .signInAsGuest, .signInAsDriver, .refreshTokens, .signOut, .beginSession, .endSession: []
        case .beginSignIn, .finishSignIn: []
        }
    }

    /// Whether everybody may, whatever they say of themselves: signing in, and out.
    var isForEverybody: Bool {
        switch self {
        case .signInAsGuest, .signInAsDriver, .refreshTokens, .signOut, .beginSession, .endSession: true
        case .beginSignIn, .finishSignIn: true
        default: false
        }
    }

    /// Whether it opens a WebSocket, for which a ticket is good, too.
    var isSocket: Bool { self == .watchAvailableDrivers || self == .watchTrip || self == .reportLocation }

    /// Whether everybody may, without saying who they are, where `CABSTAND_PUBLIC_LISTS` is on.
    var isPublicList: Bool { self == .findAvailableDrivers || self == .watchAvailableDrivers }

    /// As what it counts when somebody asks too much.
    var limit: LimitClass {
        switch self {
        case .findAvailableDrivers, .listDrivers, .getDriver, .listTrips, .getTrip, .showSession: .read
        case .registerDriver, .setDriverStatus, .pickUpTrip, .completeTrip, .cancelTrip: .write
        case .updateDriver, .deleteDriver, .suspendDriver, .restoreDriver, .endTrip: .write
        case .createEnrolment, .revoke: .write
        case .createTrip: .booking
        case .signInAsGuest, .signInAsDriver, .refreshTokens, .signOut: .token
        case .beginSession, .endSession, .beginSignIn, .finishSignIn, .createTicket: .token
        case .watchAvailableDrivers, .watchTrip, .reportLocation: .connect
        }
    }

    /// What the audit keeps of it.
    var change: Change {
        switch self {
        case .findAvailableDrivers, .listDrivers, .getDriver, .listTrips, .getTrip, .showSession: .none
        case .watchAvailableDrivers, .watchTrip, .reportLocation: .none
        case .registerDriver, .setDriverStatus, .updateDriver, .deleteDriver, .suspendDriver, .restoreDriver: .always
        case .createTrip, .pickUpTrip, .completeTrip, .cancelTrip, .endTrip: .always
        case .signInAsGuest, .signInAsDriver, .signOut, .endSession: .always
        case .createEnrolment, .createTicket, .revoke: .always
        // A page or an app goes on; a new guest, and a token that was used before, are something else.
        case .refreshTokens, .beginSession: .sometimes
        // That somebody goes to the provider is no change; that they come back as somebody is one.
        case .beginSignIn: .none
        case .finishSignIn: .sometimes
        }
    }

    /// What it is about beside its role.
    var subject: Subject {
        switch self {
        case .setDriverStatus, .reportLocation: .ownDriver
        case .getTrip, .watchTrip, .pickUpTrip, .completeTrip, .cancelTrip: .ownTrip
        default: .any
        }
    }

    /// Whose thing an operation is about, for whoever is no operator.
    enum Subject {
        /// Everybody's, or the handler looks itself.
        case any
        /// The driver in the path is the caller.
        case ownDriver
        /// The caller is the rider or the driver of the trip in the path; other trips are not there (404).
        case ownTrip
    }
}

/// A group to which routes are added by what they do; where access is restricted, each stands behind its gates.
struct GuardedRoutes {
    private let routes: RouteGroup
    let access: AccessControl?
    private let limits: LoopLimits?

    /// - Parameters:
    ///   - access: nil: everybody may do everything.
    ///   - limits: nil: as much as they like.
    init(_ routes: RouteGroup, access: AccessControl? = nil, limits: LoopLimits? = nil) {
        self.routes = routes
        self.access = access
        self.limits = limits
    }

    /// Adds the route of an operation. `gates` stand behind those of access.
    func add(_ operation: Operation, gates: [any Gate] = [], _ handler: @escaping HTTPHandler) {
        var group = routes
        let limit = limits?.gate(operation.limit).map { [$0] } ?? []
        group = access?.guarded(group, operation, limit: limit) ?? group.group(gates: limit)
        group = group.group(gates: gates)
        let handler = access?.audit?.audited(operation, handler) ?? handler
        let (methods, pattern) = operation.route
        for method in methods { group.add(method, pattern, handler) }
    }

    /// Adds the route of an operation whose handler may wait, `patience` at most.
    func add(
        _ operation: Operation, gates: [any Gate] = [], within patience: Duration,
        _ handler: @escaping (HeldRequest, RequestScope) async throws(Problem) -> HTTPResponse
    ) {
        add(operation, gates: gates) { request, responder in
            // What the handler comes to settles the entry, not the first of its questions.
            let scope = RequestScope(request, responder).withoutAudit
            let held = HeldRequest(request)
            let entry = request[AuditEntry.self]
            responder.wait(for: held, within: patience) { () async throws(Problem) in
                do throws(Problem) {
                    let response = try await handler(held, scope)
                    entry?.settle()
                    responder.respond(response)
                } catch {
                    entry?.settle(error)
                    throw error
                }
            }
        }
    }
}
