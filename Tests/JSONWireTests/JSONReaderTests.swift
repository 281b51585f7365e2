import Basics
import Bytes
import JSONWire
import Testing

/// Reads over a whole text; nil if it is JSON, else why not.
func refusal(_ text: [UInt8], limits: JSONLimits = JSONLimits()) -> JSONError? {
    var reader = JSONReader(text.span, limits: limits)
    do throws(JSONError) {
        try reader.skipValue()
        try reader.finish()
        return nil
    } catch {
        return error
    }
}

func refusal(_ text: String) -> JSONError? { refusal(Array(text.utf8)) }

func string(_ text: String) throws -> String {
    let bytes = Array(text.utf8)
    var reader = JSONReader(bytes.span)
    let value = try reader.readString()
    try reader.finish()
    return value
}

func double(_ text: String) throws -> Double {
    let bytes = Array(text.utf8)
    var reader = JSONReader(bytes.span)
    let value = try reader.readDouble()
    try reader.finish()
    return value
}

func integer(_ text: String) throws -> Int64 {
    let bytes = Array(text.utf8)
    var reader = JSONReader(bytes.span)
    let value = try reader.readInt64()
    try reader.finish()
    return value
}

@Suite("JSON reader (RFC 8259)")
struct JSONReaderTests {
    @Test(arguments: [
        "null", " true ", "\t\r\nfalse", "0", "-0", "1.5e-3", "1E+2", "\"\"", "[]", "{}", "[1,[2,{\"a\":[]}]]",
        "{\"a\":1,\"A\":2}", "\"\\u0000\"", "\"\\ud83d\\ude95\"", "\"\u{7f}\"", "\"/\\/\"", "[ ]", "{ \"\" : \"\" }",
        "\"\u{FFFF}\u{10FFFF}\"", "1e-400", "123456789012345678901234567890",
    ])
    func rfc8259_2_textIsAccepted(_ text: String) {
        #expect(refusal(text) == nil)
    }

    @Test(arguments: [
        "", " ", "nul", "nulll", "True", "tru", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "]", "{", "{\"a\"",
        "{\"a\":",
        "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}", "{a:1}", "{'a':1}", "{\"a\" 1}", "{1:2}", "{\"a\":1 \"b\":2}",
        "}",
        "1 2", "{} {}", "[]]", "// c\n1", "/**/1", "\u{FEFF}1", "NaN", "Infinity", "-Infinity", "+1", ".5", "5.",
        "1.e1",
        "-", "01", "-01", "1e", "1e+", "0x10", "1_000", "\"", "\"\\\"", "\"\\x41\"", "\"\\u12\"", "\"\\u12G4\"",
        "\"\t\"",
        "\"\n\"", "\"a\u{0}b\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\ud800a\"", "\"\\u\"", "'a'",
        "[\"a\",\n4\n,1,", "\u{0C}1", "\u{A0}1", "{\"a\":1}#", "[1}", "{\"a\":1]",
    ])
    func rfc8259_2_textIsRefused(_ text: String) {
        #expect(refusal(text) != nil)
    }

    @Test(arguments: [
        [0x22, 0xC0, 0x80, 0x22], [0x22, 0xC3, 0x22], [0x22, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
        [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x22, 0xE0, 0x80, 0x80, 0x22],
        [0x22, 0xF8, 0x88, 0x80, 0x80, 0x80, 0x22],
        [0x22, 0xFF, 0x22], [0x22, 0xF0, 0x9F, 0x9A],
    ])
    func rfc3629_4_malformedUTF8IsRefused(_ bytes: [UInt8]) {
        #expect(refusal(bytes)?.reason == .malformedUTF8)
    }

    @Test func rfc8259_7_escapesAreUndone() throws {
        #expect(try string(#""\"\\\/\b\f\n\r\t""#) == "\"\\/\u{8}\u{C}\n\r\t")
        #expect(try string(#""\u00e9\u20AC\ud83d\ude95é""#) == "é€🚕é")
        #expect(try string(#""\u0000""#).unicodeScalars.map(\.value) == [0])
    }

    @Test func rfc8259_4_duplicateMembersAreRefusedEvenInDisguise() {
        #expect(refusal(#"{"a":1,"a":1}"#)?.reason == .duplicateMember)
        #expect(refusal(#"{"a":1,"\u0061":1}"#)?.reason == .duplicateMember)
        #expect(refusal(#"{"x":{"a":1},"y":{"b":2,"b":1}}"#)?.pointer == "/y/b")
        #expect(refusal(#"{"a":{"a":{"a":1}}}"#) == nil)
        #expect(refusal("{\"e\u{301}\":1,\"\u{e9}\":1}") == nil)
    }

    /// Names that begin alike are told apart without being compared: 256 names of 4 KB took half a second.
    @Test(arguments: ["", "\\u0041"])
    func longNamesThatBeginAlikeAreNotCompared(escape: String) throws {
        let start = escape + String(repeating: "n", count: 4000)
        let members = (0..<256).map { "\"\(start)\($0)\":0" }
        let text = Array("{\(members.joined(separator: ","))}".utf8)
        var reader = JSONReader(text.span)
        try reader.skipValue()
        let collisions = reader.collisions
        #expect(collisions == 0)
        #expect(refusal("{\(members.joined(separator: ",")),\(members[17])}")?.reason != nil)
        let twice = "{\(members[..<9].joined(separator: ",")),\(members[3])}"
        #expect(refusal(twice)?.reason == .duplicateMember)
    }

    /// Sixteen printable bytes of which the last eight were chosen so that the keys are equal.
    @Test func namesThatWereChosenToCollideAreRefused() {
        var names: [String] = []
        var number: UInt64 = 0
        let key: UInt64 = 0x3132_3334_3536_3738
        while names.count < 20 {
            number += 1
            let first = "\(10_000_000 + number)"
            let word = first.utf8.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let second = JSONReader.mix(word, key)
            let bytes = (0..<8).map { UInt8(truncatingIfNeeded: second >> (8 * $0)) }
            if bytes.allSatisfy({ $0 > 0x22 && $0 < 0x7f && $0 != 0x5c }) {
                names.append(first + String(decoding: bytes, as: UTF8.self))
            }
        }
        let few = names[..<4].map { "\"\($0)\":0" }.joined(separator: ",")
        #expect(refusal("{\(few)}") == nil)
        let many = names.map { "\"\($0)\":0" }.joined(separator: ",")
        #expect(refusal("{\(many)}")?.reason == .tooManyMembers)
    }

    @Test func numbersAreTheNearestDouble() throws {
        for text in [
            "52.520008", "-13.404954", "0", "-0", "1e22", "1e23", "9007199254740993", "0.1", "1.7976931348623157e308",
            "5e-324", "2.2250738585072011e-308", "123456789012345678", "1e-400", "0.30000000000000004", "1E5",
            "179769313486231570000000000000000000000",
        ] {
            #expect(try double(text).bitPattern == Double(text)?.bitPattern, "\(text)")
        }
        #expect(throws: JSONError(.numberOutOfRange, offset: 0, pointer: "")) { try double("1e309") }
    }

    @Test func integersAreExactOrRefused() throws {
        #expect(try integer("-9223372036854775808") == .min)
        #expect(try integer("9223372036854775807") == .max)
        #expect(throws: JSONError(.numberOutOfRange, offset: 0, pointer: "")) { try integer("9223372036854775808") }
        #expect(throws: JSONError(.numberOutOfRange, offset: 0, pointer: "")) { try integer("99999999999999999999") }
        #expect(throws: JSONError(.notAnInteger, offset: 0, pointer: "")) { try integer("1.0") }
        #expect(throws: JSONError(.notAnInteger, offset: 0, pointer: "")) { try integer("1e3") }
    }

    @Test func aWrongTypeStaysUnreadAndIsPointedAt() throws {
        let text = Array(#"{"pickup":{"lat":"x","lon":2},"a/b~c":[1,{"d":true}]}"#.utf8)
        var reader = JSONReader(text.span)
        var seen: [String] = []
        try reader.beginObject()
        while let name = try reader.nextMember() {
            if reader.isEqual(name, "pickup") {
                try reader.beginObject()
                while try reader.nextMember() != nil {
                    do throws(JSONError) {
                        seen.append("\(try reader.readDouble())")
                    } catch {
                        #expect(error.isTypeMismatch)
                        seen.append(error.pointer)
                        try reader.skipValue()
                    }
                }
            } else {
                try reader.beginArray()
                while try reader.nextElement() {
                    seen.append(reader.pointer)
                    try reader.skipValue()
                }
            }
        }
        try reader.finish()
        #expect(seen == ["/pickup/lat", "2.0", "/a~1b~0c/0", "/a~1b~0c/1"])
    }

    @Test func whatIsUnboundedIsRefused() {
        let deep = [UInt8](repeating: UInt8(ascii: "["), count: 40)
        #expect(refusal(deep)?.reason == .tooDeep)
        var limits = JSONLimits()
        limits.depth = 1000
        #expect(refusal(deep, limits: limits)?.reason == .tooDeep)
        limits.size = 3
        #expect(refusal(Array("[1 ]".utf8), limits: limits)?.reason == .tooLarge)
        let wide = "{" + (0...256).map { "\"m\($0)\":0" }.joined(separator: ",") + "}"
        #expect(refusal(wide)?.reason == .tooManyMembers)
        let nearlyWide = "{" + (0..<256).map { "\"m\($0)\":{\"a\":1}" }.joined(separator: ",") + "}"
        #expect(refusal(nearlyWide) == nil)
    }

    @Test func randomBytesNeverCrashIt() {
        var generator = SplitMix(seed: 8259)
        let alphabet = Array("{}[]\",:\\u0123456789abcdefntrue-+.eE \u{e9}".utf8) + [0, 0x80, 0xFF]
        var accepted = 0
        for _ in 0..<50_000 {
            let length = Int(generator.next() % 24)
            let text = (0..<length).map { _ in alphabet[Int(generator.next() % UInt64(alphabet.count))] }
            if refusal(text) == nil { accepted += 1 }
        }
        #expect(accepted > 0)
    }

    /// A pointer goes back to whoever sent the name: no longer one for a name of 60 KB. It goes by code points: `~` and `/` are escaped
    /// whatever follows them (RFC 6901 §3).
    @Test func aPointerIsShort() {
        let marks = "a" + String(repeating: "\u{301}\u{327}", count: 15_000)
        let pointer = refusal("{\"~\u{301}/\u{301}\":{\"\(marks)\":x}}")?.pointer ?? ""
        #expect(pointer.unicodeScalars.starts(with: "/~0\u{301}~1\u{301}/a\u{301}\u{327}".unicodeScalars))
        #expect(pointer.unicodeScalars.last == "…" && pointer.utf8.count < 200)
    }
}

@Suite("Strings of every length and with every byte at every place")
struct JSONStringTests {
    @Test func specialBytesAreFoundWhereverTheyAre() throws {
        for length in 0..<20 {
            for place in 0..<max(1, length) {
                for byte in UInt8.min...UInt8.max {
                    var text = [UInt8](repeating: UInt8(ascii: "x"), count: length)
                    if length > 0 { text[place] = byte }
                    let isPlain = length == 0 || (byte >= 0x20 && byte < 0x80 && byte != 0x22 && byte != 0x5C)
                    let quoted = [0x22] + text + [0x22]
                    // A backslash in front of an x or of the end is never right; a quotation mark ends the string early.
                    #expect((refusal(quoted) == nil) == isPlain, "\(quoted)")
                }
            }
        }
    }

    @Test func everyTextIsReadAsItWasWritten() throws {
        var generator = SplitMix(seed: 7)
        let pieces = ["a", "\"", "\\", "\u{1}", "\u{1f}", " ", "\u{7f}", "é", "🚕", "/", "xyzxyzxy"]
        for _ in 0..<2_000 {
            let count = Int(generator.next() % 12)
            let text = (0..<count).map { _ in pieces[Int(generator.next() % UInt64(pieces.count))] }.joined()
            let json = written { $0.appendJSON(string: text) }
            #expect(try string(json) == text)
        }
    }
}
