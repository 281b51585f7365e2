import ReactorSim
import RideDomain
import Testing

@testable import TripService

/// Behaviour 53: what happens to trips when the server's clock is set.
@Suite struct ClockStepTests {
    private static let hour: Int64 = 3_600_000
    private static let steps = [1_000, 60_000, hour, 25 * hour, 10 * 365 * 24 * hour].flatMap { [$0, -$0] }

    /// A rider's second try must not become a second booking because a clock was corrected between the two.
    @Test(arguments: steps)
    func aKeyIsKeptForADayWhateverTheClockSays(step: Int64) throws {
        let network = SimulatedNetwork(seed: 1)
        let desk = try Desk(simulated: network.makeLoop())
        let first = try desk.create(rider: "r", key: "k").get().trip
        _ = try desk.change(first.id, .complete).get()
        network.wallClockStart += step
        network.run(for: 60_000_000_000)
        desk.loop.turn()
        desk.forgetOldKeys()
        let again = try desk.create(rider: "r", key: "k").get()
        #expect(again.replayed && again.trip.id == first.id)
        // After a day it is another booking, also when the clock was set back.
        network.run(for: 25 * 3_600_000_000_000)
        desk.loop.turn()
        desk.forgetOldKeys()
        let next = try desk.create(rider: "r", key: "k").get()
        #expect(!next.replayed && next.trip.id != first.id)
        desk.close()
    }

    @Test(arguments: steps)
    func aTripsInstantsNeverGoBack(step: Int64) throws {
        let network = SimulatedNetwork(seed: 1)
        let desk = try Desk(simulated: network.makeLoop())
        let created = try desk.create(rider: "r").get().trip
        network.wallClockStart += step
        network.run(for: 1_000_000_000)
        let pickedUp = try desk.change(created.id, .pickUp).get()
        network.wallClockStart -= 2 * step
        network.run(for: 1_000_000_000)
        let ended = try desk.change(created.id, .complete).get()
        let pickedUpAt = try #require(pickedUp.pickedUpAt)
        #expect(pickedUpAt >= created.createdAt)
        #expect(try #require(ended.endedAt) >= pickedUpAt && ended.pickedUpAt == pickedUpAt)
        desk.close()
    }

    /// Identifiers that are made here sort in the order of the bookings.
    @Test func identifiersSortInTheOrderOfTheBookingsWhateverTheClockSays() throws {
        let network = SimulatedNetwork(seed: 1)
        let desk = try Desk(drivers: 20, simulated: network.makeLoop())
        var last = ""
        for (number, step) in Self.steps.enumerated() {
            let trip = try desk.create(rider: "r\(number)").get().trip
            #expect(trip.id > last)
            last = trip.id
            network.wallClockStart += step
            network.run(for: 1_000_000_000)
        }
        desk.close()
    }

    /// A clock that begins at 1970, or is set to just before it, ends nothing.
    @Test(arguments: [-1, 0] as [Int64])
    func aClockThatWasNeverSetEndsNothing(wall: Int64) throws {
        let network = SimulatedNetwork(seed: 1)
        let desk = try Desk(simulated: network.makeLoop())
        network.wallClockStart = wall
        network.run(for: 1_000_000_000)
        let created = try desk.create(rider: "r", key: "k").get().trip
        network.run(for: 1_000_000_000)
        _ = try desk.change(created.id, .pickUp).get()
        network.wallClockStart = ~wall
        network.run(for: 1_000_000_000)
        let ended = try desk.change(created.id, .complete).get()
        #expect(try #require(ended.endedAt) >= created.createdAt)
        desk.forgetOldKeys()
        desk.close()
    }
}
