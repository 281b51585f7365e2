import HTTP1
import HTTPServer
import TestSupport
import Testing

/// Behind proxies that end TLS. Those of these tests are on 127.0.0.1.
@Suite struct TrustedProxiesTests {
    private func server(_ proxies: [String]) throws -> LiveServer {
        try LiveServer(proxies: try TrustedProxies(proxies)) { _, router in
            router.post("/") { request, responder in responder.respond(request.isForeign ? 403 : 201) }
        }
    }

    private func post(_ server: LiveServer, _ origin: String, _ fields: String = "", host: String = "name") -> Int {
        Client(server.port).send(
            "POST / HTTP/1.1\r\nHost: \(host)\r\nOrigin: \(origin)\r\n\(fields)Content-Length: 0\r\n\r\n"
        ).response().status
    }

    /// With nobody named, one that is not known of may have ended TLS; `proxy_set_header Host $host:$server_port`.
    @Test func rfc6454_5_withoutOneEitherSchemeWillDo() throws {
        let server = try server([])
        #expect(post(server, "https://name") == 201)
        #expect(post(server, "https://name", host: "name:443") == 201)
        #expect(post(server, "http://name") == 201)
        #expect(post(server, "http://name", "X-Forwarded-Proto: https\r\n") == 201)
        #expect(post(server, "http://name", host: "name:443") == 403)
    }

    @Test(arguments: [
        "X-Forwarded-Proto: https\r\n", "x-forwarded-proto: HTTPS\r\n", "Forwarded: proto=https\r\n",
        "Forwarded: for=192.0.2.1;Proto=\"https\";by=_a\r\n", "X-Forwarded-Proto: wss\r\n",
        "Forwarded: for=\"[2001:db8::1]:1,;\";proto=https\r\n",
        // By way of two: the client's own word is not believed, the first proxy's is.
        "X-Forwarded-Proto: https, http\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.9\r\n",
        "X-Forwarded-Proto: http, https\r\nX-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-Proto: http, https\r\nX-Forwarded-For: 127.0.0.1, 192.0.2.1\r\n",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 192.0.2.1:7, 127.0.0.1:9\r\n",
        "Forwarded: for=192.0.2.1;proto=https, for=127.0.0.1;proto=http\r\n",
        "Forwarded: for=192.0.2.1;proto=http\r\nForwarded: for=192.0.2.2;proto=https\r\n",
        "Forwarded: for=unknown;proto=http, for=_hidden;proto=https\r\n",
        // The client has sent one past a proxy that writes the other.
        "Forwarded: proto=http\r\nX-Forwarded-Proto: https\r\n",
        "X-Forwarded-Proto: http\r\nForwarded: proto=https\r\n",
    ])
    func whatCameOverTLS(fields: String) throws {
        let server = try server(["10.0.0.0/8", "127.0.0.0/8"])
        #expect(post(server, "https://name", fields) == 201)
        #expect(post(server, "https://name", fields, host: "name:443") == 201)
        #expect(post(server, "http://name", fields) == 403)
    }

    @Test func whatCameInTheClear() throws {
        let server = try server(["127.0.0.1"])
        for fields in [
            "X-Forwarded-Proto: http\r\n", "Forwarded: for=192.0.2.1;proto=http\r\n",
            "Forwarded: for=192.0.2.1;proto=https, for=192.0.2.2;proto=http\r\n",
        ] {
            #expect(post(server, "http://name", fields) == 201, "\(fields)")
            #expect(post(server, "https://name", fields) == 403, "\(fields)")
        }
        // A proxy that says nothing may be one that ends TLS.
        for fields in ["", "X-Forwarded-Proto: \r\n", "X-Forwarded-Proto: spdy\r\n", "Forwarded: for=192.0.2.1\r\n"] {
            #expect(post(server, "https://name", fields) == 201, "\(fields)")
            #expect(post(server, "http://name", fields) == 201, "\(fields)")
        }
    }

    /// Anybody can send these fields.
    @Test func aStrangersWordDoesNotCount() throws {
        let server = try server(["10.0.0.0/8", "::1"])
        for fields in ["", "X-Forwarded-Proto: https\r\n", "Forwarded: proto=https\r\n"] {
            #expect(post(server, "http://name", fields) == 201, "\(fields)")
            #expect(post(server, "https://name", fields) == 403, "\(fields)")
        }
    }

    @Test(arguments: [
        "10.0.0.0/33", "10.0.0", "proxy", "10.0.0.0/", "10.0.0.0/+8", "::1/129", "/8", "10.0.0.0/8/8", "",
    ])
    func whatIsNoAddressIsRefused(text: String) {
        let error = #expect(throws: TrustedProxies.InvalidAddresses.self) { try TrustedProxies(["::1", text]) }
        #expect(error?.text == text)
    }

    /// DNS rebinding: the page's own host was made to lead here, so that its origin is this host's.
    @Test func aServerOnLoopbackKnowsItsNames() throws {
        let server = try LiveServer(hosts: .local(and: ["cars.example"])) { _, router in
            router.get("/") { _, responder in responder.respond(body: "x") }
        }
        let client = Client(server.port)
        for host in ["localhost:1", "127.0.0.1", "cars.example", "evil.example", "localhost", "evil.example:80"] {
            let answer = client.send("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n").response()
            #expect(answer.status == (host.hasPrefix("evil") ? 421 : 200), "\(host)")
        }
        let absolute = client.send("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n").response()
        #expect(absolute.status == 421)
        #expect(absolute.body.contains("\"code\":\"misdirected-request\""))
        #expect(client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").response().status == 200)
    }

    // MARK: Who

    /// What `clientAddress` is behind proxies on 127.0.0.0/8 and in 10.0.0.0/8; nil: the proxy that has sent it, 127.0.0.1.
    @Test(arguments: [
        ("", nil),
        ("X-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
        ("X-Forwarded-For: [2001:db8::1]:4711\r\n", "2001:db8::1"),
        // What stands further left was written by the client.
        ("X-Forwarded-For: 9.9.9.9, 192.0.2.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 10.1.1.1, 192.0.2.1, 127.0.0.9,10.0.0.3\r\n", "192.0.2.1"),
        ("X-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n", "10.0.0.2"),
        // A client that only proxies have heard of.
        ("X-Forwarded-For: 192.0.2.1, unknown\r\n", nil), ("X-Forwarded-For: 192.0.2.1, _x\r\n", nil),
        ("X-Forwarded-For: unknown, 10.0.0.2\r\n", "10.0.0.2"), ("X-Forwarded-For: 192.0.2.1,\r\n", nil),
        ("X-Forwarded-For: \r\n", nil), ("X-Forwarded-For: 192.0.2.1.5\r\n", nil),
        ("X-Forwarded-For: ::1%eth0\r\n", nil),
        ("X-Forwarded-For: 192.0.2.1, \"\r\n", nil), ("X-Forwarded-For: \", 192.0.2.1\r\n", nil),
        ("Forwarded: for=192.0.2.1\r\n", "192.0.2.1"), ("forwarded: FOR=\"192.0.2.1:80\";proto=http\r\n", "192.0.2.1"),
        ("Forwarded: proto=http;for=\"[2001:db8::1]:80\"\r\n", "2001:db8::1"),
        ("Forwarded: for=\"[2001:db8::1]\"\r\n", "2001:db8::1"),
        ("Forwarded: for=9.9.9.9, for=192.0.2.1;by=10.0.0.1, for=10.0.0.1\r\n", "192.0.2.1"),
        ("Forwarded: for=9.9.9.9\r\nForwarded: for=192.0.2.1\r\n", "192.0.2.1"),
        ("Forwarded: for=192.0.2.1, for=unknown\r\n", nil), ("Forwarded: for=192.0.2.1, for=_SEVKISEK\r\n", nil),
        ("Forwarded: for=_a, for=10.0.0.7\r\n", "10.0.0.7"), ("Forwarded: for=192.0.2.1, proto=http\r\n", nil),
        ("Forwarded: for=9.9.9.9;for=192.0.2.1\r\n", nil), ("Forwarded: for=9.9.9.9, \r\n", nil),
        // A quotation mark of the client's would swallow what the proxy adds.
        ("Forwarded: for=9.9.9.9;x=\", for=192.0.2.1\r\n", nil),
        ("Forwarded: for=9.9.9.9;x=\"\r\nForwarded: for=192.0.2.1\r\n", nil),
        ("Forwarded: for=9.9.9.9;x=\", for=\"[2001:db8::1]\"\r\n", nil),
        ("Forwarded: for=9.9.9.9;x=\"\\\"\", for=192.0.2.1\r\n", nil),
        ("Forwarded: for=9.9.9.9;x=\"\\\", for=192.0.2.1\r\n", "192.0.2.1"),
        // Both: the same, or one has been sent past a proxy that writes the other.
        ("Forwarded: for=192.0.2.1:7\r\nX-Forwarded-For: 9.9.9.9, 192.0.2.1\r\n", "192.0.2.1"),
        ("Forwarded: for=9.9.9.9\r\nX-Forwarded-For: 192.0.2.1\r\n", nil),
        ("Forwarded: for=unknown\r\nX-Forwarded-For: 192.0.2.1\r\n", nil),
    ])
    func whoHasSentIt(fields: String, client: String?) throws {
        let server = try LiveServer(proxies: try TrustedProxies(["10.0.0.0/8", "127.0.0.0/8"])) { _, router in
            router.get("/") { request, responder in responder.text(request.clientAddress?.ip ?? "nobody") }
        }
        let response = Client(server.port).send("GET / HTTP/1.1\r\nHost: h\r\n\(fields)\r\n").response()
        #expect(response.hasSuffix("\r\n\r\n\(client ?? "127.0.0.1")"), "\(fields)\(response)")
    }

    /// From whom nobody trusts, the fields are words.
    @Test(arguments: [[], ["10.0.0.0/8"]])
    func whoNobodyTrustsSpeaksForThemselves(proxies: [String]) throws {
        let server = try LiveServer(proxies: try TrustedProxies(proxies)) { _, router in
            router.get("/") { request, responder in responder.text(request.clientAddress?.ip ?? "nobody") }
        }
        let fields = "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n"
        let response = Client(server.port).send("GET / HTTP/1.1\r\nHost: h\r\n\(fields)\r\n").response()
        #expect(response.hasSuffix("\r\n\r\n127.0.0.1"))
    }

    /// A line that is no text is not left out: behind it an older one would stand at the right.
    @Test func aLineThatIsNoTextHidesWhoHasSentIt() throws {
        let server = try LiveServer(proxies: try TrustedProxies(["127.0.0.1"])) { _, router in
            router.get("/") { request, responder in responder.text(request.clientAddress?.ip ?? "nobody") }
        }
        for name in ["X-Forwarded-For: ", "Forwarded: for="] {
            let head = Array("GET / HTTP/1.1\r\nHost: h\r\n\(name)9.9.9.9\r\n\(name)".utf8)
            let response = Client(server.port).send(bytes: head + [0xFF] + Array(", 192.0.2.1\r\n\r\n".utf8)).response()
            #expect(response.hasSuffix("\r\n\r\n127.0.0.1"), "\(response)")
        }
    }

    /// A chain of proxies that is longer than any installation's is followed over 32 of them, and costs no more.
    @Test(arguments: ["X-Forwarded-For: ", "Forwarded: "]) func aChainOfProxiesHasAnEnd(field: String) throws {
        let server = try LiveServer(proxies: try TrustedProxies(["10.0.0.0/8", "127.0.0.0/8"])) { _, router in
            router.get("/") { request, responder in responder.text(request.clientAddress?.ip ?? "nobody") }
        }
        let isForwarded = field == "Forwarded: "
        func answer(_ senders: [String]) -> Substring {
            let list = senders.map { isForwarded ? "for=\($0)" : $0 }.joined(separator: ",")
            let response = Client(server.port).send("GET / HTTP/1.1\r\nHost: h\r\n\(field)\(list)\r\n\r\n").response()
            return response[...].split(separator: "\r\n").last ?? ""
        }
        let proxies = (0..<40).map { "10.0.0.\($0)" }
        #expect(answer(["192.0.2.1"] + proxies.suffix(31)) == "192.0.2.1")
        #expect(answer(["192.0.2.1"] + proxies.suffix(32)) == "10.0.0.8")
        #expect(answer(["192.0.2.1"] + proxies) == "10.0.0.8")
    }

    /// Whatever a client puts in front of what the proxy writes, the proxy's own is found.
    @Test(arguments: [",", ";", " ", "\"\"", "=", "[", ":", "for=,", "for=1.2.3.4;", "for=\"1.2.3.4\",", "ü,"])
    func whatTheClientWritesInFrontHidesNothing(piece: String) throws {
        let server = try LiveServer(proxies: try TrustedProxies(["127.0.0.1"])) { _, router in
            router.get("/") { request, responder in
                responder.text("\(request.clientAddress?.ip ?? "nobody") \(request.scheme)")
            }
        }
        let junk = String(repeating: piece, count: 7_000 / piece.utf8.count)
        for field in ["X-Forwarded-For: \(junk), 192.0.2.1", "Forwarded: \(junk), for=192.0.2.1;proto=https"] {
            for fields in [field, field + "\r\nX-Forwarded-Proto: https"] {
                let response = Client(server.port).send("GET / HTTP/1.1\r\nHost: h\r\n\(fields)\r\n\r\n").response()
                let scheme = fields.contains("https") ? "https" : "unknown"
                #expect(response.hasSuffix("\r\n\r\n192.0.2.1 \(scheme)"), "\(field.prefix(40)) \(response)")
            }
        }
    }
}
