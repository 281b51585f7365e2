import Basics
import Bytes
import CZlib
import Testing
import WebSockets

/// permessage-deflate (RFC 7692) between the frames and the messages.
@Suite struct DeflateTests {
    /// Each side keeps its history.
    private let takeover = DeflateParameters()

    private var noTakeover: DeflateParameters {
        var parameters = DeflateParameters()
        parameters.serverNoContextTakeover = true
        parameters.clientNoContextTakeover = true
        return parameters
    }

    private func first(_ payload: [UInt8], fin: Bool = true, _ opcode: Opcode = .text) -> [UInt8] {
        frame(opcode, payload, fin: fin, deflated: true)
    }

    private func deflate(_ message: [UInt8], bits: UInt8 = 15, level: Int32 = 6) -> [UInt8] {
        var deflater = Deflater(windowBits: bits, level: level)
        var output = ByteBuffer()
        _ = deflater.deflate(message.span, into: &output)
        return output.array()
    }

    // MARK: The examples of RFC 7692

    private let hello: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]

    @Test func rfc7692_7_2_3_1_oneBlock() {
        #expect(hear([0xC1, 0x07] + hello, as: .client, deflate: takeover) == [.text("Hello")])
        let two: [UInt8] = [0x41, 0x03, 0xF2, 0x48, 0xCD, 0x80, 0x04, 0xC9, 0xC9, 0x07, 0x00]
        #expect(hear(two, as: .client, deflate: takeover) == [.text("Hello")])
    }

    @Test func rfc7692_7_2_3_2_theHistoryIsTakenOver() {
        let again: [UInt8] = [0xC1, 0x05, 0xF2, 0x00, 0x11, 0x00, 0x00]
        #expect(
            hear([0xC1, 0x07] + hello + again, as: .client, deflate: takeover) == [.text("Hello"), .text("Hello")])
        // Who has promised to do without may not refer to it.
        #expect(
            hear([0xC1, 0x07] + hello + again, as: .client, deflate: noTakeover)
                == [.text("Hello"), .violation(.invalidDeflate)])
    }

    @Test func rfc7692_7_2_3_3_aBlockWithoutCompression() {
        let stored: [UInt8] = [0xC1, 0x0B, 0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00]
        #expect(hear(stored, as: .client, deflate: takeover) == [.text("Hello")])
    }

    @Test func rfc7692_7_2_3_4_aLastBlock() {
        let final: [UInt8] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]
        let script = first(final) + first(final) + first([0xF2, 0x00, 0x11, 0x00, 0x00])
        #expect(hear(script, deflate: takeover) == [.text("Hello"), .text("Hello"), .text("Hello")])
    }

    @Test func rfc7692_7_2_3_5_twoBlocksInOneMessage() {
        let blocks: [UInt8] = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00]
        #expect(hear(first(blocks), deflate: takeover) == [.text("Hello")])
    }

    @Test func rfc7692_7_2_3_6_anEmptyMessage() {
        #expect(hear(first([0]), deflate: takeover) == [.text("")])
        #expect(deflate([]) == [0])
        #expect(deflate(Array("Hello".utf8)) == hello)
    }

    // MARK: Frames

    @Test func rfc7692_6_1_rsv1BeginsMessagesAndNothingElse() {
        let bad: [Said] = [.violation(.reservedBit)]
        #expect(hear(first(hello)) == bad)
        #expect(hear(frame(.ping, [], deflated: true), deflate: takeover) == bad)
        #expect(hear(frame(.close, [], deflated: true), deflate: takeover) == bad)
        #expect(hear(frame(.continuation, [], deflated: true), deflate: takeover) == bad)
        #expect(
            hear(first([0xF2], fin: false) + frame(.continuation, [0x48], deflated: true), deflate: takeover) == bad)
        for bits in [0xA1, 0x91, 0xE1, 0xD1, 0xC3] as [UInt8] {
            #expect(hear([bits, 0x80, 0, 0, 0, 0], deflate: takeover).last?.isViolation == true)
        }
        #expect(ProtocolViolation.reservedBit.closeCode == .protocolError)
        #expect(ProtocolViolation.invalidDeflate.closeCode == .invalidData)
    }

    @Test func messagesWithoutCompressionGoBetween() {
        let script = frame(.text, "a") + first(hello) + frame(.binary, [1]) + frame(.text, "é") + first(hello)
        #expect(
            hear(script, deflate: takeover) == [.text("a"), .text("Hello"), .binary([1]), .text("é"), .text("Hello")])
    }

    @Test func controlFramesGoBetweenFragments() {
        var script = first(Array(hello[..<2]), fin: false) + frame(.ping, "p")
        script += frame(.continuation, [], fin: false) + frame(.continuation, Array(hello[2...])) + close(1000)
        let said: [Said] = [.ping(Array("p".utf8)), .text("Hello"), .close(1000, "")]
        for cut in 0...script.count {
            var peer = Peer(deflate: takeover)
            peer.receive(Array(script[..<cut]))
            peer.receive(Array(script[cut...]))
            #expect(peer.said == said)
        }
        var peer = Peer(deflate: takeover)
        for byte in script { peer.receive([byte]) }
        #expect(peer.said == said)
    }

    // MARK: Hostile input

    @Test func aBombCostsNoMoreThanAMessage() {
        let limits = WebSocketLimits(maximumMessageSize: 10_000)
        let bomb = deflate([UInt8](repeating: 0x61, count: 10_000_000))
        #expect(bomb.count < 11_000)
        #expect(hear(first(bomb), limits: limits, deflate: takeover) == [.violation(.messageTooBig)])
        for (count, fits) in [(9_999, true), (10_000, true), (10_001, false)] {
            let text = [UInt8](repeating: 0x61, count: count)
            let said = hear(first(deflate(text)), limits: limits, deflate: takeover)
            #expect(said == [fits ? .text(String(decoding: text, as: UTF8.self)) : .violation(.messageTooBig)])
        }
    }

    /// Blocks with nothing in them, without end: the bytes of the frames are bounded, too.
    @Test func aMessageOfEmptyBlocks() {
        let limits = WebSocketLimits(maximumMessageSize: 4096)
        let blocks = [UInt8](repeating: 0, count: 1000).flatMap { _ in [0, 0, 0, 0xFF, 0xFF] as [UInt8] }
        #expect(hear(first(blocks + [0]), limits: limits, deflate: takeover) == [.text("")])
        #expect(hear(first(blocks + blocks), limits: limits, deflate: takeover) == [.violation(.messageTooBig)])
        let ends = [UInt8](repeating: 0, count: 1000).flatMap { _ in [3, 0] as [UInt8] }
        #expect(hear(first(ends + [0]), limits: limits, deflate: takeover) == [.text("")])
    }

    /// What can't be made smaller is a little longer than its message may be.
    @Test func aMessageOfNoiseUpToTheBound() {
        var random = SplitMix(seed: 1)
        let noise = (0..<4096).map { _ in UInt8.random(in: 0...255, using: &random) }
        let limits = WebSocketLimits(maximumMessageSize: noise.count)
        for level in [1, 9] as [Int32] {
            let payload = deflate(noise, level: level)
            #expect(payload.count > noise.count)
            #expect(hear(first(payload, .binary), limits: limits, deflate: takeover) == [.binary(noise)])
        }
    }

    @Test(
        arguments: [
            [0xFF], [0x07, 0x00], [0x00, 0x05, 0x00, 0xFA, 0xFE, 0x48],
            [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x40, 0xFF], [], [0xF2],
            [0xF2, 0x48, 0xCD], [0x00, 0x06, 0x00, 0xF9, 0xFF, 0x48], [0xF2, 0x00, 0x11, 0x00, 0x00],
            [0x05, 0xE0, 0x01],
        ] as [[UInt8]])
    func whatIsNoDeflateDataIs1007(payload: [UInt8]) {
        #expect(hear(first(payload, .binary), deflate: takeover) == [.violation(.invalidDeflate)])
        var peer = Peer(deflate: takeover)
        for byte in first(payload, .binary) { peer.receive([byte]) }
        #expect(peer.said == [.violation(.invalidDeflate)])
    }

    /// RFC 7692 §7.2.2: the four bytes that are appended are data, where a block that is not compressed wants them.
    @Test func theAppendedBytesMayBeDataOfABlock() {
        let payload: [UInt8] = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48]
        #expect(hear(first(payload, .binary), deflate: takeover) == [.binary([0x48, 0, 0, 0xFF, 0xFF])])
    }

    /// A message that is cut off is never taken for a shorter one.
    @Test func aMessageThatIsCutOff() {
        let text = "{\"type\":\"drivers\",\"drivers\":[{\"id\":\"a\"},{\"id\":\"b\"},{\"id\":\"c\"}]}"
        let payload = deflate(Array(text.utf8))
        for count in 0..<payload.count - 1 {
            #expect(
                hear(first(Array(payload[..<count])), deflate: takeover) == [.violation(.invalidDeflate)], "\(count)")
        }
    }

    @Test func textIsLookedAtAsItComes() {
        let bad = deflate([0x61, 0xC3, 0x28])
        #expect(hear(first(bad), deflate: takeover) == [.violation(.invalidUTF8)])
        #expect(hear(first(bad, .binary), deflate: takeover) == [.binary([0x61, 0xC3, 0x28])])
        // The message has not ended.
        #expect(hear(first(bad + [0, 0, 0xFF, 0xFF], fin: false), deflate: takeover) == [.violation(.invalidUTF8)])
        #expect(hear(first(deflate([0xE2, 0x82])), deflate: takeover) == [.violation(.invalidUTF8)])
        #expect(hear(first(deflate(Array("€".utf8))), deflate: takeover) == [.text("€")])
    }

    // MARK: Windows

    /// Whatever was agreed, zlib with that window reads what was written, and the other way round.
    @Test func everyWindowAgainstZlib() {
        var random = SplitMix(seed: 7)
        for bits in 8...15 as ClosedRange<UInt8> {
            for keepsContext in [false, true] {
                var deflater = Deflater(windowBits: bits, level: Int32.random(in: 1...9, using: &random))
                var theirs = ZlibInflater(Int32(bits))
                var ours = Inflater(windowBits: bits)
                var writer = ZlibDeflater(Int32(max(bits, 9)))
                for _ in 0..<30 {
                    let message = words(&random)
                    if !keepsContext {
                        deflater.reset()
                        theirs = ZlibInflater(Int32(bits))
                        ours.reset()
                        writer = ZlibDeflater(Int32(max(bits, 9)))
                    }
                    var payload = ByteBuffer()
                    _ = deflater.deflate(message.span, into: &payload)
                    #expect(theirs.inflate(payload.array()) == message, "\(bits) bits")
                    var inflated = ByteBuffer()
                    var rest = writer.deflate(message)[...]
                    while !rest.isEmpty {
                        let piece = rest.prefix(Int.random(in: 1...512, using: &random))
                        rest = rest.dropFirst(piece.count)
                        let outcome = ours.inflate(
                            Array(piece).span, isLast: rest.isEmpty, limit: message.count, into: &inflated)
                        #expect(outcome == .taken)
                    }
                    #expect(inflated.array() == message, "\(bits) bits")
                }
            }
        }
    }

    /// Repetitive near and far: what a window is for.
    private func words(_ random: inout SplitMix) -> [UInt8] {
        let count = [0, 1, 200, 256, 257, 3000, 70_000].randomElement(using: &random)!
        var text: [UInt8] = []
        while text.count < count {
            if text.count > 0, random.chance(0.7) {
                let start = Int.random(in: 0..<text.count, using: &random)
                text += text[start..<min(text.count, start + Int.random(in: 1...300, using: &random))]
            } else {
                text.append(UInt8.random(in: 0...255, using: &random))
            }
        }
        return Array(text.prefix(count))
    }
}

/// zlib itself, in the simplest way that there is.
@safe private final class ZlibInflater {
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)

    init(_ bits: Int32) {
        unsafe stream.initialize(to: z_stream())
        unsafe precondition(czlib_inflateInit2(stream, -bits) == Z_OK)
    }

    deinit {
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    func inflate(_ payload: [UInt8]) -> [UInt8]? {
        var input = payload + [0, 0, 0xFF, 0xFF]
        var output = [UInt8](repeating: 0, count: 1 << 20)
        let result = unsafe input.withUnsafeMutableBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { output in
                unsafe stream.pointee.next_in = input.baseAddress
                unsafe stream.pointee.avail_in = UInt32(input.count)
                unsafe stream.pointee.next_out = output.baseAddress
                unsafe stream.pointee.avail_out = UInt32(output.count)
                return unsafe CZlib.inflate(stream, Z_SYNC_FLUSH)
            }
        }
        guard result == Z_OK || result == Z_BUF_ERROR, unsafe stream.pointee.avail_in == 0 else { return nil }
        return unsafe Array(output.dropLast(Int(stream.pointee.avail_out)))
    }
}

@safe private final class ZlibDeflater {
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)

    init(_ bits: Int32) {
        unsafe stream.initialize(to: z_stream())
        unsafe precondition(czlib_deflateInit2(stream, 6, -bits, 8) == Z_OK)
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    func deflate(_ message: [UInt8]) -> [UInt8] {
        if message.isEmpty { return [0] }
        var input = message
        var output = [UInt8](repeating: 0, count: 1 << 20)
        let count = unsafe input.withUnsafeMutableBufferPointer { input in
            unsafe output.withUnsafeMutableBufferPointer { output in
                unsafe stream.pointee.next_in = input.baseAddress
                unsafe stream.pointee.avail_in = UInt32(input.count)
                unsafe stream.pointee.next_out = output.baseAddress
                unsafe stream.pointee.avail_out = UInt32(output.count)
                unsafe CZlib.deflate(stream, Z_SYNC_FLUSH)
                return unsafe output.count - Int(stream.pointee.avail_out)
            }
        }
        return Array(output[..<(count - 4)])
    }
}
