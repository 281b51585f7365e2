import Bytes
import HTTPClient
import HTTPServer
import Reactor
import ReactorSim
import TestSupport
import Testing

/// A server answers before it has heard all of a request, and breaks the connection under the rest of it: the answer counts.
@Suite struct EarlyAnswerTests {
    private static let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large"

    /// Sends `says` and breaks the connection, which the client hears of at one moment.
    private func answer(
        _ says: String, seed: UInt64 = 1, options: SimulationOptions = .init(), size: Int = 1_000_000
    ) throws -> SimulatedServer.Answer {
        var options = options
        options.delay = 100_000...100_000
        let world = try SimulatedServer(seed: seed, options: options)
        let body = [UInt8](repeating: 7, count: size)
        let answer = world.send(try HTTPClientRequest(.put, "http://example.org/", body: body))
        let peer = try #require(world.accept())
        // What fills the window keeps the client from going on.
        peer.isReading = false
        world.run()
        peer.say(says)
        peer.close()
        world.run()
        world.stopListening()
        world.expectNothingIsLeft()
        return answer
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func theAnswerIsHandedOut(seed: UInt64) throws {
        let options: [SimulationOptions] = [.init(), .unkind, .byteByByte]
        let unkind = options[Int(seed % 3)]
        #expect(try answer(Self.refusal, seed: seed, options: unkind, size: 100_000).said == "413 too large")
        let chunks = "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
        #expect(try answer(chunks, seed: seed, options: unkind, size: 100_000).said == "401 no")
    }

    /// A server that has said that it wants the body may still not take it (RFC 9110 §15.2.1).
    @Test func anAnswerBehindAnInterimOne() throws {
        #expect(try answer("HTTP/1.1 100 Continue\r\n\r\n" + Self.refusal).said == "413 too large")
        let expectation = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"
        #expect(try answer(expectation).said == "417 ")
        #expect(try answer("HTTP/1.1 100 Continue\r\n\r\n").response == nil)
    }

    /// The break is no end of a body, whether it says its length or ends with the connection.
    @Test func anAnswerThatIsCutIsNone() throws {
        for says in [
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 10\r\n\r\ntoo large",
            "HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntoo large\r\n0\r\n",
            "HTTP/1.1 413 Content Too Large\r\n\r\ntoo large", "HTTP/1.1 413 Content Too Large\r\nContent-Le",
        ] {
            #expect(try answer(says).error == .malformed(.truncatedResponse), "\(says)")
        }
        guard case .lost(.reset) = try answer("").error else {
            Issue.record("without an answer the connection is lost")
            return
        }
    }

    /// It is handed out at the pace of who reads it, and nothing is asked on that connection any more.
    @Test func aLongAnswerWaitsForItsReader() throws {
        var options = SimulationOptions()
        options.delay = 100_000...100_000
        let world = try SimulatedServer(options: options)
        let request = try HTTPClientRequest(.put, "http://example.org/", body: [UInt8](repeating: 7, count: 300_000))
        var (count, pieces) = (0, 0)
        var ends: [HTTPClientError?] = []
        var call: HTTPCall?
        world.loop.execute {
            call = world.client.stream(request) { _ in
            } onBody: { bytes in
                count += bytes.count
                pieces += 1
                call?.pause()
                world.loop.schedule(after: .seconds(1)) { call?.resume() }
            } onEnd: {
                ends.append($0)
            }
        }
        let peer = try #require(world.accept())
        peer.isReading = false
        world.run()
        peer.answer(String(repeating: "x", count: 60_000), status: "403 Forbidden")
        peer.close()
        world.run()
        #expect(pieces == 1 && ends.isEmpty)
        let next = try world.get()
        let (other, _) = try world.acceptRequest()
        other.answer("another")
        world.run()
        #expect(next.said == "200 another")
        world.run(100)
        #expect(count == 60_000 && ends.count == 1 && ends[0] == nil)
        call = nil
        world.expectNothingIsLeft()
    }

    /// Answers when the first bytes have come, and closes with the rest unread: the kernel breaks the connection.
    private final class Refuser: ConnectionHandler {
        let loop: EventLoop
        init(_ loop: EventLoop) { self.loop = loop }

        override func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int {
            loop.write(id) { $0.append(utf8: EarlyAnswerTests.refusal) }
            loop.closeAfterFlush(id)
            return bytes.count
        }
    }

    private func refused(_ base: String, tls: TLSClientContext?) throws {
        let loop = try EventLoop()
        let client = HTTPClient(loop: loop, tls: tls)
        let request = try HTTPClientRequest(.post, base, body: [UInt8](repeating: 7, count: 8_000_000))
        var said: [String] = []
        func ask() {
            client.send(request) { result in
                switch result {
                case .success(let response): said.append("\(response.status) \(response.text)")
                case .failure(let error): said.append("\(error)")
                }
                if said.count < 20 { ask() } else { loop.stop() }
            }
        }
        loop.schedule(after: .seconds(60)) { loop.stop() }
        loop.execute { ask() }
        loop.run()
        client.close()
        #expect(said == Array(repeating: "413 too large", count: 20))
    }

    @Test func overRealSockets() throws {
        let certificate = TestCertificate.shared
        let context = try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath, alpn: ["http/1.1"])
        let trust = try TLSClientContext(trustedPath: certificate.certificatePath)
        let group = try EventLoopGroup(count: 1)
        let serving = group.loops[0]
        let plain = try serving.listen(.loopback(port: 0), handler: Refuser(serving)).localAddress.port
        let secure = try serving.listen(.loopback(port: 0), tls: context, handler: Refuser(serving)).localAddress.port
        try group.start { _ in }
        defer {
            group.stop()
            group.join()
        }
        try refused("http://127.0.0.1:\(plain)/", tls: nil)
        try refused("https://localhost:\(secure)/", tls: trust)
    }

    /// The same over TLS in virtual time.
    @Test(arguments: 0..<10 as Range<UInt64>)
    func overTLS(seed: UInt64) throws {
        let certificate = TestCertificate.shared
        let trust = try TLSClientContext(trustedPath: certificate.certificatePath)
        let context = try TLSServerContext(certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
        var options: SimulationOptions = seed % 2 == 0 ? .init() : .unkind
        options.delay = 100_000...100_000
        let world = try SimulatedServer(seed: seed, options: options, tls: trust)
        let server = try world.network.makeLoop()
        let listener = try server.listen(.loopback(port: 443), tls: context, handler: Refuser(server))
        let body = [UInt8](repeating: 7, count: 300_000)
        let answer = world.send(try HTTPClientRequest(.post, "https://localhost/", body: body))
        world.run(20)
        #expect(answer.said == "413 too large")
        listener.close()
        world.expectNothingIsLeft()
    }
}
