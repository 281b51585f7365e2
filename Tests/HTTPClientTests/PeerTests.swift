import Bytes
import HTTPClient
import HTTPServer
import Reactor
import ReactorSim
import TestSupport
import Testing

/// Servers that are real: ours, plain and with TLS, and Python's.
@Suite struct PeerTests {
    /// Runs `work` as a task of a loop of its own until it has ended.
    private func onLoop(
        tls: TLSClientContext? = nil, _ work: @escaping @Sendable (HTTPClient) async -> Void
    ) throws {
        let loop = try EventLoop()
        let client = LoopBound(HTTPClient(loop: loop, tls: tls), loop: loop)
        loop.schedule(after: .seconds(30)) {
            Issue.record("it took too long")
            loop.stop()
        }
        loop.spawn {
            await work(client.value)
            client.value.close()
            loop.stop()
        }
        loop.run()
    }

    /// Our server on a loop of its own.
    private func withServer(
        tls: TLSServerContext? = nil, _ work: (UInt16) throws -> Void
    ) throws {
        let group = try EventLoopGroup(count: 1)
        let loop = group.loops[0]
        let router = Router()
        router.get("/hello") { _, response in response.text("hello") }
        router.post("/echo") { request, response in response.respond(200, "text/plain", body: request.body) }
        router.get("/large") { _, response in response.text(String(repeating: "x", count: 3_000_000)) }
        let server = HTTPServer(loop: loop, router: router)
        let port = try server.listen(.loopback(port: 0), tls: tls).localAddress.port
        try group.start { _ in }
        defer {
            group.stop()
            group.join()
        }
        try work(port)
    }

    private func exchange(_ base: String, tls: TLSClientContext? = nil) throws {
        try onLoop(tls: tls) { client in
            do throws(HTTPClientError) {
                for _ in 0..<3 { #expect(try await client.get(base + "/hello").text == "hello") }
                #expect(client.openConnections == 1)
                let echo = try HTTPClientRequest(.post, base + "/echo", body: Array("again".utf8))
                #expect(try await client.send(echo).text == "again")
                let head = try await client.send(try HTTPClientRequest(.head, base + "/large"))
                #expect(head.fields["content-length"] == "3000000" && head.body.isEmpty)
                #expect(try await client.get(base + "/large", limit: 1 << 22).body.count == 3_000_000)
                #expect(try await client.get(base + "/nothing").status == 404)
                let stream = try await client.open(try HTTPClientRequest(.get, base + "/large"))
                var count = 0
                while let piece = try await stream.next() { count += piece.count }
                #expect(count == 3_000_000)
                #expect(client.openConnections == 1)
            } catch {
                Issue.record("\(error)")
            }
        }
    }

    @Test func ourServer() throws {
        try withServer { try exchange("http://127.0.0.1:\($0)") }
    }

    @Test func ourServerWithTLS() throws {
        let certificate = TestCertificate("localhost", names: "DNS:localhost,IP:127.0.0.1,IP:::1")
        let server = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath, alpn: ["h2", "http/1.1"])
        let trust = try TLSClientContext(trustedPath: certificate.certificatePath)
        try withServer(tls: server) {
            try exchange("https://localhost:\($0)", tls: trust)
            try exchange("https://127.0.0.1:\($0)", tls: trust)
        }
    }

    /// What is wrong about a server's identity is the error's reason.
    @Test func certificatesAreVerifiedForTheHost() throws {
        let other = TestCertificate("other.example", names: "DNS:other.example")
        for (trust, says) in [
            (try TLSClientContext(trustedPath: other.certificatePath), "hostname mismatch"),
            (try TLSClientContext(), "self-signed"),
        ] {
            let server = try TLSServerContext(
                certificatePath: other.certificatePath, keyPath: other.keyPath, alpn: ["http/1.1"])
            try withServer(tls: server) { port in
                try onLoop(tls: trust) { client in
                    let error = await #expect(throws: HTTPClientError.self) {
                        try await client.get("https://localhost:\(port)/hello")
                    }
                    #expect(error?.description.contains(says) == true, "\(String(describing: error))")
                }
            }
        }
    }

    @Test func aServerWithoutHTTP1IsNotSpokenTo() throws {
        let certificate = TestCertificate.shared
        let server = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath, alpn: ["h2"])
        let trust = try TLSClientContext(trustedPath: certificate.certificatePath)
        try withServer(tls: server) { port in
            try onLoop(tls: trust) { client in
                let error = await #expect(throws: HTTPClientError.self) {
                    try await client.get("https://localhost:\(port)/hello")
                }
                guard case .unreachable("localhost:\(port)", .tls) = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
            }
        }
    }

    /// Says a response without a length over TLS and ends it in order, or cuts it.
    private final class Cutter: ConnectionHandler {
        let loop: EventLoop
        let isInOrder: Bool

        init(_ loop: EventLoop, isInOrder: Bool) {
            self.loop = loop
            self.isInOrder = isInOrder
        }

        override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
            loop.write(id) { $0.append("HTTP/1.1 200 OK\r\n\r\nhello") }
            if isInOrder {
                loop.closeAfterFlush(id)
            } else {
                loop.schedule(after: .milliseconds(10)) { self.loop.close(id) }
            }
            return bytes.count
        }
    }

    /// RFC 9112 §9.8.
    @Test(arguments: [true, false])
    func aBodyThatEndsWithTheConnectionEndsInOrder(_ isInOrder: Bool) throws {
        let certificate = TestCertificate.shared
        let trust = try TLSClientContext(trustedPath: certificate.certificatePath)
        let world = try SimulatedServer(tls: trust)
        let server = try world.network.makeLoop()
        let context = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
        let listener = try server.listen(
            .loopback(port: 443), tls: context, handler: Cutter(server, isInOrder: isInOrder))
        let answer = try world.get("https://localhost/")
        world.run(2)
        if isInOrder {
            #expect(answer.said == "200 hello")
        } else {
            #expect(answer.error == .malformed(.truncatedResponse))
        }
        listener.close()
        world.expectNothingIsLeft()
    }

    @Test(.enabled(if: Tool.python(importing: ["http.server"]) != nil, "needs python3"))
    func pythonsServer() throws {
        let folder = TemporaryFolder()
        folder.write("a.txt", "hello from a file")
        let python = try #require(Tool.find("python3"))
        let server = try ChildProcess(
            python, ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--protocol", "HTTP/1.1"],
            directory: folder.path)
        try server.waitForOutput("port ")
        let digits = try #require(server.output.firstRange(of: "port ")).upperBound
        let port = server.output[digits...].prefix { $0.isNumber }
        let base = "http://127.0.0.1:\(port)"
        try onLoop { client in
            do throws(HTTPClientError) {
                let file = try await client.get(base + "/a.txt")
                #expect(file.text == "hello from a file")
                #expect(file.fields["content-type"] == "text/plain")
                #expect(try await client.get(base + "/").text.contains("a.txt"))
                #expect(try await client.get(base + "/none").status == 404)
                #expect(try await client.send(try HTTPClientRequest(.post, base + "/a.txt")).status == 501)
            } catch {
                Issue.record("\(error)")
            }
        }
        server.kill()
    }
}
