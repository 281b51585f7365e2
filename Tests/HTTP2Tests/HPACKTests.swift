import Bytes
import HTTP2
import Testing

/// RFC 7541.
@Suite struct HPACKTests {
    func decode(_ decoder: inout HPACKDecoder, _ bytes: [UInt8]) throws(HPACKError) -> [String] {
        var result: [String] = []
        var failure: HPACKError?
        unsafe bytes.withUnsafeBytes { block in
            do throws(HPACKError) {
                unsafe try decoder.decode(block)
                for index in 0..<decoder.count {
                    result.append("\(decoder[index].nameText): \(decoder[index].valueText)")
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return result
    }

    func decoder(_ listSize: Int = 1 << 20) -> HPACKDecoder { HPACKDecoder(maximumListSize: listSize) }

    func bytes(_ hex: some StringProtocol) -> [UInt8] {
        let digits = hex.utf8.filter { $0 != UInt8(ascii: " ") }
        return stride(from: 0, to: digits.count, by: 2).map {
            ASCII.hexValue(digits[$0])! << 4 | ASCII.hexValue(digits[$0 + 1])!
        }
    }

    private func failure(_ hex: String) -> HPACKError? {
        var decoder = decoder()
        do throws(HPACKError) {
            _ = try decode(&decoder, bytes(hex))
            return nil
        } catch {
            return error
        }
    }

    @Test func rfc7541_C3_requestsWithoutHuffman() throws {
        var decoder = decoder()
        let first = try decode(&decoder, bytes("828684410f7777772e6578616d706c652e636f6d"))
        #expect(first == [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"])
        let size1 = decoder.tableSize
        #expect(size1 == 57)
        let second = try decode(&decoder, bytes("828684be58086e6f2d6361636865"))
        #expect(second.suffix(2) == [":authority: www.example.com", "cache-control: no-cache"])
        let size2 = decoder.tableSize
        #expect(size2 == 110)
        let third = try decode(
            &decoder, bytes("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"))
        #expect(
            third == [
                ":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com",
                "custom-key: custom-value",
            ])
        let size3 = decoder.tableSize
        #expect(size3 == 164)
    }

    @Test func rfc7541_C4_requestsWithHuffman() throws {
        var decoder = decoder()
        _ = try decode(&decoder, bytes("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
        _ = try decode(&decoder, bytes("828684be5886a8eb10649cbf"))
        let third = try decode(&decoder, bytes("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
        #expect(third.last == "custom-key: custom-value")
        let size4 = decoder.tableSize
        #expect(size4 == 164)
    }

    @Test func rfc7541_C6_responsesWithEviction() throws {
        var decoder = HPACKDecoder(tableSize: 256, maximumListSize: 1 << 20)
        _ = try decode(
            &decoder,
            bytes(
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3"
            ))
        let size5 = decoder.tableSize
        #expect(size5 == 222)
        let second = try decode(&decoder, bytes("4883640effc1c0bf"))
        #expect(second.first == ":status: 307")
        let third = try decode(
            &decoder,
            bytes(
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007"
            ))
        #expect(third.last == "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
        let size6 = decoder.tableSize
        #expect(size6 == 215)
    }

    @Test func rfc7541_5_1_integersAreBounded() {
        #expect(failure("ff80808080808080808001") == .integerOverflow)
        #expect(failure("ffffffffff0f") == .integerOverflow)
        #expect(failure("ff") == .truncated)
    }

    @Test func rfc7541_5_2_huffmanPadding() {
        #expect(failure("4182ffff") == .invalidHuffman)  // padding of 8 bits and more
        #expect(failure("418110") == .invalidHuffman)  // "o" is 00111…, padding with zeros
        #expect(failure("4184ffffffff") == .invalidHuffman)  // the end-of-string symbol
    }

    @Test func rfc7541_6_1_indexMustExist() {
        #expect(failure("80") == .invalidIndex)
        #expect(failure("be") == .invalidIndex)
    }

    @Test func rfc7541_4_2_tableSizeUpdates() {
        #expect(failure("3fe11f") == nil)  // 4096
        #expect(failure("3fe21f") == .invalidTableSize)  // 4097
        #expect(failure("8220") == .invalidTableSize)  // not at the beginning
    }

    @Test func everyTruncationIsAnErrorOrShorter() throws {
        let whole = bytes("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")
        for count in 0..<whole.count {
            var decoder = decoder()
            _ = try decode(&decoder, bytes("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
            _ = try? decode(&decoder, Array(whole[..<count]))
        }
    }

    /// An HPACK bomb: one large entry, referred to by one byte each.
    @Test func bombIsBoundedAndTheTableStaysInStep() throws {
        var decoder = decoder(16 << 10)
        var block: [UInt8] = [0x40, 1, UInt8(ascii: "a"), 0x7f, 0xa1, 0x1e]  // a value of 4,000 bytes
        block += [UInt8](repeating: UInt8(ascii: "v"), count: 4000)
        block += [UInt8](repeating: 0xbe, count: 10_000)
        block += [0x40, 1, UInt8(ascii: "b"), 1, UInt8(ascii: "c")]
        let fields = try decode(&decoder, block)
        #expect(fields.count == 4)
        let isTooLarge = decoder.isTooLarge
        #expect(isTooLarge)
        // The field behind the bomb is in the table all the same.
        let next = try decode(&decoder, [0xbe])
        #expect(next == ["b: c"])
    }

    @Test func everyByteSurvivesHuffman() throws {
        var encoder = HPACKEncoder()
        var decoder = decoder()
        for byte in UInt8.min...UInt8.max {
            for count in 1...5 {
                let value = [UInt8](repeating: byte, count: count) + [UInt8](repeating: UInt8(ascii: "a"), count: 12)
                var buffer = ByteBuffer()
                encoder.beginBlock(into: &buffer)
                let name = Array("x".utf8)
                unsafe name.withUnsafeBytes { name in
                    unsafe value.withUnsafeBytes { unsafe encoder.encode(name, $0, .none, into: &buffer) }
                }
                let block = buffer.array()
                let decoded = unsafe try block.withUnsafeBytes { bytes in
                    unsafe try decoder.decode(bytes)
                    return unsafe Array(decoder[0].value)
                }
                #expect(decoded == value)
            }
        }
    }

    /// Tokens come with every call: in Huffman code they would cost forty instructions a byte.
    @Test func longStringsAreSentAsTheyAre() throws {
        for count in [1, 9, 10, 126, 127, 128, 129, 300, 5_000] {
            var encoder = HPACKEncoder()
            var output = ByteBuffer()
            let value = [UInt8](repeating: UInt8(ascii: "e"), count: count)
            unsafe value.withUnsafeBytes { value in
                unsafe encoder.encode(HeaderToken.authority, value, .none, into: &output)
            }
            let block = output.array()
            var decoder = decoder()
            #expect(try decode(&decoder, block) == [":authority: \(String(repeating: "e", count: count))"])
            // "e" has five bits.
            #expect((block.count < count) == (10...128).contains(count))
        }
    }

    /// Never indexed (RFC 7541 §6.2.3), as a field and by its parts; and not in Huffman code, for which a credential is too random.
    @Test func credentialsAreSentAsTheyAre() throws {
        let value = [UInt8](repeating: UInt8(ascii: "e"), count: 64)
        for (name, first) in [("authorization", [0x1f, 23 - 15]), ("relay-authorization", [0x10, 19])]
            as [(String, [UInt8])]
        {
            var encoder = HPACKEncoder()
            var output = ByteBuffer()
            let bytes = Array(name.utf8)
            unsafe bytes.withUnsafeBytes { name in
                unsafe value.withUnsafeBytes { unsafe encoder.encode(name, $0, .never, into: &output) }
            }
            let block = output.array()
            #expect(block == first + (first[0] == 0x10 ? bytes : []) + [64] + value)
            #expect(encoder.tableSize == 0)
            var decoder = decoder()
            #expect(try decode(&decoder, block) == ["\(name): \(String(repeating: "e", count: 64))"])
        }
    }

    @Test func encoderFollowsTheAllowedTableSize() throws {
        var encoder = HPACKEncoder()
        var decoder = decoder()
        var remembered = HPACKEncoder.Remembered()
        for round in 0..<200 {
            if round == 50 { encoder.setAllowedTableSize(0) }
            if round == 100 { encoder.setAllowedTableSize(100) }
            if round == 150 {
                encoder.setAllowedTableSize(64)
                encoder.setAllowedTableSize(4096)
            }
            var buffer = ByteBuffer()
            encoder.beginBlock(into: &buffer)
            encoder.encode("content-type", "application/grpc", remembered: &remembered, into: &buffer)
            let name = Array("x-\(round % 7)".utf8)
            let value = Array("value \(round % 11)".utf8)
            unsafe name.withUnsafeBytes { name in
                unsafe value.withUnsafeBytes { unsafe encoder.encode(name, $0, .table, into: &buffer) }
            }
            let fields = try decode(&decoder, buffer.array())
            #expect(fields == ["content-type: application/grpc", "x-\(round % 7): value \(round % 11)"])
            let sizes = (decoder.tableSize, encoder.tableSize)
            #expect(sizes.0 == sizes.1)
        }
    }

    /// The smallest size since the last block and the last one: a third announcement is an attack (RFC 7541 §4.2).
    @Test func rfc7541_4_2_aThirdTableSizeIsRefused() {
        #expect(failure("20 3f e1 1f 82") == nil)
        #expect(failure("20 20 20") == .invalidTableSize)
    }

    @Test func aBlockThatDecodesToTooMuchIsNotDecodedToItsEnd() {
        var decoder = HPACKDecoder(maximumListSize: 1000, maximumWork: 2000)
        #expect(throws: HPACKError.tooMuchWork) {
            _ = try decode(&decoder, [UInt8](repeating: 0x84, count: 100))
        }
        let work = decoder.work
        #expect(work < 2200)
    }
}
