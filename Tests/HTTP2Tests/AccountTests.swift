import Bytes
import HTTP2
import Testing

/// What a peer can make a session hold, and do, for the bytes that it sends.
@Suite struct AccountTests {
    // MARK: Memory

    /// A field for the table: name and value as they are.
    private func insertion(_ name: String, _ value: String) -> [UInt8] {
        [0x40, UInt8(name.utf8.count)] + Array(name.utf8) + [UInt8(value.utf8.count)] + Array(value.utf8)
    }

    /// The parts of a header block in HEADERS and CONTINUATION.
    private func frames(_ stream: UInt32, _ block: [UInt8]) -> [Frame] {
        var frames: [Frame] = []
        for start in stride(from: 0, to: block.count, by: 16_384) {
            let part = Array(block[start..<min(start + 16_384, block.count)])
            let isLast = start + 16_384 >= block.count
            frames.append(
                start == 0
                    ? Frame(
                        type: .headers, flags: HTTP2Flag.endStream | (isLast ? HTTP2Flag.endHeaders : 0),
                        stream: stream,
                        payload: part)
                    : .continuation(stream, part, endHeaders: isLast))
        }
        return frames
    }

    /// 64 KiB of insertions whose names are an index held 118 MB, and cost 120 ms.
    @Test func insertionsByIndexedNamesHoldTheTableAndNoMore() {
        let wire = Wire.server()
        let name = String(repeating: "n", count: 120)
        let value = String(repeating: "v", count: 120)
        var block: [UInt8] = []
        for _ in 0..<14 { block += insertion(name, value) }
        // Entry 62 is the newest: its name again, with an empty value.
        while block.count < 60_000 { block += [0x7e, 0x00] }
        let sent = frames(1, block).flatMap(\.bytes)
        let reports = wire.receive(sent)
        #expect(reports == [.failed(.headerBlockTooLarge)])
        #expect(wire.sent().last?.errorCode == .enhanceYourCalm)
        _ = wire.receive([])
        #expect(wire.session.heldBytes < 24 << 10)
        #expect(wire.session.work < 16 * sent.count)
    }

    /// Below the bound for work, but enough to move the table many times: the fields are what they were.
    @Test func fieldsStayWholeWhenTheTableMovesUnderThem() {
        var block = Frame.literal(.request)
        var expected = [":method: POST", ":scheme: http", ":path: /a.B/C", ":authority: x"]
        for index in 0..<60 {
            let name = "name-\(index)"
            let value = String(repeating: "abcdefghij", count: 12)
            block += insertion(name, value)
            expected.append("\(name): \(value)")
            // The same again by its index, then its name with another value.
            block += [0xbe, 0x7e, 1, UInt8(ascii: "z")]
            expected += ["\(name): \(value)", "\(name): z"]
        }
        var limits = HTTP2Limits()
        limits.maximumHeaderListSize = 64 << 10
        let wire = Wire.server(limits: limits)
        let reports = wire.receive(frames(1, block).flatMap(\.bytes))
        #expect(reports == [.headers(1, expected, endStream: true)])
        // All of it is gone with the next event, but for the table and the memory for a usual block.
        #expect(wire.session.heldBytes < 24 << 10)
    }

    @Test func aTableOfNoBytesHasNoMemory() {
        let wire = Wire.server()
        _ = wire.receive(
            Frame(type: .headers, flags: 5, stream: 1, payload: Frame.literal(.request) + insertion("a", "b")))
        let held = wire.session.headers.heldBytes
        let second = Frame(type: .headers, flags: 5, stream: 3, payload: [0x20] + Frame.literal(.request))
        #expect(wire.receive(second).count == 1)
        #expect(wire.session.headers.heldBytes < held)
        #expect(wire.session.headers.tableSize == 0)
    }

    /// The list is bounded in bytes and, since each field counts for 32 bytes more, in fields.
    @Test func aListOfFieldsIsBoundedWhileItIsDecoded() {
        let wire = Wire.server()
        // One-byte indices of the static table: 5,000 fields in 5,000 bytes.
        let reports = wire.receive(frames(1, [UInt8](repeating: 0x84, count: 5000)).flatMap(\.bytes))
        #expect(reports == [])
        #expect(wire.sent().last?.errorCode == .enhanceYourCalm)
        #expect(wire.session.headers.count <= wire.session.limits.maximumHeaderListSize / 32)
        // The connection goes on, and its table is in step.
        #expect(wire.receive(.headers(3)).count == 1)
        // 64 KiB of them are not decoded to their end.
        let flood = frames(5, [UInt8](repeating: 0x84, count: 64_000)).flatMap(\.bytes)
        #expect(wire.receive(flood) == [.failed(.headerBlockTooLarge)])
    }

    /// Whatever the peer allows, the encoder's table has 4,096 bytes at most, and no more than the peer allows.
    @Test func theEncodersTableIsBoundedByBoth() {
        for (allowed, expected) in [(UInt32.max, 4096), (1 << 20, 4096), (4096, 4096), (100, 100), (0, 0)] {
            let wire = Wire.server(settings: [(1, allowed)])
            _ = wire.receive(.headers(1))
            var fields: [(String, String)] = [(":status", "200")]
            for index in 0..<200 { fields.append(("name-\(index)", "a value of some bytes")) }
            wire.sendHeaders(1, fields, endStream: true)
            let size = wire.session.encoder.maximumTableSize
            #expect(size == expected)
            #expect(wire.session.encoder.tableSize <= expected)
            #expect(wire.session.encoder.heldBytes < 16 << 10)
        }
    }

    @Test func whatWaitsForWindowsHasBounds() {
        var limits = HTTP2Limits()
        limits.maximumPendingPerStream = 1000
        limits.maximumPendingOutput = 2500
        let wire = Wire.server(limits: limits, settings: [(4, 0)])
        _ = wire.receive(.headers(1), .headers(3), .headers(5), .headers(7))
        let empty = wire.session.heldBytes
        wire.sendHeaders(1, .response)
        wire.sendData(1, [UInt8](repeating: 1, count: 1000))
        #expect(wire.session.pendingBytes == 1000)
        #expect(wire.session.heldBytes >= empty + 1000)
        wire.sendData(1, [1])
        #expect(wire.sent().last == .reset(1, .enhanceYourCalm))
        #expect(wire.session.pendingBytes == 0)
        for stream: UInt32 in [3, 5, 7] {
            wire.sendHeaders(stream, .response)
            wire.sendData(stream, [UInt8](repeating: 1, count: 900))
        }
        #expect(wire.sent().last == .reset(7, .enhanceYourCalm), "the one that passed the connection's bound")
        #expect(wire.session.pendingBytes == 1800)
        _ = wire.receive(.reset(3, .cancel), .reset(5, .cancel))
        #expect(wire.session.pendingBytes == 0)
        #expect(wire.session.heldBytes <= empty + 8 << 10)
    }

    // MARK: Work

    @Test func aSettingsFrameHasABound() {
        let wire = Wire.server()
        let values = [(UInt16, UInt32)](repeating: (4, 1000), count: 33)
        #expect(wire.receive(.settings(Array(values.dropLast()))) == [.settings])
        #expect(wire.receive(.settings(values)) == [.failed(.tooManySettings)])
        #expect(wire.sent().last?.errorCode == .enhanceYourCalm)
    }

    /// The windows of all streams move once for a frame, by the value that holds after it.
    @Test func initialWindowsMoveOnceForAFrame() {
        let wire = Wire.server()
        for index in 0..<1000 as Range<UInt32> { _ = wire.receive(.headers(index * 2 + 1)) }
        let before = wire.session.work
        var values: [(UInt16, UInt32)] = []
        for index in 0..<31 as Range<UInt32> { values.append((4, index % 2 == 0 ? 0 : 1 << 20)) }
        _ = wire.receive(.settings(values + [(4, 100)]))
        #expect(wire.session.work - before == 1000)
        wire.sendHeaders(1, .response)
        wire.sendData(1, [UInt8](repeating: 1, count: 200))
        #expect(wire.sent().last?.payload.count == 100)
    }

    @Test func walksOverAllStreamsAreCounted() {
        let wire = Wire.server()
        for index in 0..<4000 as Range<UInt32> { _ = wire.receive(.headers(index * 2 + 1)) }
        let before = wire.session.work
        var reports: [Report] = []
        for index in 0..<100 as Range<UInt32> where reports.allSatisfy({ $0 == .settings }) {
            let values: [(UInt16, UInt32)] = [(4, index % 2)]
            reports = wire.receive(.settings(values))
        }
        #expect(reports == [.failed(.tooManyIdleFrames)])
        #expect(wire.session.work - before < 20 * 4000)
    }

    /// Identifiers that a hash would put in one place: frames on them cost a dozen steps each.
    @Test(arguments: [2, 16, 1 << 17] as [UInt32])
    func noChoiceOfIdentifiersMakesLookingUpSlow(step: UInt32) {
        let wire = Wire.server()
        var streams: [UInt32] = []
        for index in 0..<4000 as Range<UInt32> {
            // Not even steps, so that no guess is right.
            let stream = index * step + (index % 7 == 0 && step > 2 ? 2 : 0) + 1
            streams.append(stream)
            _ = wire.receive(.headers(stream, endStream: false))
        }
        let before = wire.session.work
        for stream in streams {
            wire.now += 50_000_000
            #expect(wire.receive(.windowUpdate(stream, 1)) == [])
        }
        #expect(wire.session.work - before <= 13 * streams.count)
        // They end in an order that leaves gaps everywhere.
        let ends = wire.session.work
        for stream in streams.enumerated().filter({ $0.offset % 2 == 1 }).map(\.element).reversed() {
            wire.session.reset(wire.slots[stream]!, .cancel, now: wire.now + 10_000_000_000, output: &wire.output)
        }
        for stream in streams {
            wire.session.reset(wire.slots[stream]!, .cancel, now: wire.now + 10_000_000_000, output: &wire.output)
        }
        #expect(wire.session.openStreams == 0)
        #expect(wire.session.work - ends <= 20 * streams.count)
    }

    /// Bytes of work for bytes of input, for blocks that are made to be dear.
    @Test func aHeaderBlocksWorkIsBounded() {
        let huffman: [UInt8] = [0x00, 0x01, UInt8(ascii: "a"), 0xff, 0x80, 0xff, 0x02]
        let blocks: [(String, [UInt8])] = [
            ("indices", [UInt8](repeating: 0x84, count: 16_000)),
            ("insertions", (0..<4000).flatMap { _ in insertion("a", "") }),
            ("resizes", [UInt8](repeating: 0x20, count: 16_000)),
            ("Huffman", huffman + [UInt8](repeating: 0x18, count: 33_023)),
        ]
        for (name, block) in blocks {
            let wire = Wire.server()
            let bytes = frames(1, block).flatMap(\.bytes)
            let before = wire.session.work
            _ = wire.receive(bytes)
            #expect(wire.session.work - before <= 20 * bytes.count + 300_000, "\(name)")
            _ = wire.receive([])
            #expect(wire.session.heldBytes < 24 << 10, "\(name): \(wire.session.heldBytes)")
        }
    }
}
