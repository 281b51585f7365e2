import Reactor
import ReactorSim
import RideAPI
import RideDomain
import Testing

@testable import GatewayService

/// What the feed knows of its units changes in budgets: a list of the whole town is no turn of its own.
@Suite struct FeedUnitTests {
    private final class World {
        let network = SimulatedNetwork(seed: 1)
        let budget: TurnBudget
        var units = FeedUnits()
        static let perTurn = 100

        init() throws { budget = TurnBudget(loop: try network.makeLoop(), perTurn: Self.perTurn) }

        func unit(_ unit: LiveUnit) -> FeedUnit {
            let unit = units.find(orMake: unit)
            unit.watch(0, Pace(number: 0))
            return unit
        }

        /// Does `step` in as many turns as it takes, and says how many that were.
        private func turns<Value>(_ step: () -> Value?) -> (Value, Int) {
            var turns = 1
            while true {
                if let value = step() { return (value, turns) }
                network.run(for: 1_000_000)
                turns += 1
            }
        }

        func put(_ drivers: [LiveDriver], _ unit: FeedUnit, _ revision: UInt64) -> (changed: [FeedUnit], turns: Int) {
            var put = units.beginPut(drivers.count)
            return turns {
                units.put(&put, drivers, isTruncated: false, into: unit, revision: revision, budget)
            }
        }

        func remove(_ unit: FeedUnit) -> Int { turns { units.remove(unit, budget) ? true : nil }.1 }
    }

    private func drivers(_ count: Int, lon: Double = 13.3, status: DriverStatus = .available) -> [LiveDriver] {
        (0..<count).compactMap {
            let driver = Driver_V1_Driver(
                id: "d\(100_000 + $0)", name: "Driver", lat: 52.5, lon: lon,
                status: status == .available ? .available : .unspecified, present: true)
            return LiveDriver(driver.encoded())
        }
    }

    @Test func issue10_aListOfTheWholeTownIsPutInWithinBudgets() throws {
        let world = try World()
        let town = world.unit(.exact(AreaQuery(limit: 10_000)))
        let list = drivers(10_000)
        let first = world.put(list, town, 1)
        #expect(first.changed.map(\.unit) == [town.unit] && first.turns >= 100)
        #expect(town.state.snapshot?.drivers.count == 10_000 && world.units.driverCount == 10_000)
        // The same again changes nothing, and costs a part of that.
        let again = world.put(list, town, 2)
        #expect(again.changed.isEmpty && again.turns < first.turns)
        // Half of them go, and then all.
        let half = world.put(Array(list.prefix(5_000)), town, 3)
        #expect(half.changed.count == 1 && half.turns >= 50 && world.units.driverCount == 5_000)
        town.unwatch(0)
        #expect(world.remove(town) >= 50)
        #expect(world.units.driverCount == 0 && world.units.isEmpty)
        #expect(world.budget.mostInATurn <= World.perTurn + 2)
    }

    /// Each leaves the tile where they were: that one's lists are looked through for each of them.
    @Test func issue10_driversWhoGoToAnotherTile() throws {
        let world = try World()
        let (here, there) = (drivers(1_000, lon: 13.3), drivers(1_000, lon: 13.9))
        let west = world.unit(.tile(LiveTile(here[0].cell, level: 2)))
        let east = world.unit(.tile(LiveTile(there[0].cell, level: 2)))
        #expect(west.unit != east.unit)
        #expect(world.put(here, west, 1).changed.count == 1)
        let moved = world.put(there, east, 2)
        #expect(moved.changed.count == 2 && moved.turns > 100)
        #expect(west.state.snapshot?.drivers.isEmpty == true && east.state.snapshot?.drivers.count == 1_000)
        #expect(world.units.driverCount == 1_000)
        #expect(world.budget.mostInATurn <= World.perTurn + 1_000 / 32 + 2)
        for unit in [west, east] {
            unit.unwatch(0)
            _ = world.remove(unit)
        }
        #expect(world.units.driverCount == 0 && world.units.isEmpty)
    }

    /// A view is left and looked at again while its drivers are being forgotten.
    @Test func aViewThatComesBackWhileItGoes() throws {
        var limits = FeedLimits()
        limits.workPerTurn = 100
        let world = try FeedWorld(.init(pollInterval: 600_000, limits: limits))
        world.feed.positioned()
        world.fillTown(900)
        let query = AreaQuery(.box(Box(west: 13.2, south: 52.4, east: 13.5, north: 52.6)), limit: 1_000)
        for number in 0..<20 as Range<UInt64> {
            world.subscribe(number, query)
            world.run(number % 2 == 0 ? 2 : 0.001)
            if number % 2 == 0 { #expect(world.isCurrent(number, query)) }
            world.unsubscribe(number)
            if number % 3 == 0 { world.run(0.0001) }
        }
        world.subscribe(100, query)
        world.run(2)
        #expect(world.isCurrent(100, query))
        world.move("d100007", 52.5, 13.3)
        world.run(2)
        #expect(world.isCurrent(100, query))
        world.unsubscribe(100)
        world.run(2)
        #expect(world.feed.units.isEmpty && world.feed.units.driverCount == 0)
        #expect(world.feed.budget.mostInATurn <= limits.workPerTurn + 64)
    }
}
