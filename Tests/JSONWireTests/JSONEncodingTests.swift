import Bytes
import JSONWire
import Testing

/// Any value as JSON.
@Suite struct JSONEncodingTests {
    private func json(_ value: some Encodable) throws -> String {
        var buffer = ByteBuffer()
        try buffer.appendJSON(encoding: value)
        return String(decoding: buffer.array(), as: UTF8.self)
    }

    private struct Car: Encodable {
        struct Place: Encodable {
            var lat = 53.5573
            var lon = -0.0
        }
        enum State: String, Encodable { case onTrip = "on trip" }

        var id = "car \"7\"\n"
        var seats: UInt8 = 4
        var isOpen = true
        var place: Place? = Place()
        var driver: String?
        var state = State.onTrip
        var tags = ["a/b", "é\u{1F695}\u{0}"]
        var empty: [Int] = []
        var stops: [Place?] = [nil]
    }

    @Test func aStructIsItsMembersInTheirOrder() throws {
        #expect(
            try json(Car())
                == #"{"id":"car \"7\"\n","seats":4,"isOpen":true,"place":{"lat":53.5573,"lon":-0},"state":"on trip","#
                + #""tags":["a/b","é🚕\u0000"],"empty":[],"stops":[null]}"#)
    }

    @Test func everyWholeNumberIsWrittenWhole() throws {
        #expect(try json([Int64.min, .max]) == "[-9223372036854775808,9223372036854775807]")
        #expect(try json([UInt64.max]) == "[18446744073709551615]")
        #expect(try json([UInt128.max]) == "[340282366920938463463374607431768211455]")
        #expect(try json([Int8.min, .max]) == "[-128,127]")
    }

    @Test func numbersReadBackTheSame() throws {
        #expect(try json([0.1, 5, 1e300, Double.leastNonzeroMagnitude, -2.5]) == "[0.1,5,1e+300,5e-324,-2.5]")
        #expect(try json([Float(0.1), 16_777_216, 1e30]) == "[0.1,16777216,1e+30]")
    }

    /// RFC 8259 §6: there are no such numbers.
    @Test(arguments: [Double.nan, .infinity, -.infinity]) func whatIsNotFiniteIsRefusedWithItsPlace(value: Double)
        throws
    {
        var buffer = ByteBuffer()
        buffer.append("before")
        do {
            try buffer.appendJSON(encoding: ["speeds": ["x": [1, value]]])
            Issue.record("\(value) was written")
        } catch EncodingError.invalidValue(_, let context) {
            #expect(context.codingPath.map(\.stringValue) == ["speeds", "x", "1"])
            #expect(context.debugDescription.contains("\(value)"))
        }
        #expect(buffer.count == 6)
        #expect(throws: EncodingError.self) { try json(Float.nan) }
    }

    @Test func namesAreEscaped() throws {
        #expect(try json(["a\"\\\u{1}": 1]) == #"{"a\"\\\u0001":1}"#)
        #expect(try json([7: "x"]) == #"{"7":"x"}"#)
    }

    @Test func anythingIsAValue() throws {
        #expect(try json("text") == "\"text\"")
        #expect(try json(Int?.none) == "null")
        #expect(try json(Int?.some(3)) == "3")
        #expect(try json([[String: Int]]()) == "[]")
        #expect(try json([String: Int]()) == "{}")
        struct Nothing: Encodable { func encode(to encoder: any Encoder) {} }
        #expect(try json([Nothing()]) == "[{}]")
    }

    private class Animal: Encodable {
        let name: String
        init(_ name: String) { self.name = name }
    }

    /// Beside what it has inherited.
    private final class Cat: Animal {
        private enum Keys: CodingKey { case lives }
        override func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try container.encode(9, forKey: .lives)
            try super.encode(to: encoder)
        }
    }

    /// What it has inherited in a member of its own.
    private final class Dog: Animal {
        private enum Keys: CodingKey { case tricks, animal }
        override func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Keys.self)
            try super.encode(to: container.superEncoder())
            try super.encode(to: container.superEncoder(forKey: .animal))
            var tricks = container.nestedUnkeyedContainer(forKey: .tricks)
            try super.encode(to: tricks.superEncoder())
            try tricks.encodeNil()
            #expect(tricks.count == 2)
        }
    }

    @Test func classesEncodeWhatTheyInherit() throws {
        #expect(try json(Cat("Tom")) == #"{"lives":9,"name":"Tom"}"#)
        #expect(
            try json(Dog("Rex"))
                == #"{"super":{"name":"Rex"},"animal":{"name":"Rex"},"tricks":[{"name":"Rex"},null]}"#)
    }

    /// Two containers that are filled in turns, one that is asked for twice, and a name that is given twice.
    private struct Woven: Encodable {
        enum Keys: CodingKey { case a, b, c }
        func encode(to encoder: any Encoder) throws {
            var whole = encoder.container(keyedBy: Keys.self)
            var a = whole.nestedContainer(keyedBy: Keys.self, forKey: .a)
            var b = whole.nestedUnkeyedContainer(forKey: .b)
            try a.encode(1, forKey: .a)
            try b.encode("x")
            var inner = b.nestedUnkeyedContainer()
            var deep = b.nestedContainer(keyedBy: Keys.self)
            try inner.encode(true)
            try deep.encodeNil(forKey: .c)
            try a.encode(2, forKey: .b)
            var again = whole.nestedContainer(keyedBy: Keys.self, forKey: .a)
            try again.encode(3, forKey: .a)
            try whole.encode("first", forKey: .c)
            try whole.encode("last", forKey: .c)
        }
    }

    @Test func containersMayBeFilledInTurns() throws {
        #expect(try json(Woven()) == #"{"a":{"a":3,"b":2},"b":["x",[true],{"c":null}],"c":"last"}"#)
    }
}
