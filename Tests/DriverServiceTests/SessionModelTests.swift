import Access
import Basics
import Bytes
import Reactor
import RideAPI
import SQLiteStore
import Testing

@testable import DriverService

extension SessionBookTests {
    private struct ModelSession {
        let subject: String
        let createdAt: Int64
        var expiresAt: Int64
        var current: String
        /// When nothing is left of its access tokens.
        var tokenEnds: Int64
        var used: [String] = []
    }

    /// Operations in random order, with crashes, against the simplest book that there is.
    @Test(arguments: 1...6) func sessionsAreAsASimpleModelSays(seed: UInt64) throws {
        let desk = try SessionDesk(seed: seed)
        defer { desk.close() }
        var random = SplitMix(seed: seed)
        var open: [ModelSession] = []
        var gone: [String] = []
        var revokedAt: [String: Int64] = [:]
        func close(where isOver: (ModelSession) -> Bool) {
            for session in open where isOver(session) { gone += session.used + [session.current] }
            open.removeAll(where: isOver)
        }
        for step in 0..<400 {
            desk.pass(nanoseconds: UInt64.random(in: 1...4, using: &random) * 7_000_000)
            let now = desk.loop.wallClockMilliseconds
            close { $0.expiresAt <= now }
            let subject = ["ada", "bob"].randomElement(using: &random)!
            func check(_ session: Session) {
                #expect(session.identity.subject == subject)
                #expect(session.times.issuedAt / 1000 > (revokedAt[subject] ?? 0) / 1000, "step \(step)")
            }
            let told = desk.published.count
            func begun(_ session: Session) {
                check(session)
                let own = open.filter { $0.subject == subject }.sorted { $0.expiresAt < $1.expiresAt }
                let isFull = own.count == AuthLimits.sessionsPerSubject
                #expect(desk.published.count - told == (isFull && own[0].tokenEnds > now ? 1 : 0))
                if isFull { close { $0.current == own[0].current } }
                open.append(
                    ModelSession(
                        subject: subject, createdAt: now, expiresAt: session.times.expiresAt,
                        current: session.refreshToken.text,
                        tokenEnds: session.times.issuedAt + Revocation.sessionLife))
            }
            switch Int.random(in: 0..<40, using: &random) {
            case 0..<14: begun(try desk.begin(subject).get())
            case 14..<16 where subject == "ada": begun(try desk.redeem(code: try desk.enrol("ada").get()).get())
            case 16..<28:
                guard let index = open.indices.filter({ open[$0].subject == subject }).randomElement(using: &random)
                else { continue }
                let session = try desk.refresh(open[index].current).get()
                check(session)
                #expect(
                    session.times.expiresAt
                        == min(now + AuthLimits.refreshLife, open[index].createdAt + AuthLimits.sessionLife))
                open[index].used.append(open[index].current)
                open[index].current = session.refreshToken.text
                open[index].expiresAt = session.times.expiresAt
                open[index].tokenEnds = session.times.issuedAt + Revocation.sessionLife
            case 28..<30:
                guard let victim = open.filter({ !$0.used.isEmpty }).randomElement(using: &random) else { continue }
                #expect(desk.refresh(victim.used.randomElement(using: &random)!).failure == .refreshTokenReused)
                #expect(desk.published.count - told == (victim.tokenEnds > now ? 1 : 0))
                close { $0.current == victim.current }
            case 30..<33:
                guard let token = gone.randomElement(using: &random) else { continue }
                #expect(desk.refresh(token).failure == .refreshTokenInvalid)
            case 33:
                guard let victim = open.randomElement(using: &random) else { continue }
                desk.end(victim.current)
                #expect(desk.published.count - told == (victim.tokenEnds > now ? 1 : 0))
                close { $0.current == victim.current }
            case 34:
                revokedAt[subject] = try desk.revoke(.subject(subject)).get()
                close { $0.subject == subject }
            case 35: desk.pass(nanoseconds: UInt64.random(in: 1...12, using: &random) * SessionDesk.day)
            case 36: _ = desk.sweep()
            case 37: try desk.crash()
            default: break
            }
        }
        let now = desk.loop.wallClockMilliseconds
        close { $0.expiresAt <= now }
        _ = desk.sweep()
        #expect(try desk.sweep().get().sessions == open.count)
        for session in open { #expect(desk.refresh(session.current).failure == nil) }
    }
}
