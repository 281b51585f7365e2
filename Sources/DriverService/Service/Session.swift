import Access

/// Whom a session stands for.
struct Identity: Equatable, Sendable {
    let subject: String
    let roles: Set<Role>
}

/// A session as its owner gets to know it, once.
struct Session {
    let id: String
    let identity: Identity
    let refreshToken: RefreshToken
    /// Unix milliseconds.
    let times: SessionTimes
}

/// When a session was begun or refreshed, and until when it may be refreshed again.
struct SessionTimes: Equatable, Sendable {
    /// Unix milliseconds: what access tokens that are made for it say. Of a later second than any revocation of the subject.
    let issuedAt: Int64
    /// Unix milliseconds.
    let expiresAt: Int64
}

/// What a ticket stands for: a token that was shown for it, and the one path that it opens.
struct TicketGrant: Equatable, Sendable {
    let identity: Identity
    let path: String
    /// The token's own name, empty if it has none, and its instants in Unix milliseconds.
    let tokenID: String
    let tokenIssuedAt: Int64
    let tokenExpiresAt: Int64
}
