import Testing

@testable import AccessTokens

@Suite struct SipHashTests {
    /// The codes that OpenSSL has for the key and messages of the authors' own vectors:
    /// `openssl mac -macopt hexkey:000102030405060708090a0b0c0d0e0f -macopt size:16 -in FILE SIPHASH`.
    @Test(arguments: [
        (0, "a3817f04ba25a8e66df67214c7550293"), (1, "da87c1d86b99af44347659119b22fc45"),
        (7, "a1f1ebbed8dbc153c0b84aa61ff08239"), (8, "3b62a9ba6258f5610f83e264f31497b4"),
        (15, "5493e99933b0a8117e08ec0f97cfc3d9"), (16, "6ee2a4ca67b054bbfd3315bf85230577"),
        (63, "5150d1772f50834a503e069a973fbd7c"), (300, "ce005a406d14b36d5386b5f7a7e1b311"),
    ])
    func itIsTheStandardsOwn(_ count: Int, _ expected: String) {
        let message = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let hash = SipHash(key: (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908))
        let code = hash.code(of: message.span)
        let bytes = [code.low, code.high].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
        }
        #expect(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == expected)
    }

    @Test func eachTableHasItsOwnKey() {
        let message = Array("a token".utf8)
        #expect(SipHash().code(of: message.span) != SipHash().code(of: message.span))
    }
}
