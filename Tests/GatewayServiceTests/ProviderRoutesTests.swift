import Bytes
import HTTPServer
import Testing

@testable import Access
@testable import AccessTokens
@testable import GatewayService

/// Signing in at an OpenID provider by authorization code and PKCE, in virtual time.
@Suite struct ProviderRoutesTests {
    let world: SignInWorld
    let browser: TestBrowser

    init() throws {
        world = try SignInWorld()
        world.start()
        browser = TestBrowser(world)
    }

    // MARK: The way there and back

    @Test func somebodySignsInAndIsTheSameTheNextTime() throws {
        let back = browser.signIn()
        #expect(back.status == 303 && back.location == "http://localhost:8080/")
        #expect(back.fields("cache-control") == ["no-store"])
        #expect(Set(browser.cookies.keys) == ["cabstand-access", "cabstand-refresh", "cabstand-name"])
        #expect(
            back.fields("set-cookie").allSatisfy {
                $0.contains("; Path=/; ") && $0.contains("; HttpOnly; SameSite=Lax")
            })
        let session = browser.session
        #expect(session.status == 200 && session.member("name") == "Ada Lovelace")
        #expect(session.member("sign_in") == "http://localhost:8080/auth/login")
        #expect(session.text.contains("\"roles\":[\"rider\"]"))
        let subject = session.member("subject")
        #expect(subject == Principal.subject(of: "ada", at: SignInWorld.issuer))
        #expect(browser.ask("GET", "/auth/session").member("subject") == subject)

        let (again, other) = (TestBrowser(world), TestBrowser(world))
        _ = again.signIn()
        _ = other.signIn(as: "eve")
        #expect(again.session.member("subject") == subject)
        #expect(other.session.member("subject").count == 43 && other.session.member("subject") != subject)
    }

    @Test func whatABrowserIsSentWithTellsNothingOfItsCookie() throws {
        let wanted = browser.begin("/auth/login?return=/%23trip=t")
        #expect(wanted["response_type"] == "code" && wanted["client_id"] == SignInWorld.client)
        #expect(wanted["redirect_uri"] == "http://localhost:8080/auth/callback" && wanted["scope"] == "openid profile")
        #expect(wanted["code_challenge_method"] == "S256")
        let codes = ["state", "nonce", "code_challenge"].map { wanted[$0] ?? "" }
        #expect(Set(codes).count == 3 && codes.allSatisfy { $0.count == 43 })
        let cookie = try #require(browser.cookies["cabstand-sign-in"])
        #expect(codes.allSatisfy { !cookie.contains($0) })
        #expect(TestBrowser(world).begin()["state"] != wanted["state"])
        let back = browser.finish([("code", world.provider.authorize(wanted)), ("state", codes[0])])
        #expect(back.location == "http://localhost:8080/#trip=t")
    }

    @Test func aClientProvesItselfAsTheProviderWantsIt() throws {
        _ = browser.signIn()
        #expect(world.provider.exchanges[0].form["client_id"] == SignInWorld.client)
        #expect(world.provider.exchanges[0].authorization == nil)
        world.use(secret: "s:ecret")
        #expect(TestBrowser(world).signIn().status == 303)
        // `cabstand%20page:s%3Aecret`
        #expect(world.provider.exchanges[1].authorization == "Basic Y2Fic3RhbmQlMjBwYWdlOnMlM0FlY3JldA==")
        #expect(world.provider.exchanges[1].form["client_secret"] == nil)

        let other = try SignInWorld(secret: "secret")
        other.provider.metadata["token_endpoint_auth_methods_supported"] = "[\"client_secret_post\"]"
        #expect(TestBrowser(other).signIn().status == 303)
        #expect(other.provider.exchanges[0].form["client_secret"] == "secret")
        #expect(other.provider.exchanges[0].authorization == nil)
    }

    @Test func overTLSCookiesAreThisHostsAlone() throws {
        let world = try SignInWorld(externalURL: "https://rides.example")
        let browser = TestBrowser(world)
        #expect(browser.begin()["redirect_uri"] == "https://rides.example/auth/callback")
        let back = browser.signIn()
        #expect(back.location == "https://rides.example/")
        #expect(browser.cookies.keys.allSatisfy { $0.hasPrefix("__Host-cabstand-") })
        #expect(back.fields("set-cookie").allSatisfy { $0.hasSuffix("; Secure") })
        #expect(browser.session.member("name") == "Ada Lovelace")
        #expect(
            world.ask("GET", "/.well-known/oauth-protected-resource").member("resource") == "https://rides.example")
    }

    @Test func whoHasSignedInSignsOut() {
        _ = browser.signIn()
        let ended = browser.ask("DELETE", "/auth/session", fields: "Origin: http://localhost:8080\r\n")
        #expect(ended.status == 204 && browser.cookies.isEmpty)
        let guest = browser.session
        #expect(guest.member("subject").hasPrefix("rider-") && guest.member("name").isEmpty)
    }

    // MARK: Somebody else's answers

    /// RFC 6749 §10.12: another site sends a browser on with an answer of its own.
    @Test func anAnswerToNoSignInOfThisBrowserIsRefusedAndEndsNone() {
        let attacker = TestBrowser(world)
        let theirs = attacker.begin()
        let code = world.provider.authorize(theirs, as: "eve")
        let answer = [("code", code), ("state", theirs["state"] ?? "")]
        #expect(browser.finish(answer).said == "400 sign-in-expired")
        let wanted = browser.begin()
        let forged = browser.finish(answer)
        #expect(forged.said == "400 sign-in-expired" && forged.fields("set-cookie").isEmpty)
        for state in ["", "x", wanted["nonce"] ?? "", String(wanted["state"]?.dropLast() ?? "")] {
            #expect(browser.finish([("code", code), ("state", state)]).said == "400 sign-in-expired")
        }
        #expect(browser.finish([("code", code)]).said == "400 sign-in-expired")
        #expect(world.provider.exchanges.isEmpty)
        // Its own goes on.
        let own = browser.finish([("code", world.provider.authorize(wanted)), ("state", wanted["state"] ?? "")])
        #expect(own.status == 303)
    }

    /// A code of another sign-in does not fit this one's verifier, nor its nonce.
    @Test func anothersCodeIsOfNoUse() {
        let code = world.provider.authorize(TestBrowser(world).begin(), as: "eve")
        let wanted = browser.begin()
        #expect(browser.finish([("code", code), ("state", wanted["state"] ?? "")]).said == "403 sign-in-refused")
        #expect(browser.cookies.isEmpty)
    }

    @Test func anAnswerIsGoodOnce() {
        let wanted = browser.begin()
        let answer = [("code", world.provider.authorize(wanted)), ("state", wanted["state"] ?? "")]
        let cookie = browser.cookies["cabstand-sign-in"] ?? ""
        #expect(browser.finish(answer).status == 303)
        #expect(browser.finish(answer).said == "400 sign-in-expired")
        // Also for whoever has kept the cookie.
        let again = world.ask(
            "GET", "/auth/callback?" + FakeProvider.form(answer), fields: "Cookie: cabstand-sign-in=\(cookie)\r\n")
        #expect(again.said == "403 sign-in-refused")
    }

    @Test func cookiesOfOursAloneCount() {
        for cookie in ["x", "x.y", ".", "\(String(repeating: "A", count: 43)).\(base64("//evil.example"))"] {
            let answer = world.ask(
                "GET", "/auth/callback?state=x&code=y", fields: "Cookie: cabstand-sign-in=\(cookie)\r\n")
            #expect(answer.said == "400 sign-in-expired", "\(cookie)")
        }
    }

    private func base64(_ text: String) -> String {
        let bytes = Array(text.utf8)
        return Base64URL.encode(bytes.span)
    }

    /// Session fixation: whoever knew the session before does not know the one behind.
    @Test func aSessionBeginsAnewAndTheOldOneEnds() {
        let guest = browser.session
        #expect(guest.status == 200)
        let before = browser.cookies
        #expect(browser.signIn().status == 303)
        #expect(browser.cookies["cabstand-access"] != before["cabstand-access"])
        let old = TestBrowser(world)
        old.fields = "Cookie: cabstand-refresh=\(before["cabstand-refresh"] ?? "")\r\n"
        #expect(old.session.member("subject") != guest.member("subject"))
    }

    /// A provider that knows a browser asks nothing: its session would change by a link.
    @Test func anotherSitesLinkSignsNobodyIn() {
        let answer = browser.ask("GET", "/auth/login", fields: "Sec-Fetch-Site: cross-site\r\n")
        #expect(answer.status == 303 && answer.location == "http://localhost:8080/" && browser.cookies.isEmpty)
        for site in ["same-origin", "same-site", "none"] {
            let answer = browser.ask("GET", "/auth/login", fields: "Sec-Fetch-Site: \(site)\r\n")
            #expect(answer.location.hasPrefix("http://localhost:9000/authorize?"))
        }
    }

    @Test(arguments: [
        "//evil.example", "/\\\\evil.example", "\\\\evil.example", "https://evil.example", "evil", "",
        "/%09/evil.example",
        "/%0d%0aSet-Cookie:x", "/%20", "javascript:alert(1)", "/%5C/evil.example", "/auth/login", "/auth/callback?x",
        "/v1/auth/login", "/%C3%A4", "%2F%2Fevil.example",
    ])
    func nobodyIsSentToAnotherSiteInTheEnd(_ path: String) {
        #expect(browser.ask("GET", "/auth/login?return=\(path)").said == "400 invalid-parameter")
        #expect(browser.cookies.isEmpty)
    }

    @Test func parametersStandOnce() {
        #expect(browser.ask("GET", "/auth/login?return=/&return=/x").said == "400 invalid-parameter")
        let wanted = browser.begin()
        let answer = "/auth/callback?state=\(wanted["state"] ?? "")&code=a&code=b"
        #expect(browser.ask("GET", answer).said == "400 invalid-parameter")
        let long = "/" + String(repeating: "x", count: PendingSignIn.longestPath)
        #expect(browser.ask("GET", "/auth/login?return=\(long)").said == "400 invalid-parameter")
        #expect(browser.ask("GET", "/auth/login?return=\(long.dropLast())").status == 303)
    }

    // MARK: What the provider says

    static let spoiltClaims: [(String, String?)] = [
        ("nonce", "\"another\""), ("nonce", nil), ("nonce", "7"), ("iss", "\"http://localhost:9001\""),
        ("iss", "\"http://localhost:9000/\""), ("iss", nil), ("aud", "\"another\""), ("aud", "[]"), ("aud", nil),
        ("aud", "[\"cabstand page\",\"another\"]"), ("azp", "\"another\""), ("azp", "7"), ("exp", "1"), ("exp", nil),
        ("exp", "1e9"), ("exp", "\"4000000000\""), ("iat", "4000000000"), ("iat", nil), ("nbf", "4000000000"),
        ("sub", nil), ("sub", "\"\""), ("sub", "7"), ("sub", "\"a\\u0000b\""),
    ]

    @Test(arguments: spoiltClaims)
    func anIDTokenThatIsNotAsItHasToBeSignsNobodyIn(_ claim: String, _ value: String?) {
        world.provider.claims = [claim: value]
        #expect(browser.signIn().said == "502 sign-in-failed", "\(claim): \(value ?? "not there")")
        #expect(browser.cookies.isEmpty)
    }

    @Test func severalAudiencesNeedAParty() {
        world.provider.claims = ["aud": "[\"cabstand page\",\"another\"]", "azp": "\"cabstand page\""]
        #expect(browser.signIn().status == 303)
        world.provider.claims = ["name": "{}", "preferred_username": "\"ada\""]
        #expect(TestBrowser(world).signIn().status == 303)
    }

    @Test func onlyTheProvidersSignatureCounts() throws {
        let provider = world.provider
        let kid = provider.key.publicKey.identifier ?? ""
        for header in [
            "{\"alg\":\"none\"}", "{\"alg\":\"none\",\"kid\":\"\(kid)\"}", "{\"alg\":\"HS256\",\"kid\":\"\(kid)\"}",
            "{\"alg\":\"RS256\",\"kid\":\"\(kid)\"}", "{\"alg\":\"EdDSA\",\"kid\":\"another\"}",
            "{\"alg\":\"EdDSA\",\"kid\":\"\(kid)\",\"typ\":\"at+jwt\"}",
            "{\"alg\":\"EdDSA\",\"kid\":\"\(kid)\",\"typ\":\"logout+jwt\"}",
            "{\"alg\":\"EdDSA\",\"kid\":\"\(kid)\",\"crit\":[\"b64\"]}",
        ] {
            provider.header = { _ in header }
            #expect(browser.signIn().said == "502 sign-in-failed", "\(header)")
        }
        provider.header = { _ in "{\"alg\":\"EdDSA\",\"kid\":\"\(kid)\"}" }
        #expect(browser.signIn().status == 303)
        for spoil in [
            { "\($0.split(separator: ".").dropLast().joined(separator: "."))." }, { String($0.dropLast(4)) + "AAAA" },
            { _ in "" }, { _ in "x.y" }, { $0 + "." + String(repeating: "A", count: 9000) },
        ] as [(String) -> String] {
            provider.spoil = spoil
            #expect(TestBrowser(world).signIn().said == "502 sign-in-failed")
        }
        provider.spoil = { $0 }
        provider.signing = try #require(SigningKey())
        provider.header = { _ in "{\"alg\":\"EdDSA\",\"kid\":\"\(kid)\"}" }
        #expect(TestBrowser(world).signIn().said == "502 sign-in-failed")
    }

    @Test func aNewKeyOfTheProvidersIsFetched() throws {
        world.run(70)
        let next = try #require(SigningKey())
        world.provider.signing = next
        world.provider.published = [next, world.provider.key]
        let looks = world.provider.looks
        #expect(browser.signIn().status == 303 && world.provider.looks == looks + 1)
    }

    /// One kind of token is never taken for the other.
    @Test func anIDTokenOpensNothing() throws {
        let key = try #require(SigningKey())
        let signed =
            ["{\"alg\":\"EdDSA\",\"kid\":\"\(key.publicKey.identifier ?? "")\",\"typ\":\"JWT\"}"]
            + ["{\"iss\":\"i\",\"aud\":\"a\",\"sub\":\"s\",\"nonce\":\"n\",\"iat\":1,\"exp\":4000000000}"]
        let text = signed.map { base64($0) }.joined(separator: ".")
        let signature = try #require(key.sign(Array(text.utf8)))
        let token = Array("\(text).\(Base64URL.encode(signature.span))".utf8)
        let keys = JSONWebKeySet([key.publicKey])
        let identity = IdentityVerifier(issuer: "i", client: "a", keys: keys)
        #expect(try identity.verify(token.span, nonce: "n", at: 1000).subject == "s")
        for acceptsPlainType in [true, false] {
            let issuer = TrustedIssuer(name: "i", audience: "a", keys: keys, acceptsPlainType: acceptsPlainType)
            #expect(throws: acceptsPlainType ? TokenRefusal.identityToken : .wrongType) {
                try TokenVerifier([issuer]).verify(token.span, at: 1000)
            }
        }
        let access = Array(
            (key.sign(
                AccessToken(
                    issuer: "i", subject: "s", audience: ["a"], expires: 4_000_000_000, issuedAt: 1, identifier: "j",
                    client: "a", scopes: [])) ?? "").utf8)
        #expect(throws: IdentityRefusal.notIdentity) { try identity.verify(access.span, nonce: "", at: 1000) }
    }

    @Test func whatTheProviderRefusesIsRefused() {
        let wanted = browser.begin()
        let denied = browser.finish([("error", "access_denied"), ("state", wanted["state"] ?? "")])
        #expect(denied.said == "403 sign-in-refused" && browser.cookies.isEmpty)
        for (status, text, said) in [
            (400, "{\"error\":\"invalid_grant\"}", "403 sign-in-refused"),
            (401, "{\"error\":\"invalid_client\"}", "403 sign-in-refused"),
            (400, "{\"error\":\"<script>\"}", "403 sign-in-refused"), (400, "<html>", "502 sign-in-failed"),
            (200, "{}", "502 sign-in-failed"), (200, "[]", "502 sign-in-failed"), (200, "", "502 sign-in-failed"),
            (200, "{\"id_token\":\"x\"}", "502 sign-in-failed"),
            (200, "{\"id_token\":\"x\",\"token_type\":\"mac\"}", "502 sign-in-failed"),
            (302, "{}", "403 sign-in-refused"), (500, "{}", "503 issuer-unavailable"),
            (429, "{}", "503 issuer-unavailable"),
            (200, "{\"id_token\":\"\(String(repeating: "x", count: 70_000))\"}", "502 sign-in-failed"),
        ] {
            world.provider.answer = { $0.text(text, status: status) }
            #expect(browser.signIn().said == said, "\(status) \(text.prefix(40))")
        }
    }

    @Test func aProviderThatIsAwayIsNotWaitedForForLong() throws {
        // Silent.
        world.provider.answer = { _ in }
        #expect(browser.signIn(within: 6).said == "503 issuer-unavailable")
        let wanted = browser.begin()
        world.provider.goAway()
        // What it has said of itself goes on.
        #expect(TestBrowser(world).begin()["state"] != nil)
        let answer = [("code", "x"), ("state", wanted["state"] ?? "")]
        #expect(browser.finish(answer, within: 6).said == "503 issuer-unavailable")

        let dark = try SignInWorld()
        dark.provider.goAway()
        dark.start()
        #expect(TestBrowser(dark).ask("GET", "/auth/login").said == "503 issuer-unavailable")
        try dark.provider.open()
        dark.run(31)
        #expect(TestBrowser(dark).signIn().status == 303)
    }

    @Test func manyWhoSignInAtOnceCauseOneLook() throws {
        let world = try SignInWorld()
        let peers = (0..<50).map { _ in world.send("GET", "/auth/login") }
        world.run(1)
        #expect(peers.allSatisfy { String(decoding: $0.takeReceived(), as: UTF8.self).hasPrefix("HTTP/1.1 303 ") })
        #expect(world.provider.looks == 1)
    }

    /// RFC 9207.
    @Test func anAnswerSaysWhoseItIs() throws {
        func finish(_ world: SignInWorld, _ issuer: String?) -> String {
            let browser = TestBrowser(world)
            let wanted = browser.begin()
            let answer = [("code", world.provider.authorize(wanted)), ("state", wanted["state"] ?? "")]
            return browser.finish(answer + (issuer.map { [("iss", $0)] } ?? [])).said
        }
        #expect(finish(world, "http://localhost:9001") == "502 sign-in-failed")
        #expect(finish(world, "") == "502 sign-in-failed")
        #expect(world.provider.exchanges.isEmpty)
        #expect(finish(world, SignInWorld.issuer) == "303 ")
        let strict = try SignInWorld()
        strict.provider.metadata["authorization_response_iss_parameter_supported"] = "true"
        #expect(finish(strict, nil) == "502 sign-in-failed")
        #expect(finish(strict, SignInWorld.issuer) == "303 ")
    }

    @Test(arguments: [
        ("authorization_endpoint", "\"http://evil.example/\"", "502 sign-in-failed"),
        ("authorization_endpoint", "\"http://localhost:9000/#x\"", "502 sign-in-failed"),
        ("authorization_endpoint", "\"javascript:alert(1)\"", "502 sign-in-failed"),
        ("token_endpoint", "\"http://evil.example/\"", "502 sign-in-failed"),
        ("response_types_supported", "[\"id_token\"]", "502 sign-in-failed"),
        ("code_challenge_methods_supported", "[\"plain\"]", "502 sign-in-failed"),
        ("issuer", "\"http://localhost:9001\"", "503 issuer-unavailable"),
        ("token_endpoint", "7", "503 issuer-unavailable"),
        ("jwks_uri", "null", "503 issuer-unavailable"),
        ("response_types_supported", "{}", "303 "),
        ("code_challenge_methods_supported", "[7]", "303 "),
        ("token_endpoint_auth_methods_supported", "null", "303 "),
        ("authorization_response_iss_parameter_supported", "\"yes\"", "303 "),
    ])
    func metadataSaysWhatIsNeeded(_ member: String, _ value: String, _ said: String) throws {
        let world = try SignInWorld()
        world.provider.metadata[member] = value
        #expect(TestBrowser(world).ask("GET", "/auth/login").said == said)
    }

    @Test func anAddressMayHaveAQueryOfItsOwn() throws {
        let world = try SignInWorld()
        world.provider.metadata["authorization_endpoint"] = "\"http://localhost:9000/authorize?tenant=a\""
        #expect(
            TestBrowser(world).ask("GET", "/auth/login").location.hasPrefix(
                "http://localhost:9000/authorize?tenant=a&response_type=code&"))
    }
}
