import Operations
import Settings
import Synchronization
import TestSupport
import Testing

@testable import GatewayService

@Suite struct GatewayFilesTests {
    /// The whole gateway, with a loop of its own for each connection that asks.
    @Test func everyLoopServesASavedFile() throws {
        let folder = TemporaryFolder()
        folder.write("index.html", "<p>one")
        let outcome = try SettingsDeclaration.gateway.read(
            arguments: [],
            environment: [
                "CABSTAND_AUTH": "off",
                "CABSTAND_BIND": "127.0.0.1", "CABSTAND_HTTP_PORT": "0", "CABSTAND_PUBLIC_DIR": folder.path,
                "CABSTAND_EVENT_LOOPS": "3", "CABSTAND_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
                "CABSTAND_DRIVER_SERVICE": "127.0.0.1:1", "CABSTAND_TRIP_SERVICE": "127.0.0.1:1",
            ])
        guard case .run(let settings) = outcome else {
            Issue.record("these settings are for running")
            return
        }
        let server = try GatewayServer(settings: settings)
        try server.start()
        // The kernel deals connections out by their ports: twenty reach each of three loops, but for one time in 1,000.
        let clients = (0..<20).map { _ in HTTPConnection(port: server.address.port) }
        func bodies() -> Set<String> { Set(clients.map { $0.request("GET", "/")?.body ?? "none" }) }
        #expect(bodies() == ["<p>one"])
        folder.write("index.html", "<p>two")
        #expect(waitUntil(10) { bodies() == ["<p>two"] })
        let hasEnded = Atomic<Bool>(false)
        server.drain { hasEnded.store(true, ordering: .relaxed) }
        #expect(waitUntil(20) { hasEnded.load(ordering: .relaxed) })
    }
}
