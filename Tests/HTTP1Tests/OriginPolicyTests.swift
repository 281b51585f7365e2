import HTTP1
import Testing

private func allows(
    _ origin: String, _ authority: String, tls: Bool = false, by policy: OriginPolicy = .init()
) -> Bool {
    policy.allows(origin: Array(origin.utf8).span, authority: Array(authority.utf8).span, isTLS: tls)
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

    /// Where the connection itself is TLS, a page that came in the clear is another origin.
    @Test func theSchemeCounts() {
        #expect(allows("https://name", "name", tls: true))
        #expect(allows("https://name:8443", "name:8443", tls: true))
        #expect(!allows("http://name", "name", tls: true))
        #expect(!allows("http://name:8443", "name:8443", tls: true))
        #expect(!allows("http://name:443", "name", tls: true))
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
            return OriginPolicy().judge(HTTP1Head(bytes: bytes.span, table: table), isTLS: false)
        }
        #expect(judge("") == OriginPolicy.Verdict.none)
        #expect(judge("Origin: http://a\r\n") == .allowed)
        #expect(judge("Origin: http://a\r\nOrigin: http://a\r\n") == .foreign)
        #expect(judge("Origin: \r\n") == .foreign)
    }
}
