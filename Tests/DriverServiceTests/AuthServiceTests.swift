import GRPCRuntime
import KafkaClient
import ProtobufWire
import RideAPI
import Testing

@testable import DriverService

/// `auth.v1` as its callers see it: the driver service over loopback, with its file and an embedded broker.
@Suite struct AuthServiceTests {
    private final class Office {
        let station: Station
        private(set) var client: Auth_V1_AuthServiceClient

        init() throws {
            station = try Station()
            client = Auth_V1_AuthServiceClient(channel: station.client.channel)
        }

        func restart() throws {
            try station.restart(afterKill: true)
            client = Auth_V1_AuthServiceClient(channel: station.client.channel)
        }

        func begin(_ subject: String, _ roles: [String] = ["rider"]) throws -> Auth_V1_Session {
            let answer: Auth_V1_CreateSessionResponse = try station.answer {
                client.createSession(
                    Auth_V1_CreateSessionRequest(identity: Auth_V1_Identity(subject: subject, roles: roles)), $0)
            }
            return try #require(answer.session)
        }

        func refusal(refreshing token: String) -> (StatusCode, ProblemDetails?) {
            station.refusal { client.refreshSession(Auth_V1_RefreshSessionRequest(refreshToken: token), $0) }
        }

        func revoke(_ what: Auth_V1_RevokeRequest.OneOf_What?, reason: String = "stolen") throws -> Int64 {
            let answer: Auth_V1_RevokeResponse = try station.answer {
                client.revoke(Auth_V1_RevokeRequest(what: what, reason: reason), $0)
            }
            return try #require(answer.revokedAt).unixMilliseconds
        }
    }

    /// What is in the topic, from its beginning, once there are `count` records.
    private static func records(_ count: Int, of station: Station) throws -> [(key: String, value: Revocation?)] {
        var records: [(key: String, value: Revocation?)] = []
        let consumer = try KafkaConsumer(
            loop: station.loop,
            configuration: KafkaConfiguration(
                bootstrapServers: station.broker.bootstrapServers, properties: EmbeddedBroker.properties),
            topic: Revocation.topic, start: .beginning)
        consumer.onRecord = { record in
            let bytes = record.key
            let key = String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
            records.append((key, try? Revocation(decoding: record.value)))
        }
        station.turn("the records") { records.count >= count }
        consumer.close()
        return records
    }

    @Test func aDriverSignsInByACodeAndStaysSignedInOverAKill() throws {
        let office = try Office()
        let station = office.station
        defer { station.close() }
        try station.register("ada")
        let made: Auth_V1_CreateEnrolmentResponse = try station.answer {
            office.client.createEnrolment(Auth_V1_CreateEnrolmentRequest(driverID: "ada"), $0)
        }
        let redeemed: Auth_V1_RedeemEnrolmentResponse = try station.answer {
            office.client.redeemEnrolment(Auth_V1_RedeemEnrolmentRequest(code: made.code), $0)
        }
        let session = try #require(redeemed.session)
        #expect(session.identity == Auth_V1_Identity(subject: "ada", roles: ["driver"]))
        let issued = try #require(session.issuedAt).unixMilliseconds
        #expect(try #require(session.expiresAt).unixMilliseconds == issued + AuthLimits.refreshLife)
        try office.restart()
        let again: (StatusCode, ProblemDetails?) = station.refusal {
            office.client.redeemEnrolment(Auth_V1_RedeemEnrolmentRequest(code: made.code), $0)
        }
        #expect(again.0 == .unauthenticated && again.1?.code == "enrolment-invalid")
        let refreshed: Auth_V1_RefreshSessionResponse = try station.answer {
            office.client.refreshSession(Auth_V1_RefreshSessionRequest(refreshToken: session.refreshToken), $0)
        }
        let next = try #require(refreshed.session)
        #expect(next.id == session.id && next.refreshToken != session.refreshToken)
        let reused = office.refusal(refreshing: session.refreshToken)
        #expect(reused.0 == .unauthenticated && reused.1?.code == "refresh-token-reused")
        #expect(office.refusal(refreshing: next.refreshToken).1?.code == "refresh-token-invalid")
        let unknown: (StatusCode, ProblemDetails?) = station.refusal {
            office.client.createEnrolment(Auth_V1_CreateEnrolmentRequest(driverID: "nobody"), $0)
        }
        #expect(unknown.0 == .notFound && unknown.1?.code == "driver-not-found")
    }

    @Test func aSessionEndsAndATicketIsUsedOnce() throws {
        let office = try Office()
        let station = office.station
        defer { station.close() }
        let session = try office.begin("rider-1")
        for _ in 0..<2 {
            let _: Auth_V1_EndSessionResponse = try station.answer {
                office.client.endSession(Auth_V1_EndSessionRequest(refreshToken: session.refreshToken), $0)
            }
        }
        #expect(office.refusal(refreshing: session.refreshToken).1?.code == "refresh-token-invalid")
        let ticket: Auth_V1_CreateTicketResponse = try station.answer {
            office.client.createTicket(
                Auth_V1_CreateTicketRequest(
                    identity: session.identity, path: "/ws/trips/1",
                    tokenExpiresAt: Google_Protobuf_Timestamp(unixMilliseconds: 9_000), tokenID: "t1",
                    tokenIssuedAt: Google_Protobuf_Timestamp(unixMilliseconds: 8_000)), $0)
        }
        let request = Auth_V1_RedeemTicketRequest(ticket: ticket.ticket, path: "/ws/trips/1")
        let redeemed: Auth_V1_RedeemTicketResponse = try station.answer { office.client.redeemTicket(request, $0) }
        #expect(redeemed.identity == session.identity && redeemed.tokenID == "t1")
        #expect(redeemed.tokenExpiresAt?.unixMilliseconds == 9_000 && redeemed.tokenIssuedAt?.unixMilliseconds == 8_000)
        let again: (StatusCode, ProblemDetails?) = station.refusal { office.client.redeemTicket(request, $0) }
        #expect(again.0 == .unauthenticated && again.1?.code == "ticket-invalid")
    }

    @Test func aRevocationIsInKafkaWhenItIsAnsweredAndAgainAfterTheNextStart() throws {
        let office = try Office()
        let station = office.station
        defer { station.close() }
        let session = try office.begin("rider-1")
        let at = try office.revoke(.subject("rider-1"))
        #expect(office.refusal(refreshing: session.refreshToken).1?.code == "refresh-token-invalid")
        let tokenAt = try office.revoke(.tokenID("a/b c"), reason: "")
        let expected = [
            Revocation(target: .subject("rider-1"), at: at, reason: "stolen"),
            Revocation(target: .token("a/b c"), at: tokenAt, reason: ""),
        ]
        var records = try Self.records(2, of: station)
        #expect(records.map(\.key) == ["subject/rider-1", "token/a/b c"] && records.map(\.value) == expected)
        try office.restart()
        records = try Self.records(4, of: station)
        #expect(records.suffix(2).map(\.value) == expected)
    }

    @Test func whatMakesNoSenseIsRefusedByItsField() throws {
        let office = try Office()
        let station = office.station
        defer { station.close() }
        func pointer(_ answer: (StatusCode, ProblemDetails?)) -> String? {
            #expect(answer.0 == .invalidArgument && answer.1?.code == "invalid-body")
            return answer.1?.violations.first?.pointer
        }
        for (identity, field) in [
            (nil, "/identity"), (Auth_V1_Identity(subject: "", roles: ["rider"]), "/identity/subject"),
            (Auth_V1_Identity(subject: "a b", roles: ["rider"]), "/identity/subject"),
            (Auth_V1_Identity(subject: "ada", roles: []), "/identity/roles"),
            (Auth_V1_Identity(subject: "ada", roles: ["king"]), "/identity/roles"),
        ] {
            let answer: (StatusCode, ProblemDetails?) = station.refusal {
                office.client.createSession(Auth_V1_CreateSessionRequest(identity: identity), $0)
            }
            #expect(pointer(answer) == field)
        }
        let (ada, instant) = (
            Auth_V1_Identity(subject: "ada", roles: ["driver"]), Google_Protobuf_Timestamp(unixMilliseconds: 1)
        )
        for (request, field) in [
            (Auth_V1_CreateTicketRequest(identity: ada, tokenExpiresAt: instant, tokenIssuedAt: instant), "/path"),
            (Auth_V1_CreateTicketRequest(identity: ada, path: "/ws", tokenExpiresAt: instant), "/token_issued_at"),
            (
                Auth_V1_CreateTicketRequest(
                    identity: ada, path: "/ws", tokenExpiresAt: Google_Protobuf_Timestamp(unixMilliseconds: -1),
                    tokenIssuedAt: instant), "/token_expires_at"
            ),
        ] {
            let answer: (StatusCode, ProblemDetails?) = station.refusal { office.client.createTicket(request, $0) }
            #expect(pointer(answer) == field)
        }
        for (what, reason, field) in [
            (nil, "", "/subject"), (.subject("a/b"), "", "/subject"), (.tokenID(""), "", "/token_id"),
            (.subject("ada"), String(repeating: "x", count: 300), "/reason"),
        ] as [(Auth_V1_RevokeRequest.OneOf_What?, String, String)] {
            let answer: (StatusCode, ProblemDetails?) = station.refusal {
                office.client.revoke(Auth_V1_RevokeRequest(what: what, reason: reason), $0)
            }
            #expect(pointer(answer) == field)
        }
    }
}
