import GRPCRuntime
import ProtobufWire
import Reactor
import ReactorSim
import RideAPI
import RideDomain
import Storage
import Telemetry
import Testing

@testable import DriverService

/// Behaviour 51: a list of ten thousand drivers is made over many turns, one list after the other, and nobody else waits.
@Suite struct LongListTests {
    /// The driver service's handler with so many free drivers, and a caller, in a simulated world.
    final class Town: DriverRepository, DriverAnnouncer {
        let network = SimulatedNetwork(seed: 51)
        let loop: EventLoop
        let caller: EventLoop
        let client: Driver_V1_DriverServiceClient
        private(set) var book: DriverBook!
        private var server: GRPCServer?

        init(_ count: Int, limits: GRPCLimits = GRPCLimits()) throws {
            loop = try network.makeLoop()
            caller = try network.makeLoop()
            client = Driver_V1_DriverServiceClient(channel: GRPCChannel(loop: caller, target: "127.0.0.1:50051"))
            var stored = StoredDrivers()
            for number in 0..<count {
                let vehicle = Vehicle(make: "VW", model: "ID.4", color: "white", plate: "X", category: "standard")
                let profile = DriverProfile(id: "d\(1_000_000 + number)", name: "Ada", vehicle: vehicle)
                let position = Position(lat: 52.4 + Double(number) * 1e-5, lon: 13.4)
                stored.drivers.append(
                    Driver(profile: profile, position: position, measuredAt: 1, updatedAt: 1, revision: 1))
            }
            book = DriverBook(loop: loop, repository: self, announcer: self, stored: stored, timeToLive: 60_000)
            let registry = ServiceRegistry()
            Driver_V1_DriverService.register(
                DriverHandler(loop: loop, book: book, removal: .offline(book)), in: registry)
            let server = GRPCServer(loop: loop, registry: registry, limits: limits)
            self.server = server
            try server.listen(.loopback(port: 50_051))
        }

        func insert(_ driver: Driver, deadline: UInt64?) async throws(StorageError) {}
        func saveStates(_ drivers: [Driver], deadline: UInt64?) async throws(StorageError) {}
        func saveTrips(_ trips: [TripProjection], cursor: EventCursor?, epoch: UInt64?) async throws(StorageError) {}
        func reserveRevision(_ revision: UInt64) async throws(StorageError) {}
        func probe(writing: Bool) async throws(StorageError) {}
        func close() async {}
        func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext) {}
    }

    @Test func behaviour51_longListsAreMadeInPortionsAndAreWhole() throws {
        let town = try Town(6_000)
        var lists: [Driver_V1_FindAvailableDriversResponse] = []
        let limits: [UInt32] = [10_000, 5_000, 501, 1_000]
        for limit in limits {
            town.client.findAvailableDrivers(Driver_V1_FindAvailableDriversRequest(limit: limit)) { result in
                if let list = try? result.get() { lists.append(list) }
            }
        }
        let before = town.loop.statistics.turns
        town.network.run(until: { lists.count == 4 }, limit: 10_000_000_000)
        // Short ones overtake long ones on the way.
        lists.sort { $0.drivers.count > $1.drivers.count }
        #expect(lists.map(\.drivers.count) == [6_000, 5_000, 1_000, 501])
        #expect(lists.map(\.truncated) == [false, true, true, true])
        #expect(lists[0].drivers.map(\.id) == (0..<6_000).map { "d\(1_000_000 + $0)" })
        // A turn for each portion, and one in front of each list.
        #expect(town.loop.statistics.turns - before >= 12 + 10 + 2 + 2)
    }

    @Test func whoAsksForLittleDoesNotWaitForLongLists() throws {
        let town = try Town(6_000)
        var long = 0
        var short: [Int] = []
        for _ in 0..<50 {
            town.client.findAvailableDrivers(Driver_V1_FindAvailableDriversRequest(limit: 10_000)) { _ in long += 1 }
        }
        town.client.findAvailableDrivers(Driver_V1_FindAvailableDriversRequest(limit: 3)) { result in
            short.append((try? result.get().drivers.count) ?? -1)
        }
        town.network.run(until: { short.count == 1 }, limit: 10_000_000_000)
        #expect(short == [3] && long <= 1)
        town.network.run(until: { long == 50 }, limit: 60_000_000_000)
        #expect(long == 50)
    }

    /// Who is booked while a list is made is not in what follows; and nobody makes a list for a caller who has gone.
    @Test func aListThatIsBeingMadeFollowsWhatHappens() throws {
        let town = try Town(6_000)
        var lists: [Driver_V1_FindAvailableDriversResponse] = []
        var errors: [StatusCode] = []
        let request = Driver_V1_FindAvailableDriversRequest(limit: 10_000)
        let first = town.client.findAvailableDrivers(request) {
            if case .failure(let error) = $0 { errors.append(error.code) }
        }
        town.client.findAvailableDrivers(request) { if let list = try? $0.get() { lists.append(list) } }
        // Only turns of the caller and of the service: the first list has begun, the second has not.
        town.network.run(until: { town.loop.statistics.turns > 6 }, limit: 1_000_000_000)
        first.cancel()
        _ = town.book.apply(TripFact(driverID: "d1005999", tripID: "t", seq: 1, isActive: true))
        town.network.run(until: { lists.count == 1 }, limit: 10_000_000_000)
        #expect(errors == [.cancelled])
        #expect(lists.first?.drivers.count == 5_999)
        #expect(lists.first?.drivers.contains { $0.id == "d1005999" } == false)
    }
}
