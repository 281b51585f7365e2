import Access
import HTTPServer
import Operations
import Reactor
import ReactorSim
import Settings
import Testing

@testable import GatewayService

/// A gateway with limits, in virtual time.
private final class LimitedWorld {
    let world: LiveWorld
    let issuer: TestIssuer

    /// - Parameters:
    ///   - rates: `CABSTAND_RATE_LIMIT`.
    ///   - counts: `CABSTAND_CONNECTION_LIMIT`.
    init(_ rates: String, counts: String = "off", asks: Bool = true) throws {
        issuer = try TestIssuer()
        world = try LiveWorld(
            access: asks ? .trusting(issuer) : nil, rates: try Self.limits(rates, auth: asks ? "required" : "off"),
            proxies: try TrustedProxies(["127.0.0.1"]),
            counts: try Self.settings(["CABSTAND_CONNECTION_LIMIT": counts])
                .connectionLimit.counts(isGuarded: true).map(ConnectionCounts.init))
        world.putTrip("t", driver: "car")
        world.putDriver("car", 1, 2)
        world.run(1)
    }

    static func limits(_ text: String, auth: String = "required") throws -> ClientLimits? {
        let settings = try settings(["CABSTAND_RATE_LIMIT": text, "CABSTAND_AUTH": auth])
        return settings.rateLimit.policies(isGuarded: auth == "required").map(ClientLimits.init)
    }

    static func settings(_ environment: [String: String]) throws -> ProgramSettings {
        guard case .run(let settings) = try SettingsDeclaration.gateway.read(arguments: [], environment: environment)
        else { throw GatewayStartError(description: "nothing to run") }
        return settings
    }

    /// One request on a connection of its own, through a proxy that names `address`.
    func ask(
        _ method: String = "GET", _ path: String = "/trips/t", as fields: String = "",
        from address: String = "192.0.2.1",
        body: String? = nil
    ) -> String {
        let peer = world.connect()
        var text = "\(method) \(path) HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 9.9.9.9, \(address)\r\n\(fields)"
        if let body { text += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n" }
        peer.send(Array("\(text)\r\n\(body ?? "")".utf8))
        world.run(0.01)
        let answer = String(decoding: peer.takeReceived(), as: UTF8.self)
        peer.close()
        return answer
    }

    func status(_ answer: String) -> Int { Int(answer.split(separator: " ").dropFirst().first ?? "") ?? 0 }
}

extension String {
    /// The value of a field of an answer.
    fileprivate func field(_ name: String) -> String? {
        split(separator: "\r\n").first { $0.lowercased().hasPrefix(name + ": ") }
            .map { String($0.dropFirst(name.count + 2)) }
    }
}

@Suite struct LimitTests {
    private static let place = "{\"pickup\":{\"lat\":1,\"lon\":2},\"dropoff\":{\"lat\":3,\"lon\":4}}"
    private static let list = "/drivers/available?lat=1&lon=2"

    /// Everybody comes by a reverse proxy: its address is none that could come too often.
    @Test func aReverseProxyIsNoCrowdOfItsOwn() throws {
        let loop = try SimulatedNetwork(seed: 1).makeLoop()
        let rates = try LimitedWorld.limits("connect=1/h")
        let limits = try #require(rates.map { LoopLimits($0, loop: loop) })
        let door = LoopDoor(
            loop: loop, counts: ConnectionCounts([.address: 2, .all: 40]), limits: limits,
            proxies: try TrustedProxies(["10.0.0.0/8"]))
        let proxy = try #require(SocketAddress(ip: "10.0.0.7", port: 1))
        let other = try #require(SocketAddress(ip: "192.0.2.7", port: 1))
        #expect((0..<3).map { _ in door.admits(other) } == [true, true, false])
        #expect((0..<38).allSatisfy { _ in door.admits(proxy) })
        // All there may be are there.
        #expect(!door.admits(proxy))
        door.ended(other, mark: 0)
        #expect(door.admits(proxy))
    }

    @Test func aPrincipalIsLimitedAcrossAddressesAndNobodyElseIs() throws {
        let world = try LimitedWorld("read=2/m")
        let (rider, driver) = (world.issuer.field("rider", "rider"), world.issuer.field("car", "driver"))
        #expect(world.status(world.ask(as: rider, from: "192.0.2.1")) == 200)
        #expect(world.status(world.ask(as: rider, from: "198.51.100.1")) == 200)
        let refusal = world.ask(as: rider, from: "203.0.113.1")
        #expect(world.status(refusal) == 429)
        #expect(world.status(world.ask(as: driver, from: "192.0.2.1")) == 200)
        // Another class is another limit.
        #expect(world.status(world.ask("POST", "/trips", as: rider, body: Self.place)) == 201)
        #expect(refusal.field("retry-after") == "30")
        #expect(refusal.field("ratelimit-policy") == "\"read\";q=2;w=60")
        #expect(refusal.field("ratelimit") == "\"read\";r=0;t=60")
        #expect(refusal.field("content-type") == "application/problem+json")
        #expect(refusal.contains("\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\""))
        #expect(refusal.contains("\"code\":\"rate-limited\"") && refusal.contains("\"violated-policies\":[\"read\"]"))
    }

    /// Twenty times what one may: the street behind an address, whoever is in it.
    @Test func anAddressIsLimitedAcrossPrincipals() throws {
        let world = try LimitedWorld("read=1/m")
        func ask(_ number: Int, _ address: String) -> String {
            world.ask("GET", "/trips", as: world.issuer.field("rider\(number)", "rider"), from: address)
        }
        // What becomes of the question is not the gateway's to say here: nobody lists trips.
        let street = (0..<21).map { world.status(ask($0, "192.0.2.7")) }
        #expect(street.dropLast().allSatisfy { $0 != 429 } && street.last == 429)
        #expect(world.status(ask(21, "192.0.2.8")) != 429)
        let refusal = ask(22, "192.0.2.7")
        #expect(refusal.field("ratelimit-policy") == "\"read\";q=20;w=60" && refusal.field("retry-after") == "3")
        // Who is refused for their own part takes nothing from the street's.
        for _ in 0..<30 { _ = ask(23, "192.0.2.9") }
        #expect(world.status(ask(24, "192.0.2.9")) != 429)
        // An operator's programs act for many.
        let olga = world.issuer.field("olga", "operator")
        let operators = (0..<21).map { world.status(world.ask(as: olga, from: "192.0.3.\($0)")) }
        #expect(operators == Array(repeating: 200, count: 20) + [429])
    }

    @Test func whoSaysNothingIsTheirAddress() throws {
        let world = try LimitedWorld("read=1/m")
        func ask(_ address: String) -> Int { world.status(world.ask("GET", Self.list, from: address)) }
        #expect([ask("192.0.2.1"), ask("192.0.2.1:4711"), ask("192.0.2.2")] == [200, 429, 200])
        #expect(ask("::ffff:192.0.2.1") == 429)
        // One /64 is one subscriber.
        #expect([ask("2001:db8:0:1::1"), ask("[2001:db8:0:1:ffff::2]:80"), ask("2001:db8:0:2::1")] == [200, 429, 200])
        // Whom the proxy hides is the proxy.
        #expect([ask("unknown"), ask("_hidden")] == [200, 429])
        // Having a token is another matter than having none.
        #expect(world.status(world.ask(as: world.issuer.field("rider", "rider"), from: "192.0.2.1")) == 200)
    }

    /// Each refusal by role is a line and a record of the audit: it counts like what is answered.
    @Test func whoIsRefusedHasAsked() throws {
        let world = try LimitedWorld("write=2/m,read=2/m")
        let (rider, driver) = (world.issuer.field("rider", "rider"), world.issuer.field("car", "driver"))
        func suspend(as fields: String) -> Int {
            world.status(world.ask("POST", "/drivers/car/suspend", as: fields, body: #"{"reason":"I want to"}"#))
        }
        #expect((0..<4).map { _ in suspend(as: rider) } == [403, 403, 429, 429])
        #expect(suspend(as: driver) == 403)
        #expect((0..<4).map { _ in world.status(world.ask(from: "192.0.2.9")) } == [401, 401, 429, 429])
        #expect(world.status(world.ask(from: "192.0.2.8")) == 401)
    }

    @Test func aBurstIsPaidForToTheMillisecond() throws {
        let world = try LimitedWorld("booking=10/m:3")
        let rider = world.issuer.field("rider", "rider")
        func book() -> String { world.ask("POST", "/trips", as: rider, body: Self.place) }
        let start = world.world.network.now
        let answers = (0..<4).map { _ in book() }
        #expect(answers.map(world.status) == [201, 201, 201, 429])
        #expect(
            answers.map { $0.field("ratelimit-policy") ?? "" } == Array(repeating: "\"booking\";q=3;w=18", count: 4))
        #expect(
            answers.map { $0.field("ratelimit") ?? "" } == [
                "\"booking\";r=2;t=6", "\"booking\";r=1;t=12", "\"booking\";r=0;t=18", "\"booking\";r=0;t=18",
            ])
        #expect(answers[3].field("retry-after") == "6")
        // The first of the burst is paid for six seconds after it came, which took some hundred microseconds.
        world.world.network.run(for: start + 6_000_000_000 - world.world.network.now - 5_000_000)
        #expect(world.status(book()) == 429)
        #expect(world.status(book()) == 201)
        #expect(world.status(book()) == 429)
        // An answer that tells how much is left belongs to what changes something.
        #expect(world.ask(as: rider).field("ratelimit") == nil)
    }

    @Test func whatIsNotLimitedIsNot() throws {
        #expect(try LimitedWorld.limits("off") == nil)
        #expect(try LimitedWorld.limits("", auth: "off") == nil)
        let given = try #require(try LimitedWorld.limits("view=off,read=7/h:9", auth: "off"))
        #expect(given.policy(.view) == nil && given.policy(.read)?.quota.burst == 9 && given.policy(.booking) != nil)
        #expect(given.policy(.read)?.count == 7 && given.policy(.read)?.window == 3600)
        let defaults = try #require(try LimitedWorld.limits(""))
        for limit in LimitClass.allCases { #expect(defaults.policy(limit) != nil, "\(limit)") }
        let world = try LimitedWorld("read=off")
        let rider = world.issuer.field("rider", "rider")
        for _ in 0..<300 { #expect(world.status(world.ask(as: rider)) == 200) }
    }

    /// Each new token costs a verification: an address with nothing but forged ones is refused before that, and whose token is
    /// known, or who comes from elsewhere, is not.
    @Test func forgedTokensOfOneAddressAreNotEvenLookedAt() throws {
        let world = try LimitedWorld("token=1/m")
        let (known, new) = (world.issuer.field("rider", "rider"), world.issuer.field("car", "driver"))
        #expect(world.status(world.ask(as: known, from: "192.0.2.1")) == 200)
        let forger = try TestIssuer()
        let answers = (0..<25).map {
            world.status(world.ask(as: forger.field("rider\($0)", "rider"), from: "192.0.2.1"))
        }
        #expect(answers == Array(repeating: 401, count: 19) + Array(repeating: 429, count: 6))
        #expect(world.status(world.ask(as: known, from: "192.0.2.1")) == 200)
        #expect(world.ask(as: new, from: "192.0.2.1").field("ratelimit-policy") == "\"token\";q=20;w=60")
        #expect(world.status(world.ask(as: new, from: "192.0.2.2")) == 200)
    }

    /// A ticket is looked up at another service: made-up ones of one address are refused before that.
    @Test func madeUpTicketsOfOneAddressAreNotEvenLookedUp() throws {
        let world = try LimitedWorld("token=1/m")
        let handshake =
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        func status(_ ticket: Int, from address: String) -> Int {
            world.status(world.ask("GET", "/ws/trips/t?ticket=made-up-\(ticket)", as: handshake, from: address))
        }
        let answers = (0..<25).map { status($0, from: "192.0.2.1") }
        #expect(!answers.prefix(20).contains(429) && answers.suffix(5).allSatisfy { $0 == 429 }, "\(answers)")
        #expect(status(25, from: "192.0.2.2") != 429)
    }

    /// One asks fifty times as much as it may; nobody else waits longer or is refused.
    @Test func whoAsksFiftyTimesAsMuchHoldsNobodyUp() throws {
        let limited = try LimitedWorld("read=20/s")
        let greedy = limited.issuer.field("rider", "rider")
        let neighbour = limited.issuer.field("car", "driver")
        let flood = limited.world.connect()
        let line = Array("GET /trips/t HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n\(greedy)\r\n".utf8)
        var answers = ""
        for turn in 0..<100 {
            for _ in 0..<20 { flood.send(line) }
            if turn % 5 == 0 { #expect(limited.status(limited.ask(as: neighbour)) == 200) }
            limited.world.run(0.01)
            answers += String(decoding: flood.takeReceived(), as: UTF8.self)
        }
        let good = answers.ranges(of: "HTTP/1.1 200 ").count
        let refused = answers.ranges(of: "HTTP/1.1 429 ").count
        // A burst of twenty, and two seconds' worth.
        #expect((40...61).contains(good) && good + refused == 2_000, "\(good) \(refused)")
    }
}

@Suite struct SocketLimitTests {
    @Test func tooManyViewsAreToldAndThenClosed3013() throws {
        let limited = try LimitedWorld("view=2/s:5")
        let viewer = limited.world.open("/ws/drivers/available?lat=1&lon=2&radius_m=500")
        limited.world.run(1)
        func refusals() -> Int { viewer.messages.count { $0.contains("\"code\":\"rate-limited\"") } }
        for _ in 0..<5 { viewer.send("{\"type\":\"ping\"}") }
        limited.world.run(0.1)
        #expect(viewer.messages.count { $0.contains("pong") } == 5 && refusals() == 0)
        viewer.send("{\"type\":\"view\",\"lat\":3,\"lon\":4,\"radius_m\":500}")
        limited.world.run(0.1)
        #expect(refusals() == 1 && viewer.closeCode == nil)
        #expect(
            viewer.messages.last?.hasPrefix("{\"type\":\"error\",\"problem\":{\"type\":\"https://iana.org/") == true)
        // Who slows down is served again.
        limited.world.run(1)
        viewer.send("{\"type\":\"ping\"}")
        limited.world.run(0.1)
        #expect(viewer.messages.last?.contains("pong") == true)
        for _ in 0..<40 { viewer.send("{\"type\":\"ping\"}") }
        limited.world.run(1)
        #expect(viewer.closeCode == 3013 && refusals() == 11)
        // Its neighbour has a limit of their own.
        let other = limited.world.open("/ws/drivers/available?lat=1&lon=2&radius_m=500")
        other.send("{\"type\":\"ping\"}")
        limited.world.run(1)
        #expect(other.closeCode == nil && other.messages.contains { $0.contains("pong") })
    }

    @Test func tooManyPositionsAreToldAndThenClosed3013() throws {
        let limited = try LimitedWorld("uplink=1/s:4")
        let app = limited.world.open("/ws/drivers/car/location", fields: limited.issuer.field("car", "driver"))
        limited.world.run(1)
        for _ in 0..<6 { app.send("{\"lat\":1,\"lon\":2}") }
        limited.world.run(0.5)
        #expect(limited.world.reports.flatMap { $0 }.count == 4 && app.closeCode == nil)
        #expect(app.messages.count { $0.contains("\"code\":\"rate-limited\"") } == 2)
        for _ in 0..<20 { app.send("{\"lat\":1,\"lon\":2}") }
        limited.world.run(1)
        #expect(app.closeCode == 3013)
    }

    @Test func handshakesAreLimitedAsConnections() throws {
        let limited = try LimitedWorld("connect=3/m")
        let rider = limited.issuer.field("rider", "rider")
        let heads = (0..<4).map { _ in
            let browser = limited.world.open("/ws/trips/t", fields: rider)
            limited.world.run(0.1)
            return browser.status
        }
        #expect(heads == [101, 101, 101, 429])
    }
}

@Suite struct ConnectionLimitTests {
    private func isOver(_ peer: SimulatedPeer) -> Bool { peer.hasEnded || peer.isBroken }

    @Test func connectionsAreCountedInAllAndByAddress() throws {
        let limited = try LimitedWorld("off", counts: "all=4,address=2")
        let (home, next) = (SocketAddress(ip: "2001:db8::1", port: 0), SocketAddress(ip: "2001:db8::2", port: 0))
        let other = SocketAddress(ip: "192.0.2.1", port: 0)
        func connect(_ address: SocketAddress?) -> SimulatedPeer {
            let peer = limited.world.connect(from: address)
            limited.world.run(0.1)
            return peer
        }
        let (first, second, third) = (connect(home), connect(next), connect(home))
        #expect([first, second, third].map(isOver) == [false, false, true])
        let more = [connect(other), connect(other), connect(SocketAddress(ip: "192.0.2.2", port: 0))]
        #expect(more.map(isOver) == [false, false, true])
        second.close()
        limited.world.run(0.1)
        #expect(!isOver(connect(home)) && isOver(connect(home)))
        for peer in [first, more[0], more[1]] { peer.reset() }
        limited.world.run(1)
        #expect(try #require(limited.world.counts).sizes == (1, 1, 0))
    }

    /// Twenty times what one client may, since who is behind an address is not known yet.
    @Test func newConnectionsOfAnAddressAreLimitedByRate() throws {
        let limited = try LimitedWorld("connect=1/m", counts: "all=1000")
        let address = SocketAddress(ip: "192.0.2.1", port: 0)
        let peers = (0..<21).map { _ in limited.world.connect(from: address) }
        limited.world.run(0.1)
        #expect(peers.count(where: isOver) == 1)
        let other = limited.world.connect(from: SocketAddress(ip: "192.0.2.2", port: 0))
        limited.world.run(3)
        let again = limited.world.connect(from: address)
        limited.world.run(0.1)
        #expect(!isOver(other) && !isOver(again))
    }

    @Test func socketsOfAPrincipalAreCountedUntilTheyEnd() throws {
        let limited = try LimitedWorld("off", counts: "principal=2")
        func open(_ fields: String) -> Browser {
            let browser = limited.world.open("/ws/trips/t", fields: fields)
            limited.world.run(0.1)
            return browser
        }
        let rider = limited.issuer.field("rider", "rider")
        let browsers = (0..<3).map { _ in open(rider) }
        #expect(browsers.map(\.status) == [101, 101, 429])
        #expect(browsers[2].head.lowercased().contains("retry-after: 60"))
        #expect(open(limited.issuer.field("car", "driver")).status == 101)
        browsers[0].close()
        limited.world.run(0.1)
        #expect(open(rider).status == 101 && open(rider).status == 429)
        let olga = limited.issuer.field("olga", "operator")
        #expect((0..<41).map { _ in open(olga).status } == Array(repeating: 101, count: 40) + [429])
        // A handshake that is refused for another reason counts nothing, however often one connection tries.
        let eve = limited.issuer.field("eve", "rider")
        for _ in 0..<5 { #expect(open(eve).status == 404) }
        #expect(try #require(limited.world.counts).sizes.principals == 3)
    }

    @Test(arguments: [
        "on", "all", "all=", "all=0", "all=-1", "all=1,all=2", "every=1", "all=1,", "all=1x", "all=100000001",
        "all=1,off",
    ])
    func anythingElseIsAnErrorThatSaysWhatIsAllowed(text: String) {
        let error = #expect(throws: SettingsError.self) {
            try LimitedWorld.settings(["CABSTAND_CONNECTION_LIMIT": text])
        }
        let line = error?.lines.first ?? ""
        #expect(line.hasPrefix("CABSTAND_CONNECTION_LIMIT: \"\(text)\" is not allowed"))
        for word in ConnectionLimits.Count.allCases { #expect(line.contains(word.rawValue)) }
    }
}
