import GRPCRuntime
import Reactor
import ReactorSim
import RideAPI
import RideDomain
import SQLiteStore
import Storage
import Telemetry
import TestSupport
import Testing

@testable import DriverService

/// Who goes away, or whose deadline passes, leaves nothing running: neither a job of the database that has not begun nor a
/// question to the trip service.
@Suite struct CancellationTests {
    /// A driver service in virtual time whose storage, and whose trip service, do not answer as long as somebody waits.
    private final class Town: DriverRepository, DriverAnnouncer {
        let network = SimulatedNetwork(seed: 7)
        let loop: EventLoop
        let client: Driver_V1_DriverServiceClient
        private(set) var book: DriverBook!
        private var server: GRPCServer?
        /// Writes that wait.
        private(set) var waiting = 0
        /// How the waits ended.
        private(set) var ends: [StorageError] = []

        init() throws {
            loop = try network.makeLoop()
            client = Driver_V1_DriverServiceClient(
                channel: GRPCChannel(loop: try network.makeLoop(), target: "127.0.0.1:50051"))
            var stored = StoredDrivers()
            stored.drivers = [CancellationTests.driver("ada")]
            book = DriverBook(loop: loop, repository: self, announcer: self, stored: stored, timeToLive: 60_000)
            let registry = ServiceRegistry()
            Driver_V1_DriverService.register(
                DriverHandler(loop: loop, book: book, removal: .offline(book)), in: registry)
            let server = GRPCServer(loop: loop, registry: registry)
            self.server = server
            try server.listen(.loopback(port: 50_051))
        }

        private func wait() async throws(StorageError) {
            waiting += 1
            while !Task.isCancelled { await loop.pause(.milliseconds(1)) }
            waiting -= 1
            ends.append(.cancelled)
            throw .cancelled
        }

        func insert(_ driver: Driver, deadline: UInt64?) async throws(StorageError) { try await wait() }
        func saveStates(_ drivers: [Driver], deadline: UInt64?) async throws(StorageError) { try await wait() }
        func saveTrips(_ trips: [TripProjection], cursor: EventCursor?, epoch: UInt64?) async throws(StorageError) {}
        func reserveRevision(_ revision: UInt64) async throws(StorageError) {}
        func probe(writing: Bool) async throws(StorageError) {}
        func close() async {}
        func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext) {}
    }

    private static func driver(_ id: String) -> Driver {
        Driver(
            profile: DriverProfile(id: id, name: "Ada", vehicle: Vehicle(Station.vehicle)), position: home,
            measuredAt: 1, updatedAt: 1, revision: 1)
    }

    private static func registration(_ id: String) -> Driver_V1_RegisterDriverRequest {
        Driver_V1_RegisterDriverRequest(
            id: id, name: "Ada", vehicle: Station.vehicle, lat: home.lat, lon: home.lon)
    }

    @Test(arguments: [true, false], [true, false])
    func aCallThatEndsTakesItsWriteAlong(isNew: Bool, byDeadline: Bool) throws {
        let town = try Town()
        var code: StatusCode?
        let options = CallOptions(timeout: byDeadline ? .milliseconds(300) : .seconds(4))
        let cancel: () -> Void
        if isNew {
            let call = town.client.registerDriver(Self.registration("bob"), options: options) {
                code = StatusCode(of: $0)
            }
            cancel = { call.cancel() }
        } else {
            let request = Driver_V1_UpdateDriverStatusRequest(driverID: "ada", status: .offline)
            let call = town.client.updateDriverStatus(request, options: options) { code = StatusCode(of: $0) }
            cancel = { call.cancel() }
        }
        town.network.run(until: { town.waiting == 1 }, limit: 200_000_000)
        #expect(town.waiting == 1)
        if !byDeadline { cancel() }
        town.network.run(until: { town.waiting == 0 && code != nil }, limit: 1_000_000_000)
        #expect(code == (byDeadline ? .deadlineExceeded : .cancelled))
        #expect(town.ends == [.cancelled] && town.book.registry.count == 1)
    }

    @Test func aRegistrationThatWaitsForTheDatabaseIsNotMadeOnceItIsCancelled() throws {
        let folder = TemporaryFolder()
        let path = folder.file("driver.db")
        let loop = try EventLoop()
        let (repository, _) = try SQLiteDriverRepository.open(path: path, loop: loop, wall: 1_700_000_000_000)
        let isHeld = Flag()
        let goesOn = Flag()
        repository.writer.submit(on: loop) { _ in
            isHeld.set()
            while !goesOn.isSet {}
        } completion: { _ in
        }
        var ends: [String: StorageError?] = [:]
        func insert(_ id: String) -> Task<Void, Never> {
            loop.start {
                do throws(StorageError) {
                    try await repository.insert(Self.driver(id), deadline: nil)
                    ends[id] = .some(nil)
                } catch {
                    ends[id] = error
                }
                if ends.count == 2 {
                    await repository.close()
                    loop.stop()
                }
            }
        }
        while !isHeld.isSet {}
        _ = insert("ada")
        insert("bob").cancel()
        loop.execute { goesOn.set() }
        loop.run()
        #expect(ends == ["ada": nil, "bob": .cancelled])
        let (again, stored) = try SQLiteDriverRepository.open(path: path, loop: loop, wall: 1_700_000_000_000)
        #expect(stored.drivers.map(\.id) == ["ada"])
        again.writer.close()
        again.writer.waitUntilClosed()
    }

    /// Over gRPC, to a trip service that does not answer.
    @Test func aComparisonEndsWithTheService() throws {
        let town = try Town()
        let trips = ServiceRegistry()
        var isAsked = false
        var isGone = false
        trips.unary(service: Trip_V1_TripService.name, method: "ListTrips") {
            (_: Trip_V1_ListTripsRequest, call: UnaryServerCall<Trip_V1_ListTripsResponse>) in
            isAsked = true
            call.onCancel = { isGone = true }
        }
        let server = GRPCServer(loop: town.client.channel.loop, registry: trips)
        try server.listen(.loopback(port: 50_052))
        let reconciler = TripReconciler(
            loop: town.loop, book: town.book,
            directory: GRPCTripDirectory(channel: GRPCChannel(loop: town.loop, target: "127.0.0.1:50052")))
        var answers: [String?] = []
        reconciler.onAnswer = { answers.append($0) }
        reconciler.start()
        town.network.run(until: { isAsked }, limit: 1_000_000_000)
        reconciler.stop()
        town.network.run(until: { isGone }, limit: 1_000_000_000)
        #expect(isAsked && isGone && answers.isEmpty)
    }
}

extension StatusCode {
    fileprivate init<Value>(of result: Result<Value, RPCError>) {
        switch result {
        case .success: self = .ok
        case .failure(let error): self = error.code
        }
    }
}
