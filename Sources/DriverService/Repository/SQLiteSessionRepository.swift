import Reactor
import RideAPI
import SQLiteStore
import Storage

/// Sessions, enrolment codes, tickets and revocations in the driver's SQLite file, by its one writer: what a job reads before it
/// writes is still true when it writes, so that of two who use one secret at once exactly one has it.
///
/// A job that refuses somebody returns that, and does not throw: what it has ended stays ended.
final class SQLiteSessionRepository: SessionRepository {
    private let loop: EventLoop
    private let writer: SQLiteWriter

    init(loop: EventLoop, writer: SQLiteWriter) {
        self.loop = loop
        self.writer = writer
    }

    private func write<Value: Sendable>(
        _ deadline: UInt64?, _ work: @escaping @Sendable (SQLiteDatabase) throws -> Value
    ) async throws(StorageError) -> Value {
        do {
            return try await writer.perform(on: loop, deadline: deadline, work)
        } catch {
            throw StorageError(error)
        }
    }

    // MARK: Sessions

    func begin(
        _ session: NewSession, of identity: Identity, deadline: UInt64?
    ) async throws(StorageError) -> SessionOutcome {
        try await write(deadline) { try Self.begin(session, identity, $0) }
    }

    private static func begin(
        _ session: NewSession, _ identity: Identity, _ database: SQLiteDatabase
    ) throws -> SessionOutcome {
        var crowdedOut: [EndedSession] = []
        if try rows("sessions", database) >= AuthLimits.sessions {
            try sweepSessions(session.at, database)
            if try rows("sessions", database) >= AuthLimits.sessions {
                crowdedOut = try makeRoom(session.at, database)
                if crowdedOut.isEmpty { return .full }
            }
        }
        var oldest: [[UInt8]] = []
        try database.statement(
            "SELECT family FROM sessions WHERE subject = ?1 ORDER BY expires_at DESC LIMIT -1 OFFSET ?2"
        ).query(.text(identity.subject), .integer(Int64(AuthLimits.sessionsPerSubject - 1))) {
            oldest.append(try $0.blob(0))
        }
        var displaced: [EndedSession] = []
        for family in oldest {
            if let ended = try end(family, at: session.at, "Too many sessions; this was the oldest.", database) {
                displaced.append(ended)
            }
        }
        let times = SessionTimes(
            issuedAt: try issue(identity.subject, session.at, database),
            expiresAt: session.at + AuthLimits.refreshLife)
        try database.statement("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8)").run(
            .blob(session.family), .text(session.id), .text(identity.subject), AuthSchema.text(of: identity.roles),
            .blob(session.secret), .integer(session.at), .integer(times.issuedAt), .integer(times.expiresAt))
        return .begun(times, identity, displaced: displaced, crowdedOut: crowdedOut)
    }

    /// Ends the sessions of riders that were not used for longest: whoever makes guests by the million shuts out nobody, and no
    /// driver or operator, who could not sign in again by themselves, loses a session by it.
    private static func makeRoom(_ now: Int64, _ database: SQLiteDatabase) throws -> [EndedSession] {
        var unused: [[UInt8]] = []
        try database.statement(
            "SELECT family FROM sessions WHERE roles = 'rider' ORDER BY issued_at LIMIT ?1"
        ).query(.integer(Int64(AuthLimits.crowdedOutAtOnce))) { unused.append(try $0.blob(0)) }
        return try unused.compactMap { try end($0, at: now, "There were too many sessions.", database) }
    }

    /// When a token of this subject counts as made, if it is made now: in the second behind their revocation, at the earliest.
    private static func issue(_ subject: String, _ now: Int64, _ database: SQLiteDatabase) throws -> Int64 {
        guard let at = try revoked(.subject(subject), database) else { return now }
        return max(now, (at / 1000 + 1) * 1000)
    }

    func refresh(
        _ used: NewSession, next: [UInt8], deadline: UInt64?
    ) async throws(StorageError) -> RefreshOutcome {
        try await write(deadline) { try Self.refresh(used, next, $0) }
    }

    private static func refresh(
        _ used: NewSession, _ next: [UInt8], _ database: SQLiteDatabase
    ) throws -> RefreshOutcome {
        let found = try database.statement(
            "SELECT id, subject, roles, secret, generation, created_at, expires_at FROM sessions WHERE family = ?1"
        ).first(.blob(used.family)) { row in
            (
                id: try row.text(0), identity: try AuthSchema.identity(row, 1, 2), secret: try row.blob(3),
                generation: try row.int64(4), createdAt: try row.int64(5), expiresAt: try row.int64(6)
            )
        }
        guard let found else { return .unknown }
        guard found.expiresAt > used.at else {
            _ = try end(used.family, at: used.at, "", database)
            return .unknown
        }
        guard found.secret == used.secret else {
            let ended = try end(used.family, at: used.at, "A refresh token was used twice.", database)
            return .reused(
                id: found.id, found.identity, generation: found.generation, ended ?? EndedSession(revocation: nil))
        }
        let times = SessionTimes(
            issuedAt: try issue(found.identity.subject, used.at, database),
            expiresAt: min(used.at + AuthLimits.refreshLife, found.createdAt + AuthLimits.sessionLife))
        try database.statement(
            """
            UPDATE sessions SET secret = ?2, generation = generation + 1, issued_at = ?3, expires_at = ?4
                WHERE family = ?1
            """
        ).run(.blob(used.family), .blob(next), .integer(times.issuedAt), .integer(times.expiresAt))
        return .refreshed(id: found.id, found.identity, times)
    }

    func end(family: [UInt8], at: Int64, deadline: UInt64?) async throws(StorageError) -> EndedSession? {
        try await write(deadline) { try Self.end(family, at: at, "Signed out.", $0) }
    }

    private static func end(
        _ family: [UInt8], at now: Int64, _ reason: String, _ database: SQLiteDatabase
    ) throws -> EndedSession? {
        let found = try database.statement("SELECT id, subject, issued_at FROM sessions WHERE family = ?1")
            .first(.blob(family)) { (id: try $0.text(0), subject: try $0.text(1), issuedAt: try $0.int64(2)) }
        guard let found else { return nil }
        try database.statement("DELETE FROM sessions WHERE family = ?1").run(.blob(family))
        try database.statement("DELETE FROM tickets WHERE subject = ?1 AND instr(token_id, ?2) = 1").run(
            .text(found.subject), .text(found.id + "."))
        let end = found.issuedAt + Revocation.sessionLife
        guard end > now else { return EndedSession(revocation: nil) }
        if try rows("session_ends", database) >= AuthLimits.sessionEnds {
            try sweepRevocations(now, database)
            if try rows("session_ends", database) >= AuthLimits.sessionEnds { return EndedSession(revocation: nil) }
        }
        // Of a clock that was set back the token may be of a later second.
        let at = max(now, found.issuedAt)
        let revocation = Revocation(target: .token(found.id), at: at, reason: reason, life: end - at)
        // An operator may have revoked it, for longer.
        if try revoked(revocation.target, database) == nil { try store(revocation, database) }
        return EndedSession(revocation: revocation)
    }

    // MARK: Enrolment codes

    func enrol(
        _ driverID: String, code: [UInt8], at: Int64, deadline: UInt64?
    ) async throws(StorageError) -> Bool {
        try await write(deadline) { database in
            try database.statement(
                """
                INSERT INTO enrolments SELECT id, ?2, ?3 FROM drivers WHERE id = ?1
                ON CONFLICT (driver_id) DO UPDATE SET code = excluded.code, expires_at = excluded.expires_at
                """
            ).run(.text(driverID), .blob(code), .integer(at + AuthLimits.enrolmentLife))
            return database.changes > 0
        }
    }

    func redeem(
        code: [UInt8], for session: NewSession, deadline: UInt64?
    ) async throws(StorageError) -> SessionOutcome {
        try await write(deadline) { database in
            let driverID = try database.statement(
                "SELECT driver_id FROM enrolments WHERE code = ?1 AND expires_at > ?2"
            ).first(.blob(code), .integer(session.at)) { try $0.text(0) }
            guard let driverID else { return .refused }
            let outcome = try Self.begin(session, Identity(subject: driverID, roles: [.driver]), database)
            // Where there is no room the code stays good.
            if outcome == .full { return outcome }
            try database.statement("DELETE FROM enrolments WHERE driver_id = ?1").run(.text(driverID))
            return outcome
        }
    }

    // MARK: Tickets

    func add(
        ticket: [UInt8], _ grant: TicketGrant, at: Int64, deadline: UInt64?
    ) async throws(StorageError) -> TicketOutcome {
        try await write(deadline) { try Self.add(ticket, grant, at, $0) }
    }

    private static func add(
        _ ticket: [UInt8], _ grant: TicketGrant, _ now: Int64, _ database: SQLiteDatabase
    ) throws -> TicketOutcome {
        let subject = grant.identity.subject
        // The gateway may not have heard of it yet.
        if let at = try revoked(.subject(subject), database), grant.tokenIssuedAt / 1000 <= at / 1000 {
            return .revoked
        }
        for name in [grant.tokenID, String(grant.tokenID.prefix { $0 != "." })] {
            if try revoked(.token(name), database) != nil { return .revoked }
        }
        if try rows("tickets", database) >= AuthLimits.tickets {
            try sweepTickets(now, database)
            if try rows("tickets", database) >= AuthLimits.tickets { return .full }
        }
        try database.statement(
            """
            DELETE FROM tickets WHERE ticket IN
                (SELECT ticket FROM tickets WHERE subject = ?1 ORDER BY expires_at DESC LIMIT -1 OFFSET ?2)
            """
        ).run(.text(subject), .integer(Int64(AuthLimits.ticketsPerSubject - 1)))
        try database.statement("INSERT INTO tickets VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)").run(
            .blob(ticket), .text(subject), AuthSchema.text(of: grant.identity.roles), .text(grant.path),
            .text(grant.tokenID), .integer(grant.tokenIssuedAt), .integer(grant.tokenExpiresAt),
            .integer(now + AuthLimits.ticketLife))
        return .made
    }

    func take(ticket: [UInt8], at: Int64, deadline: UInt64?) async throws(StorageError) -> TicketGrant? {
        try await write(deadline) { database in
            let grant = try database.statement(
                """
                SELECT subject, roles, path, token_id, token_issued_at, token_expires_at FROM tickets
                    WHERE ticket = ?1 AND expires_at > ?2
                """
            ).first(.blob(ticket), .integer(at)) { row in
                TicketGrant(
                    identity: try AuthSchema.identity(row, 0, 1), path: try row.text(2), tokenID: try row.text(3),
                    tokenIssuedAt: try row.int64(4), tokenExpiresAt: try row.int64(5))
            }
            try database.statement("DELETE FROM tickets WHERE ticket = ?1").run(.blob(ticket))
            return grant
        }
    }

    // MARK: Revocations

    func revoke(_ revocation: Revocation, deadline: UInt64?) async throws(StorageError) -> RevocationOutcome? {
        try await write(deadline) { try Self.revoke(revocation, $0) }
    }

    /// A part of a job that ends more than sessions.
    static func revoke(_ wanted: Revocation, _ database: SQLiteDatabase) throws -> RevocationOutcome? {
        if try rows("revocations", database) >= AuthLimits.revocations {
            try sweepRevocations(wanted.at, database)
            if try rows("revocations", database) >= AuthLimits.revocations { return nil }
        }
        // Clocks that were set back must leave no token that was made before, and take nothing back.
        var at = max(wanted.at, try revoked(wanted.target, database) ?? 0)
        var ended = 0
        switch wanted.target {
        case .subject(let subject):
            let issued = try database.statement("SELECT max(issued_at) FROM sessions WHERE subject = ?1")
                .first(.text(subject)) { try $0.int64IfPresent(0) ?? 0 }
            at = max(at, issued ?? 0)
            try database.statement("DELETE FROM tickets WHERE subject = ?1").run(.text(subject))
            try database.statement("DELETE FROM enrolments WHERE driver_id = ?1").run(.text(subject))
            try database.statement("DELETE FROM sessions WHERE subject = ?1").run(.text(subject))
            ended = database.changes
        case .token(let id):
            try database.statement("DELETE FROM tickets WHERE token_id = ?1 OR instr(token_id, ?2) = 1").run(
                .text(id), .text(id + "."))
        }
        let revocation = Revocation(target: wanted.target, at: at, reason: wanted.reason)
        try store(revocation, database)
        return RevocationOutcome(revocation: revocation, sessions: ended)
    }

    /// In the place of one of the same target, which may have counted as something else.
    private static func store(_ revocation: Revocation, _ database: SQLiteDatabase) throws {
        try database.statement("DELETE FROM revocations WHERE target = ?1").run(.text(revocation.target.key))
        try database.statement(
            "INSERT INTO revocations (target, at, reason, expires_at, ends_session) VALUES (?1, ?2, ?3, ?4, ?5)"
        ).run(
            .text(revocation.target.key), .integer(revocation.at), .text(revocation.reason),
            .integer(revocation.expiresAt), .integer(revocation.endsSession ? 1 : 0))
    }

    func revocations(after key: String, at: Int64) async throws(StorageError) -> [Revocation] {
        try await write(nil) { database in
            var found: [Revocation] = []
            try database.statement(
                "SELECT target, at, reason, expires_at - at FROM revocations WHERE target > ?1 AND expires_at > ?2 ORDER BY target LIMIT ?3"
            ).query(.text(key), .integer(at), .integer(Int64(AuthLimits.rowsPerSweep))) {
                found.append(try AuthSchema.revocation($0))
            }
            return found
        }
    }

    private static func revoked(_ target: Revocation.Target, _ database: SQLiteDatabase) throws -> Int64? {
        try database.statement("SELECT at FROM revocations WHERE target = ?1").first(.text(target.key)) {
            try $0.int64(0)
        }
    }

    // MARK: Rows

    private static func rows(_ table: String, _ database: SQLiteDatabase) throws -> Int {
        try database.statement("SELECT rows FROM auth_counts WHERE name = ?1").first(.text(table)) { try $0.int(0) }
            ?? 0
    }

    func sweep(at: Int64) async throws(StorageError) -> SweepOutcome {
        try await write(nil) { database in
            let expired = try Self.sweepSessions(at, database)
            var most = max(expired, try Self.sweepTickets(at, database))
            most = max(most, try Self.sweepRevocations(at, database))
            try database.statement(
                """
                DELETE FROM enrolments WHERE driver_id IN
                    (SELECT driver_id FROM enrolments WHERE expires_at <= ?1 LIMIT ?2)
                """
            ).run(.integer(at), .integer(Int64(AuthLimits.rowsPerSweep)))
            most = max(most, database.changes)
            return SweepOutcome(
                expired: expired, sessions: try Self.rows("sessions", database),
                isUnfinished: most >= AuthLimits.rowsPerSweep)
        }
    }

    @discardableResult
    private static func sweepSessions(_ now: Int64, _ database: SQLiteDatabase) throws -> Int {
        try sweep(
            database.statement(
                """
                DELETE FROM sessions WHERE family IN
                    (SELECT family FROM sessions WHERE expires_at <= ?1 LIMIT ?2)
                """), now, database)
    }

    @discardableResult
    private static func sweepTickets(_ now: Int64, _ database: SQLiteDatabase) throws -> Int {
        try sweep(
            database.statement(
                "DELETE FROM tickets WHERE ticket IN (SELECT ticket FROM tickets WHERE expires_at <= ?1 LIMIT ?2)"),
            now, database)
    }

    @discardableResult
    private static func sweepRevocations(_ now: Int64, _ database: SQLiteDatabase) throws -> Int {
        try sweep(
            database.statement(
                """
                DELETE FROM revocations WHERE target IN
                    (SELECT target FROM revocations WHERE expires_at <= ?1 LIMIT ?2)
                """), now, database)
    }

    /// Deletes one portion; returns how many rows that were.
    private static func sweep(
        _ statement: SQLiteStatement, _ now: Int64, _ database: SQLiteDatabase
    ) throws -> Int {
        try statement.run(.integer(now), .integer(Int64(AuthLimits.rowsPerSweep)))
        return database.changes
    }
}
