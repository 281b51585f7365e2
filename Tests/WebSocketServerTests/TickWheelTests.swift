import Reactor
import ReactorSim
import Testing

@testable import WebSocketServer

/// Slot `number`, used for the `generation`-th time.
private func id(_ number: UInt32, _ generation: UInt32 = 1) -> WebSocketID {
    WebSocketID(slot: number, generation: generation)
}

@Suite struct TickWheelTests {
    @Test func entriesComeInTheirTickInOrder() {
        var wheel = TickWheel()
        wheel.set(id(1), at: 10)
        wheel.set(id(2), at: 10)
        wheel.set(id(300), at: 12)
        wheel.set(id(2), at: 12)
        wheel.remove(id(7))
        #expect(wheel.firstTick(after: 5) == 10)
        #expect(wheel.take(10) == id(1))
        #expect(wheel.take(10) == nil)
        #expect(wheel.firstTick(after: 10) == 12)
        #expect(wheel.take(12) == id(300))
        #expect(wheel.take(12) == id(2))
        let isEmpty = wheel.isEmpty
        #expect(isEmpty)
        #expect(wheel.firstTick(after: 12) == nil)
    }

    @Test func anyOrderOfSettingAndRemovingKeepsTheQueuesWhole() {
        var wheel = TickWheel()
        var expected: [UInt32: UInt64] = [:]
        var random = SystemRandomNumberGenerator()
        var now: UInt64 = 1000
        for _ in 0..<20_000 {
            let entry = UInt32.random(in: 0..<600, using: &random)
            switch UInt8.random(in: 0..<4, using: &random) {
            case 0:
                wheel.remove(id(entry))
                expected[entry] = nil
            case 1:
                now += 1
                while let due = wheel.take(now) {
                    #expect(expected[due.slot] == now)
                    expected[due.slot] = nil
                }
                #expect(!expected.values.contains(now))
            default:
                let tick = now + UInt64.random(in: 1...63, using: &random)
                wheel.set(id(entry), at: tick)
                expected[entry] = tick
            }
            #expect(wheel.firstTick(after: now) == expected.values.min())
        }
    }

    /// A connection that ended and was not taken out, and the next one in its slot, are two entries.
    @Test func theNextUserOfASlotIsAnotherEntry() {
        var wheel = TickWheel()
        wheel.set(id(1), at: 10)
        wheel.set(id(2), at: 10)
        wheel.set(id(1, 2), at: 10)
        wheel.remove(id(1))
        #expect(wheel.take(10) == id(2))
        #expect(wheel.take(10) == id(1, 2))
        #expect(wheel.take(10) == nil)
    }
}

@Suite struct TickTimerTests {
    /// Connections that came back together are due together.
    @Test func manyThatAreDueTogetherAreServedInPortions() throws {
        let network = SimulatedNetwork(seed: 1)
        let loop = try network.makeLoop()
        let timer = TickTimer(loop: loop)
        var perTurn: [UInt64: Int] = [:]
        var seen: Set<UInt32> = []
        timer.due = { id in
            perTurn[loop.now, default: 0] += 1
            // What is set again comes in its own second, and what is removed not at all.
            if seen.insert(id.slot).inserted { timer.set(id, after: 3) }
            timer.remove(WebSocketID(slot: 1999, generation: 1))
        }
        for slot in 0..<2000 as Range<UInt32> { timer.set(WebSocketID(slot: slot, generation: 1), after: 2) }
        network.run(for: 10_000_000_000)
        #expect(perTurn.values.reduce(0, +) == 2 * 1999 && seen.count == 1999)
        #expect(perTurn.values.allSatisfy { $0 <= TickTimer.perTurn } && perTurn.count == 8)
    }
}
