import Bytes

/// A number in a JSON text, read over and taken apart.
struct JSONNumber {
    /// Offset of its first byte, and behind its last one.
    var start = 0
    var end = 0
    var isNegative = false
    /// Neither a fraction nor an exponent.
    var isInteger = true
    /// All digits of integer and fraction as one integer.
    var digits: UInt64 = 0
    /// `digits` has lost some.
    var overflows = false
    /// The power of ten that `digits` is to be multiplied with.
    var exponent = 0
}

extension JSONReader {
    /// Checks the number at `offset` by RFC 8259 §6, without moving.
    func scanNumber() throws(JSONError) -> JSONNumber {
        var number = JSONNumber(start: offset)
        var place = offset
        if input[place] == UInt8(ascii: "-") {
            number.isNegative = true
            place += 1
        }
        let integerStart = place
        place = scanDigits(from: place, into: &number)
        let integerDigits = place - integerStart
        guard integerDigits > 0, integerDigits == 1 || input[integerStart] != UInt8(ascii: "0") else {
            throw failure(.malformedNumber)
        }
        if place < input.count, input[place] == UInt8(ascii: ".") {
            number.isInteger = false
            let fractionStart = place + 1
            place = scanDigits(from: fractionStart, into: &number)
            guard place > fractionStart else { throw failure(.malformedNumber) }
            number.exponent -= place - fractionStart
        }
        if place < input.count, input[place] | 0x20 == UInt8(ascii: "e") {
            number.isInteger = false
            place += 1
            var isNegative = false
            if place < input.count, input[place] == UInt8(ascii: "+") || input[place] == UInt8(ascii: "-") {
                isNegative = input[place] == UInt8(ascii: "-")
                place += 1
            }
            let exponentStart = place
            var exponent = 0
            while place < input.count, case let digit = input[place] &- 48, digit < 10 {
                exponent = min(exponent * 10 + Int(digit), 1_000_000)
                place += 1
            }
            guard place > exponentStart else { throw failure(.malformedNumber) }
            number.exponent += isNegative ? -exponent : exponent
        }
        number.end = place
        return number
    }

    private func scanDigits(from start: Int, into number: inout JSONNumber) -> Int {
        var place = start
        while place < input.count, case let digit = input[place] &- 48, digit < 10 {
            let (product, overflowed) = number.digits.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(digit))
            number.digits = sum
            number.overflows = number.overflows || overflowed || carried
            place += 1
        }
        return place
    }

    /// The nearest `Double`; nil if it is not finite.
    func double(of number: JSONNumber) -> Double? {
        // Digits and power of ten that are exact in binary give an exact product or quotient, rounded once.
        if !number.overflows, number.digits <= 1 << 53, (-22...22).contains(number.exponent) {
            let digits = Double(number.digits)
            let power = Self.powersOfTen[abs(number.exponent)]
            let magnitude = number.exponent < 0 ? digits / power : digits * power
            return number.isNegative ? -magnitude : magnitude
        }
        let bytes = input.extracting(number.start..<number.end)
        let text = unsafe bytes.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
        guard let value = Double(text), value.isFinite else { return nil }
        return value
    }

    private static var powersOfTen: InlineArray<23, Double> {
        [
            1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
            1e20, 1e21, 1e22,
        ]
    }
}
