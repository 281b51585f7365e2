import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Testing

@testable import TripService

/// `trip.v1.TripService` over real HTTP/2 on loopback, client and server on one loop.
@Suite struct TripHandlerTests {
    private struct Office {
        let desk: Desk
        let server: GRPCServer
        let client: Trip_V1_TripServiceClient

        init(drivers: Int = 5) throws {
            desk = try Desk(drivers: drivers)
            let registry = ServiceRegistry()
            Trip_V1_TripService.register(TripHandler(loop: desk.loop, book: desk.book, start: desk.start), in: registry)
            server = GRPCServer(loop: desk.loop, registry: registry)
            let listener = try server.listen(.loopback(port: 0))
            client = Trip_V1_TripServiceClient(
                channel: GRPCChannel(loop: desk.loop, target: "\(listener.localAddress)"))
        }

        func answer<Value>(_ ask: (@escaping (Result<Value, RPCError>) -> Void) -> Void) -> Result<Value, RPCError> {
            var value: Result<Value, RPCError>?
            ask { value = $0 }
            desk.turn { value != nil }
            return value ?? .failure(RPCError(code: .unknown, message: "no answer"))
        }

        func create(_ request: Trip_V1_CreateTripRequest) -> Result<Trip_V1_CreateTripResponse, RPCError> {
            answer { client.createTrip(request, $0) }
        }
    }

    private let pickup = Trip_V1_Place(lat: 53.55, lon: 13.26)
    private let dropoff = Trip_V1_Place(lat: 53.56, lon: 13.27)

    private func request(_ rider: String, driver: String? = nil, key: String? = nil) -> Trip_V1_CreateTripRequest {
        Trip_V1_CreateTripRequest(
            riderID: rider, driverID: driver, pickup: pickup, dropoff: dropoff, idempotencyKey: key)
    }

    private func problem<Value>(_ result: Result<Value, RPCError>) -> (StatusCode, ProblemDetails)? {
        guard case .failure(let error) = result, let details = ProblemDetails(statusDetails: error.statusDetails)
        else { return nil }
        return (error.code, details)
    }

    @Test func contract_aTripCarriesTheDriversSnapshotAndItsCourse() throws {
        let office = try Office()
        let trip = try #require(try office.create(request("r1", driver: "d0")).get().trip)
        #expect(trip.status == .inProgress && trip.driverID == "d0" && trip.seq == 1)
        #expect(trip.driver?.name == "Ada" && trip.driver?.vehicle?.plate == "NB-C 12")
        #expect(trip.createdAt != nil && trip.pickedUpAt == nil && trip.endedAt == nil)
        let picked = try office.answer {
            office.client.pickUpTrip(Trip_V1_PickUpTripRequest(tripID: trip.id), $0)
        }.get()
        #expect(picked.trip?.pickedUpAt != nil)
        let ended = try office.answer {
            office.client.completeTrip(Trip_V1_CompleteTripRequest(tripID: trip.id), $0)
        }.get()
        #expect(ended.trip?.status == .completed && ended.trip?.endedAt != nil)
        let got = try office.answer { office.client.getTrip(Trip_V1_GetTripRequest(tripID: trip.id), $0) }.get()
        #expect(got.trip == ended.trip)
    }

    @Test func anOperatorEndsATripAndItsDriverIsFree() throws {
        let office = try Office()
        func end(_ id: String, _ reason: String) -> Result<Trip_V1_EndTripResponse, RPCError> {
            office.answer { office.client.endTrip(Trip_V1_EndTripRequest(tripID: id, reason: reason), $0) }
        }
        for isPickedUp in [false, true] {
            let trip = try #require(try office.create(request("r1", driver: "d0")).get().trip)
            if isPickedUp {
                _ = try office.answer { office.client.pickUpTrip(.init(tripID: trip.id), $0) }.get()
            }
            let bad = try #require(problem(end(trip.id, "")))
            #expect(bad.0 == .invalidArgument && bad.1.violations.map(\.pointer) == ["/reason"])
            let ended = try #require(try end(trip.id, "storm").get().trip)
            #expect(ended.status == .cancelled && ended.endReason == "storm" && ended.endedAt != nil)
            #expect((ended.pickedUpAt != nil) == isPickedUp)
            // What has ended stays as it is.
            #expect(try end(trip.id, "once more").get().trip == ended)
            #expect(try office.answer { office.client.cancelTrip(.init(tripID: trip.id), $0) }.get().trip == ended)
            #expect(try office.answer { office.client.getTrip(.init(tripID: trip.id), $0) }.get().trip == ended)
        }
        let list = try office.answer { office.client.listTrips(.init(riderID: "r1"), $0) }.get()
        #expect(list.trips.map(\.endReason) == ["storm", "storm"])
        let done = try #require(try office.create(request("r1", driver: "d0")).get().trip)
        _ = try office.answer { office.client.completeTrip(.init(tripID: done.id), $0) }.get()
        let refused = try #require(problem(end(done.id, "storm")))
        #expect(refused.0 == .failedPrecondition && refused.1.code == "trip-already-ended")
        let unknown = try #require(problem(end("none", "storm")))
        #expect(unknown.0 == .notFound && unknown.1.code == "trip-not-found")
        // The reason goes with the event, also when it is read from the outbox.
        let events = try office.desk.answer { [repository = office.desk.repository] in
            try await repository.outbox(after: 0, limit: 100)
        }.get()
        #expect(events.filter { $0.kind == .cancelled }.map(\.trip.endReason) == ["storm", "storm"])
        #expect(events.filter { $0.kind != .cancelled }.allSatisfy { $0.trip.endReason == nil })
    }

    @Test func contract_conflictsAreFailedPreconditionsWithTheProblemCode() throws {
        let office = try Office()
        let first = try office.create(request("r1", driver: "d0", key: "k")).get()
        let taken = try #require(problem(office.create(request("r2", driver: "d0"))))
        #expect(taken.0 == .failedPrecondition && taken.1.code == "driver-unavailable")
        #expect(taken.1.alternatives?.map(\.id) == ["d1", "d2", "d3"])
        let busy = try #require(problem(office.create(request("r1", driver: "d1"))))
        #expect(busy.0 == .failedPrecondition && busy.1.code == "rider-has-active-trip")
        #expect(busy.1.metadata["active_trip_id"] == first.trip?.id)
        let unknown = try #require(problem(office.create(request("r3", driver: "nobody"))))
        #expect(unknown.0 == .invalidArgument && unknown.1.code == "unknown-driver")
        #expect(unknown.1.violations.map(\.pointer) == ["/driver_id"])
        let reused = try #require(problem(office.create(request("r9", driver: "d4", key: "k"))))
        #expect(reused.0 == .alreadyExists && reused.1.code == "key-reused")
        let replayed = try office.create(request("r1", driver: "d0", key: "k")).get()
        #expect(replayed.replayed && replayed.trip == first.trip)
        let cancel = office.answer {
            office.client.cancelTrip(Trip_V1_CancelTripRequest(tripID: first.trip?.id ?? ""), $0)
        }
        #expect(throws: Never.self) { try cancel.get() }
        let ended = try #require(
            problem(
                office.answer {
                    office.client.completeTrip(Trip_V1_CompleteTripRequest(tripID: first.trip?.id ?? ""), $0)
                }))
        #expect(ended.0 == .failedPrecondition && ended.1.code == "trip-already-ended")
        let missing = try #require(
            problem(office.answer { office.client.getTrip(Trip_V1_GetTripRequest(tripID: "nothing"), $0) }))
        #expect(missing.0 == .notFound && missing.1.code == "trip-not-found")
    }

    @Test(arguments: [
        (50_000.2, 50_000.0, "50.1 km", "50 km"), (509_712, 50_000, "509.8 km", "50 km"),
        (1_500.1, 1_500, "1.6 km", "1.5 km"), (1_235, 1_234, "1235 m", "1234 m"), (20_000, 500, "20000 m", "500 m"),
    ])
    func aDistanceAndItsLimitAreSaidInOneUnit(distance: Double, limit: Double, said: String, most: String) {
        let refusal = TripError.driverTooFar(driverID: "d", distance: distance, limit: limit).rpcError.message
        #expect(refusal.hasPrefix("Driver d is \(said) from the pickup, and at most \(most) are allowed;"))
    }

    @Test func contract_whoDoesNotSuitIsRefusedWithAReason() throws {
        let office = try Office()
        office.desk.directory.drivers.append(FakeDirectory.make("far", distance: 5_123_456))
        let far = try #require(problem(office.create(request("r1", driver: "far"))))
        #expect(far.0 == .failedPrecondition && far.1.code == "driver-too-far")
        #expect(far.1.violations.map(\.pointer) == ["/driver_id"])
        #expect(far.1.detail.hasPrefix("Driver far is 5123.5 km from the pickup, and at most 50 km are allowed;"))
        var wanted = request("r1", driver: "d0", key: "k")
        wanted.category = "van"
        let other = try #require(problem(office.create(wanted)))
        #expect(other.0 == .failedPrecondition && other.1.code == "wrong-category")
        #expect(other.1.violations.map(\.pointer) == ["/category"])
        #expect(other.1.detail.contains("is of category standard"))
        wanted.driverID = nil
        let nobody = try #require(problem(office.create(wanted)))
        #expect(nobody.1.detail.hasPrefix("No driver of category van within 10 km of the pickup is free;"))
        // A category belongs to the request that a key is for; an empty one is none.
        wanted.category = "standard"
        let trip = try office.create(wanted).get().trip
        #expect(try office.create(wanted).get().trip == trip)
        for category in ["", "van", nil] {
            wanted.category = category
            #expect(problem(office.create(wanted))?.1.code == "key-reused")
        }
        wanted.category = String(repeating: "x", count: 201)
        #expect(problem(office.create(wanted))?.1.violations.map(\.pointer) == ["/category"])
    }

    @Test func aRequestsTraceIsStoredWithItsEvent() throws {
        let office = try Office()
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        func options(_ traceparent: String?) -> CallOptions {
            var options = CallOptions()
            if let traceparent { options.metadata.add("traceparent", traceparent) }
            return options
        }
        for (rider, traceparent) in [("r1", parent), ("r2", nil), ("r3", "00-x")] {
            let request = request(rider)
            let trip = try office.answer {
                office.client.createTrip(request, options: options(traceparent), $0)
            }.get().trip
            let cancelled = try office.answer {
                office.client.cancelTrip(
                    Trip_V1_CancelTripRequest(tripID: trip?.id ?? ""), options: options(traceparent), $0)
            }.get()
            #expect(cancelled.trip?.status == .cancelled)
        }
        let stored = try office.desk.outbox().map { $0.trace.isNone ? "" : $0.trace.traceparent }
        #expect(stored == [parent, parent, "", "", "", ""])
    }

    @Test func contract_badRequestsNameTheField() throws {
        let office = try Office()
        var bad = request("r1")
        bad.pickup = Trip_V1_Place(lat: 91, lon: 0)
        let place = try #require(problem(office.create(bad)))
        #expect(place.0 == .invalidArgument && place.1.violations.map(\.pointer) == ["/pickup/lat"])
        #expect(place.1.detail == "lat is 91; it must be between -90 and 90.")
        bad = request("r 1")
        #expect(problem(office.create(bad))?.1.violations.map(\.pointer) == ["/rider_id"])
        for word in Identifier.reserved {
            #expect(problem(office.create(request(word)))?.1.violations.map(\.pointer) == ["/rider_id"])
            #expect(problem(office.create(request("r1", driver: word)))?.1.violations.map(\.pointer) == ["/driver_id"])
            bad = request("r1")
            bad.id = word
            #expect(problem(office.create(bad))?.1.violations.map(\.pointer) == ["/id"])
        }
        bad = request("r1", key: String(repeating: "k", count: 256))
        #expect(problem(office.create(bad))?.1.violations.map(\.pointer) == ["/idempotency_key"])
        bad = request("r1")
        bad.dropoff = nil
        #expect(problem(office.create(bad))?.1.violations.map(\.pointer) == ["/dropoff"])
    }

    @Test func contract_pageTokensAreBoundToTheirFilter() throws {
        let office = try Office(drivers: 12)
        for number in 0..<12 { _ = try office.create(request("r\(number)", driver: "d\(number)")).get() }
        var seen: [String] = []
        var list = Trip_V1_ListTripsRequest(status: .inProgress, pageSize: 5)
        repeat {
            let page = try office.answer { office.client.listTrips(list, $0) }.get()
            seen += page.trips.map(\.riderID)
            list.pageToken = page.nextPageToken
            #expect(page.seq == 12)
        } while list.pageToken != nil
        #expect(seen.count == 12 && Set(seen).count == 12)
        list.pageToken = try office.answer { office.client.listTrips(list, $0) }.get().nextPageToken
        list.status = .completed
        let foreign = try #require(problem(office.answer { office.client.listTrips(list, $0) }))
        #expect(foreign.0 == .invalidArgument && foreign.1.code == "invalid-parameter")
        #expect(foreign.1.metadata["parameter"] == "page_token")
        list.pageSize = 0
        #expect(problem(office.answer { office.client.listTrips(list, $0) })?.1.metadata["parameter"] == "page_size")
    }

    @Test func contract_aWatchStreamsEachChangeAndEndsWithTheTrip() throws {
        let office = try Office()
        let trip = try #require(try office.create(request("r1", driver: "d0")).get().trip)
        var seen: [Trip_V1_TripStatus] = []
        var end: RPCError??
        let watch = office.client.watchTrip(
            Trip_V1_WatchTripRequest(tripID: trip.id), onMessage: { seen.append($0.trip?.status ?? .unspecified) },
            onEnd: { end = .some($0) })
        office.desk.turn { seen.count == 1 }
        _ = try office.desk.change(trip.id, .pickUp)
        _ = try office.desk.change(trip.id, .cancel)
        office.desk.turn { end != nil }
        #expect(seen == [.inProgress, .inProgress, .cancelled])
        #expect(end == .some(nil))
        _ = watch
    }
}
