import Access
import Basics
import Bytes
import Reactor
import RideAPI
import SQLiteStore
import Testing

@testable import DriverService

/// Sessions, enrolment codes and tickets: each secret opens once, and what is stored of it opens nothing.
@Suite struct SessionBookTests {
    @Test func aSessionIsRefreshedByEachOfItsTokensOnce() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let first = try desk.begin("rider-1").get()
        #expect(first.identity == Identity(subject: "rider-1", roles: [.rider]))
        #expect(first.times.expiresAt == desk.loop.wallClockMilliseconds + AuthLimits.refreshLife)
        desk.pass(nanoseconds: SessionDesk.day)
        let second = try desk.refresh(first.refreshToken.text).get()
        #expect(second.id == first.id && second.identity == first.identity && second.refreshToken != first.refreshToken)
        #expect(second.times.issuedAt == desk.loop.wallClockMilliseconds)
        #expect(second.times.expiresAt == desk.loop.wallClockMilliseconds + AuthLimits.refreshLife)
        let third = try desk.refresh(second.refreshToken.text).get()
        // Somebody has a copy of the first one: nobody goes on.
        #expect(desk.refresh(first.refreshToken.text).failure == .refreshTokenReused)
        #expect(desk.refresh(third.refreshToken.text).failure == .refreshTokenInvalid)
        #expect(desk.refresh(first.refreshToken.text).failure == .refreshTokenInvalid)
    }

    @Test func whatIsNoTokenOfTheSessionEndsNothing() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let session = try desk.begin("rider-1").get()
        let other = RefreshToken(from: desk.loop)
        let text = session.refreshToken.text
        for forged in [
            "", ".", "a.b", other.text, session.id, "\(session.id).\(other.secret.text)", text + "A", text + "=",
            String(text.dropLast()), "\(other.family.text).\(session.refreshToken.secret.text)", text + ".",
        ] {
            #expect(desk.refresh(forged).failure == .refreshTokenInvalid, "\(forged)")
        }
        #expect(desk.refresh(text).failure == nil)
    }

    /// Two at once with one token: one goes on, and then nobody does.
    @Test func ofTwoThatRefreshAtOnceOneWinsAndTheOtherEndsTheSession() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let token = try desk.begin("rider-1").get().refreshToken.text
        var outcomes: [Result<Session, DriverError>] = []
        for _ in 0..<8 {
            desk.loop.start { [book = desk.book!] in
                do throws(DriverError) {
                    outcomes.append(.success(try await book.refresh(token, deadline: .max)))
                } catch {
                    outcomes.append(.failure(error))
                }
            }
        }
        desk.turn { outcomes.count == 8 }
        let winners = outcomes.compactMap(\.value)
        #expect(winners.count == 1)
        #expect(outcomes.filter { $0.failure == .refreshTokenReused }.count == 1)
        #expect(outcomes.filter { $0.failure == .refreshTokenInvalid }.count == 6)
        #expect(desk.refresh(try #require(winners.first).refreshToken.text).failure == .refreshTokenInvalid)
    }

    @Test func aSessionEndsAtItsAbsoluteEndHoweverOftenItIsRefreshed() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        var session = try desk.begin("rider-1").get()
        let end = desk.loop.wallClockMilliseconds + AuthLimits.sessionLife
        var refreshes = 0
        while true {
            desk.pass(nanoseconds: 20 * SessionDesk.day)
            guard let next = desk.refresh(session.refreshToken.text).value else { break }
            session = next
            refreshes += 1
            #expect(next.times.expiresAt <= end)
        }
        #expect(refreshes == 8)
        // One that is not used ends by itself.
        let idle = try desk.begin("rider-2").get()
        desk.pass(nanoseconds: 30 * SessionDesk.day)
        #expect(desk.refresh(idle.refreshToken.text).failure == .refreshTokenInvalid)
    }

    @Test func theSessionThatWouldEndFirstMakesRoomForTheSubjectsNext() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        var sessions: [Session] = []
        for _ in 0..<AuthLimits.sessionsPerSubject {
            sessions.append(try desk.begin("rider-1").get())
            desk.pass(nanoseconds: 1_000_000_000)
        }
        let used = try desk.refresh(sessions[0].refreshToken.text).get()
        _ = try desk.begin("rider-1").get()
        // Its last access token goes with it.
        #expect(desk.published.map(\.target) == [.token(sessions[1].id)])
        #expect(desk.refresh(sessions[1].refreshToken.text).failure == .refreshTokenInvalid)
        #expect(desk.refresh(used.refreshToken.text).failure == nil)
        #expect(desk.refresh(sessions[2].refreshToken.text).failure == nil)
    }

    /// Whoever makes guests by the million shuts out nobody: the riders go who were not there for longest, and no driver.
    @Test func whenThereIsNoRoomTheLeastUsedRidersGo() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let driver = try desk.redeem(code: try desk.enrol("ada").get()).get()
        var riders: [Session] = []
        for number in 0..<(2 * AuthLimits.crowdedOutAtOnce) {
            riders.append(try desk.begin("rider-\(number)").get())
            desk.pass(nanoseconds: 1_000_000_000)
        }
        // The first of them comes back.
        riders[0] = try desk.refresh(riders[0].refreshToken.text).get()
        try desk.change("UPDATE auth_counts SET rows = \(AuthLimits.sessions) WHERE name = 'sessions'")
        let next = try desk.begin("rider-next").get()
        #expect(desk.published.map(\.target) == riders[1...AuthLimits.crowdedOutAtOnce].map { .token($0.id) })
        #expect(desk.refresh(riders[1].refreshToken.text).failure == .refreshTokenInvalid)
        for session in [driver, riders[0], next, riders[AuthLimits.crowdedOutAtOnce + 1]] {
            #expect(desk.refresh(session.refreshToken.text).failure == nil)
        }
        // Where there is nobody who may go, nobody comes.
        try desk.change(
            "DELETE FROM sessions WHERE roles = 'rider'; UPDATE auth_counts SET rows = \(AuthLimits.sessions) WHERE name = 'sessions'"
        )
        #expect(desk.begin("rider-last").failure != nil)
    }

    @Test func anEnrolmentCodeIsUsedOnceAndTheNewestCounts() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        #expect(desk.enrol("nobody").failure == .driverNotFound("nobody"))
        let old = try desk.enrol("ada").get()
        let code = try desk.enrol("ada").get()
        for wrong in [old, "", "x", code + "A"] { #expect(desk.redeem(code: wrong).failure == .enrolmentInvalid) }
        let session = try desk.redeem(code: code).get()
        #expect(session.identity == Identity(subject: "ada", roles: [.driver]))
        #expect(desk.redeem(code: code).failure == .enrolmentInvalid)
        #expect(desk.refresh(session.refreshToken.text).failure == nil)
        let late = try desk.enrol("ada").get()
        desk.pass(nanoseconds: SessionDesk.day)
        #expect(desk.redeem(code: late).failure == .enrolmentInvalid)
    }

    private static func grant(
        _ subject: String = "rider-1", _ path: String = "/ws/trips/1", token: String = "t1", at: Int64 = 0
    ) -> TicketGrant {
        TicketGrant(
            identity: Identity(subject: subject, roles: [.rider]), path: path, tokenID: token, tokenIssuedAt: at,
            tokenExpiresAt: at + 900_000)
    }

    @Test func aTicketOpensOnePathOnceWithinHalfAMinute() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let grant = Self.grant()
        let ticket = try desk.ticket(grant).get()
        #expect(desk.redeem(ticket: ticket, path: grant.path).value == grant)
        #expect(desk.redeem(ticket: ticket, path: grant.path).failure == .ticketInvalid)
        // Whoever tries it elsewhere has used it up.
        let elsewhere = try desk.ticket(grant).get()
        #expect(desk.redeem(ticket: elsewhere, path: "/ws/trips/2").failure == .ticketInvalid)
        #expect(desk.redeem(ticket: elsewhere, path: grant.path).failure == .ticketInvalid)
        let late = try desk.ticket(grant).get()
        desk.pass(nanoseconds: 30_000_000_000)
        #expect(desk.redeem(ticket: late, path: grant.path).failure == .ticketInvalid)
        let tickets = try (0...AuthLimits.ticketsPerSubject).map { _ in
            desk.pass(nanoseconds: 2_000_000)
            return try desk.ticket(grant).get()
        }
        #expect(desk.redeem(ticket: tickets[0], path: grant.path).failure == .ticketInvalid)
        #expect(desk.redeem(ticket: tickets[1], path: grant.path).failure == nil)
    }

    @Test func revokingASubjectEndsWhatTheyHaveAndANewSignInIsGood() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let code = try desk.enrol("ada").get()
        let sessions = try (0..<3).map { _ in try desk.begin("ada", [.driver]).get() }
        let others = try desk.begin("rider-1").get()
        let made = desk.loop.wallClockMilliseconds
        let ticket = try desk.ticket(Self.grant("ada", at: made)).get()
        let at = try desk.revoke(.subject("ada")).get()
        #expect(desk.published == [Revocation(target: .subject("ada"), at: at, reason: "stolen")])
        for session in sessions {
            #expect(session.times.issuedAt / 1000 <= at / 1000)
            #expect(desk.refresh(session.refreshToken.text).failure == .refreshTokenInvalid)
        }
        #expect(desk.redeem(code: code).failure == .enrolmentInvalid)
        #expect(desk.redeem(ticket: ticket, path: "/ws/trips/1").failure == .ticketInvalid)
        // A gateway that has not heard of it asks with the old token.
        #expect(desk.ticket(Self.grant("ada", at: made)).failure == .tokenRevoked)
        #expect(desk.refresh(others.refreshToken.text).failure == nil)
        // In the same second: what is made now counts as made in the next one.
        let next = try desk.redeem(code: try desk.enrol("ada").get()).get()
        #expect(next.times.issuedAt / 1000 > at / 1000 && next.times.issuedAt <= at + 1_000)
        let refreshed = try desk.refresh(next.refreshToken.text).get()
        #expect(refreshed.times.issuedAt / 1000 > at / 1000)
        #expect(desk.ticket(Self.grant("ada", at: refreshed.times.issuedAt)).failure == nil)
    }

    @Test func revokingATokenEndsItsTicketsAlone() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let session = try desk.begin("rider-1").get()
        let ticket = try desk.ticket(Self.grant(token: "lost")).get()
        let other = try desk.ticket(Self.grant(token: "kept")).get()
        _ = try desk.revoke(.token("lost")).get()
        #expect(desk.redeem(ticket: ticket, path: "/ws/trips/1").failure == .ticketInvalid)
        #expect(desk.ticket(Self.grant(token: "lost")).failure == .tokenRevoked)
        #expect(desk.redeem(ticket: other, path: "/ws/trips/1").failure == nil)
        #expect(desk.refresh(session.refreshToken.text).failure == nil)
    }

    /// Signing out, and a refresh token that is used twice: what is left of the session's tokens is told of, once.
    @Test func theEndOfASessionIsToldOfAsLongAsATokenIsLeft() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let (left, stolen, stale) = (
            try desk.begin("rider-1").get(), try desk.begin("rider-1").get(), try desk.begin("rider-1").get()
        )
        desk.pass(nanoseconds: 60_000_000_000)
        let ticket = try desk.ticket(Self.grant(token: "\(left.id).x")).get()
        let other = try desk.ticket(Self.grant(token: "\(stale.id).x")).get()
        let fresh = try desk.refresh(stolen.refreshToken.text).get()
        desk.end(left.refreshToken.text)
        desk.end(left.refreshToken.text)
        #expect(desk.refresh(stolen.refreshToken.text).failure == .refreshTokenReused)
        #expect(desk.published.map(\.target) == [.token(left.id), .token(stolen.id)])
        let made = [left.times.issuedAt, fresh.times.issuedAt]
        #expect(desk.published.map(\.expiresAt) == made.map { $0 + Revocation.sessionLife })
        #expect(desk.published.allSatisfy { $0.endsSession })
        #expect(desk.ticket(Self.grant(token: "\(left.id).x")).failure == .tokenRevoked)
        #expect(desk.ticket(Self.grant(token: "\(stale.id).x")).failure == nil)
        #expect(desk.redeem(ticket: ticket, path: "/ws/trips/1").failure == .ticketInvalid)
        #expect(desk.redeem(ticket: other, path: "/ws/trips/1").failure == nil)
        desk.pass(nanoseconds: UInt64(Revocation.sessionLife) * 1_000_000)
        desk.end(stale.refreshToken.text)
        #expect(desk.published.count == 2)
        _ = desk.sweep()
        #expect(desk.ticket(Self.grant(token: "\(left.id).x")).failure == nil)
    }

    @Test func anEndThatKafkaDoesNotTakeIsToldOfAfterTheNextStart() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        desk.acknowledges = false
        let session = try desk.begin("rider-1").get()
        desk.end(session.refreshToken.text)
        try desk.crash()
        desk.book.start()
        desk.turn { desk.published.count == 2 }
        #expect(desk.published[0] == desk.published[1] && desk.published[0].target == .token(session.id))
    }

    /// A topic that was deleted begins anew: what it held is written again, by the program that remembers it.
    @Test func whatKafkaHasLostIsToldOfAgain() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        _ = try desk.revoke(.subject("rider-1")).get()
        desk.book.publishAgain()
        desk.turn { desk.published.count == 2 }
        #expect(desk.published[0] == desk.published[1] && desk.published[0].target == .subject("rider-1"))
    }

    /// However many sign out, operators have their room, and the sessions end all the same.
    @Test func tooManyEndsAreNotRememberedAndTakeNoRoomOfOperators() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let session = try desk.begin("rider-1").get()
        let end = desk.loop.wallClockMilliseconds + 60_000
        try desk.change(
            """
            INSERT INTO revocations SELECT 'token/s' || value, 1, '', \(end), 1 FROM
                (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < \(AuthLimits.sessionEnds))
                 SELECT value FROM n)
            """)
        desk.end(session.refreshToken.text)
        #expect(desk.published.isEmpty && desk.refresh(session.refreshToken.text).failure == .refreshTokenInvalid)
        _ = try desk.revoke(.subject("rider-1")).get()
        // The operator's word about a session goes beyond its end, and is counted as such.
        _ = try desk.revoke(.token("s1")).get()
        #expect(desk.published.map(\.endsSession) == [false, false])
        let next = try desk.begin("rider-1").get()
        desk.end(next.refreshToken.text)
        #expect(desk.published.last?.target == .token(next.id))
        desk.pass(nanoseconds: 120_000_000_000)
        while try desk.sweep().get().isUnfinished {}
        for _ in 0..<3 { desk.end(try desk.begin("rider-2").get().refreshToken.text) }
        #expect(desk.published.count == 6)
    }

    /// A clock that is set back between a refresh and the revocation leaves no token behind.
    @Test func aRevocationIsNeverOlderThanATokenThatItIsAbout() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let session = try desk.begin("rider-1").get()
        desk.network.wallClockStart -= 5_000
        desk.pass(nanoseconds: 1_000_000)
        let at = try desk.revoke(.subject("rider-1")).get()
        #expect(at >= session.times.issuedAt)
        desk.network.wallClockStart -= 5_000
        desk.pass(nanoseconds: 1_000_000)
        #expect(try desk.revoke(.subject("rider-1")).get() >= at)
    }

    @Test func aRevocationThatKafkaDoesNotTakeIsRememberedAndSaidSo() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        desk.acknowledges = false
        let session = try desk.begin("rider-1").get()
        var outcome: Result<Int64, DriverError>?
        desk.loop.start { [book = desk.book!] in
            do throws(DriverError) {
                outcome = .success(try await book.revoke(.subject("rider-1"), reason: "", deadline: .max))
            } catch {
                outcome = .failure(error)
            }
        }
        desk.turn { !desk.published.isEmpty }
        #expect(outcome == nil)
        desk.pass(nanoseconds: AuthLimits.publishPatience)
        desk.turn { outcome != nil }
        guard case .unavailable? = outcome?.failure else {
            return #expect(Bool(false), "\(String(describing: outcome))")
        }
        #expect(desk.refresh(session.refreshToken.text).failure == .refreshTokenInvalid)
        // The next start sends it.
        try desk.crash()
        desk.book.start()
        desk.turn { desk.published.count == 2 }
        #expect(desk.published[0] == desk.published[1])
    }

    @Test func whatWasUsedBeforeAKillIsUsedBehindIt() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let first = try desk.begin("rider-1").get()
        let second = try desk.refresh(first.refreshToken.text).get()
        let (code, ticket) = (try desk.enrol("ada").get(), try desk.ticket(Self.grant()).get())
        let driver = try desk.redeem(code: code).get()
        _ = try desk.redeem(ticket: ticket, path: "/ws/trips/1").get()
        let open = try desk.ticket(Self.grant()).get()
        _ = try desk.revoke(.subject("rider-2")).get()
        try desk.crash()
        #expect(desk.redeem(code: code).failure == .enrolmentInvalid)
        #expect(desk.redeem(ticket: ticket, path: "/ws/trips/1").failure == .ticketInvalid)
        #expect(desk.redeem(ticket: open, path: "/ws/trips/1").failure == nil)
        let third = try desk.refresh(second.refreshToken.text).get()
        #expect(desk.refresh(first.refreshToken.text).failure == .refreshTokenReused)
        #expect(desk.refresh(third.refreshToken.text).failure == .refreshTokenInvalid)
        #expect(desk.refresh(driver.refreshToken.text).failure == nil)
        #expect(try desk.begin("rider-2").get().times.issuedAt / 1000 > desk.published[0].at / 1000)
    }

    /// Nobody who reads the file, its log, or what of it was freed, finds what would let them in.
    @Test func theFileHoldsNoSecret() throws {
        let desk = try SessionDesk()
        let session = try desk.begin("rider-1").get()
        let code = try desk.enrol("ada").get()
        let ticket = try desk.ticket(Self.grant()).get()
        let token = session.refreshToken
        for path in [desk.path, desk.path + "-wal"] {
            let bytes = Files.read(path)
            for secret in [token.family.text, token.secret.text, code, ticket] {
                let decoded = Base64URL.decode(Array(secret.utf8).span)
                let raw = try #require(decoded)
                #expect(!Files.contains(bytes, Array(secret.utf8)) && !Files.contains(bytes, raw), "\(path)")
            }
        }
        desk.close()
    }

    @Test func whatHasExpiredIsSweptInPortionsAndCounted() throws {
        let desk = try SessionDesk()
        defer { desk.close() }
        let count = AuthLimits.rowsPerSweep + 50
        var begun = 0
        for number in 0..<count {
            desk.loop.start { [book = desk.book!] in
                if (try? await book.begin(Identity(subject: "r\(number)", roles: [.rider]), deadline: .max)) != nil {
                    begun += 1
                }
            }
        }
        desk.turn { begun == count }
        desk.pass(nanoseconds: 30 * SessionDesk.day)
        let kept = try desk.begin("rider-1").get()
        #expect(
            try desk.sweep().get() == SweepOutcome(expired: AuthLimits.rowsPerSweep, sessions: 51, isUnfinished: true))
        #expect(try desk.sweep().get() == SweepOutcome(expired: 50, sessions: 1, isUnfinished: false))
        #expect(desk.refresh(kept.refreshToken.text).failure == nil)
    }

    /// A driver who is gone can't sign in by a code of before.
    @Test func anEnrolmentGoesWithItsDriver() throws {
        let desk = try SessionDesk()
        let code = try desk.enrol("ada").get()
        desk.close()
        let database = try SQLiteDatabase(path: desk.path)
        try database.execute("DELETE FROM drivers WHERE id = 'ada'")
        #expect(try database.prepare("SELECT count(*) FROM enrolments").first { try $0.int(0) } == 0)
        database.close()
        _ = code
    }
}
