import Bytes
import Testing

@Suite struct ByteBufferTests {
    @Test func appendsAndConsumesAcrossGrowth() {
        var buffer = ByteBuffer()
        var expected: [UInt8] = []
        for round in 0..<1000 {
            let piece = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: round % 37)
            buffer.append(piece)
            expected += piece
            let gone = min(expected.count, round % 23)
            buffer.consume(gone)
            expected.removeFirst(gone)
            #expect(buffer.count == expected.count)
        }
        #expect(buffer.array() == expected)
    }

    @Test(arguments: [0, 7, -7, 10, 99, 100, Int.max, Int.min])
    func decimalsAreThoseOfTheStandardLibrary(value: Int) {
        var buffer = ByteBuffer()
        buffer.append(decimal: value)
        #expect(String(decoding: buffer.array(), as: UTF8.self) == String(value))
    }

    @Test func theLargestUnsignedNumberHasTwentyDigits() {
        var buffer = ByteBuffer()
        buffer.append(decimal: UInt64.max)
        #expect(String(decoding: buffer.array(), as: UTF8.self) == "18446744073709551615")
    }

    @Test func anEmptyBufferHasAnEmptySpan() {
        let buffer = ByteBuffer()
        let count = buffer.span.count
        #expect(count == 0)
        #expect(buffer.capacity == 0)
    }

    @Test func integersAreWrittenInTheNamedByteOrder() {
        var buffer = ByteBuffer()
        buffer.append(bigEndian: UInt16(0x0102))
        buffer.append(littleEndian: UInt32(0x0304_0506))
        #expect(buffer.array() == [1, 2, 6, 5, 4, 3])
    }

    @Test func sharedBytesKeepWhatTheyWereMadeFrom() {
        var buffer = ByteBuffer()
        buffer.append("frame")
        let shared = SharedBytes(buffer)
        #expect(shared.count == 5)
        #expect(shared.withSpan { $0[0] } == UInt8(ascii: "f"))
    }
}

@Suite struct TextTests {
    @Test(arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")])
    func rfc4648_10_vectors(plain: String, encoded: String) {
        var output = ByteBuffer()
        Base64.encode(Array(plain.utf8).span, into: &output)
        #expect(String(decoding: output.array(), as: UTF8.self) == encoded)
        let decoded = Base64.decode(Array(encoded.utf8).span)
        #expect(decoded == Array(plain.utf8))
    }

    @Test(arguments: ["A", "A*==", "====", "AAAAA"])
    func whatIsNotBase64IsRefused(text: String) {
        let decoded = Base64.decode(Array(text.utf8).span)
        #expect(decoded == nil)
    }

    @Test func decimalRefusesOverflowSignsAndNothing() {
        let largest = ASCII.decimal(Array("18446744073709551615".utf8).span)
        #expect(largest == UInt64.max)
        for text in ["18446744073709551616", "", "-1", "+1", "1 ", "0x1"] {
            let value = ASCII.decimal(Array(text.utf8).span)
            #expect(value == nil)
        }
    }

    @Test func comparisonIgnoresOnlyTheCaseOfLetters() {
        let same = ASCII.equalsIgnoringCase(Array("UpGrade".utf8).span, "upgrade")
        let different = ASCII.equalsIgnoringCase(Array("upgrad@".utf8).span, "upgrad`")
        #expect(same)
        #expect(!different)
    }
}
