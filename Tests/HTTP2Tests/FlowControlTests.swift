import HTTP2
import Testing

/// RFC 9113 §5.2 and §6.9.
@Suite struct FlowControlTests {
    private func bytes(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0) } }

    private func dataBytes(_ frames: [Frame], _ stream: UInt32? = nil) -> Int {
        frames.filter { $0.type == .data && (stream == nil || $0.stream == stream) }.reduce(0) { $0 + $1.payload.count }
    }

    @Test func rfc9113_6_9_neverBeyondTheStreamWindow() {
        let wire = Wire.server(settings: [(4, 10)])
        _ = wire.receive(.headers(1))
        wire.sendHeaders(1, .response)
        wire.sendData(1, bytes(25), endStream: true)
        #expect(dataBytes(wire.sent()) == 10)
        _ = wire.receive(.windowUpdate(1, 5))
        #expect(dataBytes(wire.sent()) == 5)
        _ = wire.receive(.windowUpdate(1, 100))
        let last = wire.sent()
        #expect(dataBytes(last) == 10)
        #expect(last.last?.flags == HTTP2Flag.endStream)
    }

    @Test func rfc9113_6_9_neverBeyondTheConnectionWindow() {
        let wire = Wire.server(settings: [(4, 1 << 20)])
        _ = wire.receive(.headers(1))
        wire.sendHeaders(1, .response)
        wire.sendData(1, bytes(100_000), endStream: true)
        #expect(dataBytes(wire.sent()) == 65_535)
        _ = wire.receive(.windowUpdate(0, 1))
        #expect(dataBytes(wire.sent()) == 1)
        _ = wire.receive(.windowUpdate(0, 1 << 20))
        #expect(dataBytes(wire.sent()) == 100_000 - 65_536)
    }

    @Test func aStalledStreamNeverBlocksAnother() {
        let wire = Wire.server(settings: [(4, 100)])
        _ = wire.receive(.headers(1), .headers(3))
        wire.sendHeaders(1, .response)
        wire.sendHeaders(3, .response)
        wire.sendData(1, bytes(1000))
        wire.sendData(3, bytes(50), endStream: true)
        let frames = wire.sent()
        #expect(dataBytes(frames, 1) == 100)
        #expect(dataBytes(frames, 3) == 50)
    }

    @Test func streamsShareTheConnectionInTurn() {
        let wire = Wire.server(settings: [(4, 1 << 20)])
        _ = wire.receive(.headers(1), .headers(3), .headers(5))
        for stream in [1, 3, 5] as [UInt32] {
            wire.sendHeaders(stream, .response)
            wire.sendData(stream, bytes(60_000))
        }
        _ = wire.sent()
        _ = wire.receive(.windowUpdate(0, 3 * 16_384))
        let order = wire.sent().filter { $0.type == .data }.map(\.stream)
        #expect(Set(order.prefix(2)).count == 2, "one frame each, in turn: \(order)")
    }

    @Test func rfc9113_6_9_2_smallerInitialWindowMakesItNegative() {
        let wire = Wire.server(settings: [(4, 100)])
        _ = wire.receive(.headers(1))
        wire.sendHeaders(1, .response)
        wire.sendData(1, bytes(300))
        #expect(dataBytes(wire.sent()) == 100)
        _ = wire.receive(.settings([(4, 20)]))  // −80
        _ = wire.receive(.windowUpdate(1, 80))  // 0
        #expect(dataBytes(wire.sent()) == 0)
        _ = wire.receive(.windowUpdate(1, 7))
        #expect(dataBytes(wire.sent()) == 7)
        _ = wire.receive(.settings([(4, 30)]))
        #expect(dataBytes(wire.sent()) == 10)
    }

    @Test func rfc9113_6_9_1_windowsOverflow() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1, endStream: false))
        #expect(wire.receive(.windowUpdate(1, 0x7fff_ffff)) == [.reset(.flowControlError, byPeer: false)])
        #expect(wire.receive(.windowUpdate(0, 0x7fff_ffff)) == [.failed(.windowOverflow)])
        let other = Wire.server()
        _ = other.receive(.headers(1, endStream: false), .windowUpdate(1, 0x7fff_0000))
        #expect(other.receive(.settings([(4, 0x7fff_ffff)])) == [.failed(.windowOverflow)])
    }

    @Test func rfc9113_6_9_zeroIncrement() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1, endStream: false))
        #expect(wire.receive(.windowUpdate(1, 0)) == [.reset(.protocolError, byPeer: false)])
        #expect(wire.receive(.windowUpdate(0, 0)) == [.failed(.zeroIncrement)])
    }

    @Test func rfc9113_6_9_peerMustKeepToTheWindows() {
        var limits = HTTP2Limits()
        limits.initialStreamWindow = 100
        let wire = Wire.server(limits: limits)
        wire.consumes = false
        _ = wire.receive(.headers(1, endStream: false), .data(1, bytes(100)))
        #expect(wire.receive(.data(1, [1])) == [.reset(.flowControlError, byPeer: false)])

        limits.connectionWindow = 65_535
        limits.initialStreamWindow = 1 << 20
        let other = Wire.server(limits: limits)
        // The connection's window is refilled at half; a peer that had sent all before it could know is right.
        _ = other.receive(.headers(1, endStream: false))
        for _ in 0..<3 { _ = other.receive(.data(1, bytes(16_384))) }
        #expect(other.sent().contains { $0.type == .windowUpdate && $0.stream == 0 })
    }

    @Test func windowsAreRefilledAtHalf() {
        var limits = HTTP2Limits()
        limits.initialStreamWindow = 1000
        let wire = Wire.server(limits: limits)
        _ = wire.receive(.headers(1, endStream: false), .data(1, bytes(499)))
        #expect(wire.sent() == [])
        _ = wire.receive(.data(1, [1]))
        #expect(wire.sent() == [.windowUpdate(1, 500)])
    }

    @Test func windowOfAStreamThatIsNotReadIsNotRefilled() {
        var limits = HTTP2Limits()
        limits.initialStreamWindow = 1000
        let wire = Wire.server(limits: limits)
        wire.consumes = false
        _ = wire.receive(.headers(1, endStream: false), .data(1, bytes(1000)))
        #expect(wire.sent() == [])
        wire.session.consumed(wire.slots[1]!, 1000, output: &wire.output)
        #expect(wire.sent() == [.windowUpdate(1, 1000)])
    }

    @Test func dataOfResetStreamsCountsForTheConnection() {
        var limits = HTTP2Limits()
        limits.connectionWindow = 65_535
        let wire = Wire.server(limits: limits)
        _ = wire.receive(.headers(1, endStream: false))
        wire.session.reset(wire.slots[1]!, .cancel, now: wire.now, output: &wire.output)
        _ = wire.sent()
        _ = wire.receive(.data(1, bytes(16_384)), .data(1, bytes(16_384)))
        #expect(wire.sent() == [.windowUpdate(0, 32_768)])
    }

    @Test func drainedStreamsAreReported() {
        let wire = Wire.server(settings: [(4, 10)])
        _ = wire.receive(.headers(1))
        wire.sendHeaders(1, .response)
        wire.sendData(1, bytes(25))
        wire.session.notifyWhenDrained(wire.slots[1]!)
        let before = wire.session.popDrained()
        #expect(before == nil)
        _ = wire.receive(.windowUpdate(1, 100))
        let drained = [wire.session.popDrained(), wire.session.popDrained()]
        #expect(drained == [1, nil])
    }

    @Test func outputThatNobodyTakesIsBounded() {
        let wire = Wire.server(settings: [(4, 0x7fff_ffff)])
        _ = wire.receive(.headers(1), .windowUpdate(0, 0x7000_0000))
        wire.sendHeaders(1, .response)
        wire.sendData(1, bytes(4 << 20))
        let (held, limit, wantsPump) = (wire.output.count, wire.session.limits.outputHighWater, wire.session.wantsPump)
        #expect(held <= limit + 20_000)
        #expect(wantsPump)
        var total = 0
        while wire.session.wantsPump {
            total += dataBytes(wire.sent())
            wire.session.pump(output: &wire.output)
        }
        #expect(total + dataBytes(wire.sent()) == 4 << 20)
    }
}
