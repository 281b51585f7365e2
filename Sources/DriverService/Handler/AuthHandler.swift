import Access
import GRPCRuntime
import ProtobufWire
import RideAPI
import RideDomain

/// `auth.v1.AuthService`: messages in, rules, messages out. On the loop.
final class AuthHandler: Auth_V1_AuthServiceAsyncHandler {
    private let book: SessionBook

    init(book: SessionBook) { self.book = book }

    /// A caller without a deadline does not wait for ever.
    private func deadline(_ context: ServerContext) -> UInt64 {
        context.deadline ?? context.loop.now + DriverLimits.requestTimeout
    }

    // MARK: Sessions

    func createSession(
        _ request: Auth_V1_CreateSessionRequest, _ context: ServerContext
    ) async throws -> Auth_V1_CreateSessionResponse {
        let identity = try Self.identity(request.identity)
        context[AuditedCall.self]?.isAbout(identity.subject)
        let session = try await book.begin(identity, deadline: deadline(context))
        return Auth_V1_CreateSessionResponse(session: Auth_V1_Session(session))
    }

    func refreshSession(
        _ request: Auth_V1_RefreshSessionRequest, _ context: ServerContext
    ) async throws -> Auth_V1_RefreshSessionResponse {
        let session = try await book.refresh(request.refreshToken, deadline: deadline(context))
        return Auth_V1_RefreshSessionResponse(session: Auth_V1_Session(session))
    }

    func endSession(
        _ request: Auth_V1_EndSessionRequest, _ context: ServerContext
    ) async throws -> Auth_V1_EndSessionResponse {
        try await book.end(request.refreshToken, deadline: deadline(context))
        return Auth_V1_EndSessionResponse()
    }

    // MARK: Enrolment codes

    func createEnrolment(
        _ request: Auth_V1_CreateEnrolmentRequest, _ context: ServerContext
    ) async throws -> Auth_V1_CreateEnrolmentResponse {
        context[AuditedCall.self]?.isAbout(request.driverID)
        if let caller = context[Principal.self], !caller.enrols(driver: request.driverID) {
            throw DriverError.notSimulated
        }
        let (code, expiresAt) = try await book.enrol(request.driverID, deadline: deadline(context))
        return Auth_V1_CreateEnrolmentResponse(
            code: code.text, expiresAt: Google_Protobuf_Timestamp(unixMilliseconds: expiresAt))
    }

    func redeemEnrolment(
        _ request: Auth_V1_RedeemEnrolmentRequest, _ context: ServerContext
    ) async throws -> Auth_V1_RedeemEnrolmentResponse {
        let session = try await book.redeem(code: request.code, deadline: deadline(context))
        return Auth_V1_RedeemEnrolmentResponse(session: Auth_V1_Session(session))
    }

    // MARK: Tickets

    func createTicket(
        _ request: Auth_V1_CreateTicketRequest, _ context: ServerContext
    ) async throws -> Auth_V1_CreateTicketResponse {
        let identity = try Self.identity(request.identity)
        context[AuditedCall.self]?.isAbout(identity.subject)
        // A path is never longer here, and a token without a name is one that only its subject can be revoked of.
        try Self.check("path", Rules.violation(ofKey: "path", request.path))
        if !request.tokenID.isEmpty { try Self.check("token_id", Rules.violation(ofKey: "token_id", request.tokenID)) }
        let grant = TicketGrant(
            identity: identity, path: request.path, tokenID: request.tokenID,
            tokenIssuedAt: try Self.instant("token_issued_at", request.tokenIssuedAt),
            tokenExpiresAt: try Self.instant("token_expires_at", request.tokenExpiresAt))
        let (ticket, expiresAt) = try await book.makeTicket(grant, deadline: deadline(context))
        return Auth_V1_CreateTicketResponse(
            ticket: ticket.text, expiresAt: Google_Protobuf_Timestamp(unixMilliseconds: expiresAt))
    }

    func redeemTicket(
        _ request: Auth_V1_RedeemTicketRequest, _ context: ServerContext
    ) async throws -> Auth_V1_RedeemTicketResponse {
        let grant = try await book.redeem(ticket: request.ticket, path: request.path, deadline: deadline(context))
        return Auth_V1_RedeemTicketResponse(
            identity: Auth_V1_Identity(grant.identity),
            tokenExpiresAt: Google_Protobuf_Timestamp(unixMilliseconds: grant.tokenExpiresAt), tokenID: grant.tokenID,
            tokenIssuedAt: Google_Protobuf_Timestamp(unixMilliseconds: grant.tokenIssuedAt))
    }

    // MARK: Revocation

    func revoke(
        _ request: Auth_V1_RevokeRequest, _ context: ServerContext
    ) async throws -> Auth_V1_RevokeResponse {
        let target: Revocation.Target
        switch request.what {
        case .subject(let subject):
            try Self.check("subject", Identifier.violation(of: "subject", subject))
            target = .subject(subject)
        case .tokenID(let id):
            try Self.check("token_id", Rules.violation(ofTokenID: id))
            target = .token(id)
        case nil: throw DriverError.invalid([BodyViolation(pointer: "/subject", detail: Rules.missing("subject"))])
        }
        context[AuditedCall.self]?.isAbout(target)
        if !request.reason.isEmpty { try Self.check("reason", Rules.reason.violation(of: "reason", request.reason)) }
        let at = try await book.revoke(target, reason: request.reason, deadline: deadline(context))
        return Auth_V1_RevokeResponse(revokedAt: Google_Protobuf_Timestamp(unixMilliseconds: at))
    }

    // MARK: Reading

    private static func check(_ field: String, _ violation: String?) throws(DriverError) {
        if let violation { throw .invalid([BodyViolation(pointer: "/" + field, detail: violation)]) }
    }

    private static func identity(_ message: Auth_V1_Identity?) throws(DriverError) -> Identity {
        guard let message else {
            throw .invalid([BodyViolation(pointer: "/identity", detail: Rules.missing("identity"))])
        }
        try check("identity/subject", Identifier.violation(of: "subject", message.subject))
        var roles: Set<Role> = []
        for word in message.roles {
            // A service proves who it is by other means, and has no session.
            guard let role = Role.ofTokens.first(where: { $0.rawValue == word }) else {
                let known = Role.ofTokens.map(\.rawValue).joined(separator: ", ")
                let violation = Rules.sentence("roles", is: Rules.quoted(word), "of \(known)")
                throw .invalid([BodyViolation(pointer: "/identity/roles", detail: violation)])
            }
            roles.insert(role)
        }
        try check("identity/roles", roles.isEmpty ? Rules.missing("roles") : nil)
        return Identity(subject: message.subject, roles: roles)
    }

    private static func instant(
        _ field: String, _ message: Google_Protobuf_Timestamp?
    ) throws(DriverError) -> Int64 {
        guard let message else { throw .invalid([BodyViolation(pointer: "/" + field, detail: Rules.missing(field))]) }
        let instant = message.unixMilliseconds
        try check(
            field, Moment.walls.contains(instant) ? nil : "\(field) must be an instant of the years 1970 to 9999.")
        return instant
    }
}

extension Auth_V1_Identity {
    fileprivate init(_ identity: Identity) {
        self.init(subject: identity.subject, roles: identity.roles.map(\.rawValue).sorted())
    }
}

extension Auth_V1_Session {
    fileprivate init(_ session: Session) {
        self.init(
            id: session.id, identity: Auth_V1_Identity(session.identity), refreshToken: session.refreshToken.text,
            expiresAt: Google_Protobuf_Timestamp(unixMilliseconds: session.times.expiresAt),
            issuedAt: Google_Protobuf_Timestamp(unixMilliseconds: session.times.issuedAt))
    }
}
