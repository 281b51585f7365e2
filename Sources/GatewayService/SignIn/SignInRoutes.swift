import Access
import Bytes
import HTTPServer
import JSONWire
import ProtobufWire
import RideAPI
import RideDomain

/// The routes of signing in, on one loop: for apps, which keep their tokens, and for pages, whose browser keeps them in cookies.
final class SignInRoutes {
    private let signIn: SignIn
    private let access: AccessControl
    private let backends: Backends
    private let patience: Duration
    /// Where pages send who wants to sign in with a name; nil: people are guests.
    private let loginURL: String?

    init(_ signIn: SignIn, provider: IdentityProviderSettings? = nil) {
        self.signIn = signIn
        loginURL = provider.map { $0.externalURL + "/auth/login" }
        access = signIn.access
        backends = signIn.backends
        // What a service does not answer in a request's time is answered for it; this is behind it.
        patience = .nanoseconds(Int64(clamping: signIn.backends.timeout)) + .seconds(1)
    }

    /// Adds the routes.
    func register(on routes: GuardedRoutes) {
        let (plain, withBody) = (ChangeGate(needsBody: false), ChangeGate(needsBody: true))
        routes.add(.signInAsGuest, gates: [plain], within: patience) {
            [signIn] request, scope async throws(Problem) -> HTTPResponse in
            let tokens = try await signIn.guest(scope)
            request[AuditEntry.self]?.target = tokens.subject
            return tokens.response(201)
        }
        routes.add(.signInAsDriver, gates: [withBody], within: patience) {
            [signIn] request, scope async throws(Problem) -> HTTPResponse in
            let tokens = try await signIn.driver(code: request.member("code"), scope)
            request[AuditEntry.self]?.target = tokens.subject
            return tokens.response(200)
        }
        routes.add(.refreshTokens, gates: [withBody], within: patience) {
            [signIn] request, scope async throws(Problem) -> HTTPResponse in
            try await signIn.refresh(request.member("refresh_token"), scope).response(200)
        }
        routes.add(.signOut, gates: [withBody], within: patience) {
            [signIn] request, scope async throws(Problem) -> HTTPResponse in
            try await signIn.end(request.member("refresh_token"), scope)
            return HTTPResponse(204)
        }
        routes.add(.createEnrolment, gates: [plain], within: patience, enrol)
        routes.add(.createTicket, gates: [withBody], within: patience, ticket)
        routes.add(.revoke, gates: [withBody], within: patience, revoke)
        let ownPage = OwnPageGate(access: access)
        routes.add(.beginSession, gates: [plain, ownPage], within: patience, beginSession)
        routes.add(.endSession, gates: [ownPage], within: patience, endSession)
        routes.add(.showSession) { request, responder in
            guard let principal = request[Principal.self] else { return }
            responder.respond(200, "application/json", fields: ["Cache-Control": "no-store"]) { output in
                output.beginJSONObject()
                principal.describe(to: &output)
                output.appendJSON("expires_at", instant: principal.expires * 1000)
                output.endJSONObject()
            }
        }
    }

    /// Where nobody is asked who they are: pages learn so.
    static func registerOpenSession(on routes: GuardedRoutes) {
        routes.add(.beginSession) { _, responder in
            responder.respond(200, "application/json", fields: ["Cache-Control": "no-store"]) {
                $0.append("{\"subject\":null}")
            }
        }
    }

    // MARK: Pages

    /// `POST /auth/session`: the page's session goes on, or one of a new guest begins.
    private func beginSession(_ request: HeldRequest, _ scope: RequestScope) async throws(Problem) -> HTTPResponse {
        let isSecure = request.view { (request) throws(Never) in request.isSecure } ?? true
        if let old = request.refreshToken {
            let name = request.cookie(.name).flatMap { Base64URL.decode($0.span) }.flatMap {
                String(validating: $0, as: UTF8.self)
            }
            if let answer = goOn(request, name) { return answer }
            do {
                return page(try await signIn.refresh(old, scope), name: name, isSecure)
            } catch {
                // It has ended somewhere else. That a service is away ends no session.
                guard error.status == 401 else { throw error }
                // Somebody has a copy of it: that is for the record.
                if error.code == "refresh-token-reused" { request[AuditEntry.self]?.settle(error) }
            }
        }
        let tokens = try await signIn.guest(scope)
        request[AuditEntry.self]?.happened(to: tokens.subject)
        var answer = page(tokens, name: nil, isSecure)
        if request.cookie(.name) != nil { answer.fields.add("Set-Cookie", SessionCookie.name.end(secure: isSecure)) }
        return answer
    }

    /// The session as it is, while its access token is good for a while yet; nil: it is time for the next one, or it has ended.
    ///
    /// A refresh token is good once. Where the answer to its use is lost, with a tab that is closed or a network that drops, the
    /// session is, too: so a page that is only loaded again does not use it.
    private func goOn(_ request: HeldRequest, _ name: String?) -> HTTPResponse? {
        let known = request.view { (request) throws(Never) in access.principalOfPage(request) }
        guard let principal = known ?? nil else { return nil }
        let left = access.secondsLeft(of: principal)
        guard left > SignIn.Limits.accessSeconds / 3 else { return nil }
        return page(principal.subject, principal.roles, name, seconds: left, fields: HTTPFields())
    }

    /// The tokens go into cookies, and who somebody is to the page.
    private func page(_ tokens: SignIn.Tokens, name: String?, _ isSecure: Bool) -> HTTPResponse {
        page(
            tokens.subject, tokens.roles, name, seconds: SignIn.Limits.accessSeconds,
            fields: tokens.cookies(name: name, secure: isSecure))
    }

    private func page(
        _ subject: String, _ roles: Roles, _ name: String?, seconds: Int64, fields: HTTPFields
    ) -> HTTPResponse {
        .json(fields: fields.adding("Cache-Control", "no-store")) { output in
            output.appendJSON("subject", string: subject)
            output.appendJSON(roles: roles)
            if let name { output.appendJSON("name", string: name) }
            output.appendJSON("expires_in", integer: seconds)
            if let loginURL { output.appendJSON("sign_in", string: loginURL) }
        }
    }

    /// `DELETE /auth/session`
    private func endSession(_ request: HeldRequest, _ scope: RequestScope) async throws(Problem) -> HTTPResponse {
        let isSecure = request.view { (request) throws(Never) in request.isSecure } ?? true
        if let token = request.refreshToken { try await signIn.end(token, scope) }
        var fields = HTTPFields()
        for cookie in [SessionCookie.access, .refresh, .name] where cookie != .name || request.cookie(.name) != nil {
            fields.add("Set-Cookie", cookie.end(secure: isSecure))
        }
        return HTTPResponse(204, fields: fields)
    }

    // MARK: Operators, tickets

    /// `POST /drivers/{id}/enrolment`
    private func enrol(_ request: HeldRequest, _ scope: RequestScope) async throws(Problem) -> HTTPResponse {
        let id = request.pathParameter("id") ?? ""
        guard Identifier.isValid(id) else { throw .noDriver(id) }
        let answer = try await backends.ask(.driver, scope) { [auth = backends.auth] options, done in
            auth.createEnrolment(Auth_V1_CreateEnrolmentRequest(driverID: id), options: options, done)
        }
        guard !answer.code.isEmpty, let expires = answer.expiresAt else { throw .backendBroken(.driver) }
        return .json(status: 201, fields: ["Cache-Control": "no-store"]) { output in
            output.appendJSON("driver_id", string: id)
            output.appendJSON("code", string: answer.code)
            output.appendJSON("expires_at", instant: expires.unixMilliseconds)
        }
    }

    /// `POST /ws/tickets`
    private func ticket(_ request: HeldRequest, _ scope: RequestScope) async throws(Problem) -> HTTPResponse {
        guard let principal = request[Principal.self] else { throw .unauthenticated("A ticket is for somebody.") }
        let path = try request.member("path", limit: 256)
        guard path.hasPrefix("/ws/") || path.hasPrefix("/v1/ws/"), path.utf8.allSatisfy({ 0x21...0x7E ~= $0 }),
            !path.contains("?")
        else {
            let detail = "path must be that of a WebSocket, such as /ws/drivers/available, without a query."
            throw Problem(422, "invalid-body", detail, errors: [Problem.Item(pointer: "/path", detail: detail)])
        }
        var call = Auth_V1_CreateTicketRequest(
            identity: Auth_V1_Identity(subject: principal.subject, roles: principal.roles.words),
            path: path)
        call.tokenExpiresAt = Google_Protobuf_Timestamp(seconds: principal.expires)
        call.tokenID = principal.tokenID
        call.tokenIssuedAt = Google_Protobuf_Timestamp(seconds: principal.issuedAt)
        let wanted = call
        let answer = try await backends.ask(.driver, scope.asGateway) { [auth = backends.auth] options, done in
            auth.createTicket(wanted, options: options, done)
        }
        guard !answer.ticket.isEmpty, let expires = answer.expiresAt else { throw .backendBroken(.driver) }
        return .json(status: 201, fields: ["Cache-Control": "no-store"]) { output in
            output.appendJSON("ticket", string: answer.ticket)
            output.appendJSON("path", string: path)
            output.appendJSON("expires_at", instant: expires.unixMilliseconds)
        }
    }

    /// `POST /auth/revocations`
    private func revoke(_ request: HeldRequest, _ scope: RequestScope) async throws(Problem) -> HTTPResponse {
        let call = try request.readBody(RequestBodies.revocation)
        // What is neither may be anything, a secret included: the service refuses it.
        switch call.what {
        case .subject(let subject)? where Identifier.isValid(subject):
            request[AuditEntry.self]?.target = Revocation.Target.subject(subject).key
        case .tokenID(let id)? where Rules.violation(ofTokenID: id) == nil:
            request[AuditEntry.self]?.target = Revocation.Target.token(id).key
        default: break
        }
        let answer = try await backends.ask(.driver, scope) { [auth = backends.auth] options, done in
            auth.revoke(call, options: options, done)
        }
        guard let instant = answer.revokedAt else { throw .backendBroken(.driver) }
        return .json(status: 201) { output in
            switch call.what {
            case .subject(let subject)?: output.appendJSON("subject", string: subject)
            case .tokenID(let token)?: output.appendJSON("token_id", string: token)
            case nil: break
            }
            output.appendJSON("revoked_at", instant: instant.unixMilliseconds)
        }
    }
}

/// Before the sessions of pages: another site can make a browser send what it likes, but never from this origin.
private struct OwnPageGate: Gate {
    let access: AccessControl

    func admit(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) -> Admission {
        guard access.isOwnPage(request) else {
            throw Problem(
                403, "foreign-origin",
                "A session in cookies is for pages of this origin (send Origin); POST /auth/guest gives tokens to apps."
            )
        }
        return .pass
    }
}

extension HeldRequest {
    /// The refresh token of a browser's session.
    var refreshToken: String? { cookie(.refresh).flatMap { String(validating: $0, as: UTF8.self) } }

    /// What a cookie says; nil: it is not there, or says two things.
    func cookie(_ cookie: SessionCookie) -> [UInt8]? {
        view { (request) throws(Never) in cookie.value(in: request) } ?? nil
    }

    fileprivate func readBody<Value>(
        _ read: (Span<UInt8>) throws(BodyError) -> Value
    ) throws(Problem) -> Value {
        let body = body
        do throws(BodyError) { return try read(body.span) } catch { throw Problem(body: error) }
    }

    /// The only member of the body.
    fileprivate func member(_ name: StaticString, limit: Int = 1024) throws(Problem) -> String {
        try readBody { (body) throws(BodyError) in
            try RequestBodies.strings(body, [name], required: 1, limit: limit)
        }[0] ?? ""
    }
}

extension Principal {
    /// Appends `"subject","roles"`.
    fileprivate func describe(to output: inout ByteBuffer) {
        output.appendJSON("subject", string: subject)
        output.appendJSON(roles: roles)
    }
}

extension ByteBuffer {
    fileprivate mutating func appendJSON(roles: Roles) {
        appendJSON("roles", strings: roles.words)
    }

    /// Appends a member that is a list of texts.
    mutating func appendJSON(_ name: StaticString, strings: [String]) {
        appendJSON(name: name)
        beginJSONArray()
        for text in strings {
            appendJSONSeparator()
            appendJSON(string: text)
        }
        endJSONArray()
    }
}
