import GRPCRuntime
import KafkaClient
import ProtobufWire
import RideAPI
import RideDomain
import Testing

@testable import DriverService

/// What operators do with drivers, over real connections: it is durable, and it is seen everywhere.
@Suite(.serialized) struct OperatorTests {
    private func update(
        _ station: Station, _ request: Driver_V1_UpdateDriverRequest
    ) throws -> Driver_V1_Driver {
        let answer: Driver_V1_UpdateDriverResponse = try station.answer { station.client.updateDriver(request, $0) }
        return try #require(answer.driver)
    }

    @discardableResult
    private func suspend(_ station: Station, _ id: String, _ reason: String = "storm") throws -> Driver_V1_Driver {
        let answer: Driver_V1_SuspendDriverResponse = try station.answer {
            station.client.suspendDriver(Driver_V1_SuspendDriverRequest(driverID: id, reason: reason), $0)
        }
        return try #require(answer.driver)
    }

    @discardableResult
    private func restore(_ station: Station, _ id: String) throws -> Driver_V1_Driver {
        let answer: Driver_V1_RestoreDriverResponse = try station.answer {
            station.client.restoreDriver(Driver_V1_RestoreDriverRequest(driverID: id, reason: "it is over"), $0)
        }
        return try #require(answer.driver)
    }

    private func delete(_ station: Station, _ id: String) throws {
        let _: Driver_V1_DeleteDriverResponse = try station.answer {
            station.client.deleteDriver(Driver_V1_DeleteDriverRequest(driverID: id), $0)
        }
    }

    private func set(_ station: Station, _ id: String, _ status: Driver_V1_DriverStatus) -> String? {
        station.refusal {
            station.client.updateDriverStatus(Driver_V1_UpdateDriverStatusRequest(driverID: id, status: status), $0)
        }.1?.code
    }

    private func available(_ station: Station) throws -> [Driver_V1_Driver] {
        let response: Driver_V1_FindAvailableDriversResponse = try station.answer {
            station.client.findAvailableDrivers(Driver_V1_FindAvailableDriversRequest(), $0)
        }
        return response.drivers
    }

    /// The code with which the streams of a driver end.
    private final class Streams {
        var ends: [RPCError?] = []
        private var calls: [AnyObject] = []

        init(_ station: Station, _ id: String) {
            let watch = station.client.watchDriver(
                Driver_V1_WatchDriverRequest(driverID: id), onMessage: { _ in }, onEnd: { self.ends.append($0) })
            var counted = false
            let positions = station.client.streamLocations(
                onMessage: { _ in counted = true }, onEnd: { self.ends.append($0) })
            positions.send(Driver_V1_ReportLocationsRequest(driverID: id, lat: home.lat, lon: home.lon))
            station.turn("an acknowledgement") { counted || self.ends.count == 2 }
            calls = [watch, positions]
        }

        func codes(_ station: Station) -> [String] {
            station.turn("the ends of streams") { ends.count == 2 }
            return ends.map { error in
                error.map { "\($0.code) \(ProblemDetails(statusDetails: $0.statusDetails)?.code ?? "")" } ?? "OK"
            }
        }
    }

    @Test func aProfileChangesEverywhereAndStaysChanged() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        #expect(try available(station).map(\.name) == ["Ada"])
        let before = try station.driver("ada")
        let changed = try update(
            station, Driver_V1_UpdateDriverRequest(driverID: "ada", name: "Ada L", color: "black", plate: "NB-X 1"))
        var vehicle = Station.vehicle
        vehicle.color = "black"
        vehicle.plate = "NB-X 1"
        #expect(changed.name == "Ada L" && changed.vehicle == vehicle && changed.lat == before.lat)
        // Lists keep who a driver is encoded: not for longer than it is true.
        #expect(try available(station).map(\.name) == ["Ada L"] && available(station)[0].vehicle == vehicle)
        station.turn("an event") { station.events(of: "ada").last?.reason == .profile }
        // Nothing changes, and nobody is told so.
        let revision = station.events(of: "ada").last?.seq
        _ = try update(station, Driver_V1_UpdateDriverRequest(driverID: "ada", name: "Ada L"))
        _ = try update(station, Driver_V1_UpdateDriverRequest(driverID: "ada"))
        try station.restart(afterKill: true)
        #expect(try station.driver("ada").name == "Ada L" && station.driver("ada").vehicle == vehicle)
        #expect(try available(station).map(\.name) == ["Ada L"])
        #expect(station.events(of: "ada").last?.seq == revision)
        // The old profile is another driver's now.
        #expect(throws: RPCError.self) { try station.register("ada") }
        let (code, problem) = station.refusal {
            station.client.updateDriver(
                Driver_V1_UpdateDriverRequest(
                    driverID: "ada", name: " ", plate: String(repeating: "p", count: 51)), $0)
        }
        #expect(code == .invalidArgument && problem?.violations.map(\.pointer) == ["/name", "/vehicle/plate"])
        let nobody = station.refusal {
            station.client.updateDriver(Driver_V1_UpdateDriverRequest(driverID: "bob", name: "Bob"), $0)
        }
        #expect(nobody.1?.code == "driver-not-found")
    }

    /// Two at once change different things: neither is lost.
    @Test func changesAtOnceAreBothMade() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        var answers = 0
        for number in 0..<40 {
            let request =
                number % 2 == 0
                ? Driver_V1_UpdateDriverRequest(driverID: "ada", name: "Ada \(number)")
                : Driver_V1_UpdateDriverRequest(driverID: "ada", plate: "NB \(number)")
            station.client.updateDriver(request) { _ in answers += 1 }
        }
        station.turn { answers == 40 }
        for isRestarted in [false, true] {
            if isRestarted { try station.restart(afterKill: true) }
            let driver = try station.driver("ada")
            #expect(driver.name == "Ada 38" && driver.vehicle?.plate == "NB 39")
        }
    }

    @Test func aSuspendedDriverIsInNoListAndStreamsNothingUntilRestored() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        try station.register("bob")
        let streams = Streams(station, "ada")
        let suspended = try suspend(station, "ada")
        #expect(suspended.status == .offline && !suspended.present && suspended.suspension?.reason == "storm")
        #expect(
            streams.codes(station) == ["FAILED_PRECONDITION driver-suspended", "FAILED_PRECONDITION driver-suspended"])
        station.turn("an event") { station.events(of: "ada").last?.status == .offline }
        for isRestarted in [false, true] {
            if isRestarted { try station.restart(afterKill: true) }
            #expect(try station.availableIDs() == ["bob"])
            let driver = try station.driver("ada")
            #expect(!driver.present && driver.suspension == suspended.suspension)
            // They come back neither by hand nor by their app.
            #expect(set(station, "ada", .available) == "driver-suspended")
            #expect(set(station, "ada", .offline) == nil)
            #expect(throws: RPCError.self) { try station.report("ada", [home]) }
            #expect(
                Streams(station, "ada").codes(station)
                    == ["FAILED_PRECONDITION driver-suspended", "FAILED_PRECONDITION driver-suspended"])
        }
        // The same again changes nothing; another reason does.
        #expect(try suspend(station, "ada").suspension == suspended.suspension)
        #expect(try suspend(station, "ada", "papers").suspension?.reason == "papers")
        let (code, problem) = station.refusal {
            station.client.suspendDriver(Driver_V1_SuspendDriverRequest(driverID: "ada", reason: ""), $0)
        }
        #expect(code == .invalidArgument && problem?.violations.map(\.pointer) == ["/reason"])
        // Off duty until they say that they are on.
        #expect(try restore(station, "ada").suspension == nil)
        #expect(try station.availableIDs() == ["bob"])
        #expect(set(station, "ada", .available) == nil)
        try station.restart(afterKill: true)
        #expect(try station.availableIDs() == ["ada", "bob"])
        #expect(try station.report("ada", [home]).accepted == 1)
    }

    @Test func aTripGoesOnWhileItsDriverIsSuspended() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        station.publish(station.trips.add("t1", driver: "ada"), .created)
        try station.wait(for: "ada") { $0.activeTripID == "t1" }
        let suspended = try suspend(station, "ada")
        #expect(suspended.status == .unavailable && suspended.activeTripID == "t1")
        station.publish(try #require(station.trips.change("t1", .completed)), .completed)
        try station.wait(for: "ada") { $0.activeTripID == nil }
        #expect(try station.driver("ada").status == .offline && station.availableIDs().isEmpty)
    }

    @Test func aDeletedDriverLeavesNothingThatOpensADoor() throws {
        let station = try Station()
        defer { station.close() }
        for id in ["ada", "bob", "zoe"] { try station.register(id) }
        let auth = Auth_V1_AuthServiceClient(channel: station.client.channel)
        let begun: Auth_V1_CreateSessionResponse = try station.answer {
            auth.createSession(
                Auth_V1_CreateSessionRequest(identity: Auth_V1_Identity(subject: "bob", roles: ["driver"])), $0)
        }
        let session = try #require(begun.session)
        let enrolled: Auth_V1_CreateEnrolmentResponse = try station.answer {
            auth.createEnrolment(Auth_V1_CreateEnrolmentRequest(driverID: "bob"), $0)
        }
        let later = Google_Protobuf_Timestamp(unixMilliseconds: 4_000_000_000_000)
        let ticket: Auth_V1_CreateTicketResponse = try station.answer {
            auth.createTicket(
                Auth_V1_CreateTicketRequest(
                    identity: session.identity, path: "/ws/drivers/bob/location", tokenExpiresAt: later, tokenID: "t",
                    tokenIssuedAt: session.issuedAt), $0)
        }
        let streams = Streams(station, "bob")
        try delete(station, "bob")
        #expect(streams.codes(station) == ["NOT_FOUND driver-not-found", "NOT_FOUND driver-not-found"])
        station.turn("an event") { station.events(of: "bob").last?.reason == .removed }
        #expect(station.events(of: "bob").last?.status == .offline)
        for isRestarted in [false, true] {
            if isRestarted { try station.restart(afterKill: true) }
            let auth = Auth_V1_AuthServiceClient(channel: station.client.channel)
            #expect(try station.availableIDs() == ["ada", "zoe"])
            let all: Driver_V1_ListDriversResponse = try station.answer {
                station.client.listDrivers(Driver_V1_ListDriversRequest(), $0)
            }
            #expect(all.drivers.map(\.id) == ["ada", "zoe"])
            let refresh = Auth_V1_RefreshSessionRequest(refreshToken: session.refreshToken)
            #expect(station.refusal { auth.refreshSession(refresh, $0) }.1?.code == "refresh-token-invalid")
            let code = Auth_V1_RedeemEnrolmentRequest(code: enrolled.code)
            #expect(station.refusal { auth.redeemEnrolment(code, $0) }.1?.code == "enrolment-invalid")
            let door = Auth_V1_RedeemTicketRequest(ticket: ticket.ticket, path: "/ws/drivers/bob/location")
            #expect(station.refusal { auth.redeemTicket(door, $0) }.1?.code == "ticket-invalid")
            #expect(throws: RPCError.self) { try station.report("bob", [home]) }
            #expect(throws: RPCError.self) { try delete(station, "bob") }
        }
        // The id is free again, and what comes later is told from what came before.
        #expect(try station.register("bob", at: Position(lat: 53, lon: 13)).created)
        #expect(try station.availableIDs() == ["ada", "bob", "zoe"])
        #expect(try station.report("bob", [Position(lat: 53, lon: 13)]).accepted == 1)
        try station.restart(afterKill: true)
        #expect(try station.driver("bob").lat == 53)
    }

    /// The trip service knows first: a driver whose trip was not heard of here is on it all the same.
    @Test func aDriverOnATripIsNotDeleted() throws {
        let station = try Station()
        defer { station.close() }
        try station.register("ada")
        func refused() -> (String?, String?) {
            let problem = station.refusal {
                station.client.deleteDriver(Driver_V1_DeleteDriverRequest(driverID: "ada"), $0)
            }.1
            return (problem?.code, problem?.metadata["active_trip_id"])
        }
        let trip = station.trips.add("t1", driver: "ada")
        #expect(refused() == ("driver-on-trip", "t1"))
        station.publish(trip, .created)
        try station.wait(for: "ada") { $0.activeTripID == "t1" }
        #expect(refused() == ("driver-on-trip", "t1"))
        station.publish(try #require(station.trips.change("t1", .completed)), .completed)
        try station.wait(for: "ada") { $0.activeTripID == nil }
        // Who can't be asked has not said no.
        station.trips.isAway = true
        #expect(refused().0 == "backend-unavailable")
        station.trips.isAway = false
        #expect(refused() == (nil, nil))
        #expect(try station.availableIDs().isEmpty)
    }
}
