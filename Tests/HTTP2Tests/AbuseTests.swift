import HTTP2
import Testing

/// The limits against floods: behaviours 19 to 21.
@Suite struct AbuseTests {
    private func feed(_ wire: Wire, _ count: Int, _ frames: (UInt32) -> [Frame]) -> [Report] {
        for index in 0..<UInt32(count) {
            for frame in frames(index * 2 + 1) {
                let reports = wire.receive(frame)
                if case .failed? = reports.last { return reports }
            }
            _ = wire.sent()
        }
        return []
    }

    @Test func rapidResetIsStopped() {
        let wire = Wire.server()
        #expect(feed(wire, 200) { [.headers($0), .reset($0, .cancel)] } == [])
        let reports = wire.receive(.headers(1001), .reset(1001, .cancel))
        #expect(reports.last == .failed(.tooManyResets))
        #expect(wire.sent().last?.errorCode == .enhanceYourCalm)
    }

    @Test func resetsAreAllowedAgainWithTime() {
        let wire = Wire.server()
        #expect(feed(wire, 200) { [.headers($0), .reset($0, .cancel)] } == [])
        wire.now += 15_000_000_000
        for stream in stride(from: UInt32(1001), to: 1201, by: 2) {
            #expect(wire.receive(.headers(stream), .reset(stream, .cancel)).count == 2)
        }
        #expect(wire.receive(.headers(1301), .reset(1301, .cancel)).last == .failed(.tooManyResets))
    }

    @Test func cancellingWhatWasAnsweredIsNotRapid() {
        let wire = Wire.server()
        for stream in stride(from: UInt32(1), to: 2001, by: 2) {
            _ = wire.receive(.headers(stream))
            wire.sendHeaders(stream, .response)
            #expect(wire.receive(.reset(stream, .cancel)) == [.reset(.cancel, byPeer: true)])
        }
    }

    /// MadeYouReset: the peer never sends RST_STREAM, its frames make us send it.
    @Test func resetsThatWeAreMadeToSendCount() {
        let wire = Wire.server()
        let reports = feed(wire, 300) { [.headers($0, endStream: false), .windowUpdate($0, 0)] }
        #expect(reports.last == .failed(.tooManyResets))
        let malformed = Wire.server()
        #expect(feed(malformed, 300) { [.headers($0, [("a", "b")])] }.last == .failed(.tooManyResets))
    }

    @Test func continuationFloodIsStopped() {
        let wire = Wire.server()
        var reports = wire.receive(.headers(1, [], endHeaders: false))
        for _ in 0..<17 where reports.isEmpty { reports = wire.receive(.continuation(1, [], endHeaders: false)) }
        #expect(reports == [.failed(.headerBlockTooLarge)])
        let bytes = Wire.server()
        reports = bytes.receive(.headers(1, [], endHeaders: false))
        let part = [UInt8](repeating: 0x82, count: 16_384)
        for _ in 0..<5 where reports.isEmpty { reports = bytes.receive(.continuation(1, part, endHeaders: false)) }
        #expect(reports == [.failed(.headerBlockTooLarge)])
    }

    @Test func floodsOfFramesThatCarryNothing() {
        let floods: [(String, Frame)] = [
            ("SETTINGS", .settings()), ("SETTINGS ack", .settingsAck), ("PING", .ping(1)),
            ("PRIORITY", .priority(9, on: 3)),
            ("empty DATA", .data(1, [])), ("unknown", Frame(type: .init(rawValue: 0xee), stream: 0)),
        ]
        for (name, frame) in floods {
            let wire = Wire.server()
            _ = wire.receive(.headers(1, endStream: false))
            let reports = feed(wire, 1100) { _ in [frame] }
            #expect(reports.last == .failed(.tooManyIdleFrames), "\(name)")
        }
    }

    @Test func pingsBetweenUsefulFramesAreNoFlood() {
        let wire = Wire.server()
        for stream in stride(from: UInt32(1), to: 6001, by: 2) {
            _ = wire.receive(.ping(1), .headers(stream))
            wire.sendHeaders(stream, .response, endStream: true)
            #expect(wire.sent().count == 2)
        }
    }

    @Test func aPeerThatDoesNotReadAnswersIsStopped() {
        var limits = HTTP2Limits()
        limits.maximumOutputForAnswers = 1000
        let wire = Wire.server(limits: limits)
        var reports: [Report] = []
        for _ in 0..<100 where reports.allSatisfy({ $0 == .ping }) { reports = wire.receive(.ping(1)) }
        #expect(reports == [.failed(.answersNotRead)])
    }

    // MARK: Resets of streams that were answered

    /// HEADERS and RST_STREAM of calls that are answered at once, or that have already ended: a sixteenth each.
    @Test(arguments: [false, true])
    func resetsBehindASynchronousAnswerCount(ends: Bool) {
        let wire = Wire.server()
        var reports: [Report] = []
        var count = 0
        while count < 4000 {
            let stream = UInt32(count * 2 + 1)
            _ = wire.receive(.headers(stream))
            wire.sendHeaders(stream, .response, endStream: ends)
            reports = wire.receive(.reset(stream, .cancel))
            if case .failed? = reports.last { break }
            count += 1
            _ = wire.sent()
        }
        #expect(reports.last == .failed(.tooManyResets))
        #expect(count == 200 * 16)
    }

    /// Where one of five deadlines passes while the answer is on its way, 4,000 resets cross answers; an honest connection
    /// ended at the 3,201st. With every second it still ends.
    @Test(arguments: [(5, true), (2, false)])
    func resetsThatCrossFewOfManyAnswersAreFree(every: Int, lasts: Bool) {
        let wire = Wire.server()
        var hasFailed = false
        for count in 0..<20_000 where !hasFailed {
            let stream = UInt32(count * 2 + 1)
            _ = wire.receive(.headers(stream))
            wire.sendHeaders(stream, .response, endStream: true)
            if count % every == every - 1, case .failed? = wire.receive(.reset(stream, .cancel)).last {
                hasFailed = true
            }
            _ = wire.sent()
        }
        #expect(hasFailed != lasts)
    }

    /// A body that nobody wants makes us send RST_STREAM(NO_ERROR) behind the answer.
    @Test func resetsAfterAnEarlyAnswerCount() {
        let wire = Wire.server()
        var count = 0
        while count < 4000 {
            let stream = UInt32(count * 2 + 1)
            if case .failed? = wire.receive(.headers(stream, endStream: false)).last { break }
            wire.sendHeaders(stream, .response, endStream: true)
            #expect(wire.session.reset(wire.slots[stream]!, .noError, now: wire.now, output: &wire.output))
            count += 1
            _ = wire.sent()
        }
        #expect(count == 200 * 16 + 1)
        #expect(wire.sent().last?.errorCode == .enhanceYourCalm)
    }

    /// Thousands who watch something for a while and leave together are no attack, whoever ends it.
    @Test(arguments: [false, true])
    func streamsThatHaveLivedAreResetForFree(byPeer: Bool) {
        let wire = Wire.server()
        let streams = stride(from: UInt32(1), to: 8001, by: 2)
        for stream in streams {
            _ = wire.receive(.headers(stream, endStream: false))
            wire.sendHeaders(stream, .response)
        }
        wire.now += 2_000_000_000
        for stream in streams {
            if byPeer {
                #expect(wire.receive(.reset(stream, .cancel)) == [.reset(.cancel, byPeer: true)])
            } else {
                wire.session.reset(wire.slots[stream]!, .noError, now: wire.now, output: &wire.output)
            }
        }
        #expect(wire.receive(.headers(9001)).count == 1)
    }

    // MARK: Frames that change nothing

    @Test func floodsOfWindowUpdatesAndOtherFramesAreStopped() {
        let floods: [(String, Frame)] = [
            ("WINDOW_UPDATE of the connection", .windowUpdate(0, 1)), ("of a stream", .windowUpdate(1, 1)),
            ("of a closed stream", .windowUpdate(3, 1)), ("GOAWAY", .goAway(0)),
            ("HEADERS of a stream that was reset", .headers(5)),
            ("PRIORITY of a closed stream", .priority(3, on: 1)),
        ]
        for (name, frame) in floods {
            let wire = Wire.server()
            _ = wire.receive(.headers(1, endStream: false), .headers(3), .headers(5, endStream: false))
            wire.sendHeaders(3, .response, endStream: true)
            wire.session.reset(wire.slots[5]!, .cancel, now: wire.now, output: &wire.output)
            let reports = feed(wire, 1100) { _ in [frame] }
            #expect(reports.last == .failed(.tooManyIdleFrames), "\(name)")
        }
    }

    @Test func aClientStopsInformationalResponsesWithoutEnd() {
        let wire = Wire.client()
        let stream = wire.open()!
        wire.sendHeaders(stream, .request)
        let reports = feed(wire, 1100) { _ in [.headers(stream, [(":status", "103")], endStream: false)] }
        #expect(reports.last == .failed(.tooManyIdleFrames))
    }

    /// A client that reads a long answer updates two windows for each frame of it.
    @Test func windowUpdatesOfAReaderAreNoFlood() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1))
        wire.sendHeaders(1, .response)
        for _ in 0..<5000 {
            wire.sendData(1, [UInt8](repeating: 1, count: 100))
            #expect(wire.receive(.windowUpdate(0, 100), .windowUpdate(1, 100)) == [])
            _ = wire.sent()
        }
    }
}
