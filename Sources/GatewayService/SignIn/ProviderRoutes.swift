import Access
import HTTP1
import HTTPServer
import Telemetry

/// Signing in at an OpenID provider, on one loop: two addresses to which a browser goes as a whole, by authorization code and PKCE.
///
///     page ──GET /auth/login──▶ provider ──GET /auth/callback──▶ page, with a session in cookies
///
/// What has to be remembered in between is in a cookie of that browser (`PendingSignIn`). So an answer that another site sends a
/// browser on with, to have it signed in as somebody else, is to no sign-in of it (RFC 6749 §10.12); and a session begins with
/// new tokens, whatever the browser had before.
final class ProviderRoutes {
    private let signIn: SignIn
    private let provider: IdentityProviderLink?
    private let metrics: SignInMetrics
    /// What finding out about the provider, the exchange, new keys and the session may take together.
    private let patience: Duration

    init(_ signIn: SignIn, provider: IdentityProviderLink?, metrics: SignInMetrics = SignInMetrics()) {
        self.signIn = signIn
        self.provider = provider
        self.metrics = metrics
        patience = .nanoseconds(Int64(clamping: signIn.backends.timeout)) + .seconds(30)
    }

    /// Adds the routes.
    func register(on routes: GuardedRoutes) {
        routes.add(.beginSignIn, within: patience, begin)
        routes.add(.finishSignIn, within: patience, finish)
    }

    // MARK: The way there

    /// `GET /auth/login?return=PATH`
    private func begin(_ request: HeldRequest, _ scope: RequestScope) async throws(Problem) -> HTTPResponse {
        guard let provider else { throw .noProvider }
        let parameters = try CallbackParameters(request, ["return"])
        let path = parameters["return"] ?? "/"
        guard PendingSignIn.isReturnPath(path) else {
            throw Problem(parameter: "return", "return must be a path of this gateway, such as /, or /#trip=ID.")
        }
        // A provider may ask nothing of whom it knows: another site's link would change the session of whoever follows it.
        if request.text("sec-fetch-site") == "cross-site" { return redirect(to: provider.settings.externalURL + "/") }
        guard let pending = PendingSignIn(returnPath: path, from: signIn.backends.loop) else {
            throw Problem(500, "internal", "Nobody can sign in; the gateway is out of memory.")
        }
        let address: String
        do throws(SignInFailure) { address = try await provider.address(for: pending) } catch {
            return try refuse(request, Problem(error), provider.settings)
        }
        let cookie = SessionCookie.signIn.line(
            pending.cookie, seconds: PendingSignIn.life, secure: provider.settings.isSecure)
        return redirect(to: address, fields: ["Set-Cookie": cookie])
    }

    // MARK: The way back

    /// `GET /auth/callback?state=…&code=…`, or with an error.
    private func finish(_ request: HeldRequest, _ scope: RequestScope) async throws(Problem) -> HTTPResponse {
        guard let provider else { throw .noProvider }
        let settings = provider.settings
        let parameters = try CallbackParameters(request, ["state", "code", "error", "iss"])
        // What is to another sign-in, or to none, ends none: neither that of this browser which may be under way.
        guard let pending = request.cookie(.signIn).flatMap(PendingSignIn.init(cookie:)),
            pending.isAnswered(by: parameters["state"] ?? "")
        else {
            metrics.count("foreign")
            return try refuse(request, .signInExpired, settings)
        }
        // From here on it is over, whatever becomes of it.
        let over = SessionCookie.signIn.end(secure: settings.isSecure)
        let answer = IdentityProvider.Answer(
            code: parameters["code"], error: parameters["error"], issuer: parameters["iss"])
        let person: SignedInPerson
        do throws(SignInFailure) { person = try await provider.person(of: answer, to: pending) } catch {
            metrics.count(error.word)
            return try refuse(request, Problem(error), settings, over)
        }
        let current = scope.restarted(at: signIn.backends.loop.now)
        let tokens: SignIn.Tokens
        do throws(Problem) { tokens = try await signIn.rider(person.subject, current) } catch {
            metrics.count("failed")
            return try refuse(request, error, settings, over)
        }
        // The browser forgets the session that it had: nobody is to find it later. Where it can't be ended now, time ends it.
        if let old = request.refreshToken { try? await signIn.end(old, current) }
        metrics.count("ok")
        request[AuditEntry.self]?.happened(to: tokens.subject)
        var fields = tokens.cookies(name: person.name, secure: settings.isSecure)
        fields.add("Set-Cookie", over)
        return redirect(to: settings.externalURL + pending.returnPath, fields: fields)
    }

    /// A browser is sent to the page, which says it in words; others get the problem.
    private func refuse(
        _ request: HeldRequest, _ problem: Problem, _ settings: IdentityProviderSettings, _ cookie: String? = nil
    ) throws(Problem) -> HTTPResponse {
        var fields = HTTPFields()
        if let cookie { fields.add("Set-Cookie", cookie) }
        guard request.text("accept")?.contains("text/html") == true else {
            var problem = problem
            if let cookie { problem.fields.add("Set-Cookie", cookie) }
            problem.fields.add("Cache-Control", "no-store")
            throw problem
        }
        return redirect(to: "\(settings.externalURL)/?sign-in=\(problem.code)", fields: fields)
    }

    /// RFC 9110 §15.4.4: what comes next is got, and this is not asked again.
    private func redirect(to address: String, fields: HTTPFields = HTTPFields()) -> HTTPResponse {
        var fields = fields
        fields.add("Location", address)
        fields.add("Cache-Control", "no-store")
        return HTTPResponse(303, fields: fields)
    }
}

/// Parameters that may stand in a query once each; what else is there is read over (RFC 6749 §3.1, §4.1.2).
private struct CallbackParameters {
    private var values: [String: String] = [:]

    init(_ request: HeldRequest, _ names: [String]) throws(Problem) {
        guard let pairs = request.queryPairs() else {
            throw Problem(400, "invalid-parameter", "The query can't be decoded.")
        }
        for (name, value) in pairs where names.contains(name) {
            guard values.updateValue(value, forKey: name) == nil else {
                throw Problem(parameter: name, "\(name) is given more than once; give it once.")
            }
        }
    }

    subscript(_ name: String) -> String? { values[name] }
}

/// What is counted of signing in at a provider; there from the start, also where there is none.
final class SignInMetrics {
    private let counters: [String: Counter]

    init() {
        counters = Dictionary(
            uniqueKeysWithValues: ["ok", "foreign", "refused", "unbelievable", "away", "failed"].map { outcome in
                (
                    outcome,
                    MetricRegistry.shared.counter(
                        name: "cabstand_sign_ins_total",
                        help: "Answers of the OpenID provider that browsers brought, by what became of them.",
                        labels: ["outcome": outcome])
                )
            })
    }

    func count(_ outcome: String) { counters[outcome]?.increment() }
}

extension SignInFailure {
    fileprivate var word: String {
        switch self {
        case .away: "away"
        case .refused: "refused"
        case .unbelievable: "unbelievable"
        }
    }
}

extension Problem {
    fileprivate init(_ failure: SignInFailure) {
        switch failure {
        case .away:
            self = Problem(
                503, "issuer-unavailable", "The provider where people sign in can't be asked; try again in a moment.",
                fields: ["Retry-After": "5"])
        case .refused:
            self = Problem(403, "sign-in-refused", "The provider did not sign you in; try again.")
        case .unbelievable:
            self = Problem(
                502, "sign-in-failed", "The provider's answer is not what it has to be; the gateway's log says more.")
        }
    }

    fileprivate static var noProvider: Problem {
        Problem(404, "not-found", "People are guests here; CABSTAND_SIGN_IN_ISSUER names a provider to sign in at.")
    }

    fileprivate static var signInExpired: Problem {
        Problem(
            400, "sign-in-expired",
            "This answers no sign-in that this browser has begun, or one that has taken too long; begin again.")
    }
}
