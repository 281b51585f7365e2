import Basics
import Bytes
import Testing

@testable import Compression

/// Streams in steps, whatever the steps.
@Suite struct StreamTests {
    /// Text that repeats itself now and then.
    private static func text(_ count: Int, _ random: inout SplitMix) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 97...UInt8.random(in: 97...110, using: &random), using: &random) }
    }

    private static func pack(_ bytes: [UInt8], _ format: CompressionFormat, flush: DeflateStream.Flush = .finish)
        throws -> [UInt8]
    {
        var output = ByteBuffer()
        try #require(DeflateStream(format, level: 6)).deflate(bytes.span, flush: flush, into: &output)
        return output.array()
    }

    /// What the bytes become, at most so many in and out of a step; and the last outcome.
    private static func unpack(
        _ bytes: [UInt8], _ stream: InflateStream, piece: Int = .max, room: Int = 1000
    ) -> (output: [UInt8], outcome: InflateStream.Outcome) {
        var output = ByteBuffer()
        var position = 0
        while true {
            let end = min(bytes.count, position + min(piece, bytes.count))
            let before = output.count
            let step = stream.step(bytes.span.extracting(position..<end), into: &output, room: room)
            precondition(output.count - before <= room && step.taken <= end - position, "more than was allowed")
            position += step.taken
            switch step.outcome {
            case .more: break
            case .needsInput, .ended: if position == bytes.count { return (output.array(), step.outcome) }
            case .corrupt, .noMemory: return (output.array(), step.outcome)
            }
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func thereAndBackInAnySteps(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let formats: [CompressionFormat] = [.gzip, .raw(windowBits: 15), .raw(windowBits: 9), .raw(windowBits: 8)]
        for format in formats {
            let bytes = Self.text(Int.random(in: 0...60_000, using: &random), &random)
            let deflater = try #require(DeflateStream(format, level: Int32(seed % 10)))
            var packed = ByteBuffer()
            var position = 0
            while true {
                let end = min(bytes.count, position + Int.random(in: 0...20_000, using: &random))
                let room = Int.random(in: 1...5000, using: &random)
                let before = packed.count
                let rest = bytes.span.extracting(position..<end)
                let step = deflater.step(rest, flush: end == bytes.count ? .finish : .none, into: &packed, room: room)
                #expect(packed.count - before <= room)
                position += step.taken
                if step.isDone, end == bytes.count { break }
            }
            let inflater = try #require(InflateStream(format))
            let (output, outcome) = Self.unpack(
                packed.array(), inflater, piece: Int.random(in: 1...5000, using: &random),
                room: Int.random(in: 1...5000, using: &random))
            #expect(output == bytes && outcome == .ended && inflater.hasEnded)
        }
    }

    /// RFC 1952 §2.2.
    @Test func membersFollowOneAnother() throws {
        let packed = try ["one", "", "two"].flatMap { try Self.pack(Array($0.utf8), .gzip) }
        for piece in 1...packed.count {
            let stream = try #require(InflateStream(.gzip))
            #expect(Self.unpack(packed, stream, piece: piece) == (Array("onetwo".utf8), .ended))
        }
        let stream = try #require(InflateStream(.gzip))
        #expect(Self.unpack(packed + [0x1F], stream).outcome == .needsInput && !stream.hasEnded)
        stream.reset()
        #expect(Self.unpack(packed + [0, 0], stream).outcome == .corrupt)
        stream.reset()
        #expect(Self.unpack(Array(packed.dropLast()), stream).outcome == .needsInput)
    }

    /// A block that says it is the last (RFC 7692 §7.2.3.4): what follows may refer to what was.
    @Test func withoutAWrapperHistoryGoesOnBehindAnEnd() throws {
        let stream = try #require(InflateStream(.raw(windowBits: 15)))
        #expect(Self.unpack([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], stream) == (Array("Hello".utf8), .ended))
        let again: [UInt8] = [0xF2, 0x00, 0x11, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF]
        #expect(Self.unpack(again, stream) == (Array("Hello".utf8), .needsInput))
        #expect(stream.isBetweenBlocks)
    }

    @Test func whatWasFlushedCanBeRead() throws {
        let bytes = Array("some words, some words".utf8)
        for flush in [DeflateStream.Flush.sync, .full] {
            let packed = try Self.pack(bytes, .raw(windowBits: 15), flush: flush)
            #expect(packed.suffix(4) == [0, 0, 0xFF, 0xFF])
            let stream = try #require(InflateStream(.raw(windowBits: 15)))
            #expect(Self.unpack(packed, stream) == (bytes, .needsInput) && stream.isBetweenBlocks)
        }
    }

    /// Each of the allocations may be the one that fails.
    @Test func withoutMemoryNothingIsMadeOrTheStepSaysSo() throws {
        defer { ZlibMemory.allocationsLeft = nil }
        // More than one step decompresses, so that a window is needed.
        let bytes = [UInt8](repeating: 7, count: 5000)
        let packed = try Self.pack(bytes, .gzip)
        var needed = 0
        while true {
            ZlibMemory.allocationsLeft = needed
            if DeflateStream(.gzip, level: 6) != nil { break }
            needed += 1
            try #require(needed < 20)
        }
        #expect(needed > 1)
        ZlibMemory.allocationsLeft = 0
        #expect(InflateStream(.gzip) == nil)
        ZlibMemory.allocationsLeft = 1
        let stream = try #require(InflateStream(.gzip))
        #expect(Self.unpack(packed, stream).outcome == .noMemory)
        #expect(Self.unpack(packed, stream).outcome == .noMemory)
        // It can be used again when there is some.
        ZlibMemory.allocationsLeft = nil
        stream.reset()
        #expect(Self.unpack(packed, stream) == (bytes, .ended))
    }
}
