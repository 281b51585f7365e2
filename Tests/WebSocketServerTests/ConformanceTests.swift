import Reactor
import Synchronization
import TestSupport
import Testing
import WebSocketServer
import WebSockets

/// Autobahn's cases, by kosoku, against an echo on a loop of its own: 1 to 10 without compression (RFC 6455; there is no 8), and of 12 and
/// 13 (RFC 7692) one of each kind. All 517, all of them compressed, take minutes: `deploy/conformance.sh autobahn-server`.
@Suite struct ConformanceTests {
    private static let python = Tool.python(importing: ["kosoku"])

    @Test(
        .enabled(if: python != nil, "needs Python's kosoku (deploy/test.sh installs it)"),
        .timeLimit(.minutes(10)),
        arguments: [
            ([1, 2, 3, 4, 5, 6, 7, 9, 10].map { "\($0).*" }, false),
            (["12.1.1", "12.1.11"] + (1...7).map { "13.\($0).1" }, true),
        ])
    func autobahn(patterns: [String], compresses: Bool) throws {
        let python = try #require(Self.python)
        let loops = try EventLoopGroup(count: 1)
        let port = Mutex<UInt16>(0)
        try loops.start { loop in
            let limits = WebSocketLimits(maximumMessageSize: 16 << 20, maximumFramesPerMessage: 1 << 20)
            // Everything that a client may ask for, and every message compressed.
            var deflate = DeflateOptions()
            deflate.serverNoContextTakeover = false
            deflate.clientNoContextTakeover = false
            deflate.minimumMessageSize = 0
            var timeouts = WebSocketTimeouts()
            // kosoku fails a case in the middle of which a Ping comes, whoever's it is.
            timeouts.pingInterval = .seconds(60)
            let server = WebSocketServer(
                loop: loop, limits: limits, timeouts: timeouts,
                deflate: compresses ? deflate : nil)
            let echo = EchoEndpoint()
            let listener = try? loop.listen(
                .loopback(port: 0), handler: HandshakeHandler(server: server) { _ in echo })
            port.withLock { $0 = listener?.localAddress.port ?? 0 }
        }
        defer {
            loops.stop()
            loops.join()
        }
        try #require(waitUntil(10) { port.withLock { $0 } != 0 })
        let address = "ws://127.0.0.1:\(port.withLock { $0 })/"
        let script = Tool.repository + "/Tests/WebSocketServerTests/autobahn.py"
        let result = try ChildProcess.run(python, [script, address] + patterns, timeout: 560)
        let output = result.output + result.errors
        #expect(result.status == 0, "\(output.suffix(2000))")
        #expect(output.contains(", 0 failed"), "\(output.suffix(2000))")
    }
}
