import AccessTokens
import Bytes
import TestSupport
import Testing

@Suite struct SigningKeyTests {
    private let token = AccessToken(
        issuer: "https://id.example", subject: "ada", audience: ["rides"], expires: 1_000, notBefore: 90, issuedAt: 100,
        identifier: "1", client: "page", scopes: ["rider", "reader"])

    @Test func whatAKeySignsIsVerifiedByItsPublicKey() throws {
        for key in [
            SigningKey(), signingKey(try makeKey(["EC", "-pkeyopt", "ec_paramgen_curve:P-256"])),
            signingKey(try makeKey(["ED25519"])),
        ] {
            let key = try #require(key)
            let set = try keySet("{\"keys\":[\(key.json)]}")
            #expect(set.refused.isEmpty)
            let verifier = TokenVerifier([TrustedIssuer(name: "https://id.example", audience: "rides", keys: set)])
            for _ in 0..<20 {
                let text = try #require(key.sign(token))
                #expect(try verifier.verify(text, at: 500) == token)
            }
            var several = token
            several.audience = ["maps", "rides"]
            let text = try #require(key.sign(several))
            #expect(try verifier.verify(text, at: 500).audience.count == 2)
            let stranger = try #require(SigningKey()?.sign(token))
            #expect(throws: TokenRefusal.unknownKey) { try verifier.verify(stranger, at: 500) }
        }
    }

    @Test func aKeyIsTheSameAfterItWasWrittenAndRead() throws {
        let key = try #require(SigningKey())
        let pem = try #require(key.pem)
        let again = try #require(signingKey(pem))
        #expect(again.json == key.json)
        #expect(again.publicKey.identifier == key.publicKey.identifier)
    }

    /// RFC 8037, appendix A.3.
    @Test func theNameOfAKeyIsItsThumbprint() throws {
        let pem = """
            -----BEGIN PRIVATE KEY-----
            MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
            -----END PRIVATE KEY-----
            """
        let key = try #require(signingKey(Array(pem.utf8)))
        #expect(key.publicKey.identifier == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
    }

    @Test func otherKeysSignNothing() throws {
        for arguments in [
            ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"], ["X25519"],
            ["ED25519", "-aes256", "-pass", "pass:secret"],
        ] {
            #expect(signingKey(try makeKey(arguments)) == nil, "\(arguments)")
        }
        for text in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            #expect(signingKey(Array(text.utf8)) == nil)
        }
    }

    /// A private key in PEM, as an operator makes it.
    private func makeKey(_ arguments: [String]) throws -> [UInt8] {
        let result = try ChildProcess.run("openssl", ["genpkey", "-algorithm"] + arguments)
        try #require(result.status == 0, "\(result.errors)")
        return Array(result.output.utf8)
    }

    /// Before the signature is verified nothing of a token is hashed, split or compared that may be long: a stranger can make texts for
    /// which that takes long.
    @Test func whatNobodyHasSignedIsRefusedWhateverItIs() throws {
        let verifier = TokenVerifier([
            TrustedIssuer(
                name: "https://id.example", audience: "a", keys: JSONWebKeySet([try #require(SigningKey()).publicKey]))
        ])
        let marks = String(repeating: "\u{301}\u{327}", count: 700)
        func token(_ claims: String) -> String {
            let header = "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\"}"
            return [header, claims, "no signature"].map { Base64URL.encode(Array($0.utf8).span) }.joined(separator: ".")
        }
        func refusal(_ claims: String) -> TokenRefusal? {
            do throws(TokenRefusal) {
                _ = try verifier.verify(token(claims), at: 0)
                return nil
            } catch { return error }
        }
        #expect(refusal("{\"iss\":\"\(marks)\"}") == .unknownIssuer)
        #expect(refusal("{\"\(marks)\":1}") == .badClaim(.iss))
        for claim in ["scope", "sub", "jti", "aud"] {
            let found = refusal("{\"iss\":\"https://id.example\",\"\(claim)\":\"\(marks)\"}")
            #expect(found == .badSignature || found == .wrongAlgorithm)
        }
        #expect(refusal("{\"iss\":\"https://id.example\",\"roles\":[\"\(marks)\",\"\(marks)\"]}") != nil)
    }
}
