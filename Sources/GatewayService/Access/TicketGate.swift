import Access
import AccessTokens
import HTTPServer
import RideAPI

/// Changes the ticket of a handshake into who has it (`?ticket=…`).
struct TicketGate: Gate, AsyncGate {
    let access: AccessControl
    let backends: Backends

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        guard request.query.count > 0, request.queryPairs()?.contains(where: { $0.name == "ticket" }) == true else {
            return .pass
        }
        // A ticket is a new token: what is made up must not ask the service each time.
        try access.limits?.takeToken(of: request)
        return .undecided
    }

    func admit(_ request: HeldRequest, _ responder: HTTPResponder) async throws(Problem) -> Admission {
        let tickets = (request.queryPairs() ?? []).filter { $0.name == "ticket" }
        guard let ticket = tickets.first?.value else { return .pass }
        let wanted = request.view { (request) throws(Never) in
            (
                scope: RequestScope(request, responder), path: request.pathText,
                isAlone: tickets.count == 1 && !request.head.has("authorization")
            )
        }
        guard let wanted else { return .answered }
        guard wanted.isAlone else { throw .invalidRequest("A ticket stands alone: give one, and no other token.") }
        let call = Auth_V1_RedeemTicketRequest(ticket: ticket, path: wanted.path)
        let answer = try await backends.ask(.driver, wanted.scope, mayRepeat: false) {
            [auth = backends.auth] options, done in
            auth.redeemTicket(call, options: options, done)
        }
        guard let identity = answer.identity, let expires = answer.tokenExpiresAt?.seconds,
            let issued = answer.tokenIssuedAt?.seconds
        else { throw .backendBroken(.driver) }
        let principal = Principal(
            subject: identity.subject, roles: Roles(words: identity.roles), expires: expires,
            issuedAt: issued, tokenID: answer.tokenID)
        request.attach(principal)
        if access.configuration.signer != nil {
            // It ends with the token that was shown for the ticket, also when that one is revoked.
            let seconds = principal.expires - TokenVerifier.skew - principal.issuedAt
            let token = try access.token(
                for: principal.subject, principal.roles, seconds: max(1, seconds), at: principal.issuedAt,
                id: answer.tokenID.isEmpty ? nil : answer.tokenID)
            request.attach(CallerToken(Array(token.utf8).span))
        }
        return .pass
    }
}
