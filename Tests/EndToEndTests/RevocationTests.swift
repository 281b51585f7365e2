import KafkaClient
import TestSupport
import Testing

/// Two gateways in front of the same services. They end with it.
private final class TwoGateways {
    let fleet: Fleet
    let ports: [UInt16]
    private let broker: EmbeddedBroker
    private let second: ChildProcess

    init() throws {
        broker = try EmbeddedBroker(
            topics: ["driver_locations", "trip_events", "auth_revocations", "audit_events"].map {
                TopicSpecification(name: $0, partitions: 2, replicationFactor: 1)
            })
        fleet = try Fleet(
            bootstrapServers: broker.bootstrapServers, extra: ["CABSTAND_KAFKA_CONFIG": "fetch.wait.max.ms=10"])
        let port: UInt16
        (second, port) = try fleet.anotherGateway()
        ports = [fleet.httpPort, port]
    }

    deinit {
        second.kill()
        broker.stop()
    }
}

/// What an operator revokes at one gateway, with real programs: two gateways in front of the same services.
@Suite(.serialized, .enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"))
struct RevocationTests {
    private func socket(_ port: UInt16, _ token: String) -> Client {
        let client = Client(port).send(
            "GET /ws/drivers/available HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                + "Authorization: Bearer \(token)\r\n\r\n")
        #expect(client.response().status == 101)
        return client
    }

    private func trips(_ port: UInt16, _ token: String) -> HTTPConnection.Response? {
        HTTPConnection(port: port, token: token).request("GET", "/trips")
    }

    @Test func whoIsRevokedAtOneGatewayIsShutOutOfAll() throws {
        let house = try TwoGateways()
        let fleet = house.fleet
        let ports = house.ports
        let (eve, ada) = (try fleet.token("rider", "eve"), try fleet.token("rider", "ada"))
        let sockets = ports.map { socket($0, eve) }
        let others = ports.map { socket($0, ada) }
        for port in ports { #expect(trips(port, eve)?.status == 200) }

        let revocation = fleet.connection().request(
            "POST", "/auth/revocations", #"{"subject":"eve","reason":"lost telephone"}"#)
        #expect(revocation?.status == 201, "\(revocation?.body ?? fleet.logs)")
        for socket in sockets {
            // 3500 = 0x0DAC. The gateway waits for the answer, which is masked with zeros, and then ends the connection.
            #expect(socket.receives([0x0D, 0xAC]), "no close frame with 3500")
            let end = socket.send(bytes: [0x88, 0x82, 0, 0, 0, 0, 0x0D, 0xAC]).all()
            #expect(!end.hasSuffix("TIMEOUT"), "\(end.suffix(80))")
        }
        for port in ports {
            let refused = trips(port, eve)
            #expect(refused?.status == 401 && refused?.body.contains("revoked") == true, "\(refused?.body ?? "none")")
            #expect(trips(port, ada)?.status == 200)
        }
        // Nobody else's socket ends.
        for other in others { #expect(other.all().hasSuffix("TIMEOUT")) }
        // A gateway that starts now knows it, too.
        #expect(fleet.terminate(.gateway) == 0)
        try fleet.start(.gateway)
        try fleet.waitUntilReady()
        #expect(trips(fleet.httpPort, eve)?.status == 401)
        #expect(trips(fleet.httpPort, try fleet.token("rider", "ada"))?.status == 200)
    }

    /// A string member of an answer.
    private func member(_ name: String, of answer: HTTPConnection.Response?) throws -> String {
        let parts = try #require(answer?.body.split(separator: "\"\(name)\":\""), "\(answer?.body ?? "none")")
        return String(try #require(parts.count > 1 ? parts[1] : nil).prefix { $0 != "\"" })
    }

    /// Signing out, and a stolen refresh token that is used twice: the session's access token is good nowhere a second later.
    @Test func theEndOfASessionEndsItsTokensAtAllGateways() throws {
        let house = try TwoGateways()
        let fleet = house.fleet
        let ports = house.ports
        let nobody = HTTPConnection(port: fleet.httpPort)
        func begin() throws -> (access: String, refresh: String) {
            let answer = nobody.request("POST", "/auth/guest")
            return (try member("access_token", of: answer), try member("refresh_token", of: answer))
        }
        func isRefusedSoon(_ port: UInt16, _ token: String) -> Bool {
            let limit = ContinuousClock.now + .seconds(20)
            while trips(port, token)?.status != 401 {
                if ContinuousClock.now > limit { return false }
            }
            return true
        }
        let (left, stolen, kept) = (try begin(), try begin(), try begin())
        let sockets = ports.flatMap { port in [left, stolen].map { socket(port, $0.access) } }
        for port in ports {
            #expect(trips(port, left.access)?.status == 200 && trips(port, stolen.access)?.status == 200)
        }
        let signOut = nobody.request("POST", "/auth/sign-out", #"{"refresh_token":"\#(left.refresh)"}"#)
        #expect(signOut?.status == 204, "\(signOut?.body ?? fleet.logs)")
        let body = #"{"refresh_token":"\#(stolen.refresh)"}"#
        let thief = nobody.request("POST", "/auth/refresh", body)
        let next = try member("access_token", of: thief)
        #expect(nobody.request("POST", "/auth/refresh", body)?.status == 401)
        for port in ports {
            for token in [left.access, stolen.access, next] { #expect(isRefusedSoon(port, token), "\(fleet.logs)") }
            #expect(trips(port, kept.access)?.status == 200)
        }
        for socket in sockets { #expect(socket.receives([0x0D, 0xAC]), "no close frame with 3500") }
    }
}
