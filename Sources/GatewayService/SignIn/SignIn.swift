import Access
import Bytes
import HTTPServer
import JSONWire
import ProtobufWire
import RideAPI
import RideDomain

/// Signs people in on one loop: begins, renews and ends their sessions, which the driver service remembers, and makes their access
/// tokens.
final class SignIn {
    enum Limits {
        /// Seconds that an access token lives. Reason: so long does one open doors that was copied and is not revoked; and so often
        /// does an app ask for the next. `Revocation.sessionLife` goes by it.
        static let accessSeconds: Int64 = 15 * 60
    }

    let backends: Backends
    let access: AccessControl

    init(backends: Backends, access: AccessControl) {
        self.backends = backends
        self.access = access
    }

    /// What somebody gets who has signed in.
    struct Tokens {
        let subject: String
        let roles: Roles
        let access: String
        let refresh: String
        /// Seconds that the refresh token lives if it is not used.
        let refreshSeconds: Int64

        /// RFC 6749 §5.1.
        func response(_ status: Int) -> HTTPResponse {
            .json(status: status, fields: ["Cache-Control": "no-store"]) { output in
                output.appendJSON("access_token", string: access)
                output.appendJSON("token_type", string: "Bearer")
                output.appendJSON("expires_in", integer: Limits.accessSeconds)
                output.appendJSON("refresh_token", string: refresh)
                output.appendJSON("refresh_expires_in", integer: refreshSeconds)
                output.appendJSON("scope", string: roles.words.joined(separator: " "))
                output.appendJSON("subject", string: subject)
            }
        }

        /// What a browser keeps of them. A name is only shown.
        func cookies(name: String?, secure: Bool) -> HTTPFields {
            var fields = HTTPFields()
            func add(_ cookie: SessionCookie, _ value: String, _ seconds: Int64) {
                fields.add("Set-Cookie", cookie.line(value, seconds: seconds, secure: secure))
            }
            add(.access, access, Limits.accessSeconds)
            add(.refresh, refresh, refreshSeconds)
            if let name { add(.name, Base64URL.encode(Array(name.utf8).span), refreshSeconds) }
            return fields
        }
    }

    /// A new rider, whom nobody knows by another name.
    func guest(_ scope: RequestScope) async throws(Problem) -> Tokens {
        try await rider("rider-\(backends.mint())", scope)
    }

    /// A rider who has been identified.
    func rider(_ subject: String, _ scope: RequestScope) async throws(Problem) -> Tokens {
        // Without a key there would be a session and no token.
        guard access.configuration.signer != nil else { throw .madeElsewhere }
        let identity = Auth_V1_Identity(subject: subject, roles: [Role.rider.rawValue])
        let request = Auth_V1_CreateSessionRequest(identity: identity)
        let answer = try await backends.ask(.driver, scope.asGateway) { [auth = backends.auth] options, done in
            auth.createSession(request, options: options, done)
        }
        return try tokens(answer.session)
    }

    /// The driver whose code this is.
    func driver(code: String, _ scope: RequestScope) async throws(Problem) -> Tokens {
        guard access.configuration.signer != nil else { throw .madeElsewhere }
        let request = Auth_V1_RedeemEnrolmentRequest(code: code)
        let answer = try await backends.ask(.driver, scope.asGateway, mayRepeat: false) {
            [auth = backends.auth] options, done in
            auth.redeemEnrolment(request, options: options, done)
        }
        return try tokens(answer.session)
    }

    /// The next tokens of a session. Its refresh token is used up, whether the answer arrives or not.
    func refresh(_ token: String, _ scope: RequestScope) async throws(Problem) -> Tokens {
        guard access.configuration.signer != nil else { throw .madeElsewhere }
        let request = Auth_V1_RefreshSessionRequest(refreshToken: token)
        let answer = try await backends.ask(.driver, scope.asGateway, mayRepeat: false) {
            [auth = backends.auth] options, done in
            auth.refreshSession(request, options: options, done)
        }
        return try tokens(answer.session)
    }

    /// Ends a session; one that is unknown has ended.
    func end(_ token: String, _ scope: RequestScope) async throws(Problem) {
        let request = Auth_V1_EndSessionRequest(refreshToken: token)
        let _: Auth_V1_EndSessionResponse = try await backends.ask(.driver, scope.asGateway) {
            [auth = backends.auth] options, done in
            auth.endSession(request, options: options, done)
        }
    }

    private func tokens(_ session: Auth_V1_Session?) throws(Problem) -> Tokens {
        guard let session, let identity = session.identity, !session.refreshToken.isEmpty,
            let end = session.expiresAt?.unixMilliseconds, let start = session.issuedAt?.unixMilliseconds,
            Moment.walls.contains(start)
        else { throw .backendBroken(.driver) }
        let (expires, issued) = (end / 1000, start / 1000)
        let roles = Roles(words: identity.roles)
        // When the session ends, all tokens end that have its name.
        let id = session.id.isEmpty ? nil : "\(session.id).\(backends.mint())"
        return Tokens(
            subject: identity.subject, roles: roles,
            access: try access.token(for: identity.subject, roles, seconds: Limits.accessSeconds, at: issued, id: id),
            refresh: session.refreshToken, refreshSeconds: max(1, expires - issued))
    }
}
