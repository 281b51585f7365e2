import AccessTokens
import Bytes
import HTTP1
import HTTPClient
import JSONWire
import Reactor
import RideDomain
import Telemetry

/// Somebody who has signed in at a provider.
public struct SignedInPerson: Sendable, Equatable {
    /// As whom Cabstand knows them: the same each time, and nobody else's, at whatever issuer.
    public let subject: String
    /// What people call them.
    public let name: String
}

/// Why somebody is not signed in. Details are for the log: to whom it happens they say nothing.
public enum SignInFailure: Error, Sendable, Equatable {
    /// The provider can't be asked now.
    case away(String)
    /// The provider says no: its error code. Its person did not want to, or a code was used before, or is too old.
    case refused(String)
    /// The provider's answer is not what its standard says, or is not to this sign-in.
    case unbelievable(String)
}

/// Signs people in at an OpenID provider by authorization code and PKCE (OpenID Connect Core 1.0 §3.1, RFC 6749 §4.1, RFC 7636,
/// RFC 9700 §2.1). Of a person it wants to know who they are, and nothing more: the provider's access token is dropped. Belongs to its
/// loop; one is enough for a program.
public final class IdentityProvider {
    enum Limits {
        /// What the exchange of a code may take.
        static let timeout: Duration = .seconds(5)
        /// The longest answer to it, in bytes. Reason: some tokens of some thousand bytes.
        static let bytes = 64 << 10
        /// Characters of a name that are shown.
        static let name = 64
        /// Bytes of the longest code that is passed on. Reason: they stand in a URL.
        static let code = 4096
    }

    private let loop: EventLoop
    private let client: HTTPClient
    private let keys: IssuerKeys
    private var settings: IdentityProviderSettings
    private var logs = LogRateLimit()
    private let logger = Logger(label: "sign-in")

    /// - Parameter client: of the same loop; it is closed with this.
    public init(loop: EventLoop, settings: IdentityProviderSettings, client: HTTPClient) {
        self.loop = loop
        self.settings = settings
        self.client = client
        keys = IssuerKeys(loop: loop, issuers: [PublishedIssuer(settings.issuer)], client: client)
    }

    /// Asks the provider for what it says of itself, and for its keys, from now on as often as that grows old.
    public func start() { keys.start() }

    /// Another secret counts from now on; all else was settled at start.
    public func use(secret: String?) { settings.secret = secret }

    /// Asks no more.
    public func close() { keys.close() }

    // MARK: The request

    /// Where a browser is sent to sign in (RFC 6749 §4.1.1, RFC 7636 §4.3).
    public func address(for pending: PendingSignIn) async throws(SignInFailure) -> String {
        let metadata = try await metadata()
        var output = ByteBuffer()
        let endpoint = metadata.authorization ?? ""
        output.append(utf8: endpoint)
        output.append(endpoint.utf8.contains(UInt8(ascii: "?")) ? "&" : "?")
        output.append(form: [
            ("response_type", "code"), ("client_id", settings.client), ("redirect_uri", settings.redirectURL),
            ("scope", "openid profile"), ("state", pending.state), ("nonce", pending.nonce),
            ("code_challenge", pending.challenge), ("code_challenge_method", "S256"),
        ])
        return String(decoding: output.array(), as: UTF8.self)
    }

    /// What the provider says of itself, if people can be signed in there.
    private func metadata() async throws(SignInFailure) -> ProviderMetadata {
        if keys.metadata(of: settings.issuer) == nil { await refetch() }
        guard let metadata = keys.metadata(of: settings.issuer) else {
            throw failure(.away("its metadata and keys can't be had"))
        }
        if let obstacle = metadata.obstacle { throw failure(.unbelievable(obstacle)) }
        return metadata
    }

    private func refetch() async {
        await loop.wait { [keys, settings] done in keys.refetch(settings.issuer, done) }
    }

    // MARK: The answer

    /// What a provider has a browser bring back (RFC 6749 §4.1.2).
    public struct Answer: Sendable {
        var code: String?
        var error: String?
        var issuer: String?

        /// - Parameters:
        ///   - code: of an answer that is yes.
        ///   - error: of one that is no.
        ///   - issuer: whose answer it says it is (RFC 9207).
        public init(code: String?, error: String?, issuer: String?) {
            self.code = code
            self.error = error
            self.issuer = issuer
        }
    }

    /// Who has signed in, by an answer whose state is that of `pending`.
    public func person(of answer: Answer, to pending: PendingSignIn) async throws(SignInFailure) -> SignedInPerson {
        let metadata = try await metadata()
        // RFC 9207 §2.4: before anything is believed of it, and before a code is told to anybody.
        guard answer.issuer.map({ $0 == settings.issuer }) ?? !metadata.namesItself else {
            throw failure(.unbelievable("an answer says that it is another issuer's, or does not say whose"))
        }
        if let error = answer.error { throw failure(.refused(Self.word(error))) }
        guard let code = answer.code, 1...Limits.code ~= code.utf8.count else {
            throw failure(.unbelievable("an answer has no code"))
        }
        let token = try await identityToken(for: code, pending, metadata)
        let identity: IdentityToken
        do throws(IdentityRefusal) {
            identity = try await verify(token, pending)
        } catch {
            throw failure(.unbelievable("its ID token is refused (\(error.label)): \(error)"))
        }
        return SignedInPerson(
            subject: Principal.subject(of: identity.subject, at: identity.issuer),
            name: Self.shown(identity.name ?? identity.subject))
    }

    private func verify(_ text: String, _ pending: PendingSignIn) async throws(IdentityRefusal) -> IdentityToken {
        do throws(IdentityRefusal) {
            return try verifyOnce(text, pending)
        } catch {
            guard error == .token(.unknownKey) else { throw error }
            // The provider may have a new key.
            await refetch()
            return try verifyOnce(text, pending)
        }
    }

    private func verifyOnce(_ text: String, _ pending: PendingSignIn) throws(IdentityRefusal) -> IdentityToken {
        let verifier = IdentityVerifier(
            issuer: settings.issuer, client: settings.client,
            keys: keys.keys(of: settings.issuer) ?? JSONWebKeySet([]))
        let bytes = Array(text.utf8)
        return try verifier.verify(bytes.span, nonce: pending.nonce, at: loop.wallClockMilliseconds / 1000)
    }

    // MARK: The exchange

    /// Changes a code into an ID token (RFC 6749 §4.1.3, OpenID Connect Core 1.0 §3.1.3).
    private func identityToken(
        for code: String, _ pending: PendingSignIn, _ metadata: ProviderMetadata
    ) async throws(SignInFailure) -> String {
        var form = [
            ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", settings.redirectURL),
            ("code_verifier", pending.verifier),
        ]
        var fields: HTTPClientFields = [
            "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded",
        ]
        switch settings.secret {
        case nil: form.append(("client_id", settings.client))
        case .some(let secret) where metadata.takesSecretInBody:
            form += [("client_id", settings.client), ("client_secret", secret)]
        case .some(let secret): fields.add("Authorization", Self.basic(settings.client, secret))
        }
        var body = ByteBuffer()
        body.append(form: form)
        let response: HTTPClientResponse
        do throws(HTTPClientError) {
            let request = try HTTPClientRequest(
                .post, metadata.token ?? "", fields: fields, body: body.array(), timeout: Limits.timeout)
            response = try await client.send(request, limit: Limits.bytes)
        } catch {
            switch error {
            case .bodyTooLarge, .malformed, .badContentCoding, .badRedirect, .badURL, .badRequest:
                throw failure(.unbelievable("a code can't be exchanged: \(error)"))
            case .noTLS, .busy, .unresolved, .unreachable, .timedOut, .lost, .cancelled, .closed:
                throw failure(.away("a code can't be exchanged: \(error)"))
            }
        }
        return try Self.identityToken(in: response).mapError(failure).get()
    }

    private static func identityToken(in response: HTTPClientResponse) -> Result<String, SignInFailure> {
        if response.status >= 500 || response.status == 429 {
            return .failure(.away("a code is answered by \(response.status)"))
        }
        let answer: TokenAnswer
        do throws(JSONError) {
            answer = try TokenAnswer(response.body.span)
        } catch {
            return .failure(
                .unbelievable("a code is answered by \(response.status) and what is not JSON: \(error.explanation)"))
        }
        guard response.status == 200 else {
            return .failure(.refused(answer.error.map(word) ?? "status \(response.status)"))
        }
        guard answer.type?.lowercased() == "bearer", let token = answer.identity else {
            return .failure(
                .unbelievable("a code is answered without an ID token, or with tokens that are no bearer's"))
        }
        return .success(token)
    }

    /// RFC 6749 §2.3.1: encoded as in a form, then as RFC 7617 has it.
    private static func basic(_ client: String, _ secret: String) -> String {
        var pair = ByteBuffer()
        PercentCoding.encode(client, to: &pair)
        pair.append(UInt8(ascii: ":"))
        PercentCoding.encode(secret, to: &pair)
        var output = ByteBuffer()
        output.append("Basic ")
        Base64.encode(pair.span, into: &output)
        return String(decoding: output.array(), as: UTF8.self)
    }

    // MARK: Words

    /// An error's code, RFC 6749 §5.2; anybody can have written it.
    private static func word(_ text: String) -> String {
        let isWord = 1...40 ~= text.utf8.count && text.utf8.allSatisfy { 0x61...0x7A ~= $0 || $0 == 0x5F }
        return isWord ? text : "an error without a name"
    }

    private static func shown(_ name: String) -> String {
        let plain = name.unicodeScalars.filter {
            !$0.properties.isDefaultIgnorableCodePoint && $0.value >= 0x20 && $0.value != 0x7F
        }
        return String(String(String.UnicodeScalarView(plain)).prefix(Limits.name))
    }

    /// Says in the log what went wrong, and hands it on.
    private func failure(_ failure: SignInFailure) -> SignInFailure {
        guard let held = logs.admit(now: loop.now) else { return failure }
        let (text, why) =
            switch failure {
            case .away(let why): ("the provider can't be asked", why)
            case .refused(let why): ("the provider says no", why)
            case .unbelievable(let why): ("the provider's answer can't be believed", why)
            }
        logger.warning(
            "nobody is signed in: \(text)", metadata: ["issuer": settings.issuer, "why": why, "held_back": "\(held)"])
        return failure
    }
}

/// What the provider answers to a code (RFC 6749 §5.1, §5.2). What else it gives out is dropped.
private struct TokenAnswer {
    var identity: String?
    var type: String?
    var error: String?

    init(_ text: Span<UInt8>) throws(JSONError) {
        var limits = JSONLimits()
        limits.size = IdentityProvider.Limits.bytes
        var reader = JSONReader(text, limits: limits)
        try reader.beginObject()
        while let name = try reader.nextMember() {
            if reader.isEqual(name, "id_token") {
                identity = try reader.readString()
            } else if reader.isEqual(name, "token_type") {
                type = try reader.readString()
            } else if reader.isEqual(name, "error") {
                error = try reader.readString()
            } else {
                try reader.skipValue()
            }
        }
        try reader.finish()
    }
}

extension ByteBuffer {
    /// Appends pairs as forms and queries have them.
    fileprivate mutating func append(form pairs: [(String, String)]) {
        for (index, pair) in pairs.enumerated() {
            if index > 0 { append(UInt8(ascii: "&")) }
            PercentCoding.encode(pair.0, to: &self)
            append(UInt8(ascii: "="))
            PercentCoding.encode(pair.1, to: &self)
        }
    }
}
