import Testing

@testable import WebSocketServer

@Suite struct TickWheelTests {
    @Test func entriesComeInTheirTickInOrder() {
        var wheel = TickWheel()
        wheel.set(1, at: 10)
        wheel.set(2, at: 10)
        wheel.set(300, at: 12)
        wheel.set(2, at: 12)
        wheel.remove(7)
        #expect(wheel.firstTick(after: 5) == 10)
        #expect(wheel.take(10) == 1)
        #expect(wheel.take(10) == nil)
        #expect(wheel.firstTick(after: 10) == 12)
        #expect(wheel.take(12) == 300)
        #expect(wheel.take(12) == 2)
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
                wheel.remove(entry)
                expected[entry] = nil
            case 1:
                now += 1
                while let due = wheel.take(now) {
                    #expect(expected[due] == now)
                    expected[due] = nil
                }
                #expect(!expected.values.contains(now))
            default:
                let tick = now + UInt64.random(in: 1...63, using: &random)
                wheel.set(entry, at: tick)
                expected[entry] = tick
            }
            #expect(wheel.firstTick(after: now) == expected.values.min())
        }
    }
}
