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
}
