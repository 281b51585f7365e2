import Access
import Bytes
import GRPCRuntime
import HTTPServer
import JSONWire
import RideAPI
import RideDomain

/// REST's trips on one loop.
final class TripRoutes {
    private let backends: Backends

    init(backends: Backends) { self.backends = backends }

    /// What can be done to a trip.
    private enum Action {
        case pickup, complete, cancel
    }

    /// Adds the routes.
    func register(on routes: GuardedRoutes) {
        routes.add(.createTrip, gates: [ChangeGate(needsBody: true)], create)
        routes.add(.listTrips, list)
        routes.add(.getTrip, get)
        routes.add(.endTrip, gates: [ChangeGate(needsBody: true)], end)
        for (operation, action) in [(.pickUpTrip, .pickup), (.completeTrip, .complete), (.cancelTrip, .cancel)]
            as [(Operation, Action)]
        {
            routes.add(operation, gates: [ChangeGate(needsBody: false)]) { [self] request, responder throws(Problem) in
                try act(action, request, responder)
            }
        }
    }

    /// `POST /trips/{id}/end`: an operator's word.
    private func end(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        guard let id = request.identifier() else { throw .noTrip(request.pathParameter("id") ?? "") }
        let call = Trip_V1_EndTripRequest(tripID: id, reason: try request.readBody(RequestBodies.reason))
        backends.call(.trip, RequestScope(request, responder)) { [trips = backends.trips] options, done in
            trips.endTrip(call, options: options, done)
        } _: { (result: Result<Trip_V1_EndTripResponse, Problem>) in
            responder.answer(result.promised(\.trip, by: .trip)) { $1.appendJSON(trip: $0.message) }
        }
    }

    /// `POST /trips`, with an `Idempotency-Key` or without.
    private func create(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let key = try idempotencyKey(request)
        let principal = request[Principal.self]
        let rider = principal.flatMap { $0.roles.contains(.rider) ? $0.subject : nil }
        var call = try request.readBody { (body) throws(BodyError) in
            try RequestBodies.createTrip(body, rider: rider)
        }
        if let principal, !principal.isRider(call.riderID) { throw .somebodyElses("rider") }
        call.id = backends.mint()
        request[AuditEntry.self]?.target = call.id
        call.idempotencyKey = key.map { principal?.own($0) ?? $0 }
        let wanted = call
        backends.call(.trip, RequestScope(request, responder)) { [trips = backends.trips] options, done in
            trips.createTrip(wanted, options: options, done)
        } _: { (result: Result<Trip_V1_CreateTripResponse, Problem>) in
            switch result.promised(\.trip, by: .trip) {
            case .success((let answer, let trip)):
                var fields: HTTPFields = ["Location": "/trips/\(trip.id)"]
                if answer.replayed { fields.add("Idempotent-Replayed", "true") }
                responder.respond(201, "application/json", fields: fields) { $0.appendJSON(trip: trip) }
            case .failure(let problem): responder.problem(problem)
            }
        }
    }

    private func idempotencyKey(_ request: borrowing HTTPRequest) throws(Problem) -> String? {
        let name = "Idempotency-Key"
        switch request.head.count(of: "idempotency-key") {
        case 0: return nil
        case 1: break
        default: throw Problem(parameter: name, "\(name) is given more than once; give it once.")
        }
        let key = request.text("idempotency-key") ?? ""
        if let violation = Rules.violation(ofKey: name, key) { throw Problem(parameter: name, violation) }
        return key
    }

    /// `GET /trips?rider_id&driver_id&status&page_size&page_token`
    private func list(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let parameters = try ListParameters(
            try request.parameters(), filters: ["rider_id", "driver_id", "status"])
        var call = Trip_V1_ListTripsRequest()
        call.riderID = try parameters.identifier("rider_id")
        call.driverID = try parameters.identifier("driver_id")
        if let principal = request[Principal.self] { try restrict(&call, to: principal) }
        call.pageSize = parameters.pageSize
        call.pageToken = parameters.pageToken
        if let word = parameters.filters["status"] {
            guard let status = Trip_V1_TripStatus(word: word) else {
                throw Problem(
                    parameter: "status", Rules.sentence("status", is: Rules.quoted(word), Rules.tripStatus))
            }
            call.status = status
        }
        let wanted = call
        backends.call(.trip, RequestScope(request, responder)) { [trips = backends.trips] options, done in
            trips.listTrips(wanted, options: options, done)
        } _: { (result: Result<Trip_V1_ListTripsResponse, Problem>) in
            responder.answer(result) { page, output in
                output.append("{\"trips\":[")
                for trip in page.trips {
                    output.appendJSONSeparator()
                    output.appendJSON(trip: trip)
                }
                output.append("]")
                if let token = page.nextPageToken { output.appendJSON("next_page_token", string: token) }
                output.append("}")
            }
        }
    }

    /// Lists of whoever is no operator have their own trips: as a driver if they ask for those, else as a rider.
    private func restrict(_ call: inout Trip_V1_ListTripsRequest, to principal: Principal) throws(Problem) {
        if principal.isOperator { return }
        if call.riderID == nil && call.driverID == nil {
            if principal.roles.contains(.rider) {
                call.riderID = principal.subject
            } else {
                call.driverID = principal.subject
            }
        }
        guard call.riderID.map(principal.isRider) == true || call.driverID.map(principal.isDriver) == true else {
            throw .somebodyElses(call.riderID == nil ? "driver" : "rider")
        }
    }

    /// `GET /trips/{id}`. A gate that asked whose trip it is has fetched it.
    private func get(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        if let trip = request[Trip_V1_Trip.self] {
            return responder.respond(200, "application/json") { $0.appendJSON(trip: trip) }
        }
        guard let id = request.identifier() else { throw .noTrip(request.pathParameter("id") ?? "") }
        let call = Trip_V1_GetTripRequest(tripID: id)
        backends.call(.trip, RequestScope(request, responder)) { [trips = backends.trips] options, done in
            trips.getTrip(call, options: options, done)
        } _: { (result: Result<Trip_V1_GetTripResponse, Problem>) in
            responder.answer(result.promised(\.trip, by: .trip)) { $1.appendJSON(trip: $0.message) }
        }
    }

    /// `POST /trips/{id}/pickup`, `/complete`, `/cancel`
    private func act(_ action: Action, _ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        guard let id = request.identifier() else { throw .noTrip(request.pathParameter("id") ?? "") }
        let scope = RequestScope(request, responder)
        let trips = backends.trips
        backends.call(.trip, scope) { options, done in
            switch action {
            case .pickup:
                trips.pickUpTrip(Trip_V1_PickUpTripRequest(tripID: id), options: options) { done($0.map(\.trip)) }
            case .complete:
                trips.completeTrip(Trip_V1_CompleteTripRequest(tripID: id), options: options) { done($0.map(\.trip)) }
            case .cancel:
                trips.cancelTrip(Trip_V1_CancelTripRequest(tripID: id), options: options) { done($0.map(\.trip)) }
            }
        } _: { (result: Result<Trip_V1_Trip?, Problem>) in
            responder.answer(result.promised(\.self, by: .trip)) { $1.appendJSON(trip: $0.message) }
        }
    }
}
