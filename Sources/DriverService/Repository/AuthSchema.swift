import Access
import RideAPI
import SQLiteStore

/// The tables of signing in, beside the drivers': an enrolment code goes with its driver.
enum AuthSchema {
    /// A step of the driver database's schema; never changed.
    static let tables = """
        -- Secrets are SHA-256 digests: who reads this file can sign in as nobody.
        CREATE TABLE sessions (
            family BLOB PRIMARY KEY, id TEXT NOT NULL, subject TEXT NOT NULL, roles TEXT NOT NULL,
            secret BLOB NOT NULL, generation INTEGER NOT NULL,
            created_at INTEGER NOT NULL, issued_at INTEGER NOT NULL, expires_at INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX sessions_by_subject ON sessions (subject, expires_at);
        CREATE INDEX sessions_by_expiry ON sessions (expires_at);
        CREATE TABLE enrolments (
            driver_id TEXT PRIMARY KEY REFERENCES drivers (id) ON DELETE CASCADE, code BLOB NOT NULL UNIQUE,
            expires_at INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX enrolments_by_expiry ON enrolments (expires_at);
        CREATE TABLE tickets (
            ticket BLOB PRIMARY KEY, subject TEXT NOT NULL, roles TEXT NOT NULL, path TEXT NOT NULL,
            token_id TEXT NOT NULL, token_issued_at INTEGER NOT NULL, token_expires_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX tickets_by_subject ON tickets (subject, expires_at);
        CREATE INDEX tickets_by_expiry ON tickets (expires_at);
        CREATE TABLE revocations (
            target TEXT PRIMARY KEY, at INTEGER NOT NULL, reason TEXT NOT NULL, expires_at INTEGER NOT NULL
        ) WITHOUT ROWID, STRICT;
        CREATE INDEX revocations_by_expiry ON revocations (expires_at);
        -- How many rows there are: SQLite would have to count them each time.
        CREATE TABLE auth_counts (name TEXT PRIMARY KEY, rows INTEGER NOT NULL) WITHOUT ROWID, STRICT;
        INSERT INTO auth_counts VALUES ('sessions', 0), ('tickets', 0), ('revocations', 0);
        CREATE TRIGGER session_in AFTER INSERT ON sessions
            BEGIN UPDATE auth_counts SET rows = rows + 1 WHERE name = 'sessions'; END;
        CREATE TRIGGER session_out AFTER DELETE ON sessions
            BEGIN UPDATE auth_counts SET rows = rows - 1 WHERE name = 'sessions'; END;
        CREATE TRIGGER ticket_in AFTER INSERT ON tickets
            BEGIN UPDATE auth_counts SET rows = rows + 1 WHERE name = 'tickets'; END;
        CREATE TRIGGER ticket_out AFTER DELETE ON tickets
            BEGIN UPDATE auth_counts SET rows = rows - 1 WHERE name = 'tickets'; END;
        CREATE TRIGGER revocation_in AFTER INSERT ON revocations
            BEGIN UPDATE auth_counts SET rows = rows + 1 WHERE name = 'revocations'; END;
        CREATE TRIGGER revocation_out AFTER DELETE ON revocations
            BEGIN UPDATE auth_counts SET rows = rows - 1 WHERE name = 'revocations'; END;
        """

    /// A later step.
    static let sessionEnds = """
        -- Ends of sessions are counted by themselves: who signs out takes no room of what operators revoke.
        ALTER TABLE revocations ADD COLUMN ends_session INTEGER NOT NULL DEFAULT 0;
        INSERT INTO auth_counts VALUES ('session_ends', 0);
        DROP TRIGGER revocation_in;
        DROP TRIGGER revocation_out;
        CREATE TRIGGER revocation_in AFTER INSERT ON revocations
            BEGIN UPDATE auth_counts SET rows = rows + 1
                WHERE name = CASE new.ends_session WHEN 0 THEN 'revocations' ELSE 'session_ends' END; END;
        CREATE TRIGGER revocation_out AFTER DELETE ON revocations
            BEGIN UPDATE auth_counts SET rows = rows - 1
                WHERE name = CASE old.ends_session WHEN 0 THEN 'revocations' ELSE 'session_ends' END; END;
        """

    /// A later step.
    static let unusedSessions = """
        -- Whose sessions end when there are too many: riders', who were not there for longest.
        CREATE INDEX sessions_by_use ON sessions (issued_at) WHERE roles = 'rider';
        """

    /// Roles as they are stored: their words, in order.
    static func text(of roles: Set<Role>) -> SQLiteValue {
        .text(roles.map(\.rawValue).sorted().joined(separator: " "))
    }

    /// Whom a row stands for, by its columns of the subject and the roles.
    static func identity(_ row: SQLiteRow, _ subject: Int32, _ roles: Int32) throws(SQLiteError) -> Identity {
        Identity(
            subject: try row.text(subject),
            roles: try row.value(try row.text(roles), roles, "roles") { text in
                let words = text.split(separator: " ")
                let known = words.compactMap { Role(rawValue: String($0)) }
                return known.count == words.count ? Set(known) : nil
            })
    }

    /// A row of `target, at, reason, life`.
    static func revocation(_ row: SQLiteRow) throws(SQLiteError) -> Revocation {
        Revocation(
            target: try row.value(try row.text(0), 0, "a subject or a token", Revocation.Target.init(key:)),
            at: try row.int64(1), reason: try row.text(2), life: try row.int64(3))
    }
}
