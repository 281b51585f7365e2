import AccessTokens
import Testing

@Suite struct JSONWebKeySetTests {
    /// What is too weak, or for something else, is named and left out; the rest of the set is good.
    @Test func keysThatCantBeUsedAreNamed() throws {
        let corpus = try Corpus()
        #expect(corpus.refused["https://id.example"] == [])
        let refused = try #require(corpus.refused["https://weak.example"])
        #expect(refused.count == 12)
        for words in [
            "1024 bits", "exponent", "no point", "curve is not P-256", "not for signatures", "private or shared",
        ] {
            #expect(refused.contains { $0.contains(words) }, "\(words)")
        }
    }

    @Test func aTextThatIsNoSetIsAnError() {
        for text in ["", "[]", "{}", "{\"keys\":1}", "{\"keys\":[]", "{\"keys\":[]}x", "{\"keys\":[],\"keys\":[]}"] {
            #expect(throws: JSONWebKeySetError.self, "\(text)") { try keySet(text) }
        }
        let many = "{\"keys\":[" + Array(repeating: "{}", count: 101).joined(separator: ",") + "]}"
        #expect(throws: JSONWebKeySetError.self) { try keySet(many) }
    }

    @Test func membersOfAnyTypeAreNoTrap() throws {
        let values = ["null", "1", "[]", "{}", "\"\"", "\"\\u0000\"", "true", "\"AAAA\"", "[1]", "1e400"]
        for kind in ["RSA", "EC", "OKP", "oct", ""] {
            for member in ["kty", "use", "alg", "kid", "n", "e", "crv", "x", "y", "key_ops", "d", "x5c"] {
                for value in values where member != "kty" {
                    let set = "{\"keys\":[{\"kty\":\"\(kind)\",\"\(member)\":\(value)}]}"
                    #expect(try keySet(set).keys.isEmpty)
                }
            }
        }
        #expect(try keySet("{\"keys\":[null,1,[],\"x\"]}").refused.count == 4)
    }

    @Test func ofTwoKeysOfOneNameTheFirstCounts() throws {
        let key = try #require(SigningKey()).json
        let set = try keySet("{\"keys\":[\(key),\(key)]}")
        #expect(set.keys.count == 1)
        #expect(set.refused.count == 1)
    }
}
