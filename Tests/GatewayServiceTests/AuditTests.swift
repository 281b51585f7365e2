import Access
import AccessTokens
import Bytes
import GRPCRuntime
import HTTP1
import RideAPI
import TestSupport
import Testing

@testable import GatewayService

/// Who has done what, and who was not let.
@Suite struct AuditTests {
    private static let place = "\"pickup\":{\"lat\":1,\"lon\":2},\"dropoff\":{\"lat\":3,\"lon\":4}"
    private static let reason = "{\"reason\":\"storm\"}"

    private func world(_ access: AccessConfiguration) throws -> RESTWorld {
        let world = try RESTWorld(access: access)
        let trip = Trip_V1_Trip(id: "t", riderID: "ada", driverID: "dan", status: .inProgress)
        world.scripts.set {
            $0.list = { _, _ in .success(.init()) }
            $0.getTrip = { _, _ in .success(.init(trip: trip)) }
            $0.createTrip = { request, _ in .success(.init(trip: Trip_V1_Trip(id: request.id ?? "", riderID: "ada"))) }
            $0.cancel = { _, _ in
                .failure(.domain(.failedPrecondition, .init(code: "trip-already-ended", detail: "x")))
            }
            $0.end = { _, _ in .success(.init(trip: trip)) }
            $0.suspend = { _, _ in .success(.init(driver: .init(id: "dan"))) }
            $0.setStatus = { _, _ in .failure(.domain(.permissionDenied, .init(code: "not-yours", detail: "x"))) }
            $0.delete = { _, _ in .failure(.domain(.unavailable, .init(code: "backend-unavailable", detail: "x"))) }
        }
        return world
    }

    private func line(_ record: AuditRecord) -> String {
        "\(record.subject ?? "-") \(record.roles.joined(separator: "+")) \(record.operation) \(record.target ?? "-") "
            + "\(record.outcome) \(record.code ?? "-")"
    }

    @Test func everyChangeAndEveryRefusalByRoleIsRecordedOnce() throws {
        let issuer = try TestIssuer()
        let world = try world(.trusting(issuer))
        let (ada, dan) = (issuer.field("ada", "rider"), issuer.field("dan", "driver"))
        let boss = issuer.field("boss", "operator")
        // Reading is nobody's business, and nor is who does not say who they are.
        _ = world.send("GET", "/trips/t", fields: ada)
        _ = world.send("GET", "/drivers", fields: boss)
        _ = world.send("POST", "/trips", body: "{\(Self.place)}")
        #expect(world.audit.isEmpty)
        _ = world.send("POST", "/trips", body: "{\(Self.place)}", fields: ada)
        let booked = try #require(world.audit.first)
        #expect(booked.target?.utf8.count == 36 && booked.address == "127.0.0.1" && booked.requestID == "r1")
        #expect(booked.service == "gateway" && booked.eventID.utf8.count == 36)
        _ = world.send("POST", "/v1/trips/t/cancel", fields: ada)
        _ = world.send("POST", "/trips/t/end", body: Self.reason, fields: boss)
        _ = world.send("POST", "/drivers/dan/suspend", body: Self.reason, fields: boss)
        _ = world.send("POST", "/drivers/dan/suspend", body: "{}", fields: boss)
        _ = world.send("DELETE", "/drivers/dan", fields: boss)
        // By role, at the gate; by whose it is, at the gate, in the handler and at the service.
        _ = world.send("GET", "/drivers", fields: ada)
        _ = world.send("DELETE", "/drivers/dan", fields: dan)
        _ = world.send("PATCH", "/drivers/eve/status", body: "{\"status\":\"offline\"}", fields: dan)
        _ = world.send("GET", "/trips?rider_id=eve", fields: ada)
        _ = world.send("PATCH", "/drivers/dan/status", body: "{\"status\":\"offline\"}", fields: dan)
        #expect(
            world.audit.dropFirst().map(line) == [
                "ada rider cancelTrip t rejected trip-already-ended", "boss operator endTrip t done -",
                "boss operator suspendDriver dan done -", "boss operator suspendDriver dan rejected invalid-body",
                "boss operator deleteDriver dan failed backend-unavailable",
                "ada rider listDrivers - denied insufficient-scope",
                "dan driver deleteDriver dan denied insufficient-scope",
                "dan driver setDriverStatus eve denied not-yours", "ada rider listTrips - denied not-yours",
                "dan driver setDriverStatus dan denied not-yours",
            ])
        #expect(Set(world.audit.map(\.eventID)).count == world.audit.count)
    }

    /// A page that goes on is no change; a new guest is one, and so is a token that was used before.
    @Test func signingInIsRecordedWhereSomebodyIsNew() throws {
        let world = try world(.own(try #require(SigningKey())))
        let origin = "Origin: http://h\r\n"
        let guest = world.send("POST", "/auth/session", fields: origin)
        let cookies = guest.split(separator: "\r\n").filter { $0.hasPrefix("Set-Cookie: ") }.map {
            String($0.dropFirst(12).prefix { $0 != ";" })
        }
        #expect(world.audit.map(\.operation) == ["beginSession"] && world.audit[0].outcome == .done)
        #expect(world.audit[0].target?.hasPrefix("rider-") == true)
        let cookie = "Cookie: \(cookies.joined(separator: "; "))\r\n"
        _ = world.send("POST", "/auth/session", fields: origin + cookie)
        #expect(world.audit.count == 1)
        _ = world.send("POST", "/auth/guest")
        #expect(world.audit.map(\.operation) == ["beginSession", "signInAsGuest"])
    }

    /// Wherever a client puts its token, the audit has it nowhere.
    @Test func noTokenIsInAnyRecord() throws {
        let issuer = try TestIssuer()
        let world = try world(.trusting(issuer))
        let boss = issuer.field("boss", "operator")
        let token = String(boss.dropFirst("Authorization: Bearer ".count).dropLast(2))
        let socket =
            "Sec-WebSocket-Protocol: cabstand.v1, base64url.bearer.authorization.cabstand."
            + "\(Base64URL.encode(Array(token.utf8).span))\r\n"
        for path in ["/drivers/\(token)/suspend", "/drivers/dan/suspend?access_token=\(token)", "/trips/\(token)/end"] {
            for body in [Self.reason, "{\"reason\":\"\(token)\"}", "{\"\(token)\":1}"] {
                for more in ["", "Cookie: cabstand_access=\(token)\r\n", "Idempotency-Key: \(token)\r\n", socket] {
                    _ = world.send("POST", path, body: body, fields: boss + more + "X-Forwarded-For: \(token)\r\n")
                }
            }
        }
        #expect(world.audit.count > 20)
        for record in world.audit {
            var value = ByteBuffer()
            record.encode(into: &value)
            let text = String(decoding: value.array(), as: UTF8.self)
            #expect(!text.contains(token) && !text.contains(token.suffix(40)) && !text.contains("eyJ"), "\(text)")
        }
    }
}
