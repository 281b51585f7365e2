/// Every limit of signing in, in one place. Lives are in milliseconds.
enum AuthLimits {
    /// From one use of a refresh token to the next. Reason: who opens the app once a month stays signed in; a phone in a drawer
    /// does not.
    static let refreshLife: Int64 = 30 * 86_400_000
    /// Of a session, however often it is refreshed. Reason: what was stolen unnoticed ends some day.
    static let sessionLife: Int64 = 180 * 86_400_000
    /// Of an enrolment code. Reason: it is handed over in person, and lies about on paper until then.
    static let enrolmentLife: Int64 = 24 * 3_600_000
    /// Of a ticket. Reason: it stands in a URL, and is used by the program that has just asked for it.
    static let ticketLife: Int64 = 30_000
    /// Sessions of one subject; a further one ends that which would have ended first. Reason: a few phones and browsers.
    static let sessionsPerSubject = 10
    /// Tickets of one subject; a further one ends the oldest. Reason: each is used within a moment.
    static let ticketsPerSubject = 16
    /// Sessions in all; a further one ends riders' that were not used for longest. Reason: some 400 bytes of disk each.
    static let sessions = 1_000_000
    /// How many end at once then. Reason: some room for the next ones, too.
    static let crowdedOutAtOnce = 8
    /// Tickets in all. Reason: thousands a second.
    static let tickets = 100_000
    /// Revocations that hold. Reason: every loop of every gateway keeps them in memory, some hundred bytes each.
    static let revocations = 50_000
    /// Ends of sessions that are remembered besides, for a quarter of an hour each. Reason: a thousand people who sign out in a
    /// minute are many; beyond it the last token of a session lives until it expires.
    static let sessionEnds = 10_000
    /// Rows of each table that one job of the sweep deletes. Reason: nobody's sign-in should wait behind more.
    static let rowsPerSweep = 500
    /// Nanoseconds between two sweeps.
    static let sweepInterval: UInt64 = 60_000_000_000
    /// Nanoseconds that the answer to a revocation waits for Kafka's acknowledgement.
    static let publishPatience: UInt64 = 3_000_000_000
    /// Nanoseconds between two tries to publish what Kafka refused: doubled from the first up to the second.
    static let publishRetry: (first: UInt64, last: UInt64) = (250_000_000, 5_000_000_000)
}
