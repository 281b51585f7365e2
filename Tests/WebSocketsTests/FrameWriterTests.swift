import Bytes
import Testing
import WebSockets

@Suite struct FrameWriterTests {
    @Test func rfc6455_5_7_examples() {
        #expect(frame(.text, "Hello", mask: nil) == [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
        #expect(
            frame(.text, "Hello", mask: 0x3D21_FA37)
                == [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
        #expect(frame(.text, "Hel", fin: false, mask: nil) == [0x01, 0x03, 0x48, 0x65, 0x6C])
        #expect(frame(.continuation, "lo", mask: nil) == [0x80, 0x02, 0x6C, 0x6F])
    }

    @Test(arguments: [0, 1, 125, 126, 65535, 65536])
    func aFrameOfUnknownLengthGetsTheSameHeader(length: Int) {
        let payload = [UInt8](repeating: 0x61, count: length)
        var buffer = ByteBuffer()
        FrameWriter.beginFrame(in: &buffer)
        buffer.append(payload)
        FrameWriter.finishFrame(.text, in: &buffer)
        let bytes = buffer.array()
        #expect(bytes == frame(.text, payload, mask: nil))
        #expect(bytes.count == length + FrameWriter.headerSize(payload: length))
    }

    @Test func rfc6455_5_5_1_closeFrames() {
        func written(_ code: UInt16, _ reason: String) -> [UInt8] {
            var buffer = ByteBuffer()
            FrameWriter.appendClose(CloseCode(rawValue: code), reason: Array(reason.utf8).span, to: &buffer)
            return buffer.array()
        }
        #expect(written(1000, "") == [0x88, 2, 0x03, 0xE8])
        #expect(written(1005, "ignored") == [0x88, 0])
        #expect(hear(written(3008, "slow"), as: .client) == [.close(3008, "slow")])
        // 122 bytes and a character of two: the character does not fit.
        let long = String(repeating: "x", count: 122) + "é"
        #expect(hear(written(1001, long), as: .client) == [.close(1001, String(repeating: "x", count: 122))])
    }

    @Test func rfc6455_5_3_maskingTwiceIsTheIdentity() {
        for length in 0..<100 {
            let original = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            var bytes = original
            let seen = unsafe bytes.withUnsafeMutableBytes { unsafe Masking.apply(0x0403_0201, to: $0) }
            for index in 0..<length { #expect(bytes[index] == original[index] ^ UInt8(index % 4 + 1)) }
            let isASCII = seen & 0x8080_8080_8080_8080 == 0
            #expect(isASCII == bytes.allSatisfy { $0 < 128 })
            unsafe bytes.withUnsafeMutableBytes { unsafe _ = Masking.apply(0x0403_0201, to: $0) }
            #expect(bytes == original)
        }
        for count in 0..<9 {
            #expect(
                Masking.advance(0x0403_0201, by: count)
                    == [0x0403_0201, 0x0104_0302, 0x0201_0403, 0x0302_0104][count % 4])
        }
    }
}
