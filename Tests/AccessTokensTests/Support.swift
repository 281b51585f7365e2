import AccessTokens
import Bytes

// What takes borrowed bytes can't stand inside `#expect`: these take arrays.

func signingKey(_ pem: [UInt8]) -> SigningKey? { SigningKey(pem: pem.span) }

func keySet(_ json: String) throws -> JSONWebKeySet { try JSONWebKeySet(Array(json.utf8).span) }

extension TokenVerifier {
    func verify(_ token: String, at now: Int64) throws(TokenRefusal) -> AccessToken {
        try verify(Array(token.utf8).span, at: now)
    }
}

extension VerifiedTokens {
    func find(_ token: [UInt8], at now: Int64) -> Value? { find(token.span, at: now) }
}
