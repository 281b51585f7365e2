import Basics
import HTTPServer
import Reactor
import ReactorSim
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Whole conversations over TLS: handshakes and requests that are split, delayed, reset and given up at any byte, between clients
/// that speak no TLS, with system calls that fail and a server that ends in the middle of it. OpenSSL draws its own random bytes:
/// a seed decides about everything else.
@Suite struct TLSSeeds {
    @Test(arguments: [0..<75, 75..<150, 150..<225, 225..<300] as [Range<UInt64>])
    func everybodyGetsHisOwnAnswersOrAnEnd(_ seeds: Range<UInt64>) throws {
        let name = "tls:"
        let wanted = unsafe getenv("CABSTAND_SEED").map { unsafe String(cString: $0) }
            .flatMap { $0.hasPrefix(name) ? UInt64($0.dropFirst(name.utf8.count)) : nil }
        for seed in seeds where wanted == nil || wanted == seed {
            var conversation = try TLSConversation(seed: seed)
            guard let problem = try conversation.problem() else { continue }
            Issue.record(
                """
                \(problem)
                CABSTAND_SEED=\(name)\(seed) swift test --disable-xctest --filter everybodyGetsHisOwnAnswersOrAnEnd
                """)
            return
        }
    }
}

/// One seed's conversation.
private struct TLSConversation {
    private var random: SplitMix
    private let seed: UInt64
    private let world: SimulatedHTTP
    private var clients: [SimulatedPeer] = []

    init(seed: UInt64) throws {
        self.seed = seed
        random = SplitMix(seed: seed ^ 0x715)
        var options = SimulationOptions.unkind
        options.readSize = 1...300
        options.writeSize = 1...300
        options.window = 3000
        world = try SimulatedHTTP(seed: seed, options: options, tls: true) { loop, router in
            router.get("/tag") { request, responder in
                let tag = request.text("x-tag") ?? ""
                responder.respond(200, "text/plain") { $0.append(utf8: tag) }
            }
            router.get("/later") { request, responder in
                let tag = request.text("x-tag") ?? ""
                loop.schedule(after: 300_000_000) { responder.respond(200, "text/plain") { $0.append(utf8: tag) } }
            }
        }
    }

    /// What was wrong; nil if nothing was.
    mutating func problem() throws -> String? {
        world.network.options.resets = seed % 3 == 0 ? 0.01 : 0
        world.network.options.systemCallFailures = seed % 2 == 0 ? 0.01 : 0
        for number in 0..<6 {
            come(number)
            world.run(Double.random(in: 0.001..<0.4, using: &random))
            if Int.random(in: 0..<4, using: &random) == 0, let client = clients.randomElement(using: &random) {
                client.loop.close(client.id)
            }
            if seed % 5 == 4 && number == 3 { world.server.drain() }
        }
        world.run(10)
        // It is calm now.
        world.network.options = .init()
        let newcomer = seed % 5 == 4 ? nil : world.client(Self.request("/tag", clients.count))
        world.run(2)
        if let newcomer {
            clients.append(newcomer)
            guard newcomer.statuses == [200] else { return "a newcomer heard \(newcomer.heard)" }
        }
        for (number, client) in clients.enumerated() {
            let tags = client.heard.split(separator: "<").dropFirst().map { $0.prefix { $0 != ">" } }
            guard tags.allSatisfy({ $0 == "tag\(number)" }) else { return "client \(number) heard \(client.heard)" }
            client.loop.close(client.id)
        }
        world.run(60)
        guard world.server.connectionCount == 0, world.loop.statistics.connections == 0 else {
            return "\(world.loop.statistics.connections) connections are left"
        }
        return nil
    }

    private mutating func come(_ number: Int) {
        let kind = Int.random(in: 0..<8, using: &random)
        let path = Bool.random(using: &random) ? "/tag" : "/later"
        guard kind > 0 else {
            let plain = SimulatedPeer(loop: world.clients, to: world.address, tls: nil, readRate: nil)
            plain.say(Self.request(path, number))
            return clients.append(plain)
        }
        let client = world.client(Self.request(path, number))
        if kind > 4 { client.say(Self.request("/tag", number)) }
        clients.append(client)
    }

    private static func request(_ path: String, _ number: Int) -> String {
        "GET \(path) HTTP/1.1\r\nHost: a\r\nx-tag: <tag\(number)>\r\n\r\n"
    }
}
