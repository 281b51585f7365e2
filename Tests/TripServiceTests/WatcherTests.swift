import Reactor
import ReactorSim
import RideDomain
import Testing

@testable import TripService

/// Behaviour 51: a trip that thousands watch keeps nobody waiting.
@Suite struct TripWatcherTests {
    @Test func behaviour51_thousandsAreToldOverManyTurnsInOrder() throws {
        let network = SimulatedNetwork(seed: 51)
        let loop = try network.makeLoop()
        let watchers = TripWatchers(loop: loop)
        var heard = [[UInt64]](repeating: [], count: 3_000)
        var ends = 0
        for number in 0..<3_000 {
            let token = watchers.add("t") { result in
                network.spend(10_000)
                switch result {
                case .success(let trip): heard[number].append(trip.seq)
                case .failure, nil: ends += 1
                }
            }
            #expect(token != nil)
        }
        let vehicle = Vehicle(make: "VW", model: "ID.4", color: "white", plate: "X", category: "standard")
        let place = Position(lat: 1, lon: 1)
        for seq in 1...3 as ClosedRange<UInt64> {
            let change = Trip(
                id: "t", riderID: "r", driver: DriverProfile(id: "d", name: "Ada", vehicle: vehicle),
                status: seq == 3 ? .completed : .inProgress, pickup: place, dropoff: place, createdAt: 1,
                pickedUpAt: nil,
                endedAt: seq == 3 ? 2 : nil, seq: seq)
            loop.execute { watchers.tell(change) }
            network.run(for: 100_000)
        }
        network.run(for: 1_000_000_000)
        #expect(heard.allSatisfy { $0 == [1, 2, 3] } && ends == 3_000 && watchers.count == 0)
        for _ in 0..<3_000 { _ = watchers.add("u") { if case .failure? = $0 { ends += 1 } } }
        loop.execute { watchers.failAll(.unavailable("The end.")) }
        network.run(for: 1_000_000_000)
        #expect(ends == 6_000 && watchers.count == 0)
        #expect(loop.statistics.longestTurn < 10_000_000)
    }
}
