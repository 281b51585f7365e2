import Access
import AccessTokens
import Basics
import Reactor
import ReactorSim
import RideAPI
import Testing

/// What is refused because it was revoked, and what is not.
@Suite struct RevocationsTests {
    private static let now: Int64 = 1_700_000_000

    private static func principal(_ subject: String, at issued: Int64, token: String = "t") -> Principal {
        Principal(subject: subject, roles: [.rider], expires: .max, issuedAt: issued, tokenID: token)
    }

    private static func revocation(_ subject: String, at second: Int64) -> Revocation {
        Revocation(target: .subject(subject), at: second * 1000 + 400, reason: "")
    }

    @Test func aSubjectsTokensUntilThenAreRefusedAndLaterOnesAreGood() {
        var revocations = Revocations(began: nil)
        let now = Self.now
        func refusal(_ subject: String, _ issued: Int64, _ token: String = "t") -> TokenRefusal? {
            revocations.refusal(of: Self.principal(subject, at: issued, token: token), at: now)
        }
        func add(_ revocation: Revocation) -> Bool { revocations.add([revocation], at: now) }
        #expect(add(Self.revocation("ada", at: now)))
        #expect(refusal("ada", now - 1) == .revoked && refusal("ada", now) == .revoked)
        #expect(refusal("ada", now + 1) == nil && refusal("bob", now - 1) == nil)
        // In any order, and again: nothing is taken back.
        #expect(add(Self.revocation("ada", at: now - 100)))
        #expect(refusal("ada", now) == .revoked && revocations.count == 1)
        #expect(add(Revocation(target: .token("lost"), at: now * 1000, reason: "")))
        #expect(refusal("bob", now + 5, "lost") == .revoked && refusal("bob", now, "kept") == nil)
        #expect(refusal("bob", now, "") == nil)
    }

    /// A driver may be called as a service is: who revokes or deletes them bars no service.
    @Test func aServiceIsNoSubject() {
        var revocations = Revocations(began: nil)
        let isWhole = revocations.add([Self.revocation("gateway", at: Self.now)], at: Self.now)
        #expect(isWhole)
        func principal(_ role: Role) -> Principal {
            Principal(subject: "gateway", roles: [role], expires: .max, issuedAt: Self.now - 60, tokenID: "")
        }
        #expect(revocations.refusal(of: principal(.service), at: Self.now) == nil)
        #expect(revocations.refusal(of: principal(.driver), at: Self.now) == .revoked)
    }

    private static func end(_ session: String, at second: Int64) -> Revocation {
        Revocation(target: .token(session), at: second * 1000, reason: "", life: Revocation.sessionLife)
    }

    @Test func theEndOfASessionRefusesItsTokensAsLongAsOneCanBeLeft() {
        var revocations = Revocations(began: nil)
        let now = Self.now
        func add(_ batch: [Revocation], at second: Int64) -> Bool { revocations.add(batch, at: second) }
        func refusal(_ token: String, at second: Int64 = now) -> TokenRefusal? {
            revocations.refusal(of: Self.principal("ada", at: second, token: token), at: second)
        }
        #expect(add([Self.end("s1", at: now)], at: now))
        #expect(refusal("s1.a") == .revoked && refusal("s1.b.c") == .revoked)
        for other in ["", "s1", "s1a", "s1a.b", ".s1", "s2.s1", "x.s1.a", "s"] {
            #expect(refusal(other) == nil, "\(other)")
        }
        // Read again, and read too late.
        let over = now + Revocation.sessionLife / 1000 + 1
        #expect(add([Self.end("s1", at: now)], at: now + 5) && revocations.count == 1)
        #expect(refusal("s1.a", at: over - 2) == .revoked)
        #expect(add([Self.end("s1", at: now), Self.end("s2", at: over)], at: over + 3_600))
        #expect(revocations.count == 0 && refusal("s1.a", at: over + 3_600) == nil)
        // What an operator revokes is for all its time, by the session's name, too.
        #expect(add([Revocation(target: .token("s3"), at: now * 1000, reason: "")], at: now))
        #expect(refusal("s3", at: over) == .revoked && refusal("s3.a", at: over) == .revoked)
    }

    /// Who signs out all the time takes no room of what operators revoke, and ends nobody else's tokens.
    @Test func tooManyEndsOfSessionsTakeNoRoomOfRevocations() {
        var revocations = Revocations(began: nil, capacity: 50)
        let now = Self.now
        func add(_ batch: [Revocation], at second: Int64) -> Bool { revocations.add(batch, at: second) }
        let limit = Revocations.Limits.sessionEnds
        #expect(add([Self.revocation("eve", at: now)], at: now))
        #expect(add((0..<(limit + 100)).map { Self.end("s\($0)", at: now) }, at: now))
        #expect(revocations.count == limit + 1 && revocations.floor == .min)
        func refusal(_ subject: String, _ token: String, at second: Int64) -> TokenRefusal? {
            revocations.refusal(of: Self.principal(subject, at: second, token: token), at: second)
        }
        #expect(refusal("ada", "s\(limit - 1).x", at: now) == .revoked)
        #expect(refusal("ada", "s\(limit).x", at: now) == nil && refusal("eve", "t", at: now) == .revoked)
        // A quarter of an hour later there is room again.
        let later = now + Revocation.sessionLife / 1000 + 2
        #expect(add([Self.end("new", at: later)], at: later))
        #expect(refusal("ada", "new.x", at: later) == .revoked && revocations.count == 2)
    }

    /// All that was revoked before is about tokens that were made before.
    @Test func untilItIsCompleteTokensOfBeforeAreRefused() {
        var revocations = Revocations(began: Self.now)
        let old = Self.principal("ada", at: Self.now + TokenVerifier.skew)
        let new = Self.principal("ada", at: Self.now + TokenVerifier.skew + 1)
        #expect(revocations.refusal(of: old, at: Self.now) == .tooOld && !revocations.isComplete)
        #expect(revocations.refusal(of: new, at: Self.now) == nil)
        revocations.complete()
        #expect(revocations.refusal(of: old, at: Self.now) == nil && revocations.isComplete)
    }

    @Test func whatSaysNothingAnyMoreGoes() {
        var revocations = Revocations(began: Self.now)
        revocations.complete()
        let end = Self.now + Revocation.life / 1000 + 1
        _ = revocations.add([Self.revocation("ada", at: Self.now)], at: Self.now)
        _ = revocations.add([Self.revocation("bob", at: Self.now + 5_000)], at: end)
        #expect(revocations.count == 1)
        // A token of then is refused all the same, for it may have been revoked.
        #expect(revocations.refusal(of: Self.principal("ada", at: Self.now), at: end) == .tooOld)
        // And what is read only then does not come back.
        _ = revocations.add([Self.revocation("ada", at: Self.now)], at: end)
        #expect(revocations.count == 1)
    }

    /// Against one without a bound: nothing that was revoked is ever taken, however many there are.
    @Test(arguments: 1...4) func itFailsClosedWhenItIsFull(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var revocations = Revocations(began: nil, capacity: 50)
        var (subjects, tokens): ([String: Int64], [String: Int64]) = ([:], [:])
        var wasFull = false
        for step in 0..<500 {
            let second = Self.now + Int64(step) + Int64.random(in: -300...0, using: &random)
            let name = "n\(Int.random(in: 0..<200, using: &random))"
            if Bool.random(using: &random) {
                subjects[name] = max(second, subjects[name] ?? 0)
                wasFull = !revocations.add([Self.revocation(name, at: second)], at: Self.now) || wasFull
            } else {
                tokens[name] = second
                let revocation = Revocation(target: .token(name), at: second * 1000, reason: "")
                wasFull = !revocations.add([revocation], at: Self.now) || wasFull
            }
            #expect(revocations.count <= 50)
            for _ in 0..<20 {
                let subject = "n\(Int.random(in: 0..<200, using: &random))"
                let token = "n\(Int.random(in: 0..<200, using: &random))"
                let revokedAt = tokens[token]
                // A token is made before it is revoked, but for clocks that differ.
                let latest = revokedAt.map { $0 + TokenVerifier.skew } ?? Self.now + 600
                let issued = Int64.random(in: min(Self.now - 400, latest)...latest, using: &random)
                let isRevoked = revokedAt != nil || issued <= subjects[subject] ?? 0
                let refusal = revocations.refusal(
                    of: Self.principal(subject, at: issued, token: token), at: Self.now)
                if isRevoked { #expect(refusal != nil, "step \(step)") }
                if !isRevoked && issued > revocations.floor { #expect(refusal == nil, "step \(step)") }
            }
        }
        #expect(wasFull)
    }

    /// What was verified before is looked at again, and not taken from memory.
    @Test func anAuthenticatorForgetsWhomItKnew() throws {
        let network = SimulatedNetwork(seed: 1)
        let loop = try network.makeLoop()
        let key = try #require(SigningKey())
        let issuer = TrustedIssuer(
            name: OwnIssuer.name, audience: "cabstand", keys: JSONWebKeySet([key.publicKey]))
        let configuration = AccessConfiguration(
            verifier: TokenVerifier([issuer]), firstIssuer: OwnIssuer.name, publicLists: true)
        let now = loop.wallClockMilliseconds / 1000
        let authenticator = Authenticator(
            loop: loop, configuration: configuration, revocations: Revocations(began: now - 3_600))
        authenticator.revocationsAreComplete()
        let signer = TokenSigner(key: key, audience: "cabstand")
        func outcome(_ subject: String, at issued: Int64, life: Int64 = 90 * 86_400) -> TokenRefusal? {
            let token = signer.token(for: subject, [.rider], seconds: life, at: issued, id: subject, client: "test")
            do throws(Authenticator.Failure) {
                _ = try authenticator.principal(of: Array((token ?? "").utf8).span)
                return nil
            } catch {
                if case .refused(let refusal) = error { return refusal }
                Issue.record("\(error)")
                return nil
            }
        }
        #expect(outcome("ada", at: now) == nil && outcome("ada", at: now) == nil && outcome("bob", at: now) == nil)
        authenticator.revoke([Self.revocation("ada", at: now)])
        #expect(outcome("ada", at: now) == .revoked && outcome("bob", at: now) == nil)
        #expect(outcome("ada", at: now + 1) == nil)
        authenticator.revoke([Revocation(target: .token("bob"), at: now * 1000, reason: "")])
        #expect(outcome("bob", at: now) == .revoked && authenticator.revocationCount == 2)
        // Longer than revocations are remembered no token is good, whatever it says.
        #expect(outcome("eve", at: now - Revocations.Limits.longestLife - 31) == .tooOld)
        #expect(outcome("eve", at: now) == nil)
        network.run(for: UInt64(Revocations.Limits.longestLife + 40) * 1_000_000_000)
        loop.turn()
        #expect(outcome("eve", at: now) == .tooOld)
    }
}
