import Bytes
import HTTPServer
import Reactor
import ReactorSim
import Testing

/// Remembers what it was given: the other protocol of an upgrade.
private final class Listening: ConnectionHandler {
    var heard = ""
    var context: [UInt32] = []
    var closed = 0

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        heard += unsafe String(decoding: bytes, as: UTF8.self)
        return bytes.count
    }
    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) { closed += 1 }
}

private final class World {
    let other = Listening()
    var posts = 0
    var upgrades: [Bool] = []
    private(set) var http: SimulatedHTTP!

    init(seed: UInt64 = 1, options: SimulationOptions = .init()) throws {
        http = try SimulatedHTTP(seed: seed, options: options) { [unowned self] loop, router in
            func upgrade(_ responder: HTTPResponder) {
                let response = Array("HTTP/1.1 101 Switching Protocols\r\n\r\n".utf8)
                upgrades.append(responder.upgrade(to: other, context: 7, response: response.span))
            }
            router.get("/ws") { _, responder in upgrade(responder) }
            router.post("/ws") { _, responder in upgrade(responder) }
            router.get("/late") { _, responder in loop.schedule(after: 5_000_000) { responder.respond(body: "late") } }
            router.get("/late-upgrade") { _, responder in
                loop.schedule(after: 5_000_000) {
                    upgrade(responder)
                    responder.respond(body: "too late")
                }
            }
            router.post("/orders") { [unowned self] _, responder in
                posts += 1
                responder.respond(201)
            }
        }
    }
}

private let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
private let order = "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
private let get = "GET /ws HTTP/1.1\r\nHost: a\r\n"

@Suite struct UpgradeTests {
    /// Bytes that follow a handshake with a body were executed as requests once it was answered with 101.
    @Test(arguments: [
        get + asks + "Content-Length: 5\r\n\r\nhello", get + asks + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        get + asks + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        get + "Connection: upgrade\r\nUpgrade: other\r\nContent-Length: 5\r\n\r\nhello",
        "POST /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: other\r\nContent-Length: 5\r\n\r\nhello",
        get + asks + "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    ])
    func rfc9110_7_8_anUpgradeWithABodyIsRefusedAndNothingBehindItIsExecuted(handshake: String) throws {
        for seed in 0..<6 as Range<UInt64> {
            let world = try World(seed: seed, options: seed % 3 == 0 ? .init() : seed % 3 == 1 ? .byteByByte : .unkind)
            let client = world.http.client(handshake + order + order)
            world.http.run(4)
            #expect(client.statuses == [400])
            #expect(client.heard.contains("Connection: close\r\n"))
            #expect(client.endedAt != nil && world.http.server.connectionCount == 0)
            #expect(world.posts == 0 && world.other.heard == "" && !world.upgrades.contains(true))
        }
    }

    @Test func rfc9110_7_8_aProtocolThatWasNotAskedForIsRefused() throws {
        for head in [
            get + "\r\n", get + "Upgrade: websocket\r\n\r\n", get + "Connection: upgrade\r\n\r\n",
            "GET /ws HTTP/1.0\r\nHost: a\r\nConnection: upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
        ] {
            let world = try World()
            let client = world.http.client(head + order)
            world.http.run(4)
            #expect(client.statuses == [400] && client.endedAt != nil && world.posts == 0)
        }
    }

    @Test func anEmptyBodyIsNoBody() throws {
        let world = try World()
        let client = world.http.client(get + asks + "Content-Length: 0\r\n\r\nabc")
        world.http.run(1)
        #expect(client.statuses == [101] && world.other.heard == "abc")
    }

    @Test(arguments: 0..<9 as Range<UInt64>)
    func bytesBehindTheHandshakeAreForTheNewProtocolHoweverTheyCome(seed: UInt64) throws {
        let options: SimulationOptions = seed % 3 == 0 ? .init() : seed % 3 == 1 ? .byteByByte : .unkind
        let world = try World(seed: seed, options: options)
        let client = world.http.client("GET /late HTTP/1.1\r\nHost: a\r\n\r\n\(order)\(get)\(asks)\r\n\(order)abc")
        world.http.run(5)
        #expect(client.statuses == [200, 201, 101])
        #expect(world.posts == 1 && world.other.heard == order + "abc")
        client.close()
        world.http.run(1)
        #expect(world.other.closed == 1 && world.http.server.connectionCount == 0)
    }

    @Test func anUpgradeThatIsAnsweredLateIsNone() throws {
        let world = try World()
        let client = world.http.client("GET /late-upgrade HTTP/1.1\r\nHost: a\r\n\(asks)\r\n" + order)
        world.http.run(1)
        #expect(world.upgrades == [false])
        #expect(client.statuses == [200, 201] && world.posts == 1)
    }

    @Test func anUpgradeBehindTheLastRequestIsNotLookedAt() throws {
        let world = try World()
        let client = world.http.client(
            "GET /late HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\(get)\(asks)\r\n")
        world.http.run(3)
        #expect(client.statuses == [200] && client.endedAt != nil && world.upgrades.isEmpty)
    }
}
