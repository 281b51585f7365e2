import HTTPClient
import Testing

@Suite struct URLTests {
    @Test(arguments: [
        ("http://example.org", "http://example.org/", "example.org"),
        ("HTTP://EXAMPLE.org:80/A?B#c", "http://example.org/A?B", "example.org"),
        ("https://example.org:443?q", "https://example.org/?q", "example.org"),
        ("https://example.org:8443/", "https://example.org:8443/", "example.org:8443"),
        ("http://example.org:443/", "http://example.org:443/", "example.org:443"),
        ("http://example.org:/", "http://example.org/", "example.org"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x", "[::1]:8080"),
        ("http://[0:0:0:0:0:0:0:1]/", "http://[::1]/", "[::1]"),
        ("http://127.0.0.1/", "http://127.0.0.1/", "127.0.0.1"),
        ("http://example.org./", "http://example.org./", "example.org."),
        ("http://a_b.c-d/", "http://a_b.c-d/", "a_b.c-d"),
        ("http://a/%20?x=/?#y", "http://a/%20?x=/?", "a"), ("http://a#b", "http://a/", "a"),
        ("http://xn--nxasmq6b/", "http://xn--nxasmq6b/", "xn--nxasmq6b"),
    ])
    func whatIsAURL(_ text: String, _ shown: String, _ authority: String) throws {
        let url = try HTTPURL(text)
        #expect("\(url)" == shown)
        #expect(url.origin.authority == authority)
        #expect(try HTTPURL(shown) == url)
    }

    @Test(arguments: [
        "", "example.org", "//example.org/", "/a", "http:/example.org", "http:example.org", "http://", "http:///a",
        "http://:80/",
        "ftp://example.org/", "ws://example.org/", "file:///etc/passwd", "http://user@example.org/",
        "http://user:secret@example.org/",
        "http://example.org\\@evil/", "http://exa mple.org/", "http://example.org/a b", "http://example.org/\n",
        "http://ex\u{e4}mple/",
        "http://example.org/\u{e4}", "http://example.org:0/", "http://example.org:65536/",
        "http://example.org:99999999999/",
        "http://example.org:8a/", "http://example.org:80:80/", "http://example.org:-1/", "http://[::1/",
        "http://[::1]x/",
        "http://[::g]/", "http://[127.0.0.1]/", "http://::1/", "http://[fe80::1%25eth0]/", "http://a..b/", "http://.a/",
        "http://./",
        "http://127.1/", "http://1/", "http://0x7f.0.0.1/", "http://0x7f000001/", "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://a.0x1/", "http://a%2eb/", "http://a,b/", "http://a/\u{7f}", "\u{0}http://a/",
    ])
    func whatIsNone(_ text: String) {
        let error = #expect(throws: HTTPClientError.self) { try HTTPURL(text) }
        guard case .badURL = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(error?.description.contains("secret") == false)
    }

    /// RFC 3986 §5.4, for the scheme that we speak.
    @Test(arguments: [
        ("g", "/b/c/g"), ("./g", "/b/c/g"), ("g/", "/b/c/g/"), ("/g", "/g"), ("?y", "/b/c/d;p?y"), ("g?y", "/b/c/g?y"),
        ("#s", "/b/c/d;p?q"), ("g#s", "/b/c/g"), ("g?y#s", "/b/c/g?y"), (";x", "/b/c/;x"), ("", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("./", "/b/c/"), ("..", "/b/"), ("../", "/b/"), ("../g", "/b/g"), ("../..", "/"), ("../../", "/"),
        ("../../g", "/g"),
        ("../../../g", "/g"), ("../../../../g", "/g"), ("/./g", "/g"), ("/../g", "/g"), ("g.", "/b/c/g."),
        (".g", "/b/c/.g"),
        ("g..", "/b/c/g.."), ("..g", "/b/c/..g"), ("./../g", "/b/g"), ("./g/.", "/b/c/g/"), ("g/./h", "/b/c/g/h"),
        ("g/../h", "/b/c/h"), ("g;x=1/./y", "/b/c/g;x=1/y"), ("g?y/./x", "/b/c/g?y/./x"), ("g?y/../x", "/b/c/g?y/../x"),
        ("/a:b", "/a:b"), ("./a:b", "/b/c/a:b"), ("\u{e9}", "/b/c/%C3%A9"),
    ])
    func rfc3986_5_4_references(_ reference: String, _ target: String) throws {
        let base = try HTTPURL("http://a/b/c/d;p?q")
        let url = try base.resolving(reference)
        #expect(url.origin == base.origin)
        #expect(url.target == target)
    }

    @Test func referencesElsewhere() throws {
        let base = try HTTPURL("https://a/b")
        #expect("\(try base.resolving("//g:80/x"))" == "https://g:80/x")
        #expect("\(try base.resolving("HTTP://g"))" == "http://g/")
        for reference in ["ftp://a/", "g:h", "//user@g/", "//", "a b", "x\n"] {
            #expect(throws: HTTPClientError.self, "\(reference)") { try base.resolving(reference) }
        }
    }

    /// RFC 9111 §4.2, §5.2.2.
    @Test(
        arguments: [
            (["max-age=60"], nil, 60), (["public, max-age=60"], nil, 60), (["MAX-AGE=60"], nil, 60),
            (["max-age=\"60\""], nil, 60),
            (["max-age=60"], "10", 50), (["max-age=60"], "70", 0), (["max-age=60, no-store"], nil, 0),
            (["max-age=60", "no-cache"], nil, 0), (["public"], nil, nil), ([], "10", nil), (["max-age"], nil, 0),
            (["max-age=x"], nil, 0),
            (["max-age=-1"], nil, 0), (["max-age=60, max-age=30"], nil, 30),
            (["max-age=99999999999999999999"], nil, 1 << 31),
            (["no-cache=\"max-age=5, x\", max-age=7"], nil, 7), (["private=\"no-store, x\", max-age=7"], nil, 7),
            (["s-maxage=5"], nil, nil), (["xmax-age=5"], nil, nil), ([" , ,max-age=60 ,"], nil, 60),
            (["\"\u{301}no-store\", max-age=9"], nil, 9), (["max-age=\"5\u{301}\""], nil, 0),
        ] as [([String], String?, Int?)])
    func howLongAResponseIsFresh(_ values: [String], _ age: String?, _ seconds: Int?) {
        var fields = HTTPClientFields()
        for value in values { fields.add("Cache-Control", value) }
        if let age { fields.add("Age", age) }
        #expect(fields.maximumAge == seconds.map { .seconds($0) })
    }
}
