import Operations
import Settings
import Testing

@Suite struct RateLimitsTests {
    private func policies(_ text: String) throws -> [LimitClass: LimitPolicy]? {
        let environment = ["CABSTAND_RATE_LIMIT": text]
        let outcome = try SettingsDeclaration.gateway.read(arguments: [], environment: environment)
        guard case .run(let settings) = outcome else { return nil }
        return settings.rateLimit.policies(isGuarded: true)
    }

    @Test(arguments: [
        ("read=50/s", 50, 1, 50, 20_000_000), ("read=10/m", 10, 60, 10, 6_000_000_000),
        ("read=50/s:100", 100, 2, 100, 20_000_000), ("read=50/s:10", 50, 1, 10, 20_000_000),
        ("booking=1/h, read=3/h:1", 1, 1200, 1, 1_200_000_000_000),
        ("read=1000000000/s", 1_000_000_000, 1, 1_000_000_000, 1),
    ])
    func aPolicyIsWhatItSays(text: String, count: Int, window: Int, burst: UInt64, interval: UInt64) throws {
        let policy = try #require(try policies(text)?[.read])
        #expect(policy.count == count && policy.window == window)
        #expect(policy.quota.burst == burst && policy.quota.interval == interval)
    }

    @Test(arguments: [
        "on", "read", "read=", "reads=5/s", "read=5", "read=5/d", "read=0/s", "read=-1/s", "read=+1/s", "read=5/s:",
        "read=5/s:0", "read=5/s:5:5", "read=5/s/s", "read=5/s,", "read=5/s,read=6/s", "READ=5/s", "read=5/sm",
        "read=1000000001/s", "read=99999999999999999999/s", "read =5/s", "read=5 /s", "read=5.5/s", "off,read=5/s",
        "read=off/s",
    ])
    func anythingElseIsAnErrorThatSaysWhatIsAllowed(text: String) {
        let error = #expect(throws: SettingsError.self) { try policies(text) }
        let line = error?.lines.first ?? ""
        #expect(line.hasPrefix("CABSTAND_RATE_LIMIT: \"\(text)\" is not allowed"))
        for word in LimitClass.allCases { #expect(line.contains(word.rawValue)) }
        #expect(line.contains("; s, m, h") && line.contains("off"))
    }
}
