import Basics
import Bytes
import Reactor
import ReactorSim
import Synchronization
import Testing

/// Behaviours 40 to 47, on the simulated kernel but for what only threads can show.
@Suite struct TheLoop {
    /// Counts what the loop tells it.
    final class Recorder: ConnectionHandler {
        let loop: EventLoop
        var opened: [ConnectionID] = []
        var closed: [ConnectionID: CloseReason] = [:]
        var onRead: ((ConnectionID, [UInt8]) -> Void)?
        var onReadClosed: ((ConnectionID) -> Void)?
        var onOpened: ((ConnectionID) -> Void)?

        init(loop: EventLoop) { self.loop = loop }

        override func connectionOpened(_ id: ConnectionID) {
            opened.append(id)
            onOpened?(id)
        }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            onRead?(id, unsafe [UInt8](bytes))
            return bytes.count
        }

        override func connectionReadClosed(_ id: ConnectionID) {
            if let onReadClosed { onReadClosed(id) } else { super.connectionReadClosed(id) }
        }

        override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
            #expect(closed[id] == nil, "closed twice")
            #expect(opened.contains(id), "closed and never opened")
            closed[id] = reason
        }

        override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) {
            #expect(closed[id] == nil, "failed twice")
            #expect(!opened.contains(id), "failed after it was opened")
            closed[id] = reason
        }
    }

    @Test(arguments: 0..<8 as Range<UInt64>)
    func behaviour40_aReusedDescriptorNeverGetsAnOldEvent(seed: UInt64) throws {
        let network = SimulatedNetwork(seed: seed)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        var random = SplitMix(seed: seed)
        // Every client sends its own byte only. The server closes others while their events wait in the same batch; what
        // comes to the places and descriptors used again must still be of one kind per connection.
        let receiver = Recorder(loop: server)
        var kinds: [ConnectionID: UInt8] = [:]
        receiver.onRead = { id, bytes in
            let kind = kinds[id, default: bytes[0]]
            if !bytes.allSatisfy({ $0 == kind }) { Issue.record("a byte of another connection") }
            kinds[id] = kind
            if let victim = receiver.opened.randomElement(using: &random), random.chance(0.3) { server.close(victim) }
        }
        let listener = try server.listen(.loopback(port: 0), handler: receiver)
        let sender = Recorder(loop: client)
        var sent: [ConnectionID: UInt8] = [:]
        var next: UInt8 = 0
        func connect() {
            sent[client.connect(listener.localAddress, timeout: 1_000_000_000, handler: sender)] = next
            next &+= 1
        }
        client.schedule(every: 300_000) {
            if sender.opened.count < 100 { connect() }
            for id in sender.opened where client.isOpen(id) { unsafe client.output(id)?.pointee.append(sent[id]!) }
        }
        for _ in 0..<8 { connect() }
        network.run(for: 40_000_000)
        #expect(receiver.opened.count > 50)
        #expect(receiver.closed.count > 20)
    }

    @Test func behaviour41_hangUpAndErrorNeverSpin() throws {
        let network = SimulatedNetwork(seed: 1)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let receiver = Recorder(loop: server)
        // Reading is paused, so nobody reads the end, and the connection stays open on purpose.
        receiver.onOpened = { server.pauseReading($0) }
        let listener = try server.listen(.loopback(port: 0), handler: receiver)
        let sender = Recorder(loop: client)
        sender.onOpened = {
            unsafe client.output($0)?.pointee.append("hello")
            client.closeAfterFlush($0)
        }
        for _ in 0..<10 { client.connect(listener.localAddress, timeout: 1_000_000_000, handler: sender) }
        network.run(for: 1_000_000_000)
        #expect(receiver.opened.count == 10)
        #expect(sender.closed.count == 10)
        let turns = server.statistics.turns
        network.run(for: 10_000_000_000)
        #expect(server.statistics.turns == turns)

        // An end that was read but is not answered with a close is reported without end by a level-triggered kernel.
        receiver.onReadClosed = { _ in }
        for id in receiver.opened { server.resumeReading(id) }
        network.run(for: 1_000_000_000)
        let later = server.statistics.turns
        network.run(for: 10_000_000_000)
        #expect(server.statistics.turns == later)
        #expect(receiver.closed.isEmpty)
    }

    @Test func behaviour41_aResetClosesEvenWhatIsPaused() throws {
        let network = SimulatedNetwork(seed: 2)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let receiver = Recorder(loop: server)
        receiver.onOpened = { server.pauseReading($0) }
        let listener = try server.listen(.loopback(port: 0), handler: receiver)
        let sender = Recorder(loop: client)
        client.connect(listener.localAddress, timeout: 1_000_000_000, handler: sender)
        network.run(for: 1_000_000_000)
        network.resetConnections(of: client)
        network.run(for: 1_000_000_000)
        guard case .reset = receiver.closed[receiver.opened[0]] else {
            Issue.record("the reset was not noticed")
            return
        }
        let turns = server.statistics.turns
        network.run(for: 10_000_000_000)
        #expect(server.statistics.turns == turns)
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func behaviour42_timersFireOnceInOrderNotEarly(seed: UInt64) throws {
        let network = SimulatedNetwork(seed: seed)
        let loop = try network.makeLoop()
        var random = SplitMix(seed: seed)
        var due: [Int: UInt64] = [:]
        var ids: [Int: TimerID] = [:]
        var fired: [Int] = []
        for number in 0..<1000 {
            let delay = UInt64.random(in: 0...50_000_000, using: &random) / 1_000_000 * 1_000_000
            due[number] = network.now + delay
            ids[number] = loop.schedule(after: delay) {
                #expect(loop.now >= due[number]!)
                fired.append(number)
                // Some cancel others, some of which have fired.
                if number % 7 == 0, let other = ids[(number * 31 + 5) % 1000] {
                    loop.cancel(other)
                    let victim = (number * 31 + 5) % 1000
                    if !fired.contains(victim) { due[victim] = nil }
                }
            }
        }
        network.run(for: 1_000_000_000)
        #expect(Set(fired).count == fired.count)
        #expect(Set(fired) == Set(due.keys))
        // In the order of due time, and for the same time in the order of arming.
        #expect(fired == due.keys.sorted { (due[$0]!, $0) < (due[$1]!, $1) })
    }

    @Test func behaviour42_aTimerThatIsDueAtOnceWaitsForTheNextTurn() throws {
        let network = SimulatedNetwork(seed: 3)
        let loop = try network.makeLoop()
        var turns: [UInt64] = []
        func again() {
            turns.append(loop.statistics.turns)
            if turns.count < 5 { loop.schedule(after: 0) { again() } }
        }
        loop.schedule(after: 0) { again() }
        network.run(for: 1_000_000)
        #expect(turns == [1, 2, 3, 4, 5])
    }

    @Test func behaviour42_repeatingTimersKeepTheirBeatAndCanBeCancelled() throws {
        let network = SimulatedNetwork(seed: 4)
        let loop = try network.makeLoop()
        var beats = 0
        var timer = TimerID.none
        timer = loop.schedule(every: 10_000_000) {
            beats += 1
            if beats == 20 { loop.cancel(timer) }
        }
        network.run(for: 105_000_000)
        #expect(beats == 10)
        network.run(for: 1_000_000_000)
        #expect(beats == 20)
    }

    @Test func behaviour43_wakeUpsAreNeverLost() throws {
        let loop = try EventLoop()
        let group = try EventLoopGroup(count: 4)
        let posts = 5000
        let received = LoopBound(Box(0), loop: loop)
        try group.start { other in
            for _ in 0..<posts {
                loop.submit {
                    received.value.value += 1
                    if received.value.value == 4 * posts { loop.stop() }
                }
            }
            other.stop()
        }
        loop.run()
        group.join()
        #expect(received.value.value == 4 * posts)
    }

    @Test func behaviour43_wakeUpsCoalesce() throws {
        let loop = try EventLoop()
        let count = Atomic<Int>(0)
        var turns: UInt64 = 0
        loop.schedule(after: 0) {
            // While this turn runs, another thread posts a thousand times and ends.
            let other = try! EventLoopGroup(count: 1)
            try! other.start { helper in
                for _ in 0..<1000 { loop.submit { count.add(1, ordering: .relaxed) } }
                helper.stop()
            }
            other.join()
            turns = loop.statistics.turns
            loop.schedule(after: 20_000_000) { loop.stop() }
        }
        loop.run()
        #expect(count.load(ordering: .relaxed) == 1000)
        // The work ran in the same turn; one wake-up was left over, one turn was the timer's.
        #expect(loop.statistics.turns - turns <= 2)
    }

    @Test(arguments: 0..<12 as Range<UInt64>)
    func behaviour44_closingInsideAnyCallbackIsSafe(seed: UInt64) throws {
        var options = SimulationOptions.unkind
        options.resets = 0.01
        let network = SimulatedNetwork(seed: seed, options: options)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let atServer = Closer(loop: server, seed: seed)
        let atClient = Closer(loop: client, seed: seed &+ 1)
        let listener = try server.listen(.loopback(port: 0), handler: atServer)
        client.schedule(every: 1_000_000) {
            if atClient.opened < 60 {
                atClient.track(client.connect(listener.localAddress, timeout: 3_000_000, handler: atClient))
            }
        }
        network.run(for: 80_000_000)
        atServer.isCalm = true
        atClient.isCalm = true
        for id in atServer.known { server.close(id) }
        for id in atClient.known { client.close(id) }
        network.run(for: 5_000_000_000)
        #expect(atClient.closed.count > 30)
        #expect(atServer.closed == atServer.started)
        #expect(server.statistics.connections == 0)
        #expect(client.statistics.connections == 0)
    }

    /// Closes itself or others, at random, in every callback.
    final class Closer: ConnectionHandler {
        let loop: EventLoop
        var random: SplitMix
        var known: [ConnectionID] = []
        var started: Set<ConnectionID> = []
        var closed: Set<ConnectionID> = []
        var opened = 0
        var isCalm = false

        init(loop: EventLoop, seed: UInt64) {
            self.loop = loop
            random = SplitMix(seed: seed)
        }

        func track(_ id: ConnectionID) { known.append(id) }

        private func trouble(_ id: ConnectionID) {
            if isCalm { return }
            let victim = random.chance(0.5) ? id : known.randomElement(using: &random) ?? id
            switch Int.random(in: 0..<12, using: &random) {
            case 0: loop.close(victim)
            case 1: loop.closeAfterFlush(victim)
            case 2: loop.closeAfterFlush(victim, drain: true)
            case 3: loop.pauseReading(victim)
            case 4: loop.resumeReading(victim)
            case 5: loop.requestFlush(victim)
            case 6: loop.setDeadline(victim, at: loop.now + 100_000)
            case 7: loop.send(victim, shared: SharedBytes([1, 2, 3]))
            case 8: loop.setHandler(victim, self)
            default:
                if loop.pendingOutput(victim) == 0 {
                    unsafe loop.output(victim)?.pointee.append([UInt8](repeating: 7, count: 60))
                }
            }
        }

        override func connectionOpened(_ id: ConnectionID) {
            opened += 1
            #expect(started.insert(id).inserted)
            known.append(id)
            trouble(id)
        }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            #expect(!closed.contains(id))
            trouble(id)
            return Int.random(in: 0...bytes.count, using: &random)
        }

        override func connectionReadClosed(_ id: ConnectionID) {
            trouble(id)
            if random.chance(0.5) { super.connectionReadClosed(id) }
        }

        override func connectionWillFlush(_ id: ConnectionID) { trouble(id) }
        override func connectionDrained(_ id: ConnectionID) { trouble(id) }
        override func connectionDeadline(_ id: ConnectionID) { trouble(id) }

        override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
            #expect(closed.insert(id).inserted, "closed twice")
            trouble(known.randomElement(using: &random) ?? id)
        }

        override func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) {
            #expect(closed.insert(id).inserted, "failed twice")
            trouble(known.randomElement(using: &random) ?? id)
        }
    }

    @Test func behaviour45_tenIdleSecondsWakeUpForDueTimersOnly() throws {
        let network = SimulatedNetwork(seed: 5)
        let server = try network.makeLoop()
        let client = try network.makeLoop()
        let receiver = Recorder(loop: server)
        let listener = try server.listen(.loopback(port: 0), handler: receiver)
        let sender = Recorder(loop: client)
        for _ in 0..<200 { client.connect(listener.localAddress, timeout: 10_000_000_000, handler: sender) }
        // Past the timers of the connects, which are armed lazily and noticed once.
        network.run(for: 11_000_000_000)
        #expect(receiver.opened.count == 200)
        let turns = server.statistics.turns
        let clientTurns = client.statistics.turns
        network.run(for: 10_000_000_000)
        #expect(server.statistics.turns == turns)
        #expect(client.statistics.turns == clientTurns)
        var beats = 0
        server.schedule(every: 1_000_000_000) { beats += 1 }
        network.run(for: 10_500_000_000)
        #expect(beats == 10)
        #expect(server.statistics.turns == turns + 10)
    }

    @Test func behaviour46_runningOutOfDescriptorsDoesNotSpin() throws {
        var options = SimulationOptions()
        options.maximumDescriptors = 24
        let network = SimulatedNetwork(seed: 6, options: options)
        let server = try network.makeLoop()
        let receiver = Recorder(loop: server)
        let listener = try server.listen(.loopback(port: 0), handler: receiver)
        let clients = try (0..<2).map { _ in try network.makeLoop() }
        let senders = clients.map { Recorder(loop: $0) }
        for (client, sender) in zip(clients, senders) {
            for _ in 0..<20 { client.connect(listener.localAddress, timeout: 60_000_000_000, handler: sender) }
        }
        network.run(for: 1_000_000_000)
        #expect(receiver.opened.count == 20)
        let turns = server.statistics.turns
        network.run(for: 10_000_000_000)
        // One look per pause of 100 ms.
        #expect(server.statistics.turns - turns <= 200)
        #expect(server.statistics.acceptPauses > 50)
        // Who waited in the backlog is served once descriptors are free again.
        for id in receiver.opened { server.close(id) }
        network.run(for: 1_000_000_000)
        #expect(receiver.opened.count == 40)
    }
}
