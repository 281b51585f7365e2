import Access
import AccessTokens
import GRPCRuntime
import HTTP1
import RideAPI
import Synchronization
import TestSupport
import Testing

@testable import GatewayService

/// WebSockets, in virtual time: it begins in 2023.
@Suite struct SocketAccessTests {
    @Test func socketsAreForWhomTheTableSays() throws {
        let issuer = try TestIssuer()
        let world = try LiveWorld(access: .trusting(issuer))
        world.putDriver("ada", 1, 2)
        world.putTrip("t", driver: "ada")
        world.run(1)
        func head(_ path: String, _ fields: String) -> String {
            let browser = world.open(path, fields: fields)
            world.run(1)
            return String(browser.head.prefix(12))
        }
        let paths = ["/ws/drivers/available", "/ws/trips/t", "/ws/drivers/ada/location"]
        #expect(paths.map { head($0, "") } == ["HTTP/1.1 101", "HTTP/1.1 401", "HTTP/1.1 401"])
        let rider = issuer.field("rider", "rider")
        #expect(paths.map { head($0, rider) } == ["HTTP/1.1 101", "HTTP/1.1 101", "HTTP/1.1 403"])
        let stranger = issuer.field("eve", "rider")
        #expect(paths.map { head($0, stranger) } == ["HTTP/1.1 101", "HTTP/1.1 404", "HTTP/1.1 403"])
        let driver = issuer.field("ada", "driver")
        #expect(paths.map { head($0, driver) } == ["HTTP/1.1 101", "HTTP/1.1 101", "HTTP/1.1 101"])
        let another = issuer.field("bob", "driver")
        #expect(paths.map { head($0, another) } == ["HTTP/1.1 101", "HTTP/1.1 404", "HTTP/1.1 403"])
        let operators = issuer.field("olga", "operator")
        #expect(paths.map { head($0, operators) } == ["HTTP/1.1 101", "HTTP/1.1 101", "HTTP/1.1 101"])
    }

    /// A token lives for days, and nothing is kept for sockets that have gone.
    @Test func whoComesAndGoesHoldsNothing() throws {
        let issuer = try TestIssuer()
        let world = try LiveWorld(access: .trusting(issuer))
        world.putTrip("t", driver: "car")
        let rider = issuer.field("rider", "rider")
        for _ in 0..<200 {
            let browser = world.open("/ws/trips/t", fields: rider)
            world.run(0.1)
            #expect(browser.head.hasPrefix("HTTP/1.1 101"))
            browser.close()
            world.run(0.1)
        }
        #expect(world.live.sockets.count == 0)
        #expect(world.live.expiry.count <= 64)
    }

    @Test func aSocketEndsWithItsToken() throws {
        let issuer = try TestIssuer()
        let world = try LiveWorld(access: .trusting(issuer))
        world.putTrip("t", driver: "car")
        // 60 seconds from the beginning, and the skew.
        let short = world.open("/ws/trips/t", fields: issuer.field("rider", "rider", expires: 1_700_000_060))
        let long = world.open("/ws/trips/t", fields: issuer.field("rider", "rider", expires: 1_700_100_000))
        world.run(80)
        #expect(short.closeCode == nil && !short.messages.isEmpty)
        world.run(15)
        #expect(short.closeCode == 3005)
        #expect(long.closeCode == nil)
        world.run(60)
        #expect(long.closeCode == nil)
    }

    /// What is open ends, what comes with the old token is refused, also where it was verified before; a new token is good.
    @Test func revocationClosesTheSubjectsSocketsAndNobodyElses() throws {
        let issuer = try TestIssuer()
        let world = try LiveWorld(access: .trusting(issuer))
        world.putTrip("t", driver: "car")
        let (rider, phone) = (issuer.field("rider", "rider"), issuer.field("rider", "rider", "driver"))
        let other = issuer.field("car", "driver")
        let ended = [rider, rider, phone].map { world.open("/ws/trips/t", fields: $0) }
        let kept = world.open("/ws/trips/t", fields: other)
        world.run(1)
        #expect((ended + [kept]).allSatisfy { $0.head.hasPrefix("HTTP/1.1 101") })
        let now = world.gateway.wallClockMilliseconds
        world.revoke(Revocation(target: .subject("rider"), at: now, reason: ""))
        world.run(0.1)
        #expect(ended.map(\.closeCode) == [3500, 3500, 3500] && kept.closeCode == nil)
        let late = [rider, phone].map { world.open("/ws/trips/t", fields: $0) }
        let new = world.open("/ws/trips/t", fields: issuer.field("rider", "rider", issued: now / 1000 + 1))
        world.run(0.1)
        #expect(late.allSatisfy { $0.head.hasPrefix("HTTP/1.1 401") && $0.head.contains("invalid_token") })
        #expect(new.head.hasPrefix("HTTP/1.1 101"))
        // One token by its name: the same person's other one goes on.
        let second = world.open(
            "/ws/trips/t", fields: issuer.field("rider", "rider", "driver", issued: now / 1000 + 1))
        world.run(0.1)
        world.revoke(Revocation(target: .token(#"rider-["rider", "driver"]"#), at: now + 1, reason: ""))
        world.run(0.1)
        #expect(second.closeCode == 3500 && new.closeCode == nil && kept.closeCode == nil)
    }

    /// So long may a token be left of a session that has ended.
    @Test func theEndOfASessionIsRememberedLongerThanItsTokensLive() {
        #expect((SignIn.Limits.accessSeconds + 2 * TokenVerifier.skew) * 1000 <= Revocation.sessionLife)
    }

    /// A revocation that comes while a gate takes its time closes what is opened behind it.
    @Test func whoIsRevokedWhileTheDoorOpensIsNotIn() throws {
        let issuer = try TestIssuer()
        let world = try LiveWorld(access: .trusting(issuer))
        world.putTrip("t", driver: "car")
        world.open("/ws/trips/t", fields: issuer.field("warm-up", "operator")).close()
        world.run(1)
        var outcomes: [String] = []
        for _ in 0..<40 {
            let now = world.gateway.wallClockMilliseconds / 1000
            let rider = issuer.field("rider", "rider", issued: now + 1)
            let browser = world.open("/ws/trips/t", fields: rider)
            // From before the request arrives to behind its answer.
            world.run(0.00005 * Double(outcomes.count))
            world.revoke(Revocation(target: .subject("rider"), at: (now + 1) * 1000, reason: ""))
            world.run(2)
            #expect(browser.head.hasPrefix("HTTP/1.1 401") || browser.closeCode == 3500)
            outcomes.append(String(browser.head.prefix(12)))
        }
        #expect(Set(outcomes) == ["HTTP/1.1 101", "HTTP/1.1 401"])
        #expect(world.live.sockets.count == 0)
    }

    /// What comes with forged tokens costs a bounded part of the loop, and those who are known are not held up.
    @Test func aFloodOfForgedTokensDoesNotStopWhoIsKnown() throws {
        let issuer = try TestIssuer()
        let world = try LiveWorld(access: .trusting(issuer))
        world.putTrip("t", driver: "car")
        let rider = issuer.field("rider", "rider")
        let first = world.open("/ws/trips/t", fields: rider)
        world.run(1)
        #expect(first.head.hasPrefix("HTTP/1.1 101"))
        let forged = try TestIssuer().field("rider", "rider")
        let flood = (0..<300).map { _ in world.open("/ws/trips/t", fields: forged) }
        let known = world.open("/ws/trips/t", fields: rider)
        world.run(0.05)
        let heads = flood.map { $0.head.prefix(12) }
        #expect(heads.filter { $0 == "HTTP/1.1 401" }.count <= Authenticator.Limits.burst + 100)
        #expect(heads.contains { $0 == "HTTP/1.1 503" })
        #expect(known.head.hasPrefix("HTTP/1.1 101"))
        // And then there is room again.
        world.run(1)
        let late = world.open("/ws/trips/t", fields: issuer.field("rider", "rider", "driver"))
        world.run(1)
        #expect(late.head.hasPrefix("HTTP/1.1 101"))
    }
}
