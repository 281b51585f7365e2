import AccessTokens
import Basics
import Testing

@Suite struct VerifiedTokensTests {
    private func token(_ number: Int) -> [UInt8] { Array("token \(number)".utf8) }

    @Test func aTokenIsKnownUntilItExpires() {
        let known = VerifiedTokens<String>()
        known.remember(token(1).span, "ada", expires: 100)
        #expect(known.find(token(1), at: 99) == "ada")
        #expect(known.find(token(2), at: 99) == nil)
        #expect(known.find(token(1), at: 100) == nil)
        #expect(known.count == 0)
        #expect(known.find(token(1), at: 99) == nil)
    }

    @Test func itIsBoundedAndKeepsWhatIsUsed() {
        let known = VerifiedTokens<Int>(capacity: 8)
        for number in 0..<8 { known.remember(token(number).span, number, expires: 100) }
        for number in 8..<1_000 {
            #expect(known.find(token(3), at: 1) == 3)
            known.remember(token(number).span, number, expires: 100)
            #expect(known.count == 8)
        }
        #expect(known.find(token(3), at: 1) == 3)
        #expect(known.find(token(0), at: 1) == nil)
    }

    @Test func whatIsForgottenIsNotFound() {
        let known = VerifiedTokens<Int>(capacity: 100)
        for number in 0..<100 { known.remember(token(number).span, number % 3, expires: 100) }
        known.forget { $0 == 1 }
        for number in 0..<100 { #expect(known.find(token(number), at: 1) == (number % 3 == 1 ? nil : number % 3)) }
        known.forget { _ in true }
        #expect(known.count == 0)
        known.remember(token(1).span, 7, expires: 100)
        #expect(known.find(token(1), at: 1) == 7)
    }

    @Test func aTokenThatIsRememberedAgainIsOne() {
        let known = VerifiedTokens<Int>(capacity: 2)
        known.remember(token(1).span, 1, expires: 10)
        known.remember(token(1).span, 2, expires: 100)
        #expect(known.count == 1)
        #expect(known.find(token(1), at: 50) == 2)
    }

    /// Against a dictionary: places are freed and taken again in every order.
    @Test func itKnowsWhatADictionaryKnows() {
        var random = SplitMix(seed: 7)
        let known = VerifiedTokens<Int>(capacity: 1_000)
        var expected: [Int: Int] = [:]
        for _ in 0..<20_000 {
            let number = Int(truncatingIfNeeded: random.next() % 600)
            switch random.next() % 8 {
            case 0..<4:
                let value = Int(truncatingIfNeeded: random.next() % 100)
                known.remember(token(number).span, value, expires: 10)
                expected[number] = value
            case 4..<7: #expect(known.find(token(number), at: 1) == expected[number])
            default:
                // It has expired.
                _ = known.find(token(number), at: 10)
                expected[number] = nil
            }
        }
        known.forget { $0 < 50 }
        expected = expected.filter { $0.value >= 50 }
        #expect(known.count == expected.count)
        for number in 0..<600 { #expect(known.find(token(number), at: 1) == expected[number]) }
    }

    /// Whatever is changed in a token, be it one bit, the rest of it stands for nobody.
    @Test func noBitMayBeAnother() {
        let known = VerifiedTokens<Int>()
        let token = Array("header.claims-of-ada.signature".utf8)
        known.remember(token.span, 1, expires: 10)
        for index in token.indices {
            for bit in 0..<8 {
                var other = token
                other[index] ^= 1 << UInt8(truncatingIfNeeded: bit)
                #expect(known.find(other, at: 1) == nil)
            }
        }
        for count in token.indices { #expect(known.find(Array(token[..<count]), at: 1) == nil) }
        #expect(known.find(token + [0], at: 1) == nil)
        #expect(known.find(token, at: 1) == 1)
    }
}
