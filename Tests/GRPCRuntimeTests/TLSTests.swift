import Bytes
import GRPCRuntime
import Reactor
import ReactorSim
import TestSupport
import Testing

/// Lets in whose certificate names a service, and tells the handler its name.
private final class ServicesOnly: ServerInterceptor {
    private(set) var seen: [TLSPeerCertificate?] = []

    func intercept(_ call: InterceptedCall) throws(RPCError) {
        seen.append(call.peerCertificate)
        guard call.isTLS, call.peerCertificate?.uris.contains("spiffe://example.org/billing") == true else {
            throw RPCError(code: .permissionDenied, message: "not for \(call.peerCertificate?.subject ?? "nobody")")
        }
    }
}

/// gRPC over TLS: who is believed, who is refused, and in what words.
@Suite struct GRPCTLSTests {
    private static let authority = TestCertificate("Authority", names: "")
    private static let foreign = TestCertificate("Foreign Authority", names: "")
    private static let localhost = TestCertificate(signedBy: authority)
    private static let client = TestCertificate(
        "Billing", names: "DNS:billing.example.org,URI:spiffe://example.org/billing,IP:10.0.0.7,IP:fd00::7",
        signedBy: authority)

    private static func server(
        _ certificate: TestCertificate = localhost, alpn: [String] = [], clients: TLSClientCertificates = .none
    ) throws -> TLSServerContext {
        try TLSServerContext(
            certificatePath: certificate.certificatePath, keyPath: certificate.keyPath, alpn: alpn, clients: clients)
    }

    private static func options(
        trusting authority: TestCertificate = authority, as identity: TestCertificate? = nil, name: String? = nil
    ) throws -> ChannelOptions {
        var options = ChannelOptions()
        options.authority = name
        options.tls = try TLSClientContext(
            trustedPath: authority.certificatePath,
            identity: identity.map { TLSIdentity(certificatePath: $0.certificatePath, keyPath: $0.keyPath) })
        return options
    }

    @Test(arguments: [SimulationOptions(), .unkind, .byteByByte])
    func callsAndTheNamesOfBothSides(options: SimulationOptions) throws {
        let world = try World(
            options: options, channelOptions: Self.options(as: Self.client),
            tls: Self.server(clients: .required(authoritiesPath: Self.authority.certificatePath)))
        let interceptor = ServicesOnly()
        world.server.add(interceptor)
        #expect(world.unary { $0.text = "hallo" }?.success?.text == "hallo")
        #expect(world.unary { $0.text = "again" }?.success?.text == "again")
        let seen = try #require(interceptor.seen.first ?? nil)
        #expect(seen.subject == "CN=Billing" && seen.dnsNames == ["billing.example.org"])
        #expect(seen.uris == ["spiffe://example.org/billing"] && seen.ipAddresses == ["10.0.0.7", "fd00::7"])
        #expect(interceptor.seen.count == 2 && interceptor.seen[1] == seen)
    }

    @Test func aClientThatMayBeNobody() throws {
        let clients = TLSClientCertificates.optional(authoritiesPath: Self.authority.certificatePath)
        let (nobody, other) = (ServicesOnly(), ServicesOnly())
        let world = try World(channelOptions: Self.options(), tls: Self.server(clients: clients))
        world.server.add(nobody)
        #expect(world.unary()?.error?.message == "not for nobody")
        #expect(nobody.seen == [nil])
        let second = try World(
            channelOptions: Self.options(as: Self.localhost), tls: Self.server(clients: clients))
        second.server.add(other)
        #expect(second.unary()?.error?.message == "not for CN=localhost")
        let third = try World(
            channelOptions: Self.options(as: TestCertificate(signedBy: Self.foreign)),
            tls: Self.server(clients: clients))
        #expect(third.unary()?.error?.message.contains("unknown ca") == true)
    }

    struct Refusal: Sendable, CustomStringConvertible {
        let description: String
        let server: TestCertificate
        var name: String?
        let words: String
    }

    private static let refusals = [
        Refusal(
            description: "another name", server: TestCertificate(names: "DNS:elsewhere.org", signedBy: authority),
            words: "the certificate that localhost has shown is not accepted: hostname mismatch"),
        Refusal(
            description: "a name in the subject alone", server: TestCertificate(names: "", signedBy: authority),
            words: "hostname mismatch"),
        Refusal(
            description: "a name where an address is expected", server: localhost, name: "127.0.0.1:1",
            words: "the certificate that 127.0.0.1 has shown is not accepted: IP address mismatch"),
        Refusal(
            description: "a wildcard for a part of a label",
            server: TestCertificate(names: "DNS:f*.example.org", signedBy: authority), name: "foo.example.org",
            words: "hostname mismatch"),
        Refusal(
            description: "a wildcard for two labels",
            server: TestCertificate(names: "DNS:*.example.org", signedBy: authority), name: "a.b.example.org",
            words: "hostname mismatch"),
        Refusal(
            description: "expired", server: TestCertificate(signedBy: authority, days: -1),
            words: "certificate has expired"),
        Refusal(description: "signed by itself", server: .shared, words: "self-signed certificate"),
        Refusal(
            description: "signed by a stranger", server: TestCertificate(signedBy: foreign),
            words: "unable to get local issuer certificate"),
    ]

    @Test(arguments: refusals)
    func aCertificateThatIsNotBelievedIsRefusedInPlainWords(_ refusal: Refusal) throws {
        let world = try World(
            channelOptions: Self.options(name: refusal.name), tls: Self.server(refusal.server))
        let error = try #require(world.unary()?.error)
        #expect(error.code == .unavailable && error.message.contains(refusal.words), "\(error.message)")
        #expect(world.service.received == 0)
    }

    @Test(arguments: ["a.example.org", "A.EXAMPLE.ORG:443", "a.example.org.", "127.0.0.1", "[::1]:50051"])
    func namesThatAreBelieved(name: String) throws {
        let certificate = TestCertificate(
            "x", names: "DNS:*.example.org,IP:127.0.0.1,IP:::1", signedBy: Self.authority)
        let world = try World(channelOptions: Self.options(name: name), tls: Self.server(certificate))
        #expect(world.unary { $0.text = "hallo" }?.success?.text == "hallo")
    }

    @Test(arguments: [SimulationOptions(), .unkind])
    func aClientWithoutTheCertificateThatIsRequired(options: SimulationOptions) throws {
        let clients = TLSClientCertificates.required(authoritiesPath: Self.authority.certificatePath)
        for (identity, words) in [
            (nil, "certificate required"), (TestCertificate(signedBy: Self.foreign), "unknown ca"),
            (TestCertificate(signedBy: Self.authority, days: -1), "certificate expired"),
        ] {
            let world = try World(
                options: options, channelOptions: Self.options(as: identity), tls: Self.server(clients: clients))
            let error = try #require(world.unary()?.error)
            #expect(error.code == .unavailable && error.message.contains(words), "\(error.message)")
            world.network.run(for: 10 * .second)
            #expect(world.serverLoop.statistics.handshakesFailed > 0 && world.service.received == 0)
        }
    }

    /// RFC 7301 §3.2, and gRPC: who does not agree on h2 gets nowhere.
    @Test(arguments: [["http/1.1"], []])
    func withoutH2ThereIsNoConnection(offered: [String]) throws {
        let world = try World(tls: Self.server(alpn: ["http/1.1"]))
        let context = try TLSClientContext(
            serverName: "localhost", trustedPath: Self.authority.certificatePath, alpn: offered)
        let probe = Probe()
        world.clientLoop.connect(
            .loopback(port: World.port), timeout: 5 * .second, tls: context, handler: probe)
        world.network.run(for: 10 * .second)
        #expect(probe.ends.count == 1 && probe.ends.first?.contains("no application protocol") == true, "\(probe.ends)")
        // And a server that speaks something else.
        for (alpn, words) in [
            ([], "has not agreed to speak h2"), (["http/1.1"], "no application protocol (alert 120)"),
        ] {
            let other = try World(channelOptions: Self.options(), listens: false)
            try other.serverLoop.listen(
                .loopback(port: World.port), tls: Self.server(alpn: alpn), handler: Probe())
            let error = try #require(other.unary()?.error)
            #expect(error.message.contains(words), "\(error.message)")
        }
    }

    @Test func plainAndTLSDoNotMeet() throws {
        let plainClient = try World(tls: Self.server())
        #expect(plainClient.unary()?.error?.code == .unavailable)
        let plainServer = try World(channelOptions: Self.options())
        let error = try #require(plainServer.unary()?.error)
        #expect(error.code == .unavailable && error.message.contains("the peer does not speak TLS"), "\(error.message)")
    }

    /// Certificates of another authority come into force without a restart, and no call fails.
    @Test func certificatesAreReadAgainUnderLoad() throws {
        let context = try Self.server(clients: .required(authoritiesPath: Self.authority.certificatePath))
        let world = try World(channelOptions: Self.options(as: Self.client), tls: context)
        var answered = 0
        var failed: [RPCError] = []
        var isOver = false
        func call() {
            world.echo.unary(EchoRequest(text: "x")) { result in
                switch result {
                case .success: answered += 1
                case .failure(let error): failed.append(error)
                }
                if !isOver { call() }
            }
        }
        for _ in 0..<20 { call() }
        world.network.run(until: { answered > 100 }, limit: 10 * .second)
        let renewed = TestCertificate(signedBy: Self.foreign)
        try context.reload(certificatePath: renewed.certificatePath, keyPath: renewed.keyPath)
        // What can't be read changes nothing.
        #expect(throws: TLSError.self) { try context.reload(certificatePath: "/nowhere", keyPath: "/nowhere") }
        world.network.run(until: { answered > 200 }, limit: 10 * .second)
        let channels = try [Self.options(as: Self.client), Self.options(trusting: Self.foreign, as: Self.client)].map {
            GRPCChannel(loop: world.clientLoop, target: "localhost:\(World.port)", options: $0)
        }
        var results: [Result<EchoResponse, RPCError>?] = [nil, nil]
        for (index, channel) in channels.enumerated() {
            Cabstand_Test_EchoClient(channel: channel).unary(EchoRequest(text: "y")) { results[index] = $0 }
        }
        world.network.run(until: { results.allSatisfy { $0 != nil } }, limit: 10 * .second)
        #expect(results[0]?.error?.message.contains("not accepted") == true)
        #expect(results[1]?.success?.text == "y")
        isOver = true
        world.network.run(for: 1 * .second)
        #expect(failed.isEmpty && answered > 200)
    }

    @Test func aClientReadsItsFilesAgain() throws {
        let folder = TemporaryFolder()
        let trusted = folder.file("trusted.pem")
        folder.write("trusted.pem", TemporaryFolder.read(Self.foreign.certificatePath))
        let context = try TLSClientContext(trustedPath: trusted)
        var options = ChannelOptions()
        options.tls = context
        let world = try World(channelOptions: options, tls: Self.server())
        #expect(world.unary()?.error?.message.contains("not accepted") == true)
        folder.write("trusted.pem", TemporaryFolder.read(Self.authority.certificatePath))
        try context.reload()
        #expect(world.wait { world.unary()?.success } != nil)
    }
}

/// A connection that only notes how it ends.
private final class Probe: ConnectionHandler {
    private(set) var ends: [String] = []
    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) { ends.append("\(reason)") }
    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) { ends.append("\(reason)") }
}
