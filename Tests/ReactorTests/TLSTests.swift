import Bytes
import Glibc
import Reactor
import ReactorSim
import TestSupport
import Testing

@Suite struct TLSTests {
    private func contexts(
        server: [String] = [], client: [String] = []
    ) throws -> (TLSServerContext, TLSClientContext) {
        let certificate = TestCertificate.shared
        return (
            try TLSServerContext(
                certificatePath: certificate.certificatePath, keyPath: certificate.keyPath, alpn: server),
            try TLSClientContext(
                serverName: "localhost", trustedPath: certificate.certificatePath, alpn: client)
        )
    }

    @Test(arguments: 0..<3 as Range<UInt64>)
    func behaviour47_tlsGivesTheSameOutputWhateverTheSplit(seed: UInt64) throws {
        let (serverContext, clientContext) = try contexts()
        let message = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        for (options, count) in [(SimulationOptions(), 20_000), (.unkind, 2000), (.byteByByte, 500)] {
            let network = SimulatedNetwork(seed: seed, options: options)
            let server = try network.makeLoop()
            let client = try network.makeLoop()
            let echo = EchoHandler(loop: server)
            let listener = try server.listen(.loopback(port: 0), tls: serverContext, handler: echo)
            let probe = Script()
            probe.onOpened = { id in
                #expect(client.isTLS(id))
                unsafe client.output(id)?.pointee.append([UInt8](message[..<count]))
            }
            probe.onRead = { id, bytes in
                if probe.received.count + bytes.count >= count { client.closeAfterFlush(id) }
                return bytes.count
            }
            client.connect(listener.localAddress, timeout: 60_000_000_000, tls: clientContext, handler: probe)
            network.run(until: { !probe.reasons.isEmpty }, limit: 60_000_000_000)
            #expect(probe.received == [UInt8](message[..<count]))
            #expect(probe.reasons == [.local])
        }
    }

    @Test func alpnChoosesTheHandler() throws {
        let (serverContext, clientContext) = try contexts(server: ["h2", "http/1.1"], client: ["http/1.1", "h2"])
        let network = SimulatedNetwork(seed: 1)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let one = Script()
        let two = Script()
        let none = Script()
        let listener = try server.listen(
            .loopback(port: 0), tls: serverContext, handler: none, alpn: ["http/1.1": one, "h2": two])
        client.connect(listener.localAddress, timeout: 5_000_000_000, tls: clientContext, handler: Script())
        network.run(for: 1_000_000_000)
        #expect(two.openedIDs.count == 1)
        #expect(one.openedIDs.isEmpty && none.openedIDs.isEmpty)
        let (_, plainClient) = try contexts()
        client.connect(listener.localAddress, timeout: 5_000_000_000, tls: plainClient, handler: Script())
        network.run(for: 1_000_000_000)
        #expect(none.openedIDs.count == 1)
    }

    /// RFC 7301 §3.2: alert 120; who offers nothing is welcome.
    @Test(arguments: [(["foo"], false), ([], true), (["foo", "http/1.1"], true)])
    func protocolsWithoutOneInCommonEndTheHandshake(offered: [String], isWelcome: Bool) throws {
        let (serverContext, clientContext) = try contexts(server: ["http/1.1"], client: offered)
        let network = SimulatedNetwork(seed: 4)
        let server = try network.makeLoop()
        let handler = Script()
        let listener = try server.listen(.loopback(port: 0), tls: serverContext, handler: handler)
        try network.makeLoop().connect(
            listener.localAddress, timeout: 5_000_000_000, tls: clientContext, handler: Script())
        network.run(for: 1_000_000_000)
        #expect(handler.openedIDs.count == (isWelcome ? 1 : 0))
        #expect(server.statistics.handshakesFailed == (isWelcome ? 0 : 1))
    }

    @Test func behaviour6_aHandshakeThatTakesTooLongIsClosed() throws {
        let (serverContext, _) = try contexts()
        let network = SimulatedNetwork(seed: 2)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let handler = Script()
        let listener = try server.listen(.loopback(port: 0), tls: serverContext, handler: handler)
        let silent = Script()
        client.connect(listener.localAddress, timeout: 60_000_000_000, handler: silent)
        network.run(for: 4_900_000_000)
        #expect(silent.reasons.isEmpty)
        network.run(for: 200_000_000)
        #expect(silent.reasons == [.peer])
        #expect(handler.openedIDs.isEmpty && handler.reasons.isEmpty, "who was never opened is not closed")
        #expect(server.statistics.handshakesFailed == 1)
    }

    @Test func plainTextOnATLSPortFails() throws {
        let (serverContext, _) = try contexts()
        let network = SimulatedNetwork(seed: 3)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let handler = Script()
        let listener = try server.listen(.loopback(port: 0), tls: serverContext, handler: handler)
        let probe = Script()
        probe.onOpened = { unsafe client.output($0)?.pointee.append("GET / HTTP/1.1\r\n\r\n") }
        client.connect(listener.localAddress, timeout: 60_000_000_000, handler: probe)
        network.run(for: 1_000_000_000)
        #expect(probe.reasons == [.peer])
        #expect(handler.openedIDs.isEmpty && handler.reasons.isEmpty)
        #expect(server.statistics.handshakesFailed == 1)
    }

    /// Whatever a handshake dies of: the handler hears of the connections that were opened, and of each end of one once.
    @Test(arguments: HostileHandshake.all)
    func behaviour48_closedIsToldOnlyToWhoWasToldOpened(_ hostile: HostileHandshake) throws {
        let (serverContext, clientContext) = try contexts()
        let network = SimulatedNetwork(seed: 5)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let handler = Script()
        let listener = try server.listen(.loopback(port: 0), tls: serverContext, handler: handler)
        for round in 1...3 {
            // A good connection before each bad one, so that places are used again.
            let good = Script()
            good.onOpened = { client.closeAfterFlush($0) }
            client.connect(listener.localAddress, timeout: 5_000_000_000, tls: clientContext, handler: good)
            network.run(for: 1_000_000_000)
            hostile.attack(listener.localAddress, from: client, trusting: TestCertificate.shared)
            network.run(for: 10_000_000_000)
            #expect(handler.openedIDs.count == round)
            #expect(handler.reasons.count == round)
            #expect(server.statistics.handshakesFailed == UInt64(round))
        }
        #expect(server.statistics.connections == 0)
    }

    @Test func anUntrustedCertificateIsRefused() throws {
        let (serverContext, _) = try contexts()
        let other = try TLSClientContext(serverName: "elsewhere", trustedPath: TestCertificate.shared.certificatePath)
        let network = SimulatedNetwork(seed: 4)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let listener = try server.listen(.loopback(port: 0), tls: serverContext, handler: Script())
        let probe = Script()
        client.connect(listener.localAddress, timeout: 60_000_000_000, tls: other, handler: probe)
        network.run(for: 1_000_000_000)
        guard case .tls? = probe.reasons.first else {
            Issue.record("not refused: \(probe.reasons)")
            return
        }
    }

    @Test func aMissingCertificateSaysWhich() {
        #expect {
            try TLSServerContext(certificatePath: "/nowhere/cert.pem", keyPath: "/nowhere/key.pem")
        } throws: { "\($0)".contains("/nowhere/cert.pem") }
    }

    /// A pipe in the place of a file would be waited for without end, and a SIGHUP's reload with it.
    @Test func whatIsNoFileIsNotWaitedFor() throws {
        let pipe = "/tmp/cabstand-tls-\(getpid())"
        #expect(unsafe mkfifo(pipe, 0o600) == 0)
        defer { _ = unsafe unlink(pipe) }
        for path in [pipe, "/tmp", "/dev/zero"] {
            #expect { try TLSServerContext(certificatePath: path, keyPath: path) } throws: {
                "\($0)".contains("no regular file") && "\($0)".contains(path)
            }
            #expect { try TLSClientContext(serverName: "a", trustedPath: path) } throws: {
                "\($0)".contains("no regular file")
            }
        }
    }
}
