import Bytes
import GRPCRuntime
import HTTP1
import HTTPClient
import HTTPServer
import Reactor
import ReactorSim
import RideAPI
import Testing

@testable import Access
@testable import AccessTokens
@testable import GatewayService

/// A gateway at which people sign in, the OpenID provider where they do, and their browsers, in virtual time.
final class SignInWorld {
    static let issuer = "http://localhost:9000"
    static let client = "cabstand page"
    let network: SimulatedNetwork
    let provider: FakeProvider
    let externalURL: String
    private let gateway: EventLoop
    private let link: IdentityProviderLink
    private let http: HTTPServer
    private let grpc: GRPCServer
    private let backends: Backends
    private let address: SocketAddress

    init(secret: String? = nil, externalURL: String = "http://localhost:8080") throws {
        self.externalURL = externalURL
        network = SimulatedNetwork(seed: 11)
        network.names["localhost"] = [.loopback(port: 0)]
        gateway = try network.makeLoop()
        provider = try FakeProvider(network)
        let services = try network.makeLoop()
        let registry = ServiceRegistry()
        Auth_V1_AuthService.register(AuthStub(), in: registry)
        grpc = GRPCServer(loop: services, registry: registry)
        try grpc.listen(.loopback(port: 50051))
        backends = Backends(
            loop: gateway, driverService: "127.0.0.1:50051", tripService: "127.0.0.1:50051", timeout: 5_000_000_000)
        let settings = IdentityProviderSettings(
            issuer: Self.issuer, client: Self.client, secret: secret, externalURL: externalURL)
        link = IdentityProviderLink(
            IdentityProvider(loop: gateway, settings: settings, client: HTTPClient(loop: gateway)), settings,
            loop: gateway)
        let control = AccessControl(backends: backends, configuration: .own(try #require(SigningKey())))
        let router = Router()
        let api = GuardedRoutes(router.group(["", "/v1"]), access: control)
        let signIn = SignIn(backends: backends, access: control)
        SignInRoutes(signIn, provider: settings).register(on: api)
        ProviderRoutes(signIn, provider: link).register(on: api)
        WellKnownRoutes(access: control, externalURL: externalURL).register(on: router)
        http = HTTPServer(loop: gateway, router: router)
        address = try http.listen(.loopback(port: 8080)).localAddress
    }

    /// Asks the provider what it says of itself, as a gateway does when it starts.
    func start() {
        link.start()
        run(1)
    }

    func use(secret: String?) {
        link.use(secret: secret)
        run(0.1)
    }

    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }

    /// An answer of the gateway.
    struct Answer {
        let text: String
        var status: Int { Int(text.split(separator: " ").dropFirst().first ?? "") ?? 0 }
        var location: String { fields("location").first ?? "" }
        /// The problem's code.
        var code: String { member("code") }
        /// Status and code.
        var said: String { "\(status) \(code)" }

        func fields(_ name: String) -> [String] {
            text.split(separator: "\r\n").filter { $0.lowercased().hasPrefix("\(name): ") }
                .map { String($0.dropFirst(name.count + 2)) }
        }

        func member(_ name: String) -> String {
            guard let start = text.firstRange(of: "\"\(name)\":\"") else { return "" }
            return String(text[start.upperBound...].prefix { $0 != "\"" })
        }
    }

    /// A request that is answered later.
    func send(_ method: String, _ path: String, fields: String = "") -> SimulatedPeer {
        let peer = network.connect(to: address, from: nil)
        let host = externalURL.split(separator: "/")[1]
        let length = method == "POST" ? "Content-Length: 0\r\n" : ""
        peer.send(Array("\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\n\(length)\(fields)\r\n".utf8))
        return peer
    }

    func ask(_ method: String, _ path: String, fields: String = "", within seconds: Double = 1) -> Answer {
        let peer = send(method, path, fields: fields)
        run(seconds)
        defer { peer.close() }
        return Answer(text: String(decoding: peer.takeReceived(), as: UTF8.self))
    }
}

/// A browser: it keeps cookies, and follows nothing by itself.
final class TestBrowser {
    let world: SignInWorld
    private(set) var cookies: [String: String] = [:]
    /// More fields of each request.
    var fields = ""

    init(_ world: SignInWorld) { self.world = world }

    func ask(_ method: String, _ path: String, fields more: String = "", within seconds: Double = 1)
        -> SignInWorld.Answer
    {
        let pairs = cookies.map { "\($0.key)=\($0.value)" }.sorted().joined(separator: "; ")
        let cookie = pairs.isEmpty ? "" : "Cookie: \(pairs)\r\n"
        let answer = world.ask(method, path, fields: cookie + fields + more, within: seconds)
        for line in answer.fields("set-cookie") {
            let pair = line.prefix { $0 != ";" }.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            cookies[String(pair[0])] = line.contains("Max-Age=0") ? nil : String(pair[1])
        }
        return answer
    }

    /// Goes to the provider; the parameters of the request there.
    func begin(_ path: String = "/auth/login") -> [String: String] {
        FakeProvider.query(ask("GET", path).location)
    }

    /// Comes back with an answer.
    func finish(_ answer: [(String, String)], within seconds: Double = 1) -> SignInWorld.Answer {
        ask("GET", "/auth/callback?" + FakeProvider.form(answer), within: seconds)
    }

    /// The whole way, as somebody.
    func signIn(as subject: String = "ada", within seconds: Double = 1) -> SignInWorld.Answer {
        let wanted = begin()
        return finish(
            [("code", world.provider.authorize(wanted, as: subject)), ("state", wanted["state"] ?? "")], within: seconds
        )
    }

    /// Who the gateway says this is.
    var session: SignInWorld.Answer { ask("POST", "/auth/session", fields: "Origin: \(world.externalURL)\r\n") }
}

/// An OpenID provider, and what may be wrong with it.
final class FakeProvider {
    let key: SigningKey
    /// By which it signs, and which it publishes.
    var signing: SigningKey
    var published: [SigningKey]
    /// More members of its metadata, or others.
    var metadata: [String: String] = [
        "issuer": "\"\(SignInWorld.issuer)\"", "authorization_endpoint": "\"\(SignInWorld.issuer)/authorize\"",
        "token_endpoint": "\"\(SignInWorld.issuer)/token\"", "jwks_uri": "\"\(SignInWorld.issuer)/keys\"",
        "response_types_supported": "[\"code\"]",
    ]
    /// What its ID tokens say beside, or else.
    var claims: [String: String?] = [:]
    /// The header of its ID tokens.
    var header: (SigningKey) -> String = { key in
        "{\"alg\":\"EdDSA\",\"kid\":\"\(key.publicKey.identifier ?? "")\",\"typ\":\"JWT\"}"
    }
    /// What it answers to a code; nil: tokens.
    var answer: ((HTTPResponder) -> Void)?
    /// Changes the ID token.
    var spoil: (String) -> String = { $0 }
    private(set) var looks = 0
    /// What it was asked at its token endpoint: form and `Authorization`.
    private(set) var exchanges: [(form: [String: String], authorization: String?)] = []
    private var codes: [String: (subject: String, nonce: String, challenge: String)] = [:]
    private let loop: EventLoop
    private let network: SimulatedNetwork
    private var server: HTTPServer?
    private var listener: Listener?

    init(_ network: SimulatedNetwork) throws {
        self.network = network
        loop = try network.makeLoop()
        key = try #require(SigningKey())
        signing = key
        published = [key]
        try open()
    }

    func open() throws {
        let router = Router()
        router.get("/.well-known/openid-configuration") { [unowned self] _, responder in
            looks += 1
            let members = metadata.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }
            responder.text("{\(members.joined(separator: ","))}")
        }
        router.get("/keys") { [unowned self] _, responder in
            responder.text("{\"keys\":[\(published.map(\.json).joined(separator: ","))]}")
        }
        router.post("/token") { [unowned self] request, responder in
            let form = Self.query("?" + String(utf8: request.body))
            exchanges.append((form, request.text("authorization")))
            if let answer { return answer(responder) }
            exchange(form, responder)
        }
        let server = HTTPServer(loop: loop, router: router)
        listener = try server.listen(.loopback(port: 9000))
        self.server = server
    }

    func goAway() {
        server?.closeAll()
        listener?.close()
        network.resetConnections(of: loop)
    }

    /// Somebody agrees to what a browser was sent with: the code that it brings back.
    func authorize(_ wanted: [String: String], as subject: String = "ada") -> String {
        let code = "code-\(codes.count)"
        codes[code] = (subject, wanted["nonce"] ?? "", wanted["code_challenge"] ?? "")
        return code
    }

    private func exchange(_ form: [String: String], _ responder: HTTPResponder) {
        let verifier = Array((form["code_verifier"] ?? "").utf8)
        guard let grant = codes.removeValue(forKey: form["code"] ?? ""), verifier.count == 43,
            Base64URL.encode(SHA256.digest(verifier.span).span) == grant.challenge,
            form["grant_type"] == "authorization_code"
        else { return responder.text("{\"error\":\"invalid_grant\"}", status: 400) }
        let now = loop.wallClockMilliseconds / 1000
        var claims: [String: String?] = [
            "iss": "\"\(SignInWorld.issuer)\"", "aud": "\"\(SignInWorld.client)\"", "sub": "\"\(grant.subject)\"",
            "nonce": "\"\(grant.nonce)\"", "iat": "\(now)", "exp": "\(now + 300)", "name": "\"Ada Lovelace\"",
            "auth_time": "\(now)", "at_hash": "\"x\"",
        ]
        claims.merge(self.claims) { $1 }
        let members = claims.compactMap { pair in pair.value.map { "\"\(pair.key)\":\($0)" } }
        let signed = [header(signing), "{\(members.joined(separator: ","))}"].map { text in
            let bytes = Array(text.utf8)
            return Base64URL.encode(bytes.span)
        }.joined(separator: ".")
        let signature = signing.sign(Array(signed.utf8)) ?? []
        let token = spoil("\(signed).\(Base64URL.encode(signature.span))")
        responder.text(
            "{\"access_token\":\"opaque\",\"token_type\":\"Bearer\",\"expires_in\":60,\"id_token\":\"\(token)\"}")
    }

    /// The pairs of an address.
    static func query(_ address: String) -> [String: String] {
        let query = Array((address.split(separator: "?", maxSplits: 1).last ?? "").utf8)
        return Dictionary((QueryString.decoded(query.span) ?? []).map { ($0.name, $0.value) }) { _, last in last }
    }

    static func form(_ pairs: [(String, String)]) -> String {
        pairs.map { pair in
            var output = ByteBuffer()
            PercentCoding.encode(pair.1, to: &output)
            return "\(pair.0)=\(String(decoding: output.array(), as: UTF8.self))"
        }.joined(separator: "&")
    }
}
