import AccessTokens
import Bytes
import Testing

@testable import Access

/// The tokens by which services know each other.
@Suite struct ServiceSecretTests {
    private let secret = ServiceSecret([Array("one secret of more than 32 characters".utf8)])
    private let now: Int64 = 1_764_373_200

    private func refusal(_ secret: ServiceSecret, _ text: String, at now: Int64) -> TokenRefusal? {
        do throws(TokenRefusal) {
            _ = try secret.principal(of: Array(text.utf8).span, at: now)
            return nil
        } catch {
            return error
        }
    }

    @Test func aTokenNamesItsServiceForFiveMinutes() throws {
        let (text, expires) = try #require(secret.token(for: .gateway, at: now))
        #expect(text.hasPrefix("cabstand1.gateway.\(now + 300).") && expires == now + 300)
        let principal = try secret.principal(of: Array(text.utf8).span, at: now)
        #expect(principal.subject == "gateway" && principal.roles == [.service])
        #expect(refusal(secret, text, at: expires + 29) == nil)
        #expect(refusal(secret, text, at: expires + 30) == .expired)
        // A clock may be slow by so much, and nobody makes tokens for longer.
        #expect(refusal(secret, text, at: now - 30) == nil)
        #expect(refusal(secret, text, at: now - 31) == .notYetValid)
    }

    @Test func whatIsChangedIsRefused() throws {
        let (text, _) = try #require(secret.token(for: .trip, at: now))
        let parts = text.split(separator: ".").map(String.init)
        for changed in [
            "cabstand1.gateway.\(parts[2]).\(parts[3])", "cabstand1.trip.\(now + 299).\(parts[3])",
            String(text.dropLast(43)) + String(repeating: "A", count: 43),
        ] {
            #expect(refusal(secret, changed, at: now) == .badSignature, "\(changed)")
        }
        for changed in [
            "cabstand1.nobody.\(parts[2]).\(parts[3])", "cabstand1.trip.+\(parts[2]).\(parts[3])",
            "cabstand1.trip.0\(parts[2]).\(parts[3])", "cabstand1.trip.\(parts[2])", "cabstand1.trip.\(parts[2]).",
            text + ".x", text + "=", text + "A", "cabstand1.....", "cabstand1.trip.99999999999999999999.\(parts[3])",
            "cabstand1." + String(repeating: "x", count: 200),
        ] {
            #expect(
                [.malformed(.form), .malformed(.size), .badSignature].contains(refusal(secret, changed, at: now)),
                "\(changed)")
        }
        #expect(refusal(ServiceSecret([Array("another one".utf8)]), text, at: now) == .badSignature)
    }

    /// Whoever has the secret ends no service with it: an end that nobody can calculate with trapped.
    @Test(arguments: [Int64.max, .max - 29, .max - 30, .min, .min + 29, 0, -1])
    func anEndBeyondAllTimesIsRefused(expires: Int64) {
        let signed = "cabstand1.simulator.\(expires)"
        let key = Array("one secret of more than 32 characters".utf8)
        let code = HMACSHA256.code(of: Array(signed.utf8).span, key: key) ?? []
        let found = refusal(secret, "\(signed).\(Base64URL.encode(code.span))", at: now)
        #expect(found == (expires > now ? .notYetValid : .expired))
    }

    @Test func aNewSecretIsBroughtInBesideTheOldOne() throws {
        let new = Array("a new secret of more than 32 characters".utf8)
        let old = Array("one secret of more than 32 characters".utf8)
        let (behind, before) = (ServiceSecret([old, new]), ServiceSecret([new, old]))
        // Each step meets programs that are one behind, or one ahead.
        for (maker, verifier) in [
            (secret, behind), (behind, secret), (behind, before), (before, behind), (before, ServiceSecret([new])),
            (ServiceSecret([new]), before),
        ] {
            let (text, _) = try #require(maker.token(for: .driver, at: now))
            #expect(refusal(verifier, text, at: now) == nil)
        }
    }

    /// RFC 4231, test case 2, by the one-shot function that tokens are made with.
    @Test func rfc4231_4_3_codeOfAShortKey() {
        let code = HMACSHA256.code(of: Array("what do ya want for nothing?".utf8).span, key: Array("Jefe".utf8))
        #expect(code?.prefix(8) == [0x5B, 0xDC, 0xC1, 0x46, 0xBF, 0x60, 0x75, 0x4E])
    }
}
