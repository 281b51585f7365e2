import Access
import AccessTokens
import Bytes
import GRPCRuntime
import Reactor
import RideAPI
import TestSupport
import Testing

@testable import GatewayService

@Suite struct SignInTests {
    private let world: RESTWorld
    private let key: SigningKey

    init() throws {
        key = try #require(SigningKey())
        world = try RESTWorld(access: .own(key))
        world.scripts.set {
            $0.listTrips = { _, _ in .success(Trip_V1_ListTripsResponse()) }
            $0.createTrip = { request, _ in
                .success(
                    Trip_V1_CreateTripResponse(
                        trip: Trip_V1_Trip(id: "t", riderID: request.riderID, driverID: "d", status: .inProgress)))
            }
            $0.setStatus = { request, _ in
                .success(Driver_V1_UpdateDriverStatusResponse(driver: Driver_V1_Driver(id: request.driverID)))
            }
        }
    }

    private static let place = "{\"pickup\":{\"lat\":1,\"lon\":2},\"dropoff\":{\"lat\":3,\"lon\":4}}"
    private static let own = "Origin: http://h\r\n"

    private var operatorToken: String {
        TokenSigner(key: key, audience: "cabstand").token(
            for: "olga", [.operator], seconds: 600, at: SystemClock.unixMilliseconds() / 1000, id: "o", client: "test")
            ?? ""
    }

    private func status(_ response: String) -> Int { Int(response.split(separator: " ")[1]) ?? 0 }

    private func member(_ name: String, _ response: String) -> String {
        guard let start = response.firstRange(of: "\"\(name)\":\"") else { return "" }
        return String(response[start.upperBound...].prefix { $0 != "\"" })
    }

    private func bearer(_ response: String) -> String {
        "Authorization: Bearer \(member("access_token", response))\r\n"
    }

    /// `name=value` of each cookie that an answer sets.
    private func cookies(_ response: String) -> [String] {
        response.split(separator: "\r\n").filter { $0.lowercased().hasPrefix("set-cookie: ") }.map {
            String($0.dropFirst(12).prefix { $0 != ";" })
        }
    }

    private func cookieField(_ response: String) -> String {
        "Cookie: \(cookies(response).joined(separator: "; "))\r\n"
    }

    // MARK: Apps

    @Test func aGuestIsARiderWhoBooks() {
        let signedIn = world.send("POST", "/auth/guest")
        #expect(status(signedIn) == 201 && signedIn.lowercased().contains("cache-control: no-store"))
        #expect(
            signedIn.contains("\"token_type\":\"Bearer\",\"expires_in\":900") && member("scope", signedIn) == "rider")
        let rider = member("subject", signedIn)
        #expect(rider.hasPrefix("rider-"))
        let booked = world.send("POST", "/trips", body: Self.place, fields: bearer(signedIn))
        #expect(status(booked) == 201 && member("rider_id", booked) == rider)
        // Two are never the same.
        #expect(member("subject", world.send("POST", "/auth/guest")) != rider)
    }

    @Test func aRefreshTokenIsGoodOnce() {
        let first = world.send("POST", "/auth/guest")
        func refresh(_ token: String) -> String {
            world.send("POST", "/auth/refresh", body: "{\"refresh_token\":\"\(token)\"}")
        }
        let second = refresh(member("refresh_token", first))
        #expect(status(second) == 200 && member("subject", second) == member("subject", first))
        #expect(member("access_token", second) != member("access_token", first))
        #expect(status(world.send("GET", "/trips", fields: bearer(second))) == 200)
        let again = refresh(member("refresh_token", first))
        #expect(status(again) == 401 && member("code", again) == "refresh-token-reused")
        #expect(again.lowercased().contains("www-authenticate: bearer realm=\"cabstand\"\r\n"))
        #expect(member("code", refresh("nonsense")) == "refresh-token-invalid")
        #expect(status(world.send("POST", "/auth/refresh", body: "{}")) == 422)
        #expect(status(world.send("POST", "/auth/refresh", body: "{\"refresh_token\":7}")) == 422)
        #expect(status(world.send("POST", "/auth/refresh", body: "[")) == 400)
    }

    @Test func aDriversCodeIsGoodOnce() {
        let key = world.send("POST", "/auth/guest")
        #expect(status(world.send("POST", "/drivers/d/enrolment")) == 401)
        #expect(status(world.send("POST", "/drivers/d/enrolment", fields: bearer(key))) == 403)
        let enrolled = world.send("POST", "/drivers/d/enrolment", fields: "Authorization: Bearer \(operatorToken)\r\n")
        #expect(status(enrolled) == 201)
        let body = "{\"code\":\"\(member("code", enrolled))\"}"
        let signedIn = world.send("POST", "/auth/driver", body: body)
        #expect(status(signedIn) == 200 && member("scope", signedIn) == "driver" && member("subject", signedIn) == "d")
        let offline = "{\"status\":\"offline\"}"
        #expect(status(world.send("PATCH", "/drivers/d/status", body: offline, fields: bearer(signedIn))) == 200)
        #expect(status(world.send("PATCH", "/drivers/e/status", body: offline, fields: bearer(signedIn))) == 403)
        #expect(member("code", world.send("POST", "/auth/driver", body: body)) == "enrolment-invalid")
    }

    @Test func whoHasSignedOutGetsNoMoreTokens() {
        let first = world.send("POST", "/auth/guest")
        let body = "{\"refresh_token\":\"\(member("refresh_token", first))\"}"
        #expect(status(world.send("POST", "/auth/sign-out", body: body)) == 204)
        #expect(status(world.send("POST", "/auth/refresh", body: body)) == 401)
        #expect(status(world.send("POST", "/auth/sign-out", body: body)) == 204)
    }

    /// A bad token in the field closes no door that is open to everybody.
    @Test func signingInNeedsNoToken() {
        #expect(status(world.send("POST", "/auth/guest", fields: "Authorization: Bearer x\r\n")) == 201)
    }

    @Test func whereNoTokensAreMadeNobodySignsIn() throws {
        let other = try RESTWorld(access: .trusting(try TestIssuer()))
        #expect(status(other.send("POST", "/auth/guest")) == 404)
        #expect(status(other.send("POST", "/auth/session", fields: Self.own)) == 404)
    }

    @Test func withoutAccessThereIsNothingToSignInTo() throws {
        #expect(status(try RESTWorld().send("POST", "/auth/guest")) == 404)
    }

    @Test func whatOthersHaveToKnowIsThere() {
        let resource = world.send("GET", "/.well-known/oauth-protected-resource")
        #expect(
            resource.contains("\"resource\":\"http://h\"") && resource.contains("\"jwks_uri\":\"http://h/.well-known/"))
        #expect(resource.contains("\"bearer_methods_supported\":[\"header\"]"))
        // RFC 9728 §3.2: what would be an empty list is left out.
        #expect(!resource.contains("authorization_servers"))
    }

    // MARK: Pages

    @Test func aPagesSessionIsInCookiesThatNoScriptReads() {
        let begun = world.send("POST", "/auth/session", fields: Self.own)
        #expect(status(begun) == 200 && member("access_token", begun).isEmpty)
        let lines = begun.split(separator: "\r\n").filter { $0.lowercased().hasPrefix("set-cookie:") }
        #expect(lines.count == 2)
        for line in lines { #expect(line.hasSuffix("; HttpOnly; SameSite=Lax") && line.contains("; Path=/; ")) }
        #expect(cookies(begun).map { $0.prefix { $0 != "=" } } == ["cabstand-access", "cabstand-refresh"])

        let cookie = cookieField(begun)
        let shown = world.send("GET", "/auth/session", fields: cookie)
        #expect(member("subject", shown) == member("subject", begun) && shown.contains("\"roles\":[\"rider\"]"))
        let booked = world.send("POST", "/trips", body: Self.place, fields: cookie + Self.own)
        #expect(member("rider_id", booked) == member("subject", begun))

        // A page that is loaded again uses nothing up: an answer that is lost then ends nothing.
        for _ in 0..<3 {
            let again = world.send("POST", "/auth/session", fields: cookie + Self.own)
            #expect(status(again) == 200 && member("subject", again) == member("subject", begun))
            #expect(cookies(again).isEmpty && again.contains("\"expires_in\":"))
        }
        // Without an access token that is good for a while the session goes on with the next ones, in the same name.
        let refresh = "Cookie: \(cookies(begun)[1])\r\n"
        let next = world.send("POST", "/auth/session", fields: refresh + Self.own)
        #expect(member("subject", next) == member("subject", begun) && cookies(next) != cookies(begun))
        // One that has ended somewhere else is followed by another guest's.
        let other = world.send("POST", "/auth/session", fields: refresh + Self.own)
        #expect(status(other) == 200 && member("subject", other) != member("subject", begun))

        let ended = world.send("DELETE", "/auth/session", fields: cookieField(next) + Self.own)
        #expect(status(ended) == 204 && cookies(ended) == ["cabstand-access=", "cabstand-refresh="])
        #expect(ended.contains("Max-Age=0"))
        let body = "{\"refresh_token\":\"\(cookies(next)[1].dropFirst("cabstand-refresh=".count))\"}"
        #expect(status(world.send("POST", "/auth/refresh", body: body)) == 401)
    }

    /// TLS has ended at a proxy: the page says so.
    @Test func overTLSTheCookiesAreThisHostsAlone() {
        let begun = world.send("POST", "/auth/session", fields: "Origin: https://h\r\n")
        let lines = begun.split(separator: "\r\n").filter { $0.lowercased().hasPrefix("set-cookie:") }
        #expect(lines.count == 2 && lines.allSatisfy { $0.hasSuffix("; SameSite=Lax; Secure") })
        #expect(cookies(begun).allSatisfy { $0.hasPrefix("__Host-cabstand-") })
        #expect(status(world.send("GET", "/trips", fields: cookieField(begun))) == 200)
    }

    /// A browser sends cookies with whatever any page does.
    @Test func cookiesCountForOwnPagesAlone() throws {
        let begun = world.send("POST", "/auth/session", fields: Self.own)
        let cookie = cookieField(begun)
        for origin in ["", "Origin: http://evil.example\r\n", "Origin: null\r\n", "Origin: http://h:81\r\n"] {
            let booked = world.send("POST", "/trips", body: Self.place, fields: cookie + origin)
            #expect(status(booked) == 403 && member("code", booked) == "foreign-origin", "\(origin)")
            #expect(status(world.send("POST", "/auth/session", fields: cookie + origin)) == 403)
            #expect(status(world.send("DELETE", "/auth/session", fields: cookie + origin)) == 403)
        }
        #expect(status(world.send("GET", "/trips", fields: cookie + "Origin: http://evil.example\r\n")) == 403)
        // Neither where pages of every origin may use the API with a token of their own.
        let open = try RESTWorld(origins: ["*"], access: .own(try #require(SigningKey())))
        let mine = cookieField(open.send("POST", "/auth/session", fields: Self.own))
        let foreign = open.send("POST", "/trips", body: Self.place, fields: mine + "Origin: http://evil.example\r\n")
        #expect(status(foreign) == 403)
    }

    @Test func cookiesThatSayTwoThingsSayNothing() {
        let begun = world.send("POST", "/auth/session", fields: Self.own)
        let access = cookies(begun)[0]
        #expect(status(world.send("GET", "/trips", fields: "Cookie: a=b; \(access); c=d\r\n")) == 200)
        #expect(status(world.send("GET", "/trips", fields: "Cookie: \(access)\r\nCookie: \(access)\r\n")) == 200)
        #expect(status(world.send("GET", "/trips", fields: "Cookie: \(access); cabstand-access=x\r\n")) == 401)
        #expect(status(world.send("GET", "/trips", fields: "Cookie: x\(access)\r\n")) == 401)
        // One that is none is nobody's, and closes no public door.
        let spoilt = "Cookie: cabstand-access=x\r\n"
        let refused = world.send("GET", "/trips", fields: spoilt)
        #expect(status(refused) == 401 && !refused.contains("invalid_token"))
        world.scripts.set { $0.find = { _, _ in .success(Driver_V1_FindAvailableDriversResponse()) } }
        #expect(status(world.send("GET", "/drivers/available", fields: spoilt)) == 200)
    }
}

/// Tokens of WebSockets that can set no field, in virtual time.
@Suite struct SocketTokenTests {
    private func world() throws -> (LiveWorld, SigningKey) {
        let key = try #require(SigningKey())
        let world = try LiveWorld(access: .own(key))
        world.putDriver("ada", 1, 2)
        world.putTrip("t", driver: "ada")
        world.run(1)
        return (world, key)
    }

    private func token(_ key: SigningKey, _ subject: String, _ role: Role, seconds: Int64 = 600) -> String {
        TokenSigner(key: key, audience: "cabstand").token(
            for: subject, [role], seconds: seconds, at: 1_700_000_000, id: "x", client: "test") ?? ""
    }

    private func head(_ world: LiveWorld, _ path: String, _ fields: String) -> String {
        let browser = world.open(path, fields: fields)
        world.run(1)
        return browser.head
    }

    @Test func aSubprotocolCarriesATokenAndIsAnsweredByNobody() throws {
        let (world, key) = try world()
        let text = token(key, "rider", .rider)
        let bearer = "base64url.bearer.authorization.cabstand.\(Base64URL.encode(Array(text.utf8).span))"
        func head(_ protocols: String) -> String {
            self.head(world, "/ws/trips/t", "Sec-WebSocket-Protocol: \(protocols)\r\n")
        }
        let opened = head("cabstand.v1, \(bearer)")
        #expect(opened.hasPrefix("HTTP/1.1 101") && opened.contains("Sec-WebSocket-Protocol: cabstand.v1\r\n"))
        #expect(!opened.contains("base64url"))
        #expect(head("\(bearer), chat").hasPrefix("HTTP/1.1 101"))
        #expect(head("cabstand.v1").hasPrefix("HTTP/1.1 401"))
        #expect(head("\(bearer), \(bearer)").hasPrefix("HTTP/1.1 400"))
        #expect(head("base64url.bearer.authorization.cabstand.+").hasPrefix("HTTP/1.1 400"))
        #expect(head("base64url.bearer.authorization.cabstand.").hasPrefix("HTTP/1.1 401"))
        #expect(head("base64url.bearer.authorization.cabstand.eHg").hasPrefix("HTTP/1.1 401"))
    }

    @Test func aSessionsCookieOpensSocketsOfItsOwnPageAlone() throws {
        let (world, key) = try world()
        let cookie = "Cookie: cabstand-access=\(token(key, "rider", .rider))\r\n"
        #expect(head(world, "/ws/trips/t", cookie + "Origin: http://localhost:8080\r\n").hasPrefix("HTTP/1.1 101"))
        #expect(head(world, "/ws/trips/t", cookie).hasPrefix("HTTP/1.1 403"))
        #expect(head(world, "/ws/trips/t", cookie + "Origin: http://evil.example\r\n").hasPrefix("HTTP/1.1 403"))
    }

    @Test func aTicketOpensOneSocketOnce() throws {
        let (world, key) = try world()
        func ticket(_ path: String, _ subject: String = "rider") -> String {
            let answer = world.ask(
                "POST", "/ws/tickets", body: "{\"path\":\"\(path)\"}",
                fields: "Authorization: Bearer \(token(key, subject, .rider))\r\n")
            let start = answer.firstRange(of: "\"ticket\":\"")
            return start.map { String(answer[$0.upperBound...].prefix { $0 != "\"" }) } ?? answer
        }
        let first = ticket("/ws/trips/t")
        #expect(head(world, "/ws/trips/t?ticket=\(first)", "").hasPrefix("HTTP/1.1 101"))
        #expect(head(world, "/ws/trips/t?ticket=\(first)", "").hasPrefix("HTTP/1.1 401"))
        #expect(head(world, "/ws/trips/t?ticket=", "").hasPrefix("HTTP/1.1 401"))
        #expect(head(world, "/ws/drivers/available?ticket=\(ticket("/ws/trips/t"))", "").hasPrefix("HTTP/1.1 401"))
        // It is worth no more than its owner.
        #expect(head(world, "/ws/trips/t?ticket=\(ticket("/ws/trips/t", "eve"))", "").hasPrefix("HTTP/1.1 404"))
        #expect(head(world, "/ws/trips/t?ticket=a&ticket=b", "").hasPrefix("HTTP/1.1 400"))
        let list = ticket("/ws/drivers/available")
        #expect(head(world, "/ws/drivers/available?limit=5&ticket=\(list)", "").hasPrefix("HTTP/1.1 101"))
        for path in ["/trips/t", "/ws/trips/t?x", "https://evil.example/ws/", "/ws/ "] {
            #expect(ticket(path).contains("HTTP/1.1 422"), "\(path)")
        }
    }

    @Test func aNextTokenInBandKeepsASocketOpen() throws {
        let (world, key) = try world()
        func open(_ path: String, _ subject: String, _ role: Role) -> Browser {
            world.open(path, fields: "Authorization: Bearer \(token(key, subject, role, seconds: 60))\r\n")
        }
        func message(_ text: String) -> String { "{\"type\":\"token\",\"token\":\"\(text)\"}" }
        let (trip, list) = (open("/ws/trips/t", "rider", .rider), open("/ws/drivers/available", "rider", .rider))
        let (uplink, other) = (open("/ws/drivers/ada/location", "ada", .driver), open("/ws/trips/t", "rider", .rider))
        world.run(1)
        for browser in [trip, list] { browser.send(message(token(key, "rider", .rider, seconds: 3600))) }
        uplink.send(message(token(key, "ada", .driver, seconds: 3600)))
        // Somebody else's, the same name in another role, one that is none.
        for bad in [token(key, "eve", .rider, seconds: 3600), token(key, "rider", .driver, seconds: 3600), "x.y.z"] {
            other.send(message(bad))
        }
        world.run(1)
        for browser in [trip, list, uplink] {
            #expect(browser.messages.contains { $0.hasPrefix("{\"type\":\"token\",\"expires_at\":\"2023-") })
        }
        let refusals = other.messages.filter { $0.contains("\"type\":\"error\"") }
        #expect(refusals.map { $0.contains("\"code\":\"not-yours\"") } == [true, true, false])
        #expect(refusals.last?.contains("\"code\":\"invalid-token\"") == true)
        world.run(120)
        #expect(other.closeCode == 3005)
        #expect([trip, list, uplink].map(\.closeCode) == [nil, nil, nil])
        world.run(3600)
        #expect([trip, list, uplink].map(\.closeCode) == [3005, 3005, 3005])
    }

    /// A token that is good costs a look at all WebSockets: one that gains nothing counts as a bad message.
    @Test func renewingAgainAndAgainEndsASocket() throws {
        let (world, key) = try world()
        let browser = world.open(
            "/ws/trips/t", fields: "Authorization: Bearer \(token(key, "rider", .rider, seconds: 60))\r\n")
        world.run(1)
        for seconds in [3600, 3600, 3630] + Array(repeating: 3600, count: 100) {
            browser.send(
                "{\"type\":\"token\",\"token\":\"\(token(key, "rider", .rider, seconds: Int64(seconds)))\"}")
        }
        world.run(5)
        #expect(browser.messages.filter { $0.hasPrefix("{\"type\":\"token\"") }.count == 1)
        #expect(browser.messages.contains { $0.contains("\"code\":\"invalid-body\"") })
        #expect(browser.closeCode == 3509)
    }

    @Test func aTicketsSocketEndsWithTheTokenThatWasShownForIt() throws {
        let (world, key) = try world()
        let answer = world.ask(
            "POST", "/ws/tickets", body: "{\"path\":\"/ws/trips/t\"}",
            fields: "Authorization: Bearer \(token(key, "rider", .rider, seconds: 60))\r\n")
        let start = try #require(answer.firstRange(of: "\"ticket\":\""))
        let ticket = answer[start.upperBound...].prefix { $0 != "\"" }
        let browser = world.open("/ws/trips/t?ticket=\(ticket)")
        world.run(70)
        #expect(browser.head.hasPrefix("HTTP/1.1 101") && browser.closeCode == nil)
        world.run(30)
        #expect(browser.closeCode == 3005)
    }
}
