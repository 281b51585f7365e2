import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Storage
import Testing

@testable import TripService

/// Who goes away, or whose deadline passes, leaves nothing running: neither the question to the driver service nor a job of the
/// database that has not begun.
@Suite struct CancellationTests {
    @Test func aCancelledBookingAsksNobodyAnyMoreAndFreesItsKey() throws {
        let desk = try Desk()
        desk.directory.isMute = true
        var outcome = ""
        let task = desk.loop.start {
            do throws(TripError) {
                _ = try await desk.book.create(desk.request(rider: "r1", driver: "d0", key: "k"), deadline: .max)
            } catch {
                outcome = error.code
            }
        }
        desk.turn { desk.directory.questions == 1 }
        task.cancel()
        desk.turn { outcome != "" }
        #expect(outcome == "cancelled")
        desk.directory.isMute = false
        #expect(code(try desk.create(rider: "r1", driver: "d0", key: "k")) == "")
        desk.close()
    }

    @Test func aBookingThatWaitsForTheDatabaseIsNotMadeOnceItIsCancelled() throws {
        let desk = try Desk()
        let gate = desk.holdWriter()
        var outcomes: [String: String] = [:]
        func book(_ rider: String, _ driver: String) -> Task<Void, Never> {
            desk.loop.start {
                do throws(TripError) {
                    _ = try await desk.book.create(desk.request(rider: rider, driver: driver), deadline: .max)
                    outcomes[rider] = ""
                } catch {
                    outcomes[rider] = error.code
                }
            }
        }
        _ = book("r1", "d0")
        let second = book("r2", "d1")
        desk.turn { desk.repository.writer.pending == 3 }
        second.cancel()
        desk.turn { outcomes["r2"] != nil }
        #expect(outcomes == ["r2": "cancelled"])
        gate.open()
        desk.turn { outcomes["r1"] != nil }
        #expect(outcomes["r1"] == "" && desk.book.active.count == 1)
        #expect(try desk.outbox().map(\.trip.riderID) == ["r1"])
        desk.close()
    }

    /// Over gRPC: rider's app, trip service, driver service.
    @Test(arguments: [true, false]) func theCallToTheDriverServiceEndsWithTheOneThatItIsFor(byDeadline: Bool) throws {
        let desk = try Desk()
        let drivers = ServiceRegistry()
        var isAsked = false
        var isGone = false
        drivers.unary(service: Driver_V1_DriverService.name, method: "GetDriver") {
            (_: Driver_V1_GetDriverRequest, call: UnaryServerCall<Driver_V1_GetDriverResponse>) in
            isAsked = true
            call.onCancel = { isGone = true }
        }
        let driverServer = GRPCServer(loop: desk.loop, registry: drivers)
        let driverAddress = try driverServer.listen(.loopback(port: 0)).localAddress
        let book = TripBook(
            loop: desk.loop, repository: desk.repository,
            directory: GRPCDriverDirectory(channel: GRPCChannel(loop: desk.loop, target: "\(driverAddress)")),
            start: desk.start)
        let registry = ServiceRegistry()
        Trip_V1_TripService.register(TripHandler(loop: desk.loop, book: book, start: desk.start), in: registry)
        let server = GRPCServer(loop: desk.loop, registry: registry)
        let address = try server.listen(.loopback(port: 0)).localAddress
        let client = Trip_V1_TripServiceClient(channel: GRPCChannel(loop: desk.loop, target: "\(address)"))
        let place = Trip_V1_Place(lat: 53.55, lon: 13.26)
        var outcome: Result<Trip_V1_CreateTripResponse, RPCError>?
        let call = client.createTrip(
            Trip_V1_CreateTripRequest(riderID: "r1", driverID: "d0", pickup: place, dropoff: place),
            options: CallOptions(timeout: byDeadline ? .seconds(1) : .seconds(10))
        ) { outcome = $0 }
        desk.turn { isAsked }
        if !byDeadline { call.cancel() }
        desk.turn { isGone && outcome != nil }
        guard case .failure(let error)? = outcome else {
            Issue.record("it was answered")
            return
        }
        #expect(error.code == (byDeadline ? .deadlineExceeded : .cancelled))
        #expect(try desk.outbox().isEmpty)
        desk.close()
    }

    /// What could not be read again is not written, and the operator learns why.
    @Test(arguments: [-1, 253_402_300_800_000] as [Int64]) func anInstantThatNobodyCouldReadIsNotStored(now: Int64)
        throws
    {
        let desk = try Desk()
        let made = try desk.create(rider: "r0", driver: "d0").get().trip
        let booked = desk.answer { () async throws(StorageError) in
            try await desk.repository.book(
                desk.request(rider: "r1"), id: "t", candidates: [FakeDirectory.make("d1", distance: 1).profile],
                at: now, keyedAt: 1, trace: .none, deadline: nil)
        }
        guard case .failure(.unavailable(let reason, _)) = booked else {
            Issue.record("\(booked)")
            return
        }
        #expect(reason.contains("clock"))
        if now > 0 {
            let changed = desk.answer { () async throws(StorageError) in
                try await desk.repository.change(made.id, .complete, at: now, trace: .none, deadline: nil)
            }
            #expect(throws: StorageError.self) { try changed.get() }
        }
        #expect(try desk.outbox().count == 1)
        #expect(try desk.get(made.id).get() == made)
        desk.close()
    }
}
