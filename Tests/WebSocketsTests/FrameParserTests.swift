import Basics
import Bytes
import Testing
import WebSockets

@Suite struct FrameParserTests {
    @Test func rfc6455_5_2_aMessageInOneFrame() {
        #expect(hear(frame(.text, "Grüße, 世界 🚕")) == [.text("Grüße, 世界 🚕")])
        #expect(hear(frame(.binary, [0, 255, 128])) == [.binary([0, 255, 128])])
        #expect(hear(frame(.text)) == [.text("")])
    }

    @Test(arguments: [0, 1, 7, 8, 31, 32, 33, 125, 126, 127, 65535, 65536, 65537])
    func rfc6455_5_2_everyLengthForm(length: Int) {
        let payload = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let limits = WebSocketLimits(maximumMessageSize: 1 << 20)
        #expect(hear(frame(.binary, payload), limits: limits) == [.binary(payload)])
        #expect(hear(frame(.binary, payload, mask: nil), as: .client, limits: limits) == [.binary(payload)])
    }

    @Test func rfc6455_5_1_unmaskedClientFrameIsRejected() {
        #expect(hear(frame(.text, "a", mask: nil)) == [.violation(.unmaskedClientFrame)])
        #expect(hear([0x81, 0x01]) == [.violation(.unmaskedClientFrame)])
    }

    @Test func rfc6455_5_1_maskedServerFrameIsRejected() {
        #expect(hear(frame(.text, "a"), as: .client) == [.violation(.maskedServerFrame)])
    }

    @Test(arguments: [0x40, 0x20, 0x10] as [UInt8])
    func rfc6455_5_2_reservedBitIsRejectedWithTheFirstByte(bit: UInt8) {
        #expect(hear([0x81 | bit]) == [.violation(.reservedBit)])
        #expect(hear([0x89 | bit]) == [.violation(.reservedBit)])
    }

    @Test(arguments: [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8])
    func rfc6455_5_2_reservedOpcodeIsRejectedWithTheFirstByte(opcode: UInt8) {
        #expect(hear([0x80 | opcode]) == [.violation(.reservedOpcode)])
    }

    @Test func rfc6455_5_2_lengthsThatAreNotMinimalAreRejected() {
        #expect(hear([0x82, 0xFE, 0, 125]) == [.violation(.lengthNotMinimal)])
        #expect(hear([0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]) == [.violation(.lengthNotMinimal)])
        #expect(hear([0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1]) == [.violation(.lengthHighBit)])
    }

    @Test func rfc6455_5_4_aFragmentedMessageWithControlFramesBetween() {
        let bytes =
            frame(.text, "Hel", fin: false) + frame(.ping, "!") + frame(.continuation, "", fin: false)
            + frame(.pong) + frame(.continuation, "lo")
        #expect(hear(bytes) == [.ping([33]), .pong([]), .text("Hello")])
        #expect(hear(frame(.text, fin: false) + frame(.continuation)) == [.text("")])
    }

    @Test func rfc6455_5_4_continuationWithNothingOpenIsRejected() {
        #expect(hear([0x80]) == [.violation(.continuationWithoutMessage)])
        #expect(
            hear(frame(.text, "a") + frame(.continuation, "b"))
                == [.text("a"), .violation(.continuationWithoutMessage)])
    }

    @Test func rfc6455_5_4_newMessageInsideAMessageIsRejected() {
        #expect(hear(frame(.text, "a", fin: false) + frame(.text, "b")) == [.violation(.messageInsideMessage)])
    }

    @Test func rfc6455_5_5_controlFrameRules() {
        #expect(hear(frame(.ping, "a", fin: false)) == [.violation(.fragmentedControlFrame)])
        #expect(hear([0x89, 0xFE]) == [.violation(.controlFrameTooLong)])
        let longest = [UInt8](repeating: 7, count: 125)
        #expect(hear(frame(.ping, longest)) == [.ping(longest)])
    }

    @Test func rfc6455_5_5_1_closeWithAndWithoutPayload() {
        #expect(hear(frame(.close)) == [.close(1005, "")])
        #expect(hear(close(1000)) == [.close(1000, "")])
        #expect(hear(close(1001, Array("bye ✓".utf8))) == [.close(1001, "bye ✓")])
        #expect(hear(frame(.close, [3])) == [.violation(.closePayloadOfOneByte)])
    }

    @Test func rfc6455_7_4_closeCodes() {
        for code: UInt16 in [
            1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
        ] {
            #expect(hear(close(code)) == [.close(code, "")])
        }
        for code: UInt16 in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            #expect(hear(close(code)) == [.violation(.invalidCloseCode)])
        }
    }

    @Test func rfc6455_5_5_1_nothingIsHeardAfterClose() {
        #expect(hear(close(1000) + frame(.text, "late") + close(1000)) == [.close(1000, "")])
        var peer = Peer()
        peer.receive(close(1000))
        peer.receive([0xFF, 0xFF])
        #expect(peer.said == [.close(1000, "")])
    }

    @Test func rfc6455_8_1_invalidUTF8IsFoundInTheMiddleOfAFrame() {
        // The header announces 1,000 bytes; the third is wrong and nothing more need come.
        let header: [UInt8] = [0x81, 0xFE, 0x03, 0xE8, 0, 0, 0, 0]
        #expect(hear(header + [0x61, 0xC3]) == [])
        #expect(hear(header + [0x61, 0xC3, 0x28]) == [.violation(.invalidUTF8)])
    }

    @Test func rfc6455_8_1_textMustNotEndInsideACharacter() {
        #expect(hear(frame(.text, [0xE2, 0x82])) == [.violation(.invalidUTF8)])
        #expect(
            hear(frame(.text, [0xE2, 0x82], fin: false) + frame(.continuation, [0xAC]))
                == [.text("€")])
        #expect(
            hear(frame(.text, [0xE2, 0x82], fin: false) + frame(.continuation)) == [.violation(.invalidUTF8)])
    }

    @Test func rfc6455_8_1_aCloseReasonMustBeUTF8() {
        #expect(hear(close(1000, [0xC3, 0x28])) == [.violation(.invalidUTF8)])
        #expect(hear(close(1000, [0xC3])) == [.violation(.invalidUTF8)])
    }

    @Test func rfc6455_8_1_aBrokenTextDoesNotSpoilTheNextConnectionsText() {
        var peer = Peer()
        peer.receive(frame(.text, "é") + frame(.binary, [0xC3]) + frame(.text, "ok"))
        #expect(peer.said == [.text("é"), .binary([0xC3]), .text("ok")])
    }

    @Test func behaviour14_messageOverTheLimitIsRejectedByItsHeader() {
        let limits = WebSocketLimits(maximumMessageSize: 10)
        #expect(hear(frame(.binary, [UInt8](repeating: 1, count: 10)), limits: limits).count == 1)
        #expect(hear([0x82, 0x8B], limits: limits) == [.violation(.messageTooBig)])
        #expect(
            hear(
                frame(.binary, [1, 2, 3, 4, 5, 6], fin: false) + frame(.continuation, [1, 2, 3, 4, 5]), limits: limits)
                == [.violation(.messageTooBig)])
    }

    @Test func behaviour14_framesPerMessageAreBounded() {
        let limits = WebSocketLimits(maximumFramesPerMessage: 3)
        let empty = frame(.continuation, fin: false)
        #expect(hear(frame(.text, fin: false) + empty + frame(.continuation), limits: limits) == [.text("")])
        #expect(hear(frame(.text, fin: false) + empty + empty + empty, limits: limits) == [.violation(.tooManyFrames)])
    }

    /// Split in two at every point, and byte by byte: the same is said, and little is left with the loop.
    @Test func everySplitSaysTheSame() {
        let long = String(repeating: "Zürich Hauptbahnhof → Flughafen 🛫 ", count: 6)
        let bytes =
            frame(.text, long) + frame(.ping, "p") + frame(.text, Array("日本".utf8.prefix(4)), fin: false)
            + frame(.pong, "q") + frame(.continuation, Array("日本".utf8.dropFirst(4)))
            + frame(.binary, [UInt8](repeating: 9, count: 130)) + close(4000, Array("genug".utf8)) + [1, 2, 3]
        let expected: [Said] = [
            .text(long), .ping([112]), .pong([113]), .text("日本"), .binary([UInt8](repeating: 9, count: 130)),
            .close(4000, "genug"),
        ]
        for split in 0...bytes.count {
            var peer = Peer()
            peer.receive(Array(bytes[..<split]))
            peer.receive(Array(bytes[split...]))
            #expect(peer.said == expected, "split at \(split)")
        }
        var peer = Peer()
        for byte in bytes { peer.receive([byte]) }
        #expect(peer.said == expected)
        #expect(peer.mostLeft < 139)
    }

    /// Whatever comes: no crash, at most one violation, nothing after it, no more left than a control frame.
    @Test func randomBytesNeverCrash() {
        var random = SplitMix(seed: 1)
        for _ in 0..<2_000 {
            var peer = Peer(random.next() % 2 == 0 ? .server : .client)
            for _ in 0..<(1 + random.next() % 4) {
                var bytes = (0..<(random.next() % 40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                if random.next() % 2 == 0, !bytes.isEmpty {
                    bytes[0] = [0x81, 0x01, 0x82, 0x88, 0x89, 0x80][Int(random.next() % 6)]
                }
                if random.next() % 2 == 0, bytes.count > 1 { bytes[1] = 0x80 | UInt8(random.next() % 127) }
                peer.receive(bytes)
            }
            let ends = peer.said.indices.filter {
                switch peer.said[$0] {
                case .violation, .close: true
                default: false
                }
            }
            #expect(ends.count <= 1 && (ends.isEmpty || ends[0] == peer.said.count - 1))
            #expect(peer.mostLeft < 139)
        }
    }

    @Test func aConnectionsParserIsSmallAndFlat() {
        #expect(MemoryLayout<FrameParser>.size <= 32)
        #expect(_isPOD(FrameParser.self) && _isPOD(FrameEvent.self))
    }
}
