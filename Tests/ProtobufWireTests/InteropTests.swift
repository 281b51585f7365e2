import Bytes
import Glibc
import ProtobufWire
import TestSupport
import Testing

typealias Everything = Cabstand_Test_V1_Everything
typealias Scalars = Cabstand_Test_V1_Scalars

/// Google's protobuf (PyPI) in a process of its own.
struct GoogleProtobuf {
    static let protoc = Tool.find("protoc")
    static let python = Tool.python(importing: ["google.protobuf"])
    static let isAvailable = protoc != nil && python != nil

    let folder = TemporaryFolder()
    static let protos = Tool.repository + "/Tests/ProtobufWireTests/protos"

    init() throws {
        let result = try ChildProcess.run(
            try #require(Self.protoc),
            [
                "-I\(Self.protos)", "-I\(Tool.repository)/Sources/ProtobufWire/protos", "--include_imports",
                "--descriptor_set_out=\(folder.file("descriptors"))", "cabstand/test/v1/everything.proto",
            ])
        try #require(result.status == 0, "\(result.errors)")
    }

    func run(_ arguments: String..., input: String? = nil) throws -> String {
        let result = try ChildProcess.run(
            try #require(Self.python),
            [Tool.repository + "/Tests/ProtobufWireTests/interop.py", folder.file("descriptors")] + arguments,
            input: input, timeout: 120)
        try #require(result.status == 0, "\(result.errors)")
        return result.output
    }
}

func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

func bytes(hex text: some StringProtocol) -> [UInt8] {
    var result: [UInt8] = []
    var high: UInt8?
    for digit in text.utf8.compactMap(ASCII.hexValue) {
        if let first = high {
            result.append(first << 4 | digit)
            high = nil
        } else {
            high = digit
        }
    }
    return result
}

@Suite("Against Google's protobuf", .enabled(if: GoogleProtobuf.isAvailable, "needs protoc and Python's protobuf"))
struct InteropTests {
    @Test func randomMessagesPassThroughUnchanged() throws {
        let google = try GoogleProtobuf()
        let theirs = try google.run("random", "5", "400").split(separator: "\n")
        #expect(theirs.count == 400)
        var mine: [String] = []
        var throughLittle: [String] = []
        for line in theirs {
            let sent = bytes(hex: line)
            let message = try Everything(decoding: sent)
            let written = message.encoded()
            #expect(message.encodedSize == written.count)
            #expect(try Everything(decoding: written) == message)
            mine.append(hex(written))
            // A reader that knows one field of fifteen keeps the others.
            let little = try Cabstand_Test_V1_Little(decoding: sent)
            #expect(little.encodedSize == little.encoded().count)
            throughLittle.append(hex(little.encoded()))
        }
        let before = google.folder.write("theirs", theirs.joined(separator: "\n"))
        let after = google.folder.write("mine", mine.joined(separator: "\n"))
        #expect(try google.run("same", before, after) == "400 the same\n")
        let little = google.folder.write("little", throughLittle.joined(separator: "\n"))
        #expect(try google.run("same", before, little) == "400 the same\n")
    }

    @Test func smallestAndLargestValuesMeanTheSame() throws {
        let google = try GoogleProtobuf()
        let largest = Scalars(
            doubleValue: 1.5, floatValue: -2.25, int32Value: .max, int64Value: .max, uint32Value: .max,
            uint64Value: .max,
            sint32Value: .max, sint64Value: .max, fixed32Value: .max, fixed64Value: .max, sfixed32Value: .max,
            sfixed64Value: .max, boolValue: true, stringValue: "é\u{0}🚕", bytesValue: [0, 255, 128],
            colorValue: .largest)
        #expect(
            try google.run("text", "cabstand.test.v1.Scalars", input: hex(largest.encoded()) + "\n") == """
                {"bool_value": true, "bytes_value": "AP+A", "color_value": "COLOR_LARGEST", "double_value": 1.5, \
                "fixed32_value": 4294967295, "fixed64_value": "18446744073709551615", "float_value": -2.25, \
                "int32_value": 2147483647, "int64_value": "9223372036854775807", "sfixed32_value": 2147483647, \
                "sfixed64_value": "9223372036854775807", "sint32_value": 2147483647, \
                "sint64_value": "9223372036854775807", "string_value": "\\u00e9\\u0000\\ud83d\\ude95", \
                "uint32_value": 4294967295, "uint64_value": "18446744073709551615"}

                """)
        let smallest = Scalars(
            doubleValue: -0.0, int32Value: .min, int64Value: .min, sint32Value: .min, sint64Value: .min,
            sfixed32Value: .min, sfixed64Value: .min, colorValue: .smallest)
        #expect(
            try google.run("text", "cabstand.test.v1.Scalars", input: hex(smallest.encoded()) + "\n") == """
                {"color_value": "COLOR_SMALLEST", "double_value": -0.0, "int32_value": -2147483648, \
                "int64_value": "-9223372036854775808", "sfixed32_value": -2147483648, \
                "sfixed64_value": "-9223372036854775808", "sint32_value": -2147483648, \
                "sint64_value": "-9223372036854775808"}

                """)
    }

    @Test func presenceOfZeroIsKept() throws {
        let google = try GoogleProtobuf()
        let zeros = Cabstand_Test_V1_Optionals(
            doubleValue: 0, int32Value: 0, boolValue: false, stringValue: "", bytesValue: [], colorValue: .unspecified,
            messageValue: Scalars())
        #expect(
            try google.run("text", "cabstand.test.v1.Optionals", input: hex(zeros.encoded()) + "\n") == """
                {"bool_value": false, "bytes_value": "", "color_value": "COLOR_UNSPECIFIED", "double_value": 0.0, \
                "int32_value": 0, "message_value": {}, "string_value": ""}

                """)
        #expect(Scalars().encoded().isEmpty)
        let chosen = Cabstand_Test_V1_Choices(choice: .int32Value(0), between: "b", secondChoice: .right(""))
        #expect(
            try google.run("text", "cabstand.test.v1.Choices", input: hex(chosen.encoded()) + "\n") == """
                {"between": "b", "int32_value": 0, "right": ""}

                """)
    }

    @Test func oddNamesAreThoseOfTheFile() throws {
        let google = try GoogleProtobuf()
        var odd = Cabstand_Test_V1_OddNames()
        odd.self_p = "1"
        odd.description_p = "2"
        odd.`default` = "4"
        odd.upper = "6"
        odd.userID = "7"
        odd.homeURL = "8"
        odd.unknownFields_p = "16"
        odd.largest = "536870911"
        odd.size = "23"
        #expect(
            try google.run("text", "cabstand.test.v1.Odd_names", input: hex(odd.encoded()) + "\n") == """
                {"Upper": "6", "default": "4", "description": "2", "home_url": "8", "largest": "536870911", "self": "1", \
                "size": "23", "unknown_fields": "16", "user_id": "7"}

                """)
        #expect(
            Cabstand_Test_V1_OddNames.fields.first { $0.number == 7 } == ProtobufField(7, "user_id", "userId"))
    }
}

/// Requests that protoc does not make: the plugin answers with an error, it does not die.
@Suite("Generator requests")
struct GeneratorRequestTests {
    private func field(_ number: UInt32, _ bytes: [UInt8]) -> [UInt8] {
        var buffer = ByteBuffer()
        ProtobufBytes.encodeAlways(bytes, number, into: &buffer)
        return buffer.array()
    }

    private func field(_ number: UInt32, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }

    private func field(_ number: UInt32, _ value: Int64) -> [UInt8] {
        var buffer = ByteBuffer()
        ProtobufInt64.encodeAlways(value, number, into: &buffer)
        return buffer.array()
    }

    /// A request for one file with these declarations.
    private func answer(_ declarations: [UInt8]) throws -> ChildProcess.Result {
        let file = field(1, "a.proto") + field(12, "proto3") + declarations
        let folder = TemporaryFolder()
        let path = folder.write("request", "")
        let bytes = field(1, "a.proto") + field(15, file)
        let output = unsafe fopen(path, "wb")
        let isOpen = unsafe output != nil
        try #require(isOpen)
        unsafe fwrite(bytes, 1, bytes.count, output)
        unsafe fclose(output)
        return try ChildProcess.run(
            "/bin/sh", ["-c", "exec \"$0\" <\"$1\"", Tool.program("protoc-gen-cabstand"), path])
    }

    @Test func anEnumWithoutValuesIsRefused() throws {
        let outer = try answer(field(5, field(1, "Empty")))
        #expect(outer.status == 0 && outer.output.contains("Empty: an enum without values"))
        let inner = try answer(field(4, field(1, "M") + field(4, field(1, "Empty"))))
        #expect(inner.status == 0 && inner.output.contains("Empty: an enum without values"))
    }

    @Test(arguments: [0, -1, 536_870_912, .max, .min] as [Int64])
    func aNumberThatNoFieldHasIsRefused(number: Int64) throws {
        let result = try answer(field(4, field(1, "M") + field(2, field(1, "f") + field(3, number) + field(5, 5))))
        #expect(result.status == 0 && result.output.contains("is no field number"), "\(result)")
    }

    @Test(arguments: [0, 1, -1, .max, .min] as [Int64])
    func aOneofThatIsNotThereIsRefused(index: Int64) throws {
        let member = field(1, "f") + field(3, 1) + field(5, 5) + field(9, index)
        let result = try answer(field(4, field(1, "M") + field(2, member)))
        #expect(result.status == 0 && result.output.contains("there is no oneof"), "\(result)")
    }

    @Test func messagesInMessagesWithoutEndAreRefused() throws {
        var message: [UInt8] = field(1, "M")
        for _ in 0..<5_000 { message = field(3, message) }
        let result = try answer(field(4, message))
        #expect(result.status == 0 && result.output.contains("can't be read: tooDeep"), "\(result.output.prefix(200))")
    }

    @Test func aMapEntryWithoutKeyAndAnUnknownTypeAreRefused() throws {
        let entry = field(1, "E") + field(7, field(7, 1))
        let map = field(1, "f") + field(3, 1) + field(4, 3) + field(5, 11) + field(6, ".M.E")
        #expect(try answer(field(4, field(1, "M") + field(3, entry) + field(2, map))).output.contains("without key"))
        let lost = field(1, "f") + field(3, 1) + field(5, 14) + field(6, ".Nowhere")
        #expect(try answer(field(4, field(1, "M") + field(2, lost))).output.contains("unknown type .Nowhere"))
    }

    @Test func namesOfNothingAreNoTrap() throws {
        let nothing = field(1, "") + field(2, field(1, "") + field(3, 1) + field(5, 5))
        let service = field(1, "") + field(2, field(1, "") + field(2, ".") + field(3, "."))
        let result = try answer(
            field(2, "..") + field(4, nothing) + field(5, field(2, field(1, ""))) + field(6, service))
        #expect(result.status == 0)
    }
}

@Suite("Generator", .enabled(if: Tool.find("protoc") != nil, "needs protoc"))
struct GeneratorTests {
    @Test func generatedCodeIsWhatTheProtoFilesSay() throws {
        let result = try ChildProcess.run(
            Tool.repository + "/deploy/generate-protos.sh", ["--check"],
            environment: ["PROTOC_GEN_CABSTAND": Tool.program("protoc-gen-cabstand")])
        #expect(result.status == 0, "\(result.output)\(result.errors)")
    }

    @Test(arguments: [
        ("syntax = \"proto2\"; message A {}", "only syntax = \"proto3\" is generated")
    ])
    func whatIsNotGeneratedIsSaid(_ text: String, _ reason: String) throws {
        let folder = TemporaryFolder()
        _ = folder.write("a.proto", text)
        let result = try ChildProcess.run(
            try #require(Tool.find("protoc")),
            [
                "-I\(folder.path)", "--plugin=protoc-gen-cabstand=\(Tool.program("protoc-gen-cabstand"))",
                "--cabstand_out=\(folder.path)", "a.proto",
            ])
        #expect(result.status != 0)
        #expect(result.errors.contains(reason), "\(result.errors)")
    }
}
