import HTTP2
import Testing

/// A stream that the user knows ends exactly once: by its own end, by `.reset`, or with all others by `.failed`.
@Suite struct EndingTests {
    /// Contexts of the streams that are there (the tests set the identifier).
    private func contexts(_ wire: Wire) -> [UInt64] {
        var result: [UInt64] = []
        wire.session.forEachContext { result.append($0) }
        return result
    }

    @Test func aServersStreamThatMayNotBeResetAnyMoreStaysForFailed() {
        let wire = Wire.server()
        for stream in stride(from: UInt32(1), to: 401, by: 2) {
            let reports = wire.receive(.headers(stream, endStream: false), .windowUpdate(stream, 0))
            #expect(reports.last == .reset(.protocolError, byPeer: false))
        }
        _ = wire.sent()
        let reports = wire.receive(.headers(401, endStream: false), .windowUpdate(401, 0))
        #expect(reports.last == .failed(.tooManyResets))
        #expect(contexts(wire) == [401], "nobody else tells of its end")
        #expect(wire.sent().map(\.type) == [.goAway])
    }

    /// A backend that answers with an upper-case header name: the 201st call must hear of its end too.
    @Test func aClientsStreamThatMayNotBeResetAnyMoreStaysForFailed() throws {
        let wire = Wire.client()
        for call in 1...201 {
            let stream = try #require(wire.open())
            wire.sendHeaders(stream, .request, endStream: true)
            let reports = wire.receive(.headers(stream, .response + [("Upper", "case")], endStream: false))
            if call <= 200 {
                #expect(reports == [.reset(.protocolError, byPeer: false)])
                #expect(contexts(wire) == [])
            } else {
                #expect(reports == [.failed(.tooManyResets)])
                #expect(contexts(wire) == [UInt64(stream)])
            }
        }
    }

    @Test func afterFailedNothingIsReadOrSent() throws {
        let wire = Wire.server(settings: [(4, 10)])
        _ = wire.receive(.headers(1, endStream: false), .headers(3, endStream: false), .headers(5, endStream: false))
        wire.sendHeaders(1, .response)
        wire.sendData(1, [UInt8](repeating: 1, count: 20))
        #expect(wire.receive(.windowUpdate(0, 0)) == [.failed(.zeroIncrement)])
        #expect(wire.sent().last?.type == .goAway)
        wire.sendHeaders(3, .response)
        wire.sendData(3, [1, 2, 3], endStream: true)
        wire.sendData(1, [1, 2, 3], endStream: true)
        wire.session.consumed(wire.slots[5]!, 200_000, output: &wire.output)
        wire.session.reset(wire.slots[5]!, .cancel, now: wire.now, output: &wire.output)
        wire.session.sendPing(1, output: &wire.output)
        wire.session.announceGoAway(output: &wire.output)
        wire.session.sendGoAway(output: &wire.output)
        wire.session.pump(output: &wire.output)
        #expect(wire.receive(.headers(7), .ping(1), .windowUpdate(1, 100)) == [])
        #expect(wire.sent() == [])
        #expect(contexts(wire) == [1, 3, 5], "each is still there for its owner to end")
    }
}
