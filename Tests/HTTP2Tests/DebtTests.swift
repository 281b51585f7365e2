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
}
