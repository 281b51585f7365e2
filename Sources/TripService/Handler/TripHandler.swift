import Access
import GRPCRuntime
import Reactor
import RideAPI
import RideDomain

/// `trip.v1.TripService`: messages in, rules, messages out. On the loop.
final class TripHandler: Trip_V1_TripServiceHandler {
    private let loop: EventLoop
    private let book: TripBook
    private let databaseID: String
    private let epoch: UInt64

    init(loop: EventLoop, book: TripBook, start: TripStart) {
        self.loop = loop
        self.book = book
        databaseID = start.databaseID
        epoch = start.epochs.current
    }

    // MARK: Booking

    func createTrip(_ request: Trip_V1_CreateTripRequest, _ call: UnaryServerCall<Trip_V1_CreateTripResponse>) {
        if let id = request.id { call[AuditedCall.self]?.isAbout(id) }
        answer(call) { [book] deadline throws(TripError) in
            let caller = call[Principal.self]
            var request = request
            try TripOwnership.own(&request, caller)
            let created = try await book.create(
                try Self.checked(request, caller), deadline: deadline, origin: call.origin)
            call[AuditedCall.self]?.isAbout(created.trip.id)
            call.respond(Trip_V1_CreateTripResponse(trip: Trip_V1_Trip(created.trip), replayed: created.replayed))
        }
    }

    /// The request in the domain's words; coordinates with the six decimals that the outside sees.
    private static func checked(
        _ request: Trip_V1_CreateTripRequest, _ caller: Principal?
    ) throws(TripError) -> Booking {
        func check(_ field: @autoclosure () -> String, _ violation: String?) throws(TripError) {
            if let violation { throw .invalid(field: field(), violation) }
        }
        func place(_ field: String, _ place: Trip_V1_Place?) throws(TripError) -> Position {
            guard let place else { throw .invalid(field: field, Rules.missing(field)) }
            try check("\(field)/lat", Rules.latitude.violation(of: "lat", place.lat))
            try check("\(field)/lon", Rules.longitude.violation(of: "lon", place.lon))
            return Position(place).rounded
        }
        let id = request.id.flatMap { $0.isEmpty ? nil : $0 }
        let driverID = request.driverID.flatMap { $0.isEmpty ? nil : $0 }
        let category = request.category.flatMap { $0.isEmpty ? nil : $0 }
        try check("id", id.flatMap { Identifier.violation(of: "id", $0) })
        try check("rider_id", Identifier.violation(of: "rider_id", request.riderID))
        try check("driver_id", driverID.flatMap { Identifier.violation(of: "driver_id", $0) })
        try check("category", category.flatMap { Rules.vehicleWord.violation(of: "category", $0) })
        let pickup = try place("pickup", request.pickup)
        let dropoff = try place("dropoff", request.dropoff)
        if let key = request.idempotencyKey {
            try check("idempotency_key", Rules.violation(ofKey: "idempotency_key", key))
        }
        return Booking(
            id: id, riderID: request.riderID, driverID: driverID, category: category, pickup: pickup, dropoff: dropoff,
            // The same key of two callers is two.
            key: request.idempotencyKey.map { caller?.own($0) ?? $0 })
    }

    // MARK: Changes

    func pickUpTrip(_ request: Trip_V1_PickUpTripRequest, _ call: UnaryServerCall<Trip_V1_PickUpTripResponse>) {
        change(request.tripID, .pickUp, call) { Trip_V1_PickUpTripResponse(trip: $0) }
    }

    func completeTrip(_ request: Trip_V1_CompleteTripRequest, _ call: UnaryServerCall<Trip_V1_CompleteTripResponse>) {
        change(request.tripID, .complete, call) { Trip_V1_CompleteTripResponse(trip: $0) }
    }

    func cancelTrip(_ request: Trip_V1_CancelTripRequest, _ call: UnaryServerCall<Trip_V1_CancelTripResponse>) {
        change(request.tripID, .cancel, call) { Trip_V1_CancelTripResponse(trip: $0) }
    }

    func endTrip(_ request: Trip_V1_EndTripRequest, _ call: UnaryServerCall<Trip_V1_EndTripResponse>) {
        call[AuditedCall.self]?.isAbout(request.tripID)
        if let violation = Rules.reason.violation(of: "reason", request.reason) {
            return call.fail(TripError.invalid(field: "reason", violation).rpcError)
        }
        change(request.tripID, .end(reason: request.reason), call) { Trip_V1_EndTripResponse(trip: $0) }
    }

    private func change<Response>(
        _ id: String, _ action: TripAction, _ call: UnaryServerCall<Response>,
        _ response: @escaping (Trip_V1_Trip) -> Response
    ) {
        call[AuditedCall.self]?.isAbout(id)
        answer(call) { [book] deadline throws(TripError) in
            if let caller = call[Principal.self] {
                try TripOwnership.check(caller, may: action, try await book.get(id, deadline: deadline))
            }
            let trip = try await book.change(id, action, deadline: deadline, trace: call.origin.trace)
            call.respond(response(Trip_V1_Trip(trip)))
        }
    }

    // MARK: Questions

    func getTrip(_ request: Trip_V1_GetTripRequest, _ call: UnaryServerCall<Trip_V1_GetTripResponse>) {
        let caller = call[Principal.self]
        if caller == nil, let trip = book.active.trip(request.tripID) {
            return call.respond(Trip_V1_GetTripResponse(trip: Trip_V1_Trip(trip)))
        }
        answer(call) { [book] deadline throws(TripError) in
            let trip = try await book.get(request.tripID, deadline: deadline)
            try TripOwnership.check(caller, sees: trip)
            call.respond(Trip_V1_GetTripResponse(trip: Trip_V1_Trip(trip)))
        }
    }

    func listTrips(_ request: Trip_V1_ListTripsRequest, _ call: UnaryServerCall<Trip_V1_ListTripsResponse>) {
        answer(call) { [book, epoch, databaseID] deadline throws(TripError) in
            var request = request
            try TripOwnership.own(&request, call[Principal.self])
            let (filter, limit, cursor) = try Self.checked(request)
            if request.settled { try await book.settle(deadline: deadline) }
            let page = try await book.list(filter, after: cursor, limit: limit, deadline: deadline)
            let next = page.hasMore ? page.trips.last.map { TripPageToken.text(after: $0, filter) } : nil
            call.respond(
                Trip_V1_ListTripsResponse(
                    trips: page.trips.map { Trip_V1_Trip($0) }, nextPageToken: next, seq: page.seq, epoch: epoch,
                    databaseID: databaseID))
        }
    }

    private static func checked(
        _ request: Trip_V1_ListTripsRequest
    ) throws(TripError) -> (TripFilter, Int, TripCursor?) {
        var filter = TripFilter(riderID: request.riderID, driverID: request.driverID)
        if let status = request.status, status != .unspecified {
            guard let known = TripStatus(status) else {
                throw .invalidParameter("status", Rules.sentence("status", is: "\(status)", Rules.tripStatus))
            }
            filter.status = known
        }
        let size = request.pageSize ?? TripLimits.defaultPageSize
        if let violation = Rules.pageSize.violation(of: "page_size", Double(size)) {
            throw .invalidParameter("page_size", violation)
        }
        let limit = Int(size)
        guard let token = request.pageToken, !token.isEmpty else { return (filter, limit, nil) }
        guard let cursor = TripPageToken.cursor(token, filter) else {
            throw .invalidParameter(
                "page_token", Rules.sentence("page_token", is: Rules.quoted(token), Rules.pageToken))
        }
        return (filter, limit, cursor)
    }

    func watchTrip(_ request: Trip_V1_WatchTripRequest, _ call: ServerStreamingServerCall<Trip_V1_WatchTripResponse>) {
        let deadline = deadline(call.deadline)
        let task = loop.start { [book] in
            do throws(TripError) {
                if let caller = call[Principal.self] {
                    try TripOwnership.check(caller, sees: try await book.get(request.tripID, deadline: deadline))
                }
                let token = try await book.watch(request.tripID, deadline: deadline) { result in
                    switch result {
                    case .success(let trip): call.send(Trip_V1_WatchTripResponse(trip: Trip_V1_Trip(trip)))
                    case .failure(let error): call.fail(error.rpcError)
                    case nil: call.finish()
                    }
                }
                call.onCancel = { book.unwatch(token) }
            } catch {
                call.fail(error.rpcError)
            }
        }
        if call.onCancel == nil { call.onCancel = { task.cancel() } }
    }

    /// Lets `work` answer, in a task that is cancelled when the client goes away or its deadline passes.
    @inline(__always)
    private func answer<Response>(
        _ call: UnaryServerCall<Response>,
        _ work: @escaping (_ deadline: UInt64) async throws(TripError) -> Void
    ) {
        let deadline = deadline(call.deadline)
        let task = loop.start {
            do throws(TripError) {
                try await work(deadline)
            } catch {
                call.fail(error.rpcError)
            }
        }
        call.onCancel = { task.cancel() }
    }

    private func deadline(_ given: UInt64?) -> UInt64 {
        min(given ?? .max, loop.now + TripLimits.defaultTimeout)
    }
}
