import HTTP2
import Testing

/// What the peer owes, for the owner's deadlines.
@Suite struct DebtTests {
    private func expect(_ wire: Wire, _ debt: HTTP2Debt, since: UInt64) {
        let owed = wire.session.owed
        let owedSince = wire.session.owedSince
        #expect(owed == debt)
        #expect(owedSince == since)
    }

    @Test func aServerIsOwedThePrefaceThenSettingsThenTheirAcknowledgement() {
        let wire = Wire(.server)
        wire.session.start(output: &wire.output)
        expect(wire, .preface, since: 0)
        let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        wire.now = 100
        _ = wire.receive(Array(preface[..<5]))
        expect(wire, .preface, since: 100)
        wire.now = 200
        _ = wire.receive(Array(preface[5...]))
        expect(wire, .settings, since: 200)
        wire.now = 300
        _ = wire.receive(Array(Frame.settings().bytes[..<4]))
        expect(wire, .settings, since: 200)
        _ = wire.receive(Array(Frame.settings().bytes[4...]))
        expect(wire, .settingsAck, since: 300)
        wire.now = 400
        _ = wire.receive(.ping(1))
        expect(wire, .settingsAck, since: 300)
        _ = wire.receive(.settingsAck)
        expect(wire, .nothing, since: 400)
    }

    @Test func aClientIsOwedSettings() {
        let wire = Wire(.client)
        wire.session.start(output: &wire.output)
        expect(wire, .settings, since: 0)
    }

    /// However slowly it comes: a byte is no progress, a frame is.
    @Test func aFrameIsOwedSinceItsFirstByte() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1, endStream: false))
        let frame = Frame.data(1, [1, 2, 3]).bytes
        for (place, byte) in frame.dropLast().enumerated() {
            wire.now = 2_000_000_000 + UInt64(place)
            _ = wire.receive([byte])
            expect(wire, .frame, since: 2_000_000_000)
        }
        wire.now = 3_000_000_000
        _ = wire.receive([frame.last!] + frame[..<4])
        expect(wire, .frame, since: 3_000_000_000)
        _ = wire.receive(Array(frame[4...]))
        expect(wire, .nothing, since: 3_000_000_000)
    }

    @Test func aHeaderBlockIsOwedSinceItsHeaders() {
        let wire = Wire.server()
        let block = Frame.literal(.request)
        wire.now = 2_000_000_000
        _ = wire.receive(Frame(type: .headers, stream: 1, payload: Array(block[..<5])))
        expect(wire, .headerBlock, since: 2_000_000_000)
        wire.now = 3_000_000_000
        _ = wire.receive(.continuation(1, Array(block[5..<9]), endHeaders: false))
        expect(wire, .headerBlock, since: 2_000_000_000)
        _ = wire.receive(.continuation(1, Array(block[9...]), endHeaders: true))
        expect(wire, .nothing, since: 3_000_000_000)
    }

    // MARK: What is late

    /// Frames that are half there, whole and half again do not put the acknowledgement off.
    @Test(arguments: [HTTP2Session.Role.server, .client])
    func anAcknowledgementIsLateWhateverComesInBetween(role: HTTP2Session.Role) {
        let wire = Wire(role)
        wire.session.start(output: &wire.output)
        wire.now = 10_000_000_000
        if role == .server { _ = wire.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)) }
        _ = wire.receive(.settings())
        let frame = Frame.ping(1).bytes
        for _ in 0..<19 {
            wire.now += 500_000_000
            _ = wire.receive(Array(frame[..<5]))
            wire.now += 500_000_000
            _ = wire.receive(Array(frame[5...]))
            #expect(wire.late(after: 20) == nil)
        }
        expect(wire, .settingsAck, since: 10_000_000_000)
        wire.now += 600_000_000
        _ = wire.receive(Array(frame[..<5]))
        wire.now += 500_000_000
        #expect(wire.late(after: 20) == .settingsAck)
        _ = wire.receive(Array(frame[5...]) + Frame.settingsAck.bytes)
        #expect(wire.late(after: 20) == nil)
    }

    @Test func aHeaderBlockIsLateHoweverManyFramesOfItCome() {
        let wire = Wire.server()
        let start = wire.now
        _ = wire.receive(.headers(1, [], endHeaders: false))
        for _ in 0..<9 {
            wire.now += 2_000_000_000
            _ = wire.receive(.continuation(1, [0x84], endHeaders: false))
            #expect(wire.late(after: 20) == nil)
        }
        wire.now = start + 20_000_000_000
        _ = wire.receive(Array(Frame.continuation(1, [0x84], endHeaders: false).bytes[..<9]))
        #expect(wire.late(after: 20) == .headerBlock)
    }

    /// What lies in front of a closed door is not late.
    @Test func aPauseOfTheReaderIsNoDelayOfThePeer() {
        let wire = Wire.server()
        _ = wire.receive([0, 0])
        wire.now += 30_000_000_000
        #expect(wire.late(after: 20) == .frame)
        #expect(wire.late(after: 20, readingSince: wire.now - 10_000_000_000) == nil)
    }
}

extension Wire {
    /// What is late when it may take so many seconds.
    func late(after seconds: UInt64, readingSince: UInt64 = 0) -> HTTP2Debt? {
        session.overdue(now: now, patience: seconds * 1_000_000_000, readingSince: readingSince)
    }
}
