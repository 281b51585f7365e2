import Bytes
import GRPCRuntime
import RideAPI
import RideDomain
import Testing

@testable import GatewayService

@Suite struct AvailableEndpointTests {
    @Test func issue10_aRefusedViewIsSaidClearly() throws {
        var limits = FeedLimits()
        limits.views = 1
        let world = try LiveWorld(limits: limits)
        let first = world.open("/ws/drivers/available?bbox=1,1,2,2")
        world.run(0.2)
        let second = world.open("/ws/drivers/available?bbox=1,1,2,3")
        world.run(0.2)
        // Clients come again after 1013, elsewhere or later.
        #expect(second.messages.count == 1 && second.closeCode == 1013)
        #expect(second.messages.first?.contains("\"code\":\"too-many-views\"") == true)
        // In band it goes on with what it looks at.
        first.send(#"{"type":"view","bbox":[1,1,2,4]}"#)
        world.run(0.2)
        #expect(first.messages.last?.contains("\"code\":\"too-many-views\"") == true && !first.hasEnded)
        let third = world.open("/ws/drivers/available?bbox=1,1,2,2")
        world.run(0.2)
        #expect(third.messages.count == 1 && third.messages[0].contains("\"type\":\"drivers\""))
        world.onServices { world.putDriver("a", 1.5, 1.5) }
        world.record("a", 1.5, 1.5, seq: 1)
        world.run(0.5)
        #expect(first.messages.last.map { ids($0) } == ["a"] && third.messages.last.map { ids($0) } == ["a"])
    }

    @Test func contract_aListAtOnceAndAfterEachChange() throws {
        let world = try LiveWorld()
        world.putDriver("a", 53.55, 13.25)
        let browser = world.open("/ws/drivers/available?lat=53.55&lon=13.25&radius_m=1000")
        let wide = world.open("/v1/ws/drivers/available")
        world.run(0.5)
        #expect(browser.messages.map { ids($0) } == [["a"]])
        #expect(browser.messages[0].contains("\"version\":7,\"as_of\":\"2023-11-14T22:13:20.000Z\""))
        #expect(wide.messages.map { ids($0) } == [["a"]])
        world.onServices { world.putDriver("b", 53.5501, 13.2501) }
        world.record("b", 53.5501, 13.2501, seq: 2)
        world.run(0.5)
        #expect(browser.messages.last.map { ids($0) } == ["a", "b"])
        #expect(wide.messages.last.map { ids($0) } == ["a", "b"])
    }

    @Test func behaviour17_aListThatSeveralLookAtComesCompressed() throws {
        let world = try LiveWorld()
        for number in 0..<40 { world.putDriver("d\(number)", 53.55, 13.25) }
        let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        let path = "/ws/drivers/available?lat=53.55&lon=13.25&radius_m=1000"
        let takers = (0..<3).map { _ in world.open(path, fields: offer) }
        let plain = world.open(path)
        world.run(0.5)
        world.onServices { world.putDriver("e", 53.5501, 13.2501) }
        world.record("e", 53.5501, 13.2501, seq: 2)
        world.run(0.5)
        #expect(plain.deflatedMessages == 0 && ids(plain.messages.last ?? "").count == 41)
        for taker in takers {
            #expect(taker.messages.last == plain.messages.last && taker.deflatedMessages > 0)
            #expect(
                taker.head.contains(
                    "permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"))
        }
    }

    @Test func contract_theViewMovesInBandAndItsAnswerIsAList() throws {
        let world = try LiveWorld()
        world.putDriver("a", 53.55, 13.25)
        world.putDriver("z", 10, 10)
        let browser = world.open("/ws/drivers/available?lat=53.55&lon=13.25&radius_m=1000")
        world.run(0.5)
        browser.send("{\"type\":\"view\",\"lat\":10,\"lon\":10,\"radius_m\":500}")
        world.run(0.5)
        browser.send("{\"type\":\"view\",\"lat\":10,\"lon\":10,\"radius_m\":500}")
        world.run(0.5)
        browser.send("{\"type\":\"view\",\"bbox\":[13,53,14,54],\"interval_ms\":50}")
        world.run(0.5)
        #expect(browser.messages.map { ids($0) } == [["a"], ["z"], ["z"], ["a"]])
        browser.send("{\"type\":\"ping\"}")
        world.run(0.5)
        #expect(browser.messages.last == "{\"type\":\"pong\",\"version\":7,\"as_of\":\"2023-11-14T22:13:20.000Z\"}")
    }

    /// It said version 0 and 1970.
    @Test func aPongBeforeAnyListSaysNothingOfIt() {
        var buffer = ByteBuffer()
        buffer.appendPong(LiveSnapshot())
        #expect(String(decoding: buffer.array(), as: UTF8.self) == "{\"type\":\"pong\"}")
    }

    @Test func contract_aBadRequestIsAcceptedThenToldThenClosed3501() throws {
        let world = try LiveWorld()
        let browser = world.open("/ws/drivers/available?lat=91&lon=0", fields: "X-Request-Id: req-1\r\n")
        world.run(1)
        #expect(browser.status == 101)
        #expect(browser.messages.count == 1)
        let message = try #require(browser.messages.first)
        #expect(
            message.hasPrefix("{\"type\":\"error\",\"problem\":{\"type\":\"urn:cabstand:problem:invalid-parameter\""))
        #expect(message.contains("\"detail\":\"lat is 91; it must be between -90 and 90.\""))
        #expect(message.contains("\"request_id\":\"req-1\""))
        #expect(browser.closeCode == 3501 && browser.hasEnded)
    }

    @Test func contract_aBadMessageIsToldAndTheTenthCloses3509() throws {
        let world = try LiveWorld()
        let browser = world.open("/ws/drivers/available")
        world.run(0.5)
        for _ in 0..<9 { browser.send("nonsense") }
        world.run(0.5)
        #expect(browser.messages.filter { $0.contains("invalid-json") }.count == 9)
        #expect(browser.closeCode == nil)
        browser.send("nonsense")
        world.run(1)
        #expect(browser.closeCode == 3509)
    }

    @Test func contract_refusedBeforeThe101() throws {
        let world = try LiveWorld()
        let foreign = world.open("/ws/drivers/available", fields: "Origin: https://evil.example\r\n")
        let old = world.open("/ws/drivers/available", fields: "Sec-WebSocket-Key: x\r\n")
        world.run(0.5)
        #expect(foreign.status == 403)
        #expect(old.status == 426)
        #expect(old.head.lowercased().contains("sec-websocket-version: 13"))
        let there = world.open("/ws/drivers/available")
        world.run(0.5)
        var isDrained = false
        world.live.drain(over: .seconds(1)) { isDrained = true }
        let late = world.open("/ws/drivers/available")
        world.run(5)
        #expect(late.status == 503)
        #expect(there.closeCode == 1001)
        #expect(isDrained)
    }

    @Test func contract_listsStayStaleWhileTheServiceIsAway() throws {
        let world = try LiveWorld()
        world.putDriver("a", 53.55, 13.25)
        let browser = world.open("/ws/drivers/available")
        world.run(0.5)
        world.killServices()
        world.run(4)
        #expect(browser.messages.count == 2)
        #expect(browser.messages.last?.contains("\"stale\":true") == true)
        world.putDriver("b", 53.55, 13.25)
        try world.startServices()
        world.run(8)
        #expect(browser.messages.last.map { ids($0) } == ["a", "b"])
        #expect(browser.messages.last?.contains("stale") == false)
        #expect(browser.closeCode == nil)
    }

    @Test func aQuietGatewayForgetsWhatNobodyLooksAt() throws {
        let world = try LiveWorld()
        let browsers = (0..<20).map { world.open("/ws/drivers/available?lat=\($0).5&lon=13.25&radius_m=1000") }
        world.run(0.5)
        for browser in browsers { browser.close() }
        world.run(0.5)
        #expect(world.live.sockets.count == 0)
        let fresh = world.open("/ws/drivers/available?lat=3.5&lon=13.25&radius_m=1000")
        world.run(0.5)
        #expect(fresh.messages.count == 1)
    }
}

@Suite struct TripEndpointTests {
    @Test func contract_theTripAndItsCarThenClosed1000() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25, trip: "t1")
        world.putTrip("t1", driver: "d")
        let first = world.open("/ws/trips/t1")
        let second = world.open("/ws/trips/t1")
        world.run(1)
        #expect(first.messages.first?.hasPrefix("{\"type\":\"trip\",\"trip\":{\"id\":\"t1\"") == true)
        #expect(first.messages.last?.contains("\"position\":{\"lat\":53.55,\"lon\":13.25,\"at\":") == true)
        #expect(world.tripWatches.count == 1)
        world.record("d", 53.56, 13.26, seq: 10)
        world.record("d", 53.5, 13.2, seq: 9)
        world.run(0.5)
        #expect(
            first.messages.last?.contains("\"position\":{\"lat\":53.56,\"lon\":13.26,\"heading\":90,\"at\":") == true)
        #expect(second.messages.last == first.messages.last)
        world.putTrip("t1", driver: "d", .completed, seq: 2)
        world.tellTrip("t1")
        world.run(2)
        for browser in [first, second] {
            #expect(browser.messages.last?.contains("\"status\":\"completed\"") == true)
            #expect(browser.closeCode == 1000 && browser.hasEnded)
        }
    }

    @Test func contract_aTripThatHasEndedIsShownAndClosed() throws {
        let world = try LiveWorld()
        world.putTrip("t1", driver: "d", .cancelled)
        let browser = world.open("/ws/trips/t1")
        world.run(1)
        #expect(browser.messages.count == 1)
        #expect(browser.closeCode == 1000)
    }

    @Test func contract_anUnknownTripIs3501() throws {
        let world = try LiveWorld()
        let browsers = [world.open("/ws/trips/nothing"), world.open("/ws/trips/b%20d")]
        world.run(1)
        for browser in browsers {
            #expect(browser.status == 101)
            #expect(browser.messages.count == 1)
            #expect(browser.messages.first?.contains("\"code\":\"trip-not-found\"") == true)
            #expect(browser.closeCode == 3501)
        }
    }

    @Test func aBrokenStreamIsOpenedAgain() throws {
        let world = try LiveWorld()
        world.putTrip("t1", driver: "d")
        let browser = world.open("/ws/trips/t1")
        world.run(1)
        world.killServices()
        world.run(2)
        world.putTrip("t1", driver: "d", .completed, seq: 5)
        try world.startServices()
        world.run(10)
        #expect(browser.messages.last?.contains("\"status\":\"completed\"") == true)
        #expect(browser.closeCode == 1000)
    }

    /// Behaviour 54: the trip database went back to a copy, where the trip's last change has a lower number.
    @Test func behaviour54_aTripOfARestoredDatabaseIsShownAsItStandsThere() throws {
        let world = try LiveWorld()
        world.putDriver("d", 53.55, 13.25, trip: "t1")
        world.putTrip("t1", driver: "d", seq: 900)
        let browser = world.open("/ws/trips/t1")
        world.run(1)
        world.killServices()
        world.run(0.5)
        world.putTrip("t1", driver: "e", seq: 400)
        try world.startServices()
        world.run(8)
        #expect(browser.messages.last?.contains("\"driver_id\":\"e\"") == true)
        // And from there on in order.
        world.putTrip("t1", driver: "f", seq: 399)
        world.tellTrip("t1")
        world.run(1)
        #expect(browser.messages.last?.contains("\"driver_id\":\"e\"") == true)
        world.putTrip("t1", driver: "e", .cancelled, seq: 401)
        world.tellTrip("t1")
        world.run(2)
        #expect(browser.messages.last?.contains("\"status\":\"cancelled\"") == true)
    }

    @Test func withoutTheTripServiceTheClientIsToldToComeBack() throws {
        let world = try LiveWorld(servicesAreUp: false)
        let browser = world.open("/ws/trips/t1")
        world.run(8)
        #expect(browser.messages.first?.contains("\"code\":\"backend-unavailable\"") == true)
        #expect(browser.closeCode == 1013)
    }
}
