import Reactor
import ReactorSim
import RideDomain
import Testing

@testable import DriverService

/// Behaviour 51: whoever has thousands of watchers keeps nobody waiting.
@Suite struct DriverWatcherTests {
    private func driver(_ revision: UInt64) -> Driver {
        let vehicle = Vehicle(make: "VW", model: "ID.4", color: "white", plate: "X", category: "standard")
        return Driver(
            profile: DriverProfile(id: "d", name: "Ada", vehicle: vehicle), position: home, measuredAt: 1, updatedAt: 1,
            revision: revision)
    }

    @Test func behaviour51_thousandsAreToldOverManyTurnsAndAllHearTheNewest() throws {
        let network = SimulatedNetwork(seed: 51)
        let loop = try network.makeLoop()
        let watchers = DriverWatchers(loop: loop)
        var heard = [[UInt64]](repeating: [], count: 3_000)
        var tokens: [DriverWatchers.Token] = []
        for number in 0..<3_000 {
            let token = watchers.add(7) { news in
                network.spend(10_000)
                heard[number].append((try? news?.get())?.revision ?? 0)
            }
            tokens.append(try #require(token))
        }
        loop.execute { watchers.tell(7, self.driver(1)) }
        network.run(until: { heard.contains([1]) }, limit: 1_000_000_000)
        // While they are told, it changes twice, and some leave.
        loop.execute { watchers.tell(7, self.driver(2)) }
        loop.execute { watchers.tell(7, self.driver(3)) }
        for token in tokens[2_900...] { watchers.remove(token) }
        network.run(for: 1_000_000_000)
        #expect(heard[..<2_900].allSatisfy { $0.last == 3 && $0 == $0.sorted() && $0.count <= 3 })
        #expect(heard[2_900...].allSatisfy { $0.last != 3 })
        loop.execute { watchers.endAll() }
        network.run(for: 1_000_000_000)
        #expect(heard[..<2_900].allSatisfy { $0.last == 0 } && watchers.count == 0)
        #expect(loop.statistics.longestTurn < 10_000_000)
    }
}
