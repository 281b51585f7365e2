import Basics
import Testing
import WebSockets

@Suite struct UTF8ValidatorTests {
    /// The index of the first byte that is refused, `bytes.count` if the end comes inside a character, nil if all is well.
    private func firstRefused(_ bytes: [UInt8]) -> Int? {
        var validator = UTF8Validator()
        for (index, byte) in bytes.enumerated() {
            let piece = [byte]
            guard validator.accept(piece.span) else { return index }
        }
        return validator.isBetweenCharacters ? nil : bytes.count
    }

    private func isValid(_ bytes: [UInt8]) -> Bool {
        var validator = UTF8Validator()
        return validator.accept(bytes.span) && validator.isBetweenCharacters
    }

    @Test func rfc3629_everyScalarIsAccepted() {
        var validator = UTF8Validator()
        for value: UInt32 in 0...0x10FFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(UTF8.encode(scalar)!)
            let accepted = validator.accept(bytes.span) && validator.isBetweenCharacters
            if !accepted {
                Issue.record("U+\(String(value, radix: 16)) was refused")
                return
            }
        }
    }

    @Test func rfc3629_wrongBytesAreRefusedWhereTheyShow() {
        #expect(firstRefused([0x80]) == 0)
        #expect(firstRefused([0xC0, 0x80]) == 0)
        #expect(firstRefused([0xC1, 0xBF]) == 0)
        #expect(firstRefused([0xE0, 0x9F, 0xBF]) == 1)
        #expect(firstRefused([0xED, 0xA0, 0x80]) == 1)
        #expect(firstRefused([0xF0, 0x8F, 0xBF, 0xBF]) == 1)
        #expect(firstRefused([0xF4, 0x90, 0x80, 0x80]) == 1)
        #expect(firstRefused([0xF5]) == 0)
        #expect(firstRefused([0xFF]) == 0)
        #expect(firstRefused([0xE2, 0x82]) == 2)
        #expect(firstRefused([0xF0, 0x9F, 0x9A, 0x41]) == 3)
    }

    /// All sequences of two bytes and random longer ones, against the standard library.
    @Test func rfc3629_sameAnswerAsTheStandardLibrary() {
        var wrong: [[UInt8]] = []
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let bytes = [first, second]
                if isValid(bytes) != (String(validating: bytes, as: UTF8.self) != nil) { wrong.append(bytes) }
            }
        }
        var random = SplitMix(seed: 7)
        let alphabet: [UInt8] = [
            0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xE0, 0xE2, 0xED, 0xEF, 0xF0, 0xF1, 0xF4,
        ]
        for _ in 0..<50_000 {
            let bytes = (0..<(random.next() % 24)).map { _ in alphabet[Int(random.next() % 16)] }
            if isValid(bytes) != (String(validating: bytes, as: UTF8.self) != nil) { wrong.append(bytes) }
        }
        #expect(wrong.isEmpty)
    }
}
