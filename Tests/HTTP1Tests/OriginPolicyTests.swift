import HTTP1
import Testing

private func allows(
    _ origin: String, _ authority: String, scheme: OriginPolicy.Scheme = .unknown, by policy: OriginPolicy = .init()
) -> Bool {
    policy.allows(origin: Array(origin.utf8).span, authority: Array(authority.utf8).span, scheme: scheme)
}

@Suite struct OriginPolicyTests {
    /// RFC 6454 §4: a port that is left out is the scheme's own. Behind `proxy_set_header Host $host:$server_port` every
    /// POST and every WebSocket was refused.
    @Test(arguments: [
        ("https://name", "name:443"), ("https://name:443", "name"), ("https://name", "name"),
        ("http://name", "name:80"),
        ("http://name:80", "name"), ("http://name:8080", "name:8080"), ("HTTP://Name:8080", "nAME:8080"),
        ("http://[::1]:8080", "[::1]:8080"), ("http://[::1]", "[::1]"), ("http://name", "name:"),
        ("http://127.0.0.1:1", "127.0.0.1:1"),
    ])
    func rfc6454_5_theSameHost(origin: String, authority: String) {
        #expect(allows(origin, authority))
    }

    @Test(arguments: [
        ("https://name", "name:80"), ("http://name", "name:443"), ("http://name:8080", "name"),
        ("http://name", "name:8080"),
        ("http://evil-name:1", "name:1"), ("http://name.evil", "name"), ("http://name", "name.evil"), ("null", "null"),
        ("name", "name"), ("//name", "name"), ("://name", "name"), ("http://", ""), ("", ""), ("http://name/", "name"),
        ("http://name@evil", "evil"), ("http://user@name", "name"), ("http://name:99999", "name:99999"),
        ("http://name:0", "name:0"), ("http://na me", "na me"), ("http://[::1", "[::1"), ("http://[]", "[]"),
        ("ftp://name", "name"), ("chrome-extension://name", "name"), ("http://name:80x", "name:80x"),
        ("http://name:+80", "name"), ("http://*", "*"), ("http://name http://name", "name"),
        ("http://name, http://name", "name"),
    ])
    func anotherHostOrNone(origin: String, authority: String) {
        #expect(!allows(origin, authority))
    }

    /// Where it is known how a request was sent, a page that came otherwise is of another origin.
    @Test func theSchemeCounts() {
        for (scheme, other, port) in [(OriginPolicy.Scheme.https, "http", 443), (.http, "https", 80)] {
            let own = scheme == .https ? "https" : "http"
            #expect(allows("\(own)://name", "name", scheme: scheme))
            #expect(allows("\(own)://name", "name:\(port)", scheme: scheme))
            #expect(allows("\(own)://name:8443", "name:8443", scheme: scheme))
            #expect(!allows("\(other)://name", "name", scheme: scheme))
            #expect(!allows("\(other)://name:8443", "name:8443", scheme: scheme))
            #expect(!allows("\(other)://name:\(port)", "name", scheme: scheme))
        }
    }

    @Test func aListIsComparedByItsParts() throws {
        let policy = try OriginPolicy([
            "https://Page.example/", "http://localhost:3000", "https://b.example:443", "capacitor://localhost",
        ])
        for origin in [
            "https://page.example", "https://page.example:443", "HTTPS://PAGE.EXAMPLE", "http://localhost:3000",
            "https://b.example", "capacitor://localhost",
        ] {
            #expect(allows(origin, "api.example", by: policy), "\(origin)")
        }
        for origin in [
            "http://page.example", "https://page.example:8443", "https://sub.page.example", "http://localhost",
            "https://localhost:3000", "null", "https://page.example/", "https://page.example.evil",
        ] {
            #expect(!allows(origin, "api.example", by: policy), "\(origin)")
        }
        #expect(allows("https://anyone.example", "api.example", by: try OriginPolicy(["*"])))
    }

    /// What would match nobody is refused when it is given.
    @Test(arguments: [
        "page.example", "https://*.page.example", "https://page.example/path", "https://page.example?", "https://",
        "https:page.example", "https://page.example:port", "https://page.example:70000", "https://user@page.example",
        "https://page.example#", "", " https://page.example", "https://page.example//", "null", "**",
    ])
    func whatIsNoOriginIsRefused(text: String) {
        let error = #expect(throws: OriginPolicy.InvalidOrigin.self) { try OriginPolicy(["https://a.example", text]) }
        #expect(error?.origin == text)
    }

    @Test func twoOriginsAreForeign() {
        func judge(_ fields: String) -> OriginPolicy.Verdict? {
            let table = HTTP1HeadTable()
            var parser = HTTP1Parser()
            let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n".utf8)
            guard case .head = parser.next(bytes.span, into: table) else { return nil }
            return OriginPolicy().judge(HTTP1Head(bytes: bytes.span, table: table), scheme: .unknown)
        }
        #expect(judge("") == OriginPolicy.Verdict.none)
        #expect(judge("Origin: http://a\r\n") == .allowed)
        #expect(judge("Origin: http://a\r\nOrigin: http://a\r\n") == .foreign)
        #expect(judge("Origin: \r\n") == .foreign)
    }
}

@Suite struct HostNamesTests {
    private func knows(_ authority: String, _ names: HostNames = .local()) -> Bool {
        names.knows(Array(authority.utf8).span)
    }

    /// What an attacker's DNS can't make lead to this machine.
    @Test(arguments: [
        "localhost", "LOCALHOST:8080", "localhost.", "app.localhost:1", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080",
        "[::1]",
        "192.168.1.7:80", "gateway:8080", "a", "", "gateway.:80",
    ])
    func addressesAndLocalNames(authority: String) {
        #expect(knows(authority))
    }

    @Test(arguments: [
        "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example.",
        "app.localhost.example", "1.2.3.4e", "evil.notlocalhost",
    ])
    func otherNames(authority: String) {
        #expect(!knows(authority))
        #expect(knows(authority, .all))
    }

    @Test func namesThatWereGiven() throws {
        let policy = try OriginPolicy(["https://Cars.Example:8443", "http://localhost:3000", "http://[::1]:1"])
        #expect(policy.listedHosts == ["Cars.Example", "localhost", "[::1]"])
        let names = HostNames.local(and: policy.listedHosts)
        #expect(knows("cars.example", names))
        #expect(knows("CARS.example.:80", names))
        #expect(!knows("a.cars.example", names))
        #expect(!knows("cars.example.evil", names))
    }
}
