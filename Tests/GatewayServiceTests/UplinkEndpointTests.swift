import Bytes
import GRPCRuntime
import RideAPI
import RideDomain
import Testing

@testable import GatewayService

@Suite struct UplinkEndpointTests {
    @Test(arguments: [true, false])
    func contract_positionsGoUpAndAcksComeEveryFiveSeconds(hasLocationStreams: Bool) throws {
        let world = try LiveWorld(hasLocationStreams: hasLocationStreams)
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        #expect(app.messages == ["{\"type\":\"trip\",\"trip\":null}"])
        for step in 0..<4 {
            app.send("{\"lat\":53.5\(step),\"lon\":13.25,\"speed\":7,\"heading\":null}")
            world.run(1)
        }
        app.send("{\"lat\":53.5,\"lon\":13.25,\"at\":\"2020-01-01T00:00:00.000Z\"}")
        world.run(2)
        #expect(app.messages.last == "{\"type\":\"ack\",\"accepted\":4,\"dropped\":{\"stale\":1}}")
        let report = try #require(world.reports.first)
        #expect(report.count == 5 && report[0].driverID == "d" && report[0].speed == 7)
        world.run(20)
        #expect(app.messages.count == 2)
        app.send("{\"lat\":53.5,\"lon\":13.25}")
        world.run(6)
        #expect(app.messages.last == "{\"type\":\"ack\",\"accepted\":1,\"dropped\":{}}")
        // Without positions there is no stream.
        #expect(world.reports.count == 2)
        world.run(10)
        #expect(world.locationStreams.isEmpty)
    }

    @Test func oneStreamCarriesAllPositionsAndTheirAcks() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        for step in 0..<30 {
            app.send("{\"lat\":53.5,\"lon\":13.25,\"speed\":\(step)}")
            world.run(1)
        }
        #expect(world.reports.count == 1 && world.reports[0].count == 30)
        #expect(world.reports[0].map(\.driverID) == ["d"] + [String](repeating: "", count: 29))
        let acks = app.messages.filter { $0 == "{\"type\":\"ack\",\"accepted\":5,\"dropped\":{}}" }
        #expect(acks.count >= 5 && acks.count <= 6 && app.messages.count == acks.count + 1)
        app.close()
        world.run(1)
        #expect(world.locationStreams.isEmpty)
    }

    @Test func whatIsNotAcknowledgedIsTold() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        app.send("{\"lat\":53.5,\"lon\":13.25}")
        world.run(0.5)
        world.acknowledges = false
        app.send("{\"lat\":53.5,\"lon\":13.25}")
        world.run(0.5)
        // The service ends the stream, as it does before it stops.
        world.onServices { world.locationStreams[0].fail(RPCError(code: .unavailable, message: "ending")) }
        world.run(5)
        #expect(app.messages.last == "{\"type\":\"ack\",\"accepted\":1,\"dropped\":{\"unavailable\":1}}")
        // Positions come again, on a new stream; this one is never acknowledged, and is given up for the next.
        for _ in 0..<2 {
            app.send("{\"lat\":53.5,\"lon\":13.25}")
            world.run(5)
        }
        world.acknowledges = true
        world.run(5)
        app.send("{\"lat\":53.5,\"lon\":13.25}")
        world.run(12)
        #expect(world.reports.map(\.count) == [2, 2, 1])
        let last = app.messages.suffix(2)
        #expect(
            last == [
                "{\"type\":\"ack\",\"accepted\":0,\"dropped\":{\"unavailable\":2}}",
                "{\"type\":\"ack\",\"accepted\":1,\"dropped\":{}}",
            ])
    }

    /// An operator has suspended or deleted the driver: their app is told so, and need not come back.
    @Test func anUplinkEndsWithItsDriver() throws {
        let world = try LiveWorld()
        for (code, reason) in [
            (.failedPrecondition, "driver-suspended"), (.notFound, "driver-not-found"),
        ] as [(StatusCode, String)] {
            world.putDriver("d", 53.55, 13.25)
            let app = world.open("/ws/drivers/d/location")
            world.run(0.5)
            world.onServices {
                world.driverWatches.last?.call.fail(
                    .domain(code, ProblemDetails(code: reason, detail: "No.", metadata: ["reason": "storm"])))
            }
            world.run(1)
            #expect(app.messages.last?.contains("\"code\":\"\(reason)\"") == true)
            #expect(app.closeCode == 3501)
        }
    }

    @Test func aServiceThatEndsEveryStreamIsNotAskedWithEveryPosition() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        world.acknowledges = false
        for _ in 0..<200 {
            app.send("{\"lat\":53.5,\"lon\":13.25}")
            world.run(0.1)
            world.onServices {
                for call in world.locationStreams { call.fail(RPCError(code: .unavailable, message: "ending")) }
                world.locationStreams = []
            }
        }
        // One to five seconds between two streams, in 20 s.
        #expect(world.reports.count >= 4 && world.reports.count <= 10)
    }

    @Test func anOlderServiceGetsEveryPositionAndIsNotAskedAgainForAWhile() throws {
        let world = try LiveWorld(hasLocationStreams: false)
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        // All of them are on their way before the service says that it does not know the method.
        for step in 0..<4 { app.send("{\"lat\":53.5,\"lon\":13.25,\"speed\":\(step)}") }
        world.run(6)
        #expect(app.messages.last == "{\"type\":\"ack\",\"accepted\":4,\"dropped\":{}}")
        #expect(world.reports.map { $0.map { $0.speed ?? -1 } } == [[0, 1, 2, 3]])
        #expect(world.reports[0].map(\.driverID) == ["d", "", "", ""])
        // The service is upgraded: within a minute it is asked again.
        world.killServices()
        world.run(5)
        world.hasLocationStreams = true
        try world.startServices()
        for _ in 0..<70 {
            app.send("{\"lat\":53.5,\"lon\":13.25}")
            world.run(1)
        }
        #expect(world.locationStreams.count == 1)
        #expect(app.messages.last == "{\"type\":\"ack\",\"accepted\":5,\"dropped\":{}}")
    }

    @Test func contract_theAppLearnsOfItsTrip() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        world.putTrip("t1", driver: "d")
        world.onServices {
            world.driverWatches[0].call.send(.init(driverID: "d", activeTripID: "t1"))
            world.driverWatches[0].call.send(.init(driverID: "d", lat: 1, activeTripID: "t1"))
        }
        world.run(0.5)
        #expect(app.messages.count == 2)
        #expect(app.messages.last?.hasPrefix("{\"type\":\"trip\",\"trip\":{\"id\":\"t1\"") == true)
        world.putTrip("t1", driver: "d", .completed, seq: 2)
        world.tellTrip("t1")
        world.run(0.5)
        #expect(app.messages.last?.contains("\"status\":\"completed\"") == true)
        world.onServices { world.driverWatches[0].call.send(.init(driverID: "d")) }
        world.run(0.5)
        #expect(app.messages.last == "{\"type\":\"trip\",\"trip\":null}")
        #expect(app.closeCode == nil)
    }

    @Test func aDriversStreamsHaveTheTraceOfTheirWebSocket() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25)
        let parent = "00-\(String(repeating: "6", count: 32))-00f067aa0ba902b7-01"
        let app = world.open("/ws/drivers/d/location", fields: "traceparent: \(parent)\r\n")
        world.run(0.5)
        app.send("{\"lat\":53.5,\"lon\":13.25}")
        world.run(0.5)
        #expect(world.driverWatches.map(\.call.origin.trace.traceparent) == [parent])
        #expect(world.locationStreams.map(\.origin.trace.traceparent) == [parent])
        #expect(world.locationStreams.allSatisfy { !$0.origin.requestID.isEmpty })
    }

    @Test func contract_badPositionsAreToldAndCounted() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        app.send("{\"lat\":91,\"lon\":13.25}")
        app.send("{\"lat\":\"x\"}")
        app.send("nonsense")
        world.run(0.5)
        #expect(app.messages.count == 4)
        #expect(app.messages[1].contains("lat is 91; it must be between -90 and 90."))
        #expect(app.messages[2].contains("\"pointer\":\"/lon\""))
        #expect(app.messages[3].contains("invalid-json"))
        #expect(world.reports.isEmpty)
    }

    @Test func contract_anUnknownDriverIs3501() throws {
        let world = try LiveWorld()
        let app = world.open("/ws/drivers/nobody/location")
        world.run(1)
        #expect(app.messages.first?.contains("\"code\":\"driver-not-found\"") == true)
        #expect(app.closeCode == 3501)
    }

    @Test func positionsThatReachNobodyAreCountedAsUnavailable() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25)
        let app = world.open("/ws/drivers/d/location")
        world.run(0.5)
        world.killServices()
        world.run(2)
        app.send("{\"lat\":53.5,\"lon\":13.25}")
        world.run(1)
        app.send("{\"lat\":53.5,\"lon\":13.25}")
        world.run(12)
        #expect(app.messages.last == "{\"type\":\"ack\",\"accepted\":0,\"dropped\":{\"unavailable\":2}}")
        #expect(app.closeCode == nil)
    }
}
