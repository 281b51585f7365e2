import Basics
import HTTPClient
import HTTPServer
import Operations
import Reactor
import Settings
import TestSupport
import Testing

@testable import DriverSimulator

/// Simulated drivers sign in as drivers' apps do.
@Suite struct SignInTests {
    private let first = "sim-0001"

    @Test func eachDriverHasATokenOfItsOwn() throws {
        let world = try SignInWorld(drivers: 20)
        world.run(5)
        #expect(world.positions.count == 20 && world.positions.values.allSatisfy { $0.count >= 3 })
        #expect(world.registrations == 20 && world.codes.count == 20 && Set(world.codes).count == 20)
        #expect(world.refusals.isEmpty && world.strange == 0)
    }

    @Test func whereNobodyIsAskedNobodyIsEnrolled() throws {
        let world = try SignInWorld(drivers: 5, signsIn: false)
        world.run(5)
        #expect(world.positions.count == 5)
        #expect(world.codes.isEmpty && world.requests.isEmpty)
    }

    @Test func tokensAreRefreshedBeforeTheyEnd() throws {
        let world = try SignInWorld(drivers: 10)
        world.life = 10
        world.run(5)
        let start = world.network.now
        world.run(300)
        for driver in world.positions.keys { #expect(world.longestGap(driver, from: start) < 1.2, "\(driver)") }
        #expect(world.positions.count == 10 && world.codes.count == 10 && world.refusals.isEmpty)
        // Every 6 to 8 s, each token once.
        #expect((370...510).contains(world.refreshed.count), "\(world.refreshed.count)")
        #expect(Set(world.refreshed).count == world.refreshed.count)
    }

    /// Those that began together do not come back together.
    @Test func refreshesAreSpread() throws {
        let world = try SignInWorld(drivers: 60)
        world.life = 300
        world.run(245)
        let refreshes = world.requests.filter { $0.path == "/auth/refresh" }
        #expect(refreshes.count == 60)
        let seconds = Dictionary(grouping: refreshes) { $0.at / 1_000_000_000 }
        #expect(seconds.values.allSatisfy { $0.count <= 6 }, "\(seconds.values.map(\.count).max() ?? 0)")
        #expect(world.refusals.isEmpty && world.codes.count == 60)
    }

    @Test func aRevokedDriverSignsInAgain() throws {
        let world = try SignInWorld(drivers: 3)
        world.run(10)
        let start = world.network.now
        world.revoke(first)
        world.run(10)
        #expect(world.codes.filter { $0 == first }.count == 2 && world.codes.count == 4)
        #expect(world.longestGap(first, from: start) < 4)
        #expect(world.longestGap("sim-0002", from: start) < 1.2)
    }

    /// Tokens that the gateway makes and the service does not believe, for ever: fewer and fewer tries.
    @Test func tokensThatAreNeverTakenAreAskedForSeldom() throws {
        let world = try SignInWorld(drivers: 1)
        world.believesTokens = false
        world.run(600)
        // After 1 s, 2 s, 4 s, … 60 s.
        #expect((10...20).contains(world.codes.count), "\(world.codes.count)")
        #expect(world.positions.isEmpty)
        world.believesTokens = true
        world.run(75)
        #expect(world.positions.count == 1)
    }

    /// Twice would mean that somebody has stolen it.
    @Test func aRefreshTokenWhoseAnswerIsLostIsNotShownAgain() throws {
        let world = try SignInWorld(drivers: 1)
        world.life = 100
        world.run(5)
        world.losesRefreshes = true
        let start = world.network.now
        world.run(90)
        #expect(world.refreshed.count == 1 && world.codes.count == 2)
        world.losesRefreshes = false
        world.run(200)
        #expect(Set(world.refreshed).count == world.refreshed.count && world.refusals.isEmpty)
        #expect(world.longestGap(first, from: start) < 1.2)
    }

    @Test func aServiceThatRefusesTheSimulatorIsAskedSeldom() throws {
        let world = try SignInWorld(drivers: 200)
        world.takesRegistrations = false
        world.run(60)
        // Sixteen drivers, after 1 s, 2 s, 4 s, 5 s, …
        #expect((16 * 10...16 * 18).contains(world.registrations), "\(world.registrations)")
        #expect(world.codes.isEmpty)
        world.takesRegistrations = true
        world.run(12)
        #expect(world.positions.count == 200)
    }

    @Test func aGatewayThatIsNotThereYetIsAskedSeldom() throws {
        let world = try SignInWorld(drivers: 200, listens: false)
        world.run(120)
        // Eight at a time, after 250 ms, 500 ms, … 5 s.
        #expect((100...300).contains(world.codes.count), "\(world.codes.count)")
        #expect(world.positions.isEmpty && world.registrations == 16)
        try world.openGateway()
        world.run(12)
        #expect(world.positions.count == 200)
    }

    @Test func aGatewayThatSaysWhenIsAskedThen() throws {
        for status in [429, 503] {
            let world = try SignInWorld(drivers: 20, listens: false)
            world.gatewayAnswer = (status, ["Retry-After": "40"])
            try world.openGateway()
            world.run(39)
            #expect((1...8).contains(world.requests.count), "\(status): \(world.requests.count)")
            world.gatewayAnswer = nil
            world.run(8)
            #expect(world.positions.count == 20, "\(status)")
        }
    }

    /// Others of the address have half of what it may ask.
    @Test func twoHundredLeaveHalfToOthers() throws {
        let world = try SignInWorld(drivers: 200, listens: false)
        world.quota = RateQuota(5, per: .seconds(1), burst: 300)
        try world.openGateway()
        world.run(3)
        #expect(world.positions.count >= 130)
        world.run(12)
        #expect(world.positions.count == 200, "\(world.positions.count)")
        // What was under way.
        #expect(world.left.min().map { $0 >= 140 } == true, "\(world.left.min() ?? 0)")
    }

    @Test func whoIsDeletedStaysOffTheRoad() throws {
        let world = try SignInWorld(drivers: 3)
        world.run(5)
        world.deleted = [first]
        world.revoke(first)
        world.run(60)
        let (codes, refusals) = (world.codes.count, world.refusals.count)
        #expect(world.codes.filter { $0 == first }.count == 2)
        let start = world.network.now
        world.run(600)
        #expect(world.codes.count == codes && world.refusals.count == refusals && world.registrations == 3)
        #expect(world.longestGap(first, from: start) > 599)
        #expect(world.longestGap("sim-0002", from: start) < 1.2)
    }

    @Test func whoIsSuspendedComesBackWhenRestored() throws {
        let world = try SignInWorld(drivers: 2)
        world.run(5)
        world.suspend(first, true)
        let start = world.network.now
        world.run(120)
        #expect(world.longestGap(first, from: start) > 119 && world.longestGap("sim-0002", from: start) < 1.2)
        #expect(world.returned.isEmpty)
        world.suspend(first, false)
        world.run(20)
        #expect(world.returned == [first])
        let back = world.network.now
        world.run(20)
        #expect(world.longestGap(first, from: back) < 1.2)
        #expect(world.codes.count == 2)
    }

    // MARK: What is read

    @Test func answersAreReadAsTheyAreWritten() {
        func read(_ text: String) -> DriverTokens? { DriverTokens(json: Array(text.utf8)) }
        let tokens = read(
            #"{"access_token":"a.b","token_type":"bearer","expires_in":900,"refresh_token":"c","scope":"driver"}"#)
        #expect(tokens?.access == "a.b" && tokens?.refresh == "c" && tokens?.life == 900_000_000_000)
        for bad in [
            "", "[]", "{}", #"{"access_token":"a","token_type":"Bearer","expires_in":900}"#,
            #"{"access_token":"a b","token_type":"Bearer","expires_in":900,"refresh_token":"c"}"#,
            #"{"access_token":"a","token_type":"mac","expires_in":900,"refresh_token":"c"}"#,
            #"{"access_token":"a","token_type":"Bearer","expires_in":-1,"refresh_token":"c"}"#,
            #"{"access_token":"a","token_type":"Bearer","expires_in":1e99,"refresh_token":"c"}"#,
        ] { #expect(read(bad) == nil, "\(bad)") }
        let long = read(
            #"{"access_token":"a","token_type":"Bearer","expires_in":9223372036854775807,"refresh_token":"c"}"#)
        #expect(long?.life == 86_400_000_000_000)
    }

    @Test func halfOfTheShareIsForOthers() {
        func wait(_ policy: String?, _ left: String?) -> UInt64? {
            var fields = HTTPClientFields()
            if let policy { fields.add("RateLimit-Policy", policy) }
            if let left { fields.add("RateLimit", left) }
            return AddressShare(fields)?.wait
        }
        let policy = "\"token\";q=300;w=60"
        #expect(wait(policy, "\"token\";r=150;t=30") == 0)
        #expect(wait(policy, "\"token\";r=149;t=31") == 200_000_000)
        #expect(wait(policy, "\"token\"; t=60;r=0, \"read\";r=9;t=1") == 10_000_000_000)
        #expect(wait("\"token\";q=1;w=1", "\"token\";r=0;t=1") == 1_000_000_000)
        for (policy, left) in [
            (nil, "\"token\";r=0;t=1"), (policy, nil), ("\"token\";q=0;w=60", "\"token\";r=0"), ("", ""),
            ("\"token\";q=-5;w=60", "\"token\";r=0"), (policy, "\"token\";r=99999999999999999999"),
        ] as [(String?, String?)] { #expect(wait(policy, left) == nil, "\(policy ?? "") \(left ?? "")") }
    }

    @Test func settingsThatCanNotWorkAreRefused() throws {
        let folder = TemporaryFolder()
        let file = folder.write("secret", String(repeating: "0123456789", count: 4) + "\n")
        let secret = ["CABSTAND_SERVICE_SECRET": file]
        func origin(
            _ environment: [String: String], of program: SettingsDeclaration<CabstandSettings> = .simulator,
            own: SocketAddress? = nil
        ) throws -> String? {
            guard case .run(let settings) = try program.read(arguments: [], environment: environment) else {
                preconditionFailure("a help text was not asked for")
            }
            return try SimulatorGateway.of(settings, own: own).map { "\($0.origin)" }
        }
        func refusal(_ ask: () throws -> String?) -> String {
            do {
                return try ask().map { "taken: \($0)" } ?? "off"
            } catch {
                return "\(error)"
            }
        }
        func with(_ more: [String: String]) -> [String: String] { secret.merging(more) { $1 } }
        #expect(try origin(["CABSTAND_AUTH": "off"]) == nil)
        #expect(try origin(secret) == "http://127.0.0.1:8080")
        #expect(try origin(with(["CABSTAND_GATEWAY": "https://rides.example"])) == "https://rides.example")
        #expect(refusal { try origin([:]) }.contains("CABSTAND_SERVICE_SECRET"))
        for bad in ["gateway:8080", "ftp://gateway", "http://gateway/path", "http://a b", "http://gateway/#x", ""] {
            let words = refusal { try origin(with(["CABSTAND_GATEWAY": bad])) }
            #expect(words.hasPrefix("CABSTAND_GATEWAY"), "\(bad): \(words)")
        }
        // The all-in-one program's own.
        let own = SocketAddress.any(port: 8081)
        let certificate = TestCertificate.shared
        let tls = ["CABSTAND_TLS_CERT": certificate.certificatePath, "CABSTAND_TLS_KEY": certificate.keyPath]
        #expect(try origin(secret, of: .cabstand, own: own) == "http://127.0.0.1:8081")
        #expect(try origin(with(tls), of: .cabstand, own: own) == "https://127.0.0.1:8081")
        let proxied = with(["CABSTAND_PROXY_PROTOCOL": "required"])
        #expect(refusal { try origin(proxied, of: .cabstand, own: own) }.contains("CABSTAND_GATEWAY names"))
        let named = proxied.merging(["CABSTAND_GATEWAY": "http://balancer"]) { $1 }
        #expect(try origin(named, of: .cabstand, own: own) == "http://balancer")
    }
}
