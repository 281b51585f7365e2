import Bytes
import Reactor
import ReactorSim
import Testing

/// A handler made of closures, for tests.
final class Script: ConnectionHandler {
    var onOpened: (ConnectionID) -> Void = { _ in }
    var onRead: (ConnectionID, [UInt8]) -> Int = { _, bytes in bytes.count }
    var onDeadline: (ConnectionID) -> Void = { _ in }
    var onDrained: (ConnectionID) -> Void = { _ in }
    var onWillFlush: (ConnectionID) -> Void = { _ in }
    var received: [UInt8] = []
    var openedIDs: [ConnectionID] = []
    var reasons: [CloseReason] = []
    var readEnds = 0
    var closesAtEnd = true

    override func connectionOpened(_ id: ConnectionID) {
        openedIDs.append(id)
        onOpened(id)
    }

    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let bytes = unsafe [UInt8](bytes)
        let consumed = onRead(id, bytes)
        received += bytes[..<consumed]
        return consumed
    }

    override func connectionReadClosed(_ id: ConnectionID) {
        readEnds += 1
        if closesAtEnd { super.connectionReadClosed(id) }
    }

    override func connectionDeadline(_ id: ConnectionID) { onDeadline(id) }
    override func connectionDrained(_ id: ConnectionID) { onDrained(id) }
    override func connectionWillFlush(_ id: ConnectionID) { onWillFlush(id) }
    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) { reasons.append(reason) }
    override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) { reasons.append(reason) }
}

/// Two loops, a listener and one connection between them.
struct Pair {
    let network: SimulatedNetwork
    let server: EventLoop
    let client: EventLoop
    let atServer = Script()
    let atClient = Script()
    let address: SocketAddress

    init(seed: UInt64 = 1, options: SimulationOptions = .init(), configuration: EventLoop.Configuration = .init())
        throws
    {
        network = SimulatedNetwork(seed: seed, options: options)
        server = try network.makeLoop(configuration: configuration)
        client = try network.makeLoop()
        address = try server.listen(.loopback(port: 0), handler: atServer).localAddress
    }

    @discardableResult
    func connect() -> ConnectionID { client.connect(address, timeout: 10_000_000_000, handler: atClient) }

    func send(_ id: ConnectionID, _ bytes: [UInt8], from loop: EventLoop) {
        unsafe loop.output(id)?.pointee.append(bytes)
    }
}

@Suite struct ConnectionTests {
    @Test(arguments: 0..<10 as Range<UInt64>)
    func behaviour8_closingWithUnreadInputDrainsAndNeverResets(seed: UInt64) throws {
        let pair = try Pair(seed: seed)
        let answer = Array("413 too large".utf8)
        // The server answers after the first bytes of a long upload, of which it reads no more.
        pair.atServer.onRead = { id, bytes in
            pair.send(id, answer, from: pair.server)
            pair.server.closeAfterFlush(id, drain: true)
            return bytes.count
        }
        pair.atClient.onOpened = { pair.send($0, [UInt8](repeating: 1, count: 200_000), from: pair.client) }
        pair.connect()
        pair.network.run(for: 5_000_000_000)
        #expect(pair.atClient.received == answer)
        #expect(pair.atClient.readEnds == 1)
        #expect(pair.atClient.reasons == [.peer])
        #expect(pair.atServer.reasons.count == 1)
    }

    @Test func behaviour8_drainingIsBoundedInTime() throws {
        let pair = try Pair()
        pair.atServer.onRead = { id, bytes in
            pair.server.closeAfterFlush(id, drain: true)
            return bytes.count
        }
        // A client that drips for ever, whatever it is told.
        pair.atClient.closesAtEnd = false
        let id = pair.connect()
        pair.client.schedule(every: 100_000_000) { pair.send(id, [1], from: pair.client) }
        pair.network.run(for: 3_000_000_000)
        #expect(pair.atServer.reasons == [.local])
    }

    @Test func keptInputComesBackInFrontOfTheNext() throws {
        let pair = try Pair(options: .byteByByte)
        var messages: [[UInt8]] = []
        pair.atServer.onRead = { _, bytes in
            guard bytes.count >= 5 else { return 0 }
            messages.append(bytes)
            return 5
        }
        pair.atClient.onOpened = { pair.send($0, Array("helloworld".utf8), from: pair.client) }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(messages == [Array("hello".utf8), Array("world".utf8)])
    }

    @Test func keptInputIsBounded() throws {
        var configuration = EventLoop.Configuration()
        configuration.maximumKeptInput = 1000
        let pair = try Pair(configuration: configuration)
        pair.atServer.onRead = { _, _ in 0 }
        pair.atClient.onOpened = { pair.send($0, [UInt8](repeating: 1, count: 100_000), from: pair.client) }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atServer.reasons == [.inputOverflow])
    }

    @Test func outputIsBounded() throws {
        var configuration = EventLoop.Configuration()
        configuration.maximumOutput = 200_000
        let pair = try Pair(configuration: configuration)
        pair.atClient.onOpened = { pair.client.pauseReading($0) }
        pair.atServer.onOpened = { pair.send($0, [UInt8](repeating: 1, count: 1_000_000), from: pair.server) }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atServer.reasons == [.outputOverflow])
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func anUpgradeHandsTheRestToTheNextHandler(seed: UInt64) throws {
        let pair = try Pair(seed: seed, options: .unkind)
        let next = Script()
        pair.atServer.onRead = { id, bytes in
            guard bytes.count >= 3 else { return 0 }
            pair.server.setHandler(id, next)
            return 3
        }
        pair.atClient.onOpened = { pair.send($0, Array("GETframes".utf8), from: pair.client) }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atServer.received == Array("GET".utf8))
        #expect(next.received == Array("frames".utf8))
    }

    @Test func pausedInputIsPresentedOnResume() throws {
        let pair = try Pair()
        pair.atServer.onRead = { id, bytes in
            pair.server.pauseReading(id)
            return 1
        }
        pair.atClient.onOpened = { pair.send($0, Array("abc".utf8), from: pair.client) }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atServer.received == Array("a".utf8))
        for letter in ["ab", "abc"] {
            pair.server.resumeReading(pair.atServer.openedIDs[0])
            pair.network.run(for: 1_000_000_000)
            #expect(pair.atServer.received == Array(letter.utf8))
        }
    }

    @Test func deadlinesAreLazilyMovedAndFireOnce() throws {
        let pair = try Pair()
        var fired: [UInt64] = []
        var expected: UInt64 = 0
        pair.atServer.onOpened = { id in
            pair.server.setDeadline(id, at: pair.server.now + 10_000_000)
            // Moved on ten times before it is due; then once to an earlier time.
            for step in 1...10 {
                pair.server.schedule(after: UInt64(step) * 5_000_000) {
                    pair.server.setDeadline(id, at: pair.server.now + 10_000_000)
                }
            }
            pair.server.schedule(after: 51_000_000) {
                expected = pair.server.now + 1_000_000
                pair.server.setDeadline(id, at: expected)
            }
        }
        pair.atServer.onDeadline = { _ in fired.append(pair.server.now) }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(fired.count == 1)
        #expect(fired[0] >= expected && fired[0] < expected + 1_000_000)
    }

    @Test func aClearedDeadlineDoesNotFire() throws {
        let pair = try Pair()
        var fired = 0
        pair.atServer.onOpened = { id in
            pair.server.setDeadline(id, at: pair.server.now + 10_000_000)
            pair.server.clearDeadline(id)
        }
        pair.atServer.onDeadline = { _ in fired += 1 }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(fired == 0)
    }

    @Test func connectTimesOut() throws {
        var options = SimulationOptions()
        options.delay = 5_000_000_000...5_000_000_000
        let pair = try Pair(options: options)
        pair.client.connect(pair.address, timeout: 1_000_000_000, handler: pair.atClient)
        pair.network.run(for: 2_000_000_000)
        #expect(pair.atClient.reasons == [.connectTimeout])
    }

    @Test func aSlowReaderIsToldWhenItsBacklogIsGone() throws {
        let pair = try Pair(options: .unkind)
        var drained = 0
        pair.atServer.onDrained = { id in
            drained += 1
            #expect(pair.server.pendingOutput(id) == 0)
        }
        let list = SharedBytes([UInt8](repeating: 3, count: 1000))
        pair.atServer.onOpened = { id in
            pair.send(id, [1, 2], from: pair.server)
            pair.server.send(id, shared: list)
            pair.send(id, [4, 5], from: pair.server)
            #expect(pair.server.pendingOutput(id) == 1004)
        }
        pair.connect()
        pair.network.run(for: 5_000_000_000)
        #expect(drained == 1)
        #expect(pair.atClient.received == [1, 2] + [UInt8](repeating: 3, count: 1000) + [4, 5])
    }

    @Test func requestedFlushesMayAskAgain() throws {
        let pair = try Pair()
        var left = 5
        pair.atServer.onWillFlush = { id in
            pair.send(id, [UInt8(left)], from: pair.server)
            left -= 1
            if left > 0 { pair.server.requestFlush(id) }
        }
        pair.atServer.onOpened = { pair.server.requestFlush($0) }
        pair.connect()
        pair.network.run(for: 1_000_000_000)
        #expect(pair.atClient.received == [5, 4, 3, 2, 1])
    }

    @Test func identifiersOfClosedConnectionsFindNothing() throws {
        let pair = try Pair()
        let id = pair.connect()
        pair.network.run(for: 1_000_000)
        pair.client.close(id)
        pair.network.run(for: 1_000_000_000)
        #expect(!pair.client.isOpen(id))
        let isClosed = unsafe pair.client.output(id) == nil
        #expect(isClosed)
        #expect(pair.client.peerAddress(id) == nil)
        pair.client.close(id)
        pair.client.closeAfterFlush(id)
        #expect(pair.atClient.reasons == [.local])
    }

    @Test func theSameSeedGivesTheSameRun() throws {
        func run() throws -> [UInt64] {
            let pair = try Pair(seed: 99, options: .unkind)
            var times: [UInt64] = []
            pair.atServer.onRead = { _, bytes in
                times.append(pair.server.now)
                return bytes.count
            }
            pair.atClient.onOpened = { pair.send($0, [UInt8](repeating: 1, count: 500), from: pair.client) }
            pair.connect()
            pair.network.run(for: 1_000_000_000)
            return times
        }
        let first = try run()
        let second = try run()
        #expect(first == second)
        #expect(first.count > 10)
    }
}
