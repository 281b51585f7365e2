/// Which database this is, and since when its numbers are its own.
///
/// The id stays with the file, also with copies of it. The epoch grows with every opening: it is the wall clock, or a little
/// more than the last one when the clock is behind (by a random amount, so that two copies do not agree by chance). Numbers
/// of this database (a sequence, a revision) are compared by epoch first: after a copy was restored, numbers that were given
/// out before are given out again for other things, in an epoch that nobody has seen.
public struct DatabaseIdentity: Sendable, Hashable {
    /// 32 hexadecimal digits, at random.
    public let id: String
    /// Below 2⁵³, so that JSON's readers can hold it.
    public let epoch: UInt64

    /// Reads the database's id, gives it one when it is new, and begins its next epoch. Within a transaction.
    ///
    /// - Parameter wall: Unix milliseconds.
    public init(beginningEpochIn database: SQLiteDatabase, wall: Int64) throws {
        try database.execute(
            "CREATE TABLE IF NOT EXISTS identity (id TEXT NOT NULL, epoch INTEGER NOT NULL) STRICT")
        var known = try database.statement("SELECT id, epoch FROM identity").first { row in
            (id: try row.text(0), epoch: try row.uint64(1))
        }
        if known == nil {
            try database.statement("INSERT INTO identity VALUES (lower(hex(randomblob(16))), 0)").run()
            known = try database.statement("SELECT id, epoch FROM identity").first {
                (try $0.text(0), try $0.uint64(1))
            }
        }
        guard let known, known.epoch < Self.bound - 1_024 else {
            throw SQLiteError.unreadable("the table identity has no epoch below 2^53")
        }
        id = known.id
        epoch = max(known.epoch + .random(in: 1...1_024), min(UInt64(clamping: wall), Self.bound / 2))
        try database.statement("UPDATE identity SET epoch = ?1").run(.integer(Int64(epoch)))
    }

    private static let bound: UInt64 = 1 << 53
}
