import HTTP2
import Testing

/// RFC 9113 §3 to §6: frames, streams and settings, as scripts.
@Suite struct FrameRulesTests {
    // MARK: §3.4 Preface

    @Test func rfc9113_3_4_prefaceIsCheckedByteByByte() {
        let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
        for wrong in preface.indices {
            let wire = Wire(.server)
            var reports: [Report] = []
            for (index, byte) in preface.enumerated() where reports.isEmpty {
                reports = wire.receive([index == wrong ? byte ^ 0x20 : byte])
                if index < wrong { #expect(reports.isEmpty) }
            }
            #expect(reports.count == 1)
        }
    }

    @Test func rfc9113_3_4_http1IsNamed() {
        let wire = Wire(.server)
        #expect(wire.receive(Array("GET / HTTP/1.1\r\n".utf8)) == [.failed(.http1Preface)])
        #expect(wire.sent().isEmpty, "no GOAWAY for a peer that does not speak HTTP/2")
    }

    @Test func rfc9113_3_4_settingsComeFirst() {
        let wire = Wire(.server)
        _ = wire.receive(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8))
        #expect(wire.receive(.ping(1)) == [.failed(.settingsExpected)])
        #expect(wire.sent().last?.errorCode == .protocolError)
    }

    // MARK: §4 Frames

    @Test func rfc9113_4_2_frameLargerThanAllowed() {
        let wire = Wire.server()
        let frame = Frame(type: .data, stream: 1, claimedLength: 16_385)
        #expect(wire.receive(frame) == [.failed(.frameTooLarge)])
        #expect(wire.sent().last?.errorCode == .frameSizeError)
    }

    @Test func rfc9113_4_1_unknownTypesAreIgnored() {
        let wire = Wire.server()
        #expect(wire.receive(Frame(type: .init(rawValue: 0x77), flags: 0xff, stream: 9, payload: [1, 2])) == [])
        #expect(wire.receive(.ping(5)) == [.ping])
    }

    @Test func rfc9113_4_3_brokenHeaderBlockEndsTheConnection() {
        let wire = Wire.server()
        let frame = Frame(type: .headers, flags: 5, stream: 1, payload: [0xff, 0xff])
        #expect(wire.receive(frame) == [.failed(.headerBlock)])
        #expect(wire.sent().last?.errorCode == .compressionError)
    }

    @Test func framesOfWrongSizeEndTheConnection() {
        let frames: [Frame] = [
            Frame(type: .ping, stream: 0, payload: [1]), Frame(type: .settings, stream: 0, payload: [1]),
            Frame(type: .settings, flags: 1, stream: 0, payload: [0, 1, 0, 0, 0, 0]),
            Frame(type: .goAway, stream: 0, payload: [1]), Frame(type: .windowUpdate, stream: 0, payload: [1, 2, 3]),
            Frame(type: .rstStream, stream: 1, payload: [1]),
        ]
        for frame in frames {
            let wire = Wire.server()
            #expect(wire.receive(frame) == [.failed(.badFrameSize)], "\(frame)")
            #expect(wire.sent().last?.errorCode == .frameSizeError)
        }
    }

    @Test func framesOnTheWrongStream() {
        let onConnection: [Frame] = [
            .headers(0), .data(0, [1]), .reset(0, .cancel), .priority(0, on: 1), .continuation(0, [], endHeaders: true),
        ]
        for frame in onConnection {
            let wire = Wire.server()
            guard case .failed? = wire.receive(frame).first else {
                Issue.record("\(frame)")
                continue
            }
            #expect(wire.sent().last?.errorCode == .protocolError)
        }
        for frame in [Frame.settings(), .ping(1), .goAway(0)] {
            var frame = frame
            frame.stream = 1
            #expect(Wire.server().receive(frame) == [.failed(.connectionExpected)])
        }
    }

    // MARK: §5.1 Streams

    @Test func rfc9113_5_1_framesOnIdleStreams() {
        for frame in [Frame.data(1, [1]), .reset(1, .cancel), .windowUpdate(1, 1)] {
            #expect(Wire.server().receive(frame) == [.failed(.idleStream)], "\(frame)")
        }
        #expect(Wire.server().receive(.priority(1, on: 3)) == [], "PRIORITY is allowed in any state")
    }

    @Test func rfc9113_5_1_halfClosedRemoteTakesNoMore() {
        for frame in [Frame.data(1, [1]), .headers(1, .trailers)] {
            let wire = Wire.server()
            _ = wire.receive(.headers(1))
            #expect(wire.receive(frame) == [.reset(.streamClosed, byPeer: false)])
            #expect(wire.sent().last == .reset(1, .streamClosed))
        }
        let wire = Wire.server()
        _ = wire.receive(.headers(1))
        #expect(wire.receive(.windowUpdate(1, 10), .priority(1, on: 0)) == [])
    }

    @Test func rfc9113_5_1_closedStreams() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1))
        wire.sendHeaders(1, .response, endStream: true)
        _ = wire.sent()
        #expect(wire.receive(.windowUpdate(1, 10), .reset(1, .cancel), .priority(1, on: 0)) == [])
        #expect(wire.receive(.data(1, [1])) == [])
        #expect(wire.sent() == [.reset(1, .streamClosed)])
        #expect(Wire.server().receive(.headers(3), .headers(1)).last == .failed(.closedStream))
    }

    @Test func rfc9113_5_1_lateFramesOfAResetStreamAreIgnored() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1, endStream: false))
        wire.session.reset(wire.slots[1]!, .cancel, now: wire.now, output: &wire.output)
        #expect(wire.sent() == [.reset(1, .cancel)])
        #expect(wire.receive(.data(1, [1, 2, 3]), .headers(1, .trailers), .reset(1, .cancel)) == [])
        #expect(wire.sent() == [])
    }

    @Test func rfc9113_5_1_1_identifiersGrowAndAreOdd() {
        #expect(Wire.server().receive(.headers(2)) == [.failed(.badStreamID)])
        #expect(Wire.server().receive(.headers(5), .headers(3)).last == .failed(.closedStream))
    }

    @Test func rfc9113_5_1_2_tooManyStreamsAreRefused() {
        var limits = HTTP2Limits()
        limits.maximumConcurrentStreams = 2
        let wire = Wire.server(limits: limits)
        #expect(wire.receive(.headers(1), .headers(3), .headers(5)).count == 2)
        #expect(wire.sent() == [.reset(5, .refusedStream)])
        wire.sendHeaders(1, .response, endStream: true)
        #expect(wire.receive(.headers(7)).count == 1, "an ended stream makes room")
    }

    @Test func aResetStreamWhoseWorkRunsCountsAsOpen() {
        var limits = HTTP2Limits()
        limits.maximumConcurrentStreams = 1
        let wire = Wire.server(limits: limits)
        _ = wire.receive(.headers(1), .reset(1, .cancel))
        wire.session.hold()
        _ = wire.receive(.headers(3))
        #expect(wire.sent() == [.reset(3, .refusedStream)])
        wire.session.unhold()
        #expect(wire.receive(.headers(5)).count == 1)
    }

    @Test func rfc9113_5_1_1_identifiersRunOut() {
        let wire = Wire.client()
        #expect(wire.open() == 1)
        #expect(wire.open() == 3)
        wire.session.skipStreamIDs(to: 0x7fff_ffff)
        #expect(wire.open() == 0x7fff_ffff)
        #expect(wire.open() == nil)
    }

    @Test func rfc9113_5_3_dependingOnOneself() {
        let wire = Wire.server()
        #expect(wire.receive(.priority(1, on: 1)) == [.failed(.badStreamID)])
    }

    // MARK: §6

    @Test func rfc9113_6_1_padding() {
        let wire = Wire.server()
        let padded = Frame(type: .data, flags: 0x8, stream: 1, payload: [2, 65, 66, 0, 0])
        #expect(
            wire.receive(.headers(1, endStream: false), padded).last == .data(1, [65, 66], endStream: false))
        let tooLong = Frame(type: .data, flags: 0x8, stream: 1, payload: [3, 0, 0])
        #expect(wire.receive(tooLong) == [.failed(.badPadding)])
    }

    @Test func rfc9113_6_2_headersWithPaddingAndPriority() {
        let wire = Wire.server()
        var frame = Frame.headers(1)
        frame.flags |= HTTP2Flag.padded | HTTP2Flag.priority
        frame.payload = [4] + UInt32(3).bytes + [255] + frame.payload + [0, 0, 0, 0]
        guard case .headers(1, _, endStream: true)? = wire.receive(frame).first else {
            Issue.record("the request was not understood")
            return
        }
    }

    @Test func rfc9113_6_5_2_settingsOutOfRange() {
        let cases: [(UInt16, UInt32, HTTP2ErrorCode)] = [
            (2, 2, .protocolError), (4, 0x8000_0000, .flowControlError), (5, 16_383, .protocolError),
            (5, 16_777_216, .protocolError),
        ]
        for (identifier, value, code) in cases {
            let wire = Wire.server()
            #expect(wire.receive(.settings([(identifier, value)])) == [.failed(.badSetting)])
            #expect(wire.sent().last?.errorCode == code)
        }
        #expect(Wire.client().receive(.settings([(2, 1)])) == [.failed(.badSetting)], "a server can't allow pushes")
        let wire = Wire.server()
        #expect(wire.receive(.settings([(0x99, 5)])) == [.settings], "unknown settings are ignored")
        #expect(wire.sent() == [.settingsAck])
    }

    @Test func rfc9113_6_6_pushIsNotAllowed() {
        let push = Frame(type: .pushPromise, flags: 4, stream: 1, payload: UInt32(2).bytes)
        #expect(Wire.server().receive(push) == [.failed(.pushNotAllowed)])
        let client = Wire.client()
        _ = client.open()
        #expect(client.receive(push) == [.failed(.pushNotAllowed)])
    }

    @Test func rfc9113_6_7_pingIsAnswered() {
        let wire = Wire.server()
        #expect(wire.receive(.ping(0x0102_0304_0506_0708)) == [.ping])
        #expect(wire.sent() == [.ping(0x0102_0304_0506_0708, ack: true)])
        #expect(wire.receive(.ping(9, ack: true)) == [.pong(9)])
        #expect(wire.sent() == [])
    }

    @Test func rfc9113_6_8_goAwayPromisesLessAndLess() {
        let wire = Wire.client()
        _ = wire.open()
        #expect(
            wire.receive(.goAway(0x7fff_ffff), .goAway(1)) == [.goAway(0x7fff_ffff, .noError), .goAway(1, .noError)])
        #expect(wire.receive(.goAway(5)) == [.goAway(1, .noError)])
        #expect(wire.open() == nil)
    }

    @Test func rfc9113_6_8_afterTheFinalGoAwayNewStreamsAreIgnored() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1))
        wire.session.announceGoAway(output: &wire.output)
        #expect(wire.receive(.headers(3)).count == 1, "the announcement refuses nothing yet")
        wire.session.sendGoAway(output: &wire.output)
        #expect(wire.sent().map { $0.payload.bigEndian(0) } == [0x7fff_ffff, 3])
        #expect(wire.receive(.headers(5, endStream: false), .data(5, [1], endStream: true)) == [])
        #expect(wire.sent() == [])
        wire.sendHeaders(1, .response, endStream: true)
        #expect(wire.sent().count == 1, "streams in flight finish")
    }

    @Test func rfc9113_6_10_continuation() {
        let block = Frame.literal(.request)
        let wire = Wire.server()
        var first = Frame.headers(1, endHeaders: false)
        first.payload = Array(block[..<5])
        let reports = wire.receive(
            first, .continuation(1, Array(block[5..<9]), endHeaders: false),
            .continuation(1, Array(block[9...]), endHeaders: true))
        #expect(reports.count == 1)
        let other = Wire.server()
        #expect(other.receive(first, .ping(1)) == [.failed(.continuationExpected)])
        #expect(
            Wire.server().receive(first, .continuation(3, [], endHeaders: true)) == [.failed(.continuationExpected)])
        #expect(Wire.server().receive(.continuation(1, [], endHeaders: true)) == [.failed(.unexpectedContinuation)])
    }

    @Test func rfc9113_6_10_largeBlocksAreSplit() {
        let wire = Wire.server()
        _ = wire.receive(.headers(1))
        let fields = (0..<2000).map { ("x-\($0)", "some value \($0)") }
        wire.sendHeaders(1, .response + fields, endStream: true)
        let frames = wire.sent()
        #expect(frames.count > 1)
        #expect(frames.first?.type == .headers && frames.first?.flags == HTTP2Flag.endStream)
        #expect(frames.dropFirst().allSatisfy { $0.type == .continuation })
        #expect(frames.map { $0.flags & HTTP2Flag.endHeaders != 0 } == frames.indices.map { $0 == frames.count - 1 })
        #expect(frames.allSatisfy { $0.payload.count <= 16_384 })
    }
}
