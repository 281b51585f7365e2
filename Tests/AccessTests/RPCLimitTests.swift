import GRPCRuntime
import RideAPI
import TestSupport
import Testing

@testable import Access

/// How much somebody may ask of a service over real gRPC.
@Suite(.serialized) struct RPCLimitTests {
    private func house(_ limits: String, _ settings: [String: String] = [:]) throws -> House {
        try House(settings: ["CABSTAND_RATE_LIMIT": limits].merging(settings) { $1 })
    }

    private func register(_ house: House) throws {
        let boss = house.caller(house.token("boss", .operator))
        let vehicle = Driver_V1_Vehicle(
            make: "VW", model: "Golf", color: "white", plate: "NB-A 1", category: "standard")
        _ = try boss.answer {
            $0.drivers.registerDriver(
                Driver_V1_RegisterDriverRequest(id: "d1", name: "Ada", vehicle: vehicle, lat: 53.55, lon: 13.26), $1)
        }.get()
    }

    private func read(_ caller: Caller) -> String {
        caller.refusal { $0.drivers.getDriver(.init(driverID: "d1"), $1) }
    }

    @Test func everyMethodThatAsksWhoSomebodyIsHasAClass() {
        for path in RPCRight.paths {
            #expect((RPCRight.limit(of: path) == nil) == (RPCRight.of(path)?.isForAnyone == true), "\(path)")
        }
    }

    @Test func whoAsksTooMuchIsToldWhenToComeAgain() throws {
        let house = try house("read=2/h,write=off")
        defer { house.close() }
        try register(house)
        let ada = house.caller(house.token("ada", .rider))
        #expect(read(ada) == "OK" && read(ada) == "OK")
        guard case .failure(let error) = ada.answer({ $0.drivers.getDriver(.init(driverID: "d1"), $1) }) else {
            Issue.record("a third one was let through")
            return
        }
        #expect(error.code == .resourceExhausted && error.problem?.code == "rate-limited")
        // RetryInfo: half an hour for one, of which the test has taken a moment.
        let wait = try #require(error.problem?.retryAfter)
        #expect((1_700_000...1_800_001).contains(wait))
        // A new token is no new client; somebody else, another class and another service are.
        #expect(read(house.caller(house.token("ada", .rider, seconds: 60))) == "RESOURCE_EXHAUSTED rate-limited")
        #expect(read(house.caller(house.token("bob", .rider))) == "OK")
        #expect(ada.refusal { $0.trips.listTrips(.init(), $1) } == "OK")
        #expect(
            ada.refusal { $0.trips.cancelTrip(.init(tripID: "none"), $1) } == "NOT_FOUND trip-not-found")
        // An operator's program acts for many, and other services ask as much as their task takes.
        let boss = house.caller(house.token("boss", .operator))
        let trips = house.caller(try house.token(ServiceName.trip))
        for _ in 0..<30 { #expect(read(boss) == "OK" && read(trips) == "OK") }
    }

    /// Each refusal by role is a line and a record of the audit: it counts like what is answered.
    @Test func whoIsRefusedHasAsked() throws {
        let house = try house("write=2/h")
        defer { house.close() }
        func suspend(_ caller: Caller) -> String {
            caller.refusal { $0.drivers.suspendDriver(.init(driverID: "d1", reason: "I want to"), $1) }
        }
        let (ada, bob) = (house.caller(house.token("ada", .rider)), house.caller(house.token("bob", .rider)))
        let refused = "PERMISSION_DENIED insufficient-scope"
        let limited = "RESOURCE_EXHAUSTED rate-limited"
        #expect((0..<3).map { _ in suspend(ada) } == [refused, refused, limited])
        #expect(suspend(bob) == refused)
    }

    @Test func anAddressHasALimitToo() throws {
        let house = try house("read=1/h")
        defer { house.close() }
        try register(house)
        for number in 0..<20 { #expect(read(house.caller(house.token("r\(number)", .rider))) == "OK") }
        #expect(read(house.caller(house.token("r20", .rider))) == "RESOURCE_EXHAUSTED rate-limited")
    }

    /// Forged tokens cost a verification each: who sends them to a service itself keeps nobody else out, and least of all what gateways
    /// pass on.
    @Test func newTokensOfAnAddressAreLimited() throws {
        let house = try house("token=1/h,read=off")
        defer { house.close() }
        try register(house)
        let known = house.caller(house.token("ada", .rider))
        #expect(read(known) == "OK")
        let forged = (0..<30).map { read(house.caller("eyJhbGciOiJub25lIn0.e30.\($0)")) }
        #expect(forged.first == "UNAUTHENTICATED invalid-token")
        #expect(forged.last == "RESOURCE_EXHAUSTED rate-limited")
        #expect(read(house.caller(house.token("bob", .rider))) == "RESOURCE_EXHAUSTED rate-limited")
        #expect(read(known) == "OK")
        #expect(read(house.caller(try house.token(ServiceName.trip))) == "OK")
        let gateway = try house.token(ServiceName.gateway)
        for number in 0..<50 {
            let options = CallOptions.relayed(house.token("rider-\(number)", .rider), by: gateway)
            let nobody = house.caller(nil)
            #expect(nobody.refusal { $0.drivers.getDriver(.init(driverID: "d1"), options: options, $1) } == "OK")
        }
    }

    @Test func theGatewayHasJudgedWhatItPassesOn() throws {
        let house = try house("read=1/h")
        defer { house.close() }
        try register(house)
        let nobody = house.caller(nil)
        func read(_ options: CallOptions) -> String {
            nobody.refusal { $0.drivers.getDriver(.init(driverID: "d1"), options: options, $1) }
        }
        let gateway = try house.token(ServiceName.gateway)
        for _ in 0..<5 { #expect(read(.relayed(house.token("ada", .rider), by: gateway)) == "OK") }
        // Proofs that are none: another service, an operator, the client itself, nonsense.
        for (number, proof) in [
            try house.token(ServiceName.trip), house.token("gateway", .operator), house.token("ada", .rider), "gateway",
        ].enumerated() {
            let token = house.token("r\(number)", .rider)
            #expect(read(.relayed(token, by: proof)) == "OK")
            #expect(read(.relayed(token, by: proof)) == "RESOURCE_EXHAUSTED rate-limited")
        }
        // The proof is nobody's right to call.
        var options = CallOptions()
        options.metadata.add("\(RelayedCall.key)", "Bearer \(gateway)")
        #expect(read(options) == "UNAUTHENTICATED unauthenticated")
    }

    @Test func aStreamThatSendsTooMuchEndsAndIsToldWhatWasTaken() throws {
        let house = try house("uplink=3/h")
        defer { house.close() }
        try register(house)
        func stream(_ token: String, _ count: Int) -> (end: String, accepted: UInt64) {
            let caller = house.caller(token)
            var end: RPCError??
            var last = Driver_V1_ReportLocationsResponse()
            let stream = caller.drivers.streamLocations(onMessage: { last = $0 }, onEnd: { end = .some($0) })
            for number in 0..<count {
                stream.send(.init(driverID: "d1", lat: 53.55, lon: 13.26 + Double(number) / 10_000))
            }
            stream.finish()
            house.turn { end != nil }
            let told = last.accepted + last.dropped.values.reduce(0, +)
            guard case .some(.some(let error)) = end else { return ("OK", told) }
            return ("\(error.code) \(error.problem?.code ?? error.message)", told)
        }
        let driver = house.token("d1", .driver)
        #expect(stream(driver, 3) == ("OK", 3))
        #expect(stream(driver, 5) == ("RESOURCE_EXHAUSTED rate-limited", 3))
        // The gateway has limited the WebSocket behind it.
        #expect(stream(try house.token(ServiceName.gateway), 5) == ("OK", 5))
    }

    @Test func withoutKnowingWhoAsksNothingIsLimited() throws {
        let house = try house("read=1/h", ["CABSTAND_AUTH": "off"])
        defer { house.close() }
        try register(house)
        for _ in 0..<3 { #expect(read(house.caller(nil)) == "OK") }
    }
}
