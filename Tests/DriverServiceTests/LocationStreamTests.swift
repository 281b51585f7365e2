import GRPCRuntime
import ProtobufWire
import RideAPI
import RideDomain
import Testing

@testable import DriverService

/// `StreamLocations`: positions and their acknowledgements on one stream.
@Suite(.serialized) struct LocationStreamTests {
    /// A caller's end of a stream.
    private final class Caller {
        private(set) var call: BidirectionalCall<Driver_V1_ReportLocationsRequest>!
        private(set) var acks: [Driver_V1_ReportLocationsResponse] = []
        private(set) var end: RPCError??
        var isEnded: Bool { end != nil }
        /// Positions that the newest acknowledgement counts.
        var acknowledged: UInt64 { acks.last.map { $0.dropped.values.reduce($0.accepted, +) } ?? 0 }

        init(_ client: Driver_V1_DriverServiceClient) {
            call = client.streamLocations(
                onMessage: { [unowned self] in acks.append($0) }, onEnd: { [unowned self] in end = .some($0) })
        }

        func send(_ id: String, _ position: Position) {
            call.send(Driver_V1_ReportLocationsRequest(driverID: id, lat: position.lat, lon: position.lon))
        }
    }

    private func north(_ metres: Double) -> Position {
        Position(lat: home.lat + metres / 111_195, lon: home.lon).rounded
    }

    @Test func acknowledgementsCountEverythingSoFarAndGoOnUntilTheEnd() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        let caller = Caller(station.client)
        caller.send("ada", north(20))
        station.turn("the first") { caller.acknowledged == 1 }
        #expect(caller.acks.last == .init(accepted: 1))
        for position in [north(40), north(50_000), Position(lat: 91, lon: 0), north(60)] { caller.send("", position) }
        station.turn("the others") { caller.acknowledged == 5 }
        #expect(caller.acks.last == .init(accepted: 3, dropped: ["impossible": 1, "invalid": 1]))
        #expect(try station.driver("ada").lat == north(60).lat)
        // The last position and the end come together.
        caller.send("ada", north(80))
        caller.call.finish()
        station.turn("the end") { caller.isEnded }
        #expect(caller.end == .some(nil) && caller.acks.last?.accepted == 4)
    }

    @Test func aBadStreamIsRefusedBehindTheAcknowledgementOfWhatWasGood() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        let first = Caller(station.client)
        first.send("ada", north(20))
        first.send("bob", north(40))
        station.turn("the end") { first.isEnded }
        #expect(first.end??.code == .invalidArgument && first.acks == [.init(accepted: 1)])
        for (id, code) in [("nobody", StatusCode.notFound), ("", .invalidArgument)] {
            let caller = Caller(station.client)
            caller.send(id, home)
            station.turn("the end") { caller.isEnded }
            #expect(caller.end??.code == code && caller.acks.isEmpty)
        }
    }

    /// What was acknowledged is on disk when the service has ended; the stream says that there is another to come back to.
    @Test func aServiceThatEndsAcknowledgesAndLetsTheStreamGo() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        let caller = Caller(station.client)
        caller.send("ada", north(20))
        station.turn("an acknowledgement") { caller.acknowledged == 1 }
        caller.send("ada", north(40))
        let finished = Flag()
        station.server.drain { finished.set() }
        station.turn("the end") { caller.isEnded && finished.isSet }
        #expect(caller.end??.code == .unavailable)
        let accepted = try #require(caller.acks.last?.accepted)
        try station.restartAfterDrain()
        #expect(try station.driver("ada").lat == north(Double(accepted) * 20).lat)
    }

    @Test func aFloodCostsOneAcknowledgementATurn() throws {
        let town = try LongListTests.Town(1)
        let caller = Caller(town.client)
        let before = town.loop.statistics.turns
        for step in 0..<3_000 { caller.send("d1000000", Position(lat: 52.4 + Double(step % 2) * 1e-5, lon: 13.4)) }
        town.network.run(until: { caller.acknowledged == 3_000 }, limit: 10_000_000_000)
        #expect(caller.acks.last == .init(accepted: 3_000))
        #expect(caller.acks.count <= town.loop.statistics.turns - before)
        #expect(caller.acks.map(\.accepted) == caller.acks.map(\.accepted).sorted())
    }

    @Test func whoDoesNotReadIsNotReadAndLosesNothing() throws {
        var limits = GRPCLimits()
        limits.writableBelow = 1_024
        let town = try LongListTests.Town(1, limits: limits)
        let caller = Caller(town.client)
        caller.call.pause()
        // What is dropped makes acknowledgements long.
        let positions = [Position(lat: 91, lon: 0), Position(lat: 1, lon: 1), Position(lat: 52.4, lon: 13.4)]
        var sent: UInt64 = 0
        func send(_ count: Int) {
            for _ in 0..<count where caller.call.isWritable {
                caller.send("d1000000", positions[Int(sent % 3)])
                sent += 1
            }
            town.network.run(for: 1_000_000)
        }
        // Acknowledgements fill the caller's window, then positions fill the service's.
        for _ in 0..<7_000 { send(1) }
        for _ in 0..<200 { send(200) }
        #expect(!caller.call.isWritable && !caller.isEnded && sent < 47_000)
        caller.call.resume()
        town.network.run(until: { caller.acknowledged == sent }, limit: 60_000_000_000)
        #expect(caller.acknowledged == sent && !caller.isEnded)
        #expect(caller.acks.map(\.accepted) == caller.acks.map(\.accepted).sorted())
    }
}
