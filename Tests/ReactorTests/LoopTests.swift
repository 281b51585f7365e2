import Bytes
import Reactor
import Testing

/// Returns what it gets.
final class EchoHandler: ConnectionHandler {
    let loop: EventLoop
    init(loop: EventLoop) { self.loop = loop }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        unsafe loop.output(id)?.pointee.append(UnsafeRawBufferPointer(bytes))
        return bytes.count
    }
}

/// Sends something and collects the answer until `expected` bytes are there.
final class CollectingClient: ConnectionHandler {
    let loop: EventLoop
    let message: [UInt8]
    let expected: Int
    var received: [UInt8] = []
    var opened = 0
    var reason: CloseReason?

    init(loop: EventLoop, sends message: [UInt8], expects expected: Int) {
        self.loop = loop
        self.message = message
        self.expected = expected
    }

    override func connectionOpened(_ id: ConnectionID) {
        opened += 1
        unsafe loop.output(id)?.pointee.append(message)
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        unsafe received.append(contentsOf: bytes)
        if received.count >= expected { loop.close(id) }
        return bytes.count
    }

    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        self.reason = reason
        loop.stop()
    }

    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) { connectionClosed(id, reason) }
}

@Suite struct LoopTests {
    @Test func echoesOverRealSockets() throws {
        let loop = try EventLoop()
        let listener = try loop.listen(.loopback(port: 0), handler: EchoHandler(loop: loop))
        let message = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let client = CollectingClient(loop: loop, sends: message, expects: message.count)
        loop.connect(listener.localAddress, timeout: 5_000_000_000, handler: client)
        loop.run()
        #expect(client.opened == 1)
        #expect(client.received == message)
        #expect(client.reason == .local)
    }

    @Test func connectToClosedPortFails() throws {
        let loop = try EventLoop()
        let listener = try loop.listen(.loopback(port: 0), handler: EchoHandler(loop: loop))
        let address = listener.localAddress
        listener.close()
        let client = CollectingClient(loop: loop, sends: [], expects: 1)
        loop.connect(address, timeout: 5_000_000_000, handler: client)
        loop.run()
        #expect(client.opened == 0)
        guard case .connectFailed = client.reason else {
            Issue.record("unexpected \(String(describing: client.reason))")
            return
        }
    }

    @Test func resolvesNamesOffTheLoop() throws {
        let loop = try EventLoop()
        var answer: Result<[SocketAddress], ResolveError>?
        loop.resolve("localhost", port: 80) {
            answer = $0
            loop.stop()
        }
        #expect(answer == nil)
        loop.run()
        let addresses = try #require(answer).get()
        #expect(addresses.contains(.loopback(port: 80)) || addresses.contains(SocketAddress(ip: "::1", port: 80)!))
    }

    @Test func spawnedTasksStayOnTheLoop() throws {
        let loop = try EventLoop()
        loop.spawn {
            for _ in 0..<10 {
                #expect(loop.isOnLoop)
                await Task.yield()
            }
            loop.stop()
        }
        loop.run()
    }
}
