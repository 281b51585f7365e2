import HTTPServer
import Reactor
import ReactorSim
import Testing
import WebSocketServer

/// WebSockets as routes of an HTTP server, on its port.
@Suite struct RouteTests {
    private struct World {
        let network = SimulatedNetwork(seed: 1)
        let loop: EventLoop
        let clients: EventLoop
        let server: HTTPServer
        let sockets: WebSocketServer
        let address: SocketAddress

        init(_ gates: [any Gate] = [], _ opened: @escaping (borrowing HTTPRequest, WebSocket) -> Void) throws {
            loop = try network.makeLoop()
            clients = try network.makeLoop()
            let router = Router()
            sockets = WebSocketServer(loop: loop)
            router.group(gates: gates).webSocket("/ws/{name}", on: sockets, opened)
            router.get("/") { _, response in response.text("page") }
            server = HTTPServer(loop: loop, router: router)
            address = try server.listen(.loopback(port: 80)).localAddress
        }

        func client(_ path: String = "/ws/ada", fields: String = SimulatedClient.handshake) -> SimulatedClient {
            SimulatedClient(loop: clients, to: address, path: path, fields: fields)
        }

        func run(_ seconds: Double) { network.run(for: UInt64(seconds * 1e9)) }
    }

    @Test func aClosureHearsAndAnswersItsWebSocket() throws {
        var closes: [UInt16] = []
        let world = try World { request, socket in
            socket.send("hello \(request.pathParameter("name") ?? "")")
            socket.onText = { [unowned socket] in socket.send(text: $0) }
            socket.onClose = { closes.append($0.rawValue) }
        }
        let (first, second) = (world.client(), world.client("/ws/bob"))
        first.send("one")
        second.send("two")
        world.run(1)
        #expect(first.messages == ["hello ada", "one"])
        #expect(second.messages == ["hello bob", "two"])
        first.send(.binary, [1])
        second.close()
        world.run(1)
        #expect(first.closeCode == 1003)
        #expect(closes.sorted() == [1003, 1006])
        #expect(world.sockets.count == 0)
    }

    @Test func whatIsNoHandshakeIsAProblem() throws {
        let world = try World { _, _ in }
        let plain = world.client(fields: "")
        let foreign = world.client(fields: SimulatedClient.handshake + "Origin: https://evil.example\r\n")
        world.run(1)
        #expect(plain.status == 426 && plain.head.contains("Sec-WebSocket-Version: 13"))
        #expect(foreign.status == 403)
        #expect(world.sockets.count == 0)
    }

    @Test func theGatesOfTheGroupStandBeforeTheHandshake() throws {
        struct Closed: Gate {
            func admit(_ request: borrowing HTTPRequest, _ response: HTTPResponder) throws(Problem) -> Admission {
                throw Problem(401, "closed", "Nobody comes in here.")
            }
        }
        let world = try World([Closed()]) { _, _ in Issue.record("opened") }
        let client = world.client()
        world.run(1)
        #expect(client.status == 401)
    }

    /// A WebSocket that nobody refers to any more is freed, though its closures refer to it.
    @Test func aWebSocketLivesUntilItsEnd() throws {
        weak var last: WebSocket?
        let world = try World { _, socket in
            socket.onText = { socket.send(text: $0) }
            last = socket
        }
        let client = world.client()
        client.send("x")
        world.run(1)
        #expect(client.messages == ["x"] && last != nil)
        client.close()
        world.run(1)
        #expect(last == nil)
    }

    @Test func aDrainOfTheServerClosesItsWebSocketsAndRefusesNewOnes() throws {
        let world = try World { _, _ in }
        let clients = (0..<20).map { _ in world.client() }
        let late = SimulatedClient(loop: world.clients, to: world.address, fields: "")
        world.run(1)
        #expect(world.sockets.count == 20 && late.status == 200)
        var isDrained = false
        world.server.drain { isDrained = true }
        world.run(0.5)
        #expect(!isDrained)
        world.run(10)
        #expect(isDrained && clients.allSatisfy { $0.closeCode == 1001 })
    }
}
