import RideAPI
import Storage

/// A session that is to be stored, with digests of its secrets.
struct NewSession: Sendable {
    let id: String
    let family: [UInt8]
    let secret: [UInt8]
    /// Unix milliseconds.
    let at: Int64
}

/// What became of a session that was to be stored.
enum SessionOutcome: Equatable, Sendable {
    /// `displaced` of the subject's others ended for it, and `crowdedOut` of anybody's because there were too many.
    case begun(SessionTimes, Identity, displaced: [EndedSession], crowdedOut: [EndedSession])
    /// There are too many, and none may be ended.
    case full
    /// The code that it was asked with is unknown, used or too old.
    case refused
}

/// What became of a refresh token.
enum RefreshOutcome: Equatable, Sendable {
    case refreshed(id: String, Identity, SessionTimes)
    /// It was used before, and its session has ended.
    case reused(id: String, Identity, generation: Int64, EndedSession)
    /// It is unknown, or its session has ended.
    case unknown
}

/// A session that has ended before its time.
struct EndedSession: Equatable, Sendable {
    /// What is to be told of it; nil: no token of it is left, or too many ends are remembered.
    let revocation: Revocation?
}

enum TicketOutcome: Equatable, Sendable {
    case made
    /// The token that was shown for it is revoked.
    case revoked
    /// There are too many.
    case full
}

/// What a revocation has ended.
struct RevocationOutcome: Equatable, Sendable {
    let revocation: Revocation
    let sessions: Int
}

/// What a portion of the sweep left.
struct SweepOutcome: Equatable, Sendable {
    /// Sessions that had expired.
    let expired: Int
    /// Sessions that there are.
    let sessions: Int
    /// There may be more to sweep.
    let isUnfinished: Bool
}

/// Where sessions, enrolment codes, tickets and revocations are kept. Of secrets it sees digests only.
///
/// For tasks of the service's loop. Each call is one transaction, durable when it returns, and they are done in the order of the
/// calls. `at` is in Unix milliseconds, `deadline` in the loop's nanoseconds; what did not begin by then, or before its task was
/// cancelled, is not done.
protocol SessionRepository: AnyObject {
    func begin(_ session: NewSession, of identity: Identity, deadline: UInt64?) async throws(StorageError)
        -> SessionOutcome
    /// Changes a secret into the next one. One that is not the session's current secret ends the session.
    func refresh(_ used: NewSession, next: [UInt8], deadline: UInt64?) async throws(StorageError) -> RefreshOutcome
    /// Ends a session, its tickets and what is left of its access tokens. Nil: there was none.
    func end(family: [UInt8], at: Int64, deadline: UInt64?) async throws(StorageError) -> EndedSession?
    /// Stores a driver's code in the place of their earlier one. False: there is no such driver.
    func enrol(_ driverID: String, code: [UInt8], at: Int64, deadline: UInt64?) async throws(StorageError) -> Bool
    /// Changes a code into a session of its driver.
    func redeem(code: [UInt8], for session: NewSession, deadline: UInt64?) async throws(StorageError) -> SessionOutcome
    func add(ticket: [UInt8], _ grant: TicketGrant, at: Int64, deadline: UInt64?) async throws(StorageError)
        -> TicketOutcome
    /// Takes a ticket, whatever becomes of it. Nil: it is unknown, used or too old.
    func take(ticket: [UInt8], at: Int64, deadline: UInt64?) async throws(StorageError) -> TicketGrant?
    /// Stores a revocation, and ends what it is about. Nil: there are too many.
    func revoke(_ revocation: Revocation, deadline: UInt64?) async throws(StorageError) -> RevocationOutcome?
    /// Revocations that hold, as many as a portion has, behind that of the key `after`.
    func revocations(after key: String, at: Int64) async throws(StorageError) -> [Revocation]
    /// Deletes a portion of what has expired.
    func sweep(at: Int64) async throws(StorageError) -> SweepOutcome
}
