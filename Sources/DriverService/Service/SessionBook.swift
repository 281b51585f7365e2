import Basics
import Reactor
import RideAPI
import Storage
import Telemetry

/// Tells the other programs of revocations.
protocol RevocationAnnouncer: AnyObject {
    /// Sends it until Kafka has it; then `delivered` is called, on the loop.
    func publish(_ revocation: Revocation, delivered: @escaping () -> Void)
}

/// The rules of signing in: what is remembered of sessions, enrolment codes, tickets and revocations, and what ends them.
///
///     session:  begun ──refresh──▶ refreshed ──▶ …  ended by its owner, a used token, a revocation, a newer session, time
///     revoke:   stored, with all that it ends ──▶ published ──▶ acknowledged ──▶ answer
///
/// It makes no access token. For tasks of one loop; `deadline` is in the loop's nanoseconds.
final class SessionBook {
    let loop: EventLoop
    let metrics = AuthMetrics()
    private let repository: any SessionRepository
    private let announcer: any RevocationAnnouncer
    private let logger = Logger(label: "sessions")
    private var random: LoopRandom
    private var identifiers = UUIDv7Generator()
    private var reuseLogs = LogRateLimit()
    private var isSweeping = false
    /// What holds is being published again, and must be once more.
    private var isPublishing = false
    private var mustPublish = false
    /// Called when the storage failed.
    var onStorageFailure: (StorageError) -> Void = { _ in }

    init(loop: EventLoop, repository: any SessionRepository, announcer: any RevocationAnnouncer) {
        self.loop = loop
        self.repository = repository
        self.announcer = announcer
        random = LoopRandom(loop: loop)
    }

    /// Publishes again what holds, and sweeps from now on. What Kafka has already is there twice, which says nothing new; what it
    /// has lost, or never got because this program ended, it gets.
    func start() {
        publishAgain()
        loop.start { [self] in await sweep() }
        loop.schedule(every: AuthLimits.sweepInterval) { [weak self, loop] in
            if self?.isSweeping == false { loop.start { await self?.sweep() } }
        }
    }

    private var now: Int64 { loop.wallClockMilliseconds }

    private func refusal(_ error: StorageError, _ deadline: UInt64) -> DriverError {
        DriverError(error, by: deadline, at: loop.now, onStorageFailure)
    }

    // MARK: Sessions

    /// A session of somebody who has been identified.
    func begin(_ identity: Identity, deadline: UInt64) async throws(DriverError) -> Session {
        let (new, token) = newSession()
        let outcome: SessionOutcome
        do {
            outcome = try await repository.begin(new, of: identity, deadline: deadline)
        } catch {
            throw refusal(error, deadline)
        }
        return try begun(outcome, new, token)
    }

    private func newSession() -> (NewSession, RefreshToken) {
        let token = RefreshToken(from: loop)
        let id = identifiers.next(milliseconds: now, using: &random).text
        return (NewSession(id: id, family: token.family.digest, secret: token.secret.digest, at: now), token)
    }

    private func begun(
        _ outcome: SessionOutcome, _ new: NewSession, _ token: RefreshToken
    ) throws(DriverError) -> Session {
        switch outcome {
        case .begun(let times, let identity, let displaced, let crowdedOut):
            metrics.begun.increment()
            metrics.displaced.increment(by: UInt64(clamping: displaced.count))
            metrics.crowdedOut.increment(by: UInt64(clamping: crowdedOut.count))
            for ended in displaced + crowdedOut { tell(of: ended) }
            return Session(id: new.id, identity: identity, refreshToken: token, times: times)
        case .full:
            throw .tooMany("There are \(AuthLimits.sessions) sessions, and no more are kept; try again later.")
        case .refused:
            metrics.refusedEnrolments.increment()
            throw .enrolmentInvalid
        }
    }

    /// Changes a refresh token into the next one.
    func refresh(_ text: String, deadline: UInt64) async throws(DriverError) -> Session {
        guard let used = RefreshToken(text) else {
            metrics.refused.increment()
            throw .refreshTokenInvalid
        }
        let next = RefreshToken(family: used.family, from: loop)
        let presented = NewSession(id: "", family: used.family.digest, secret: used.secret.digest, at: now)
        let outcome: RefreshOutcome
        do {
            outcome = try await repository.refresh(presented, next: next.secret.digest, deadline: deadline)
        } catch {
            throw refusal(error, deadline)
        }
        switch outcome {
        case .refreshed(let id, let identity, let times):
            metrics.refreshed.increment()
            return Session(id: id, identity: identity, refreshToken: next, times: times)
        case .reused(let id, let identity, let generation, let ended):
            metrics.reused.increment()
            tell(of: ended)
            if let held = reuseLogs.admit(now: loop.now) {
                logger.warning(
                    "a refresh token was used twice; its session has ended",
                    metadata: [
                        "subject": identity.subject, "session": id, "refreshed": "\(generation)",
                        "held_back": "\(held)",
                    ])
            }
            throw .refreshTokenReused
        case .unknown:
            metrics.refused.increment()
            throw .refreshTokenInvalid
        }
    }

    /// Tells everybody of a session's last tokens. Whoever has signed out need not wait for Kafka: it is stored.
    private func tell(of ended: EndedSession) {
        if let revocation = ended.revocation { announcer.publish(revocation) {} }
    }

    /// Ends a session, and its access tokens with it. A token that is unknown has none.
    func end(_ text: String, deadline: UInt64) async throws(DriverError) {
        guard let token = RefreshToken(text) else { return }
        do {
            let ended = try await repository.end(family: token.family.digest, at: now, deadline: deadline)
            guard let ended else { return }
            metrics.signedOut.increment()
            tell(of: ended)
        } catch {
            throw refusal(error, deadline)
        }
    }

    // MARK: Enrolment codes

    /// Makes a code by which a driver's app signs in. Returns when it ends, in Unix milliseconds.
    func enrol(_ driverID: String, deadline: UInt64) async throws(DriverError) -> (code: Secret, expiresAt: Int64) {
        let (code, at) = (Secret(from: loop), now)
        let isDriver: Bool
        do {
            isDriver = try await repository.enrol(driverID, code: code.digest, at: at, deadline: deadline)
        } catch {
            throw refusal(error, deadline)
        }
        guard isDriver else { throw .driverNotFound(driverID) }
        metrics.enrolments.increment()
        return (code, at + AuthLimits.enrolmentLife)
    }

    /// Changes a code into a session of its driver.
    func redeem(code text: String, deadline: UInt64) async throws(DriverError) -> Session {
        guard let code = Secret(text[...]) else {
            metrics.refusedEnrolments.increment()
            throw .enrolmentInvalid
        }
        let (new, token) = newSession()
        let outcome: SessionOutcome
        do {
            outcome = try await repository.redeem(code: code.digest, for: new, deadline: deadline)
        } catch {
            throw refusal(error, deadline)
        }
        let session = try begun(outcome, new, token)
        metrics.enrolled.increment()
        return session
    }

    // MARK: Tickets

    /// Makes a ticket. Returns when it ends, in Unix milliseconds.
    func makeTicket(
        _ grant: TicketGrant, deadline: UInt64
    ) async throws(DriverError) -> (ticket: Secret, expiresAt: Int64) {
        let (ticket, at) = (Secret(from: loop), now)
        let outcome: TicketOutcome
        do {
            outcome = try await repository.add(ticket: ticket.digest, grant, at: at, deadline: deadline)
        } catch {
            throw refusal(error, deadline)
        }
        switch outcome {
        case .made: metrics.tickets.increment()
        case .revoked: throw .tokenRevoked
        case .full: throw .tooMany("There are \(AuthLimits.tickets) tickets, and no more are kept; try again later.")
        }
        return (ticket, at + AuthLimits.ticketLife)
    }

    /// Changes a ticket into what it stands for. It is used up, also when it is for another path.
    func redeem(ticket text: String, path: String, deadline: UInt64) async throws(DriverError) -> TicketGrant {
        var grant: TicketGrant?
        if let ticket = Secret(text[...]) {
            do {
                grant = try await repository.take(ticket: ticket.digest, at: now, deadline: deadline)
            } catch {
                throw refusal(error, deadline)
            }
        }
        guard let grant, grant.path == path else {
            metrics.refusedTickets.increment()
            throw .ticketInvalid
        }
        metrics.usedTickets.increment()
        return grant
    }

    // MARK: Revocations

    /// Refuses a subject's tokens, or one token, from now on everywhere, and ends what was begun with them. Returns the instant, in
    /// Unix milliseconds, until which tokens count as made before it.
    func revoke(
        _ target: Revocation.Target, reason: String, deadline: UInt64
    ) async throws(DriverError) -> Int64 {
        let outcome: RevocationOutcome?
        do {
            let wanted = Revocation(target: target, at: now, reason: reason)
            outcome = try await repository.revoke(wanted, deadline: deadline)
        } catch {
            throw refusal(error, deadline)
        }
        guard let outcome else { throw .tooManyRevocations }
        guard await publish(outcome, deadline: deadline) else {
            throw .unavailable(
                "It is remembered and its sessions have ended, but Kafka does not take it now: it goes out as soon as Kafka does."
            )
        }
        return outcome.revocation.at
    }

    /// Tells everybody of what was stored. False: Kafka does not take it before the caller's time is over; it goes out as soon as
    /// Kafka does.
    func publish(_ outcome: RevocationOutcome, deadline: UInt64) async -> Bool {
        metrics.revoked.increment(by: UInt64(clamping: outcome.sessions))
        var isDelivered = false
        // The answer that it is remembered has to arrive, too.
        let patience = min(AuthLimits.publishPatience, deadline > loop.now ? (deadline - loop.now) / 4 * 3 : 0)
        await loop.wait(atMost: .nanoseconds(patience)) { done in
            announcer.publish(outcome.revocation) {
                isDelivered = true
                done()
            }
        }
        return isDelivered
    }

    /// Publishes again what holds: Kafka has lost it. One round at a time; another one follows if it was lost meanwhile.
    func publishAgain() {
        mustPublish = true
        if isPublishing { return }
        isPublishing = true
        loop.start { [self] in
            while mustPublish {
                mustPublish = false
                await publishAll()
            }
            isPublishing = false
        }
    }

    private func publishAll() async {
        var last = ""
        while true {
            do throws(StorageError) {
                let found = try await repository.revocations(after: last, at: now)
                for revocation in found { announcer.publish(revocation) {} }
                guard let end = found.last?.target.key else { return }
                last = end
            } catch {
                onStorageFailure(error)
                await loop.pause(DriverLimits.storeRetry)
            }
        }
    }

    /// Deletes what has expired, some of it at a time.
    private func sweep() async {
        isSweeping = true
        defer { isSweeping = false }
        do throws(StorageError) {
            while true {
                let swept = try await repository.sweep(at: now)
                metrics.expired.increment(by: UInt64(clamping: swept.expired))
                metrics.sessions.set(swept.sessions)
                if !swept.isUnfinished { return }
            }
        } catch {
            onStorageFailure(error)
        }
    }
}

/// The loop's random numbers, for what takes a generator.
private struct LoopRandom: RandomNumberGenerator {
    let loop: EventLoop

    mutating func next() -> UInt64 { loop.randomNumber() }
}
