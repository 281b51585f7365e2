import Basics
import Bytes
import ProtobufWire
import Testing

@Suite("Protocol buffers wire format")
struct WireFormatTests {
    @Test(
        arguments: [
            ("08", .truncated), ("0880", .truncated), ("09000000", .truncated), ("0d0000", .truncated),
            ("7205", .truncated),
            ("720561", .truncated), ("18ffffffffffffffffff02", .malformedVarint),
            ("18ffffffffffffffffffff01", .malformedVarint),
            ("0000", .malformedTag), ("0600", .malformedTag), ("0700", .malformedTag),
            ("feffffffffffff01", .malformedTag),
            ("7201ff", .malformedUTF8), ("7203eda080", .malformedUTF8), ("0c", .unmatchedEndGroup), ("0b", .truncated),
            ("a306a206", .truncated), ("a306ac06", .unmatchedEndGroup), ("72ffffffffffffffffff01", .truncated),
        ] as [(String, ProtobufError)])
    func malformedBytesAreRefused(_ text: String, _ error: ProtobufError) {
        #expect(throws: error) { try Scalars(decoding: bytes(hex: text)) }
    }

    @Test func theLastOfSeveralValuesCounts() throws {
        #expect(try Scalars(decoding: bytes(hex: "18011802")).int32Value == 2)
    }

    @Test func messagesThatComeTwiceMerge() throws {
        // scalars { int32_value: 1 }, scalars { uint32_value: 2 }
        let message = try Everything(decoding: bytes(hex: "0a0218010a022802"))
        #expect(message.scalars?.int32Value == 1)
        #expect(message.scalars?.uint32Value == 2)
    }

    @Test func packedAndUnpackedElementsMayBeMixed() throws {
        // int32_value: 1, [2, 300], 3
        let message = try Cabstand_Test_V1_Lists(decoding: bytes(hex: "18011a0302ac021803"))
        #expect(message.int32Value == [1, 2, 300, 3])
        let unpacked = try Cabstand_Test_V1_Unpacked(decoding: bytes(hex: "1a0302ac02"))
        #expect(unpacked.int32Value == [2, 300])
        #expect(hex(unpacked.encoded()) == "180218ac02")
    }

    @Test func fieldsOfAnotherTypeAreUnknown() throws {
        // int32_value (3) as a fixed 32-bit number
        let sent = bytes(hex: "1d01000000")
        let message = try Scalars(decoding: sent)
        #expect(message.int32Value == 0)
        #expect(message.unknownFields == sent)
        #expect(message.encoded() == sent)
    }

    @Test func unknownGroupsAreKept() throws {
        // group 100 { field 1: 5, group 101 {} }
        let sent = bytes(hex: "a3060805ab06ac06a406")
        #expect(try Scalars(decoding: sent).encoded() == sent)
    }

    @Test func aLaterChoiceReplacesAnEarlierOne() throws {
        // int32_value: 1, string_value: "a"
        let message = try Cabstand_Test_V1_Choices(decoding: bytes(hex: "1001320161"))
        #expect(message.choice == .stringValue("a"))
        #expect(message.int32Value == 0)
        #expect(hex(message.encoded()) == "320161")
        // message_value { int32_value: 1 }, message_value { bool_value: true }
        let merged = try Cabstand_Test_V1_Choices(decoding: bytes(hex: "4a0218014a026801"))
        #expect(merged.messageValue == Scalars(int32Value: 1, boolValue: true))
    }

    @Test func mapEntriesMayLackKeyOrValue() throws {
        let message = try Cabstand_Test_V1_Maps(decoding: bytes(hex: "0a000a030a01610a0312016212020803"))
        #expect(message.words == ["": "b", "a": ""])
        #expect(message.byInt32 == [3: 0])
    }

    @Test func unnamedEnumValuesSurvive() throws {
        let message = try Scalars(decoding: bytes(hex: "800107"))
        #expect(message.colorValue == .UNRECOGNIZED(7))
        #expect(hex(message.encoded()) == "800107")
        #expect(try Scalars(decoding: Scalars(colorValue: .negative).encoded()).colorValue == .negative)
        #expect(Cabstand_Test_V1_Alias.nothing == .zero)
    }

    @Test func longIntegersAreCutAsEverywhere() throws {
        // int32_value and bool_value with 64 bits
        let message = try Scalars(decoding: bytes(hex: "18feffffffffffffffff0168808080808001"))
        #expect(message.int32Value == -2)
        #expect(message.boolValue)
    }

    @Test func nestingIsBounded() throws {
        func nested(_ depth: Int) -> [UInt8] {
            var tree = Cabstand_Test_V1_Tree(name: "leaf")
            for _ in 1..<depth { tree = Cabstand_Test_V1_Tree(left: tree) }
            return tree.encoded()
        }
        let deepest = try Cabstand_Test_V1_Tree(decoding: nested(101))
        #expect(deepest.encodedSize == nested(101).count)
        #expect(throws: ProtobufError.tooDeep) { try Cabstand_Test_V1_Tree(decoding: nested(102)) }
        let groups = [UInt8](repeating: 0xA3, count: 1).flatMap { _ in [UInt8](repeating: 0x1B, count: 200) }
        #expect(throws: ProtobufError.tooDeep) { try Cabstand_Test_V1_Little(decoding: groups) }
    }

    @Test func theNumberOfMessagesIsBounded() {
        var limits = ProtobufLimits()
        limits.messages = 10
        let lists = Cabstand_Test_V1_Lists(messageValue: [Scalars](repeating: Scalars(), count: 11)).encoded()
        #expect(throws: ProtobufError.tooManyMessages) { try Cabstand_Test_V1_Lists(decoding: lists, limits: limits) }
    }

    /// Four megabytes of empty messages would be 400 MB of them.
    @Test func megabytesOfEmptyMessagesAreRefused() throws {
        let one = Cabstand_Test_V1_Lists(messageValue: [Scalars()]).encoded()
        let many = [[UInt8]](repeating: one, count: (4 << 20) / one.count).flatMap { $0 }
        #expect(throws: ProtobufError.tooManyMessages) { try Cabstand_Test_V1_Lists(decoding: many) }
        #expect(MemoryLayout<Scalars>.stride * ProtobufLimits().messages < 64 << 20)
    }

    @Test(arguments: [0, 1, 126, 127, 128, 129, 16_383, 16_384, 16_385, 2_097_151, 2_097_152])
    func lengthsOfAnyNumberOfBytesAreWritten(_ count: Int) throws {
        let inner = Scalars(stringValue: String(repeating: "x", count: count))
        let message = Cabstand_Test_V1_Lists(
            stringValue: ["before"], messageValue: [inner, Scalars(int32Value: 1), inner])
        let written = message.encoded()
        #expect(written.count == message.encodedSize)
        #expect(try Cabstand_Test_V1_Lists(decoding: written) == message)
    }

    @Test func encodingAppendsBehindWhatIsThere() {
        var buffer = ByteBuffer()
        buffer.append("head")
        Everything(scalars: Scalars(stringValue: String(repeating: "y", count: 300))).encode(into: &buffer)
        #expect(buffer.array().starts(with: Array("head".utf8)))
        #expect(buffer.count == 4 + 3 + 3 + 300)
    }

    @Test func randomBytesNeverCrashIt() throws {
        var generator = SplitMix(seed: 3)
        let seed = Everything(
            scalars: Scalars(doubleValue: 1, int32Value: -1, stringValue: "text", bytesValue: [1, 2]),
            lists: Cabstand_Test_V1_Lists(
                int32Value: [1, 2, 300], stringValue: ["a", "b"], messageValue: [Scalars(boolValue: true)]),
            maps: Cabstand_Test_V1_Maps(words: ["k": "v"], messages: ["m": Scalars(int32Value: 7)]),
            choices: [Cabstand_Test_V1_Choices(choice: .deeper(Cabstand_Test_V1_Choices(choice: .boolValue(true))))],
            tree: Cabstand_Test_V1_Tree(name: "t", left: Cabstand_Test_V1_Tree(name: "l"))
        ).encoded()
        var read = 0
        for _ in 0..<20_000 {
            var mutated = seed
            for _ in 0...(generator.next() % 4) {
                mutated[Int(generator.next() % UInt64(mutated.count))] = UInt8(truncatingIfNeeded: generator.next())
            }
            if generator.next() % 4 == 0 { mutated.removeLast(Int(generator.next() % UInt64(mutated.count))) }
            guard let message = try? Everything(decoding: mutated) else { continue }
            read += 1
            let written = message.encoded()
            #expect(written.count == message.encodedSize)
            // Compared as bytes of maps without order: by size. NaN is not equal to itself.
            #expect(try Everything(decoding: written).encodedSize == written.count)
        }
        #expect(read > 100)
    }
}

@Suite("Well-known types")
struct WellKnownTypesTests {
    @Test(arguments: [0, 1, 999, 1000, -1, -999, -1000, -1001, 1_795_545_628_123, 253_402_300_799_999])
    func instantsAreMilliseconds(_ milliseconds: Int64) {
        let timestamp = Google_Protobuf_Timestamp(unixMilliseconds: milliseconds)
        #expect(timestamp.nanos >= 0)
        #expect(timestamp.unixMilliseconds == milliseconds)
    }

    @Test func absurdTimestampsDoNotTrap() {
        #expect(Google_Protobuf_Timestamp(seconds: .max, nanos: .max).unixMilliseconds == 253_402_300_799_999)
        #expect(Google_Protobuf_Timestamp(seconds: .min, nanos: .min).unixMilliseconds == -62_135_596_800_000)
        #expect(Google_Protobuf_Duration(seconds: .min, nanos: .min).milliseconds < 0)
    }

    @Test func anyHoldsOneTypeOnly() {
        let any = Google_Protobuf_Any(packing: Scalars(int32Value: 5))
        #expect(any.typeURL == "type.googleapis.com/cabstand.test.v1.Scalars")
        #expect(any.unpacked(as: Scalars.self)?.int32Value == 5)
        #expect(any.unpacked(as: Everything.self) == nil)
    }

    @Test func filesKnowWhatTheyImport() {
        let file = ProtobufFile.cabstand_test_v1_everything
        #expect(file.withDependencies.map(\.name).last == "cabstand/test/v1/everything.proto")
        #expect(file.withDependencies.count == 6)
        #expect(file.symbols.contains("cabstand.test.v1.Nesting.Inner.Mood"))
    }
}
