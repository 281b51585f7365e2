import HTTP2
import Testing

/// What was on its way when this side reset a stream is nobody's fault, however many streams were reset at once.
@Suite struct ResetTests {
    /// A client with so many open requests.
    private func client(_ count: Int) throws -> (Wire, [UInt32]) {
        let wire = Wire.client()
        var streams: [UInt32] = []
        for _ in 0..<count {
            let stream = try #require(wire.open())
            streams.append(stream)
            wire.sendHeaders(stream, .request, endStream: true)
        }
        return (wire, streams)
    }

    private func reset(_ wire: Wire, _ streams: some Sequence<UInt32>) {
        for stream in streams {
            wire.session.reset(wire.slots[stream]!, .cancel, now: wire.now, output: &wire.output)
        }
        _ = wire.sent()
    }

    /// 500 of 1,500 that were given up ended them all: the server's frames for them were taken for its mistake.
    @Test(arguments: [500, 1500, 4096])
    func answersThatCrossOurResetsAreIgnored(count: Int) throws {
        let (wire, streams) = try client(count + 3)
        let given = streams.dropLast(3)
        reset(wire, given)
        for stream in given {
            #expect(wire.receive(.headers(stream, .response, endStream: false), .data(stream, [1])) == [])
        }
        for stream in given { #expect(wire.receive(.headers(stream, .trailers)) == []) }
        #expect(wire.sent() == [])
        let last = try #require(streams.last)
        #expect(wire.receive(.headers(last, .response)).count == 1)
    }

    /// More than can be remembered: what comes on a stream that may have been reset costs what frames that mean nothing do.
    @Test func moreResetsThanAreRemembered() throws {
        let (wire, streams) = try client(20_000)
        reset(wire, streams)
        for stream in streams.prefix(900) { #expect(wire.receive(.data(stream, [1])) == []) }
        #expect(wire.sent() == [])
        var reports: [Report] = []
        for stream in streams.prefix(900) where reports.isEmpty { reports = wire.receive(.headers(stream, .response)) }
        #expect(reports == [.failed(.tooManyIdleFrames)])
        #expect(wire.session.heldBytes < 64 << 10)
    }

    /// A response has two header blocks; a server that goes on costs us work.
    @Test func headersWithoutEndOnAResetStreamAreStopped() throws {
        let (wire, streams) = try client(1)
        reset(wire, streams)
        var reports: [Report] = []
        var count = 0
        while reports.isEmpty && count < 2000 {
            reports = wire.receive(.headers(1, .response, endStream: false))
            count += 1
        }
        #expect(reports == [.failed(.tooManyIdleFrames)])
    }

    @Test func aStreamThatEndedWithoutAResetTakesNoMore() throws {
        let (wire, _) = try client(3)
        _ = wire.receive(.headers(1, .response))
        #expect(wire.receive(.headers(1, .response)) == [.failed(.closedStream)])
    }

    /// Server: as many deadlines pass as there may be streams, while the client sends, or gives up too.
    @Test(arguments: [false, true]) func whatAClientSendsOnStreamsThatWeReset(gives: Bool) {
        let wire = Wire.server()
        let streams = stride(from: UInt32(1), to: 8001, by: 2)
        for stream in streams {
            _ = wire.receive(.headers(stream, endStream: false))
            wire.sendHeaders(stream, .response)
        }
        wire.now += 2_000_000_000
        reset(wire, streams)
        for stream in streams {
            let frame = gives ? Frame.reset(stream, .cancel) : .data(stream, [1, 2, 3], endStream: true)
            #expect(wire.receive(frame) == [])
        }
        #expect(wire.sent() == [])
        #expect(wire.receive(.headers(9001)).count == 1)
    }

    /// Those who wait for an answer, and leave together, are no attack either.
    @Test func streamsThatHaveWaitedAreResetForFree() {
        let wire = Wire.server()
        let streams = stride(from: UInt32(1), to: 4001, by: 2)
        for stream in streams { _ = wire.receive(.headers(stream)) }
        wire.now += 300_000_000
        for stream in streams { #expect(wire.receive(.reset(stream, .cancel)) == [.reset(.cancel, byPeer: true)]) }
        #expect(wire.receive(.headers(5001)).count == 1)
    }
}
