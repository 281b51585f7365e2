import Bytes
import ReactorSim
import Testing

@testable import WebSocketServer

@Suite struct HandshakeTests {
    private func answer(_ fields: String, path: String = "/") throws -> (status: Int, head: String) {
        let world = try SimulatedServer(endpoint: EchoEndpoint())
        let client = world.client(path: path, fields: fields)
        world.run(0.5)
        return (client.status, client.head)
    }

    private let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    @Test func rfc6455_1_3_theSampleNonce() throws {
        let (status, head) = try answer(SimulatedClient.handshake)
        #expect(status == 101)
        #expect(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
        #expect(!head.lowercased().contains("sec-websocket-extensions"))
    }

    @Test(arguments: [
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13, 8\r\n",
    ])
    func behaviour10_whatIsNoHandshakeIs426(fields: String) throws {
        let (status, head) = try answer(fields + key)
        #expect(status == 426)
        #expect(head.contains("Sec-WebSocket-Version: 13\r\n"))
        #expect(head.contains("Upgrade: websocket\r\n"))
    }

    @Test(arguments: [
        "", "Sec-WebSocket-Key: \r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
        "Sec-WebSocket-Key: !!!!IHNhbXBsZSBub25jZQ==\r\n",
        "Sec-WebSocket-Key: _-_-IHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ])
    func behaviour10_theKeyHasSixteenBytes(key: String) throws {
        let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" + key
        #expect(try answer(fields).status == 426)
    }

    @Test func behaviour10_upgradeTokensInAnyCaseAndAmongOthers() throws {
        let fields = "Upgrade: h2c, WebSocket\r\nConnection: Keep-Alive, UPGRADE\r\nSec-WebSocket-Version: 13\r\n" + key
        #expect(try answer(fields).status == 101)
    }

    @Test func behaviour11_theOriginIsChecked() throws {
        #expect(try answer(SimulatedClient.handshake + "Origin: http://localhost\r\n").status == 101)
        #expect(try answer(SimulatedClient.handshake + "Origin: https://LOCALHOST\r\n").status == 101)
        #expect(try answer(SimulatedClient.handshake + "Origin: http://localhost:81\r\n").status == 403)
        #expect(try answer(SimulatedClient.handshake + "Origin: http://evil.example\r\n").status == 403)
        #expect(try answer(SimulatedClient.handshake + "Origin: null\r\n").status == 403)
    }

    @Test func unknownPathsAre404() throws {
        #expect(try answer(SimulatedClient.handshake, path: "/missing").status == 404)
    }

    /// Each byte of a head that drips was looked at again with each byte that came.
    @Test func aHandshakeThatDripsIsTheSame() throws {
        for options in [SimulationOptions.byteByByte, .unkind] {
            let world = try SimulatedServer(options: options, endpoint: EchoEndpoint())
            let clients = ["", "/missing"].map { world.client(path: "/" + $0.dropFirst()) }
            let filled = world.client(
                fields: SimulatedClient.handshake + "X: " + String(repeating: "x", count: 8000) + "\r\n")
            let wrong = world.client(fields: "A : b\r\n" + SimulatedClient.handshake)
            let gone = world.client(fields: "X: " + String(repeating: "x", count: 16_000))
            world.run(3)
            #expect(clients.map(\.status) == [101, 404] && filled.status == 101 && wrong.status == 400)
            #expect(world.door.unfinished.count == 1)
            gone.close()
            world.run(3)
            #expect(world.door.unfinished.count == 0)
        }
    }
}
