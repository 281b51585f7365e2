import Basics
import Bytes
import JSONWire
import Testing

func written(_ body: (inout ByteBuffer) -> Void) -> String {
    var buffer = ByteBuffer()
    body(&buffer)
    return String(decoding: buffer.array(), as: UTF8.self)
}

@Suite("JSON writer")
struct JSONWriterTests {
    @Test func commasComeByThemselves() {
        let text = written { buffer in
            buffer.beginJSONObject()
            buffer.appendJSON("id", string: "d{")
            buffer.appendJSON("n", integer: -5)
            buffer.appendJSON(name: "list")
            buffer.beginJSONArray()
            for value in 1...3 {
                buffer.appendJSONSeparator()
                buffer.appendJSON(integer: value)
            }
            buffer.endJSONArray()
            buffer.appendJSON(name: "nested")
            buffer.beginJSONObject()
            buffer.appendJSON("ok", bool: true)
            buffer.endJSONObject()
            buffer.appendJSON(name: "nothing")
            buffer.appendJSONNull()
            buffer.endJSONObject()
        }
        #expect(text == #"{"id":"d{","n":-5,"list":[1,2,3],"nested":{"ok":true},"nothing":null}"#)
    }

    @Test func rfc8259_7_onlyWhatMustBeIsEscaped() {
        let text = written { $0.appendJSON(string: "\"\\/\u{8}\u{C}\n\r\t\u{1}\u{1f}\u{7f}é🚕") }
        #expect(text == #""\"\\/\b\f\n\r\t\u0001\u001f"# + "\u{7f}é🚕\"")
    }

    @Test func doublesReadBackAsThemselves() throws {
        var generator = SplitMix(seed: 1)
        for _ in 0..<20_000 {
            let value = Double(bitPattern: generator.next())
            guard value.isFinite else { continue }
            let text = written { $0.appendJSON(double: value) }
            let read = try double(text)
            #expect(read.bitPattern == value.bitPattern, "\(text)")
        }
        #expect(written { $0.appendJSON(double: 100) } == "100")
        #expect(written { $0.appendJSON(double: -0.0) } == "-0")
        #expect(written { $0.appendJSON(double: 1e21) } == "1e+21")
        #expect(written { $0.appendJSON(double: .nan) } == "null")
    }

    @Test func roundedNumbersAreWhatTheySay() throws {
        var generator = SplitMix(seed: 11)
        for _ in 0..<20_000 {
            let decimals = Int(generator.next() % 10)
            var power = 1.0
            for _ in 0..<decimals { power *= 10 }
            let value =
                (Double(generator.next() % 2_000_000_000) - 1e9) / [1, 1e3, 1e6, 1e9][Int(generator.next() % 4)]
            let text = written { $0.appendJSON(fixed: value, decimals: decimals) }
            let read = try double(text)
            #expect(abs(read - value) <= 0.5 / power + 1e-6 / power, "\(value) \(decimals) \(text)")
            #expect(!text.contains(".") || (!text.hasSuffix("0") && text.split(separator: ".")[1].count <= decimals))
        }
    }

    @Test func coordinatesHaveSixDecimals() {
        #expect(written { $0.appendJSON(coordinate: 52.5200081) } == "52.520008")
        #expect(written { $0.appendJSON(coordinate: -13.4) } == "-13.4")
        #expect(written { $0.appendJSON(coordinate: 0.0000004) } == "0")
        #expect(written { $0.appendJSON(coordinate: -0.0000004) } == "0")
        #expect(written { $0.appendJSON(coordinate: 0.000001) } == "0.000001")
        #expect(written { $0.appendJSON(coordinate: 179.9999999) } == "180")
        #expect(written { $0.appendJSON(coordinate: .infinity) } == "null")
        #expect(written { $0.appendJSON(fixed: 1234.56, decimals: 1) } == "1234.6")
        #expect(written { $0.appendJSON(fixed: 7.5, decimals: 0) } == "8")
        #expect(written { $0.appendJSON(fixed: 999_999_999.999999999, decimals: 9) } == "1000000000")
        #expect(written { $0.appendJSON(fixed: -999_999_999.5, decimals: 9) } == "-999999999.5")
        #expect(written { $0.appendJSON(fixed: 0.000000001, decimals: 9) } == "0.000000001")
    }
}

@Suite("Instants (RFC 3339)")
struct RFC3339Tests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (1_795_545_628_123, "2026-11-24T18:40:28.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"), (RFC3339.latest, "9999-12-31T23:59:59.999Z"),
        (RFC3339.earliest, "0000-01-01T00:00:00.000Z"), (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
    ])
    func rfc3339_5_6_instantsAreWrittenAndRead(_ milliseconds: Int64, _ text: String) {
        #expect(RFC3339.string(milliseconds) == text)
        #expect(RFC3339.milliseconds(text) == milliseconds)
    }

    @Test func everyDayOfFourHundredYearsComesBack() {
        for day in Int64(-73_000)...73_097 {
            let instant = day * 86_400_000 + 1
            #expect(RFC3339.milliseconds(RFC3339.string(instant)) == instant)
        }
    }

    @Test(arguments: [
        ("2026-11-24T19:40:28+01:00", 1_795_545_628_000), ("2026-11-24t18:40:28.1z", 1_795_545_628_100),
        ("2026-11-24T10:10:28.123456789-08:30", 1_795_545_628_123), ("2016-12-31T23:59:60Z", 1_483_228_800_000),
    ])
    func rfc3339_5_6_offsetsAndDecimalsAreRead(_ text: String, _ milliseconds: Int64) {
        #expect(RFC3339.milliseconds(text) == milliseconds)
    }

    @Test(arguments: [
        "", "2026-11-24", "2026-11-24T18:40:28", "2026-11-24 18:40:28Z", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
        "2026-11-24T24:00:00Z", "2026-11-24T18:60:00Z", "2026-11-24T18:40:61Z", "2026-11-24T18:40:28.Z",
        "2026-11-24T18:40:28+0100", "2026-11-24T18:40:28+01:00x", "26-11-24T18:40:28.000Z", "2026-11-24T18:40:28ZZ",
        "-026-11-24T18:40:28Z", "2026-00-10T18:40:28Z", "2026-11-00T18:40:28Z",
    ])
    func anythingElseIsRefused(_ text: String) {
        #expect(RFC3339.milliseconds(text) == nil)
    }
}
