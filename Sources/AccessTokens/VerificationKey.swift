import Bytes
import COpenSSL

/// A public key that tokens are verified with, and the one algorithm that it is for.
public struct VerificationKey: Sendable {
    /// The name that the issuer gives it, `kid`; nil: none.
    public let identifier: String?
    /// What it is for: said by the key's own record, never by a token (RFC 8725 §3.1).
    public let algorithm: SignatureAlgorithm
    private let key: EVPKey

    init(identifier: String?, algorithm: SignatureAlgorithm, key: EVPKey) {
        self.identifier = identifier
        self.algorithm = algorithm
        self.key = key
    }

    /// Whether it is the same key under the same name, for the same algorithm.
    func isSame(as other: VerificationKey) -> Bool {
        guard identifier == other.identifier && algorithm == other.algorithm else { return false }
        return unsafe key.with { mine in unsafe other.key.with { unsafe EVP_PKEY_eq(mine, $0) } } == 1
    }

    /// Whether `signature` is one of `message` by this key: between 30 (Ed25519) and 60 µs (P-256) of work. Thread-safe.
    public func verifies(_ signature: Span<UInt8>, of message: Span<UInt8>) -> Bool {
        switch algorithm {
        case .es256:
            guard let der = ECDSASignature.der(signature) else { return false }
            return verifies(der: der.span, message)
        case .rs256, .ps256, .ed25519:
            return verifies(der: signature, message)
        }
    }

    private func verifies(der signature: Span<UInt8>, _ message: Span<UInt8>) -> Bool {
        unsafe key.with { key in
            guard let context = unsafe EVP_MD_CTX_new() else { return false }
            defer { unsafe EVP_MD_CTX_free(context) }
            guard
                unsafe algorithm.prepare({ parameters, digest in
                    unsafe EVP_DigestVerifyInit(context, parameters, digest, nil, key)
                })
            else { return false }
            return unsafe signature.withUnsafeBufferPointer { signature in
                unsafe message.withUnsafeBufferPointer { message in
                    unsafe EVP_DigestVerify(
                        context, signature.baseAddress, signature.count, message.baseAddress, message.count) == 1
                }
            }
        }
    }
}
