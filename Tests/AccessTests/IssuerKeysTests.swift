import AccessTokens
import Bytes
import HTTPClient
import HTTPServer
import Reactor
import ReactorSim
import Testing

@testable import Access

/// An issuer that publishes its keys, and a program that asks for them, in virtual time.
private final class IssuerWorld {
    let network: SimulatedNetwork
    let loop: EventLoop
    let keys: IssuerKeys
    let issuer: PublishedIssuer
    private(set) var authenticator: Authenticator
    private let host: EventLoop
    private var server: HTTPServer?
    private var listener: Listener?

    static let name = "http://localhost:9000"

    /// What the issuer says of itself.
    var said = IssuerWorld.name
    var address = IssuerWorld.name + "/keys"
    var cacheControl = ""
    /// With which of these it signs.
    var signing: [SigningKey]
    private(set) var fetches = 0

    init() throws {
        network = SimulatedNetwork(seed: 5)
        network.names["localhost"] = [.loopback(port: 0)]
        loop = try network.makeLoop()
        host = try network.makeLoop()
        signing = [try #require(SigningKey())]
        issuer = PublishedIssuer(Self.name)
        keys = IssuerKeys(loop: loop, issuers: [issuer], client: HTTPClient(loop: loop))
        let trusted = TrustedIssuer(name: Self.name, audience: "cabstand", keys: JSONWebKeySet([]))
        var configuration = AccessConfiguration(
            verifier: TokenVerifier([trusted]), firstIssuer: Self.name, publicLists: true)
        configuration.published = [issuer]
        authenticator = Authenticator(loop: loop, configuration: configuration)
        keys.onChange = { [authenticator] name, set in
            var configuration = authenticator.configuration
            configuration.verifier = configuration.verifier.replacing(keys: set, of: name)
            authenticator.use(configuration)
        }
        try open()
        loop.execute { [keys] in keys.start() }
    }

    func open() throws {
        let router = Router()
        router.get("/.well-known/openid-configuration") { [unowned self] _, responder in
            responder.text("{\"issuer\":\"\(said)\",\"jwks_uri\":\"\(address)\",\"more\":[{}]}")
        }
        router.get("/keys") { [unowned self] _, responder in
            fetches += 1
            let fields: HTTPFields = cacheControl.isEmpty ? [:] : ["Cache-Control": cacheControl]
            responder.text("{\"keys\":[\(signing.map(\.json).joined(separator: ","))]}", fields: fields)
        }
        let server = HTTPServer(loop: host, router: router)
        listener = try server.listen(.loopback(port: 9000))
        self.server = server
    }

    func goAway() {
        server?.closeAll()
        listener?.close()
        network.resetConnections(of: host)
    }

    func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }

    func token(_ key: SigningKey, _ id: String = "1") -> String {
        key.sign(
            AccessToken(
                issuer: Self.name, subject: "ada", audience: ["cabstand"], expires: 4_000_000_000,
                issuedAt: 1_600_000_000, identifier: id, client: "test", scopes: ["rider"])) ?? ""
    }

    /// What becomes of a token: a subject, or why not.
    func verdict(_ token: String) -> String {
        var verdict = ""
        loop.execute { [unowned self] in verdict = judge(token) }
        run(0.001)
        return verdict
    }

    private func judge(_ token: String) -> String {
        let bytes = Array(token.utf8)
        do throws(Authenticator.Failure) {
            return try authenticator.principal(of: bytes.span).subject
        } catch {
            switch error {
            case .refused(let refusal): return refusal.label
            case .keyMayBeNew: return "ask"
            case .issuerAway: return "away"
            case .busy: return "busy"
            }
        }
    }

    /// Asks the issuer again, as a request does that waits for it.
    func refetch() -> Bool {
        var isDone = false
        loop.execute { [keys] in keys.refetch(Self.name) { isDone = true } }
        run(1)
        return isDone
    }
}

@Suite struct IssuerKeysTests {
    @Test func keysAreFoundByTheIssuersMetadata() throws {
        let world = try IssuerWorld()
        #expect(world.verdict(world.token(world.signing[0])) == "ask")
        world.run(1)
        #expect(world.fetches == 1)
        #expect(world.verdict(world.token(world.signing[0])) == "ada")
        #expect(world.verdict(world.token(try #require(SigningKey()))) == "unknown_key")
    }

    /// OpenID Connect Discovery §4.3: one issuer could speak for another.
    @Test(arguments: ["http://localhost:9000/", "http://evil.example", "HTTP://localhost:9000", ""])
    func metadataOfAnotherIssuerIsNotBelieved(_ name: String) throws {
        let world = try IssuerWorld()
        world.said = name
        world.run(5)
        #expect(world.fetches == 0 && world.verdict(world.token(world.signing[0])) == "away")
    }

    @Test(arguments: ["http://keys.example/keys", "file:///etc/passwd", "", "ftp://localhost/keys"])
    func keysComeByNoOtherWayThanHTTPS(_ address: String) throws {
        let world = try IssuerWorld()
        world.address = address
        world.run(5)
        #expect(world.fetches == 0 && world.verdict(world.token(world.signing[0])) == "away")
    }

    @Test func aNewKeyIsFetchedOnceWhoeverAsksForIt() throws {
        let world = try IssuerWorld()
        world.run(120)
        #expect(world.fetches == 1)
        let next = try #require(SigningKey())
        world.signing = [next, world.signing[0]]
        let token = world.token(next)
        #expect(world.verdict(token) == "ask")
        var answered = 0
        world.loop.execute { [keys = world.keys] in
            for _ in 0..<50 { keys.refetch(IssuerWorld.name) { answered += 1 } }
        }
        world.run(1)
        #expect(answered == 50 && world.fetches == 2)
        #expect(world.verdict(token) == "ada")
        // The old one goes on as long as the issuer shows it.
        #expect(world.verdict(world.token(world.signing[1], "2")) == "ada")
    }

    /// Anybody can make up names of keys.
    @Test func tenThousandMadeUpKeysCauseOneFetch() throws {
        let world = try IssuerWorld()
        world.run(120)
        let forger = try #require(SigningKey())
        let head = "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\""
        let rest = world.token(forger).split(separator: ".").dropFirst().joined(separator: ".")
        var asked = 0
        for index in 0..<10_000 {
            let token = "\(base64("\(head)\(index)\"}")).\(rest)"
            if world.verdict(token) == "ask" {
                asked += 1
                #expect(world.refetch())
            }
        }
        #expect(asked == 1 && world.fetches == 2)
        world.run(61)
        #expect(world.verdict("\(base64("\(head)x\"}")).\(rest)") == "ask")
    }

    private func base64(_ text: String) -> String {
        let bytes = Array(text.utf8)
        return Base64URL.encode(bytes.span)
    }

    @Test func anIssuerThatIsAwayForAnHourIsNotMissed() throws {
        let world = try IssuerWorld()
        world.run(1)
        let token = world.token(world.signing[0])
        world.goAway()
        for minute in 0..<60 {
            world.run(60)
            #expect(world.verdict(token) == "ada" && world.verdict(world.token(world.signing[0], "\(minute)")) == "ada")
        }
        let before = world.fetches
        let next = try #require(SigningKey())
        world.signing = [next]
        try world.open()
        world.run(40)
        #expect(world.fetches == before + 1)
        #expect(world.verdict(world.token(next)) == "ada")
        // It has withdrawn the old one.
        #expect(world.verdict(token) == "unknown_key")
    }

    @Test func keysGrowAsOldAsTheirIssuerSays() throws {
        for (said, within) in [("", 600.0), ("max-age=120", 120), ("max-age=1", 60), ("no-store", 60)] {
            let world = try IssuerWorld()
            world.cacheControl = said
            world.run(1)
            world.run(within * 0.85)
            #expect(world.fetches == 1, "\(said)")
            world.run(within * 0.2)
            #expect(world.fetches == 2, "\(said)")
        }
    }

    @Test func whatIsNotHTTPSIsNoIssuerButThisMachines() {
        for good in [
            "https://id.example", "https://id.example/realms/a", "http://localhost:8080", "http://127.0.0.1/x",
            "http://[::1]:1",
        ] {
            #expect(IssuerKeys.isSafe(good), "\(good)")
        }
        for bad in [
            "http://id.example", "http://localhost.evil.example", "urn:cabstand:issuer", "", "https://", "http://127.1",
        ] {
            #expect(!IssuerKeys.isSafe(bad), "\(bad)")
        }
    }
}
