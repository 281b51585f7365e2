import COpenSSL

/// A key of OpenSSL's, freed with its owner.
///
/// Proof of `@unchecked Sendable`: a key is not changed once it is made, and such a one may be used by all threads (OpenSSL's
/// rule).
@safe final class EVPKey: @unchecked Sendable {
    private let key: OpaquePointer

    /// Takes over an `EVP_PKEY`; nil if there is none.
    init?(owning key: OpaquePointer?) {
        guard let key = unsafe key else {
            // What OpenSSL has to say about it would be taken for the error of a TLS connection of this thread.
            ERR_clear_error()
            return nil
        }
        unsafe self.key = key
    }

    deinit { unsafe EVP_PKEY_free(key) }

    func with<Result>(_ body: (OpaquePointer) -> Result) -> Result {
        defer { ERR_clear_error() }
        return unsafe body(key)
    }

    // MARK: Making

    /// A public key of RSA: modulus and exponent, big endian; nil: they are none.
    static func rsa(modulus: [UInt8], exponent: [UInt8]) -> EVPKey? {
        unsafe EVPKey(
            owning: copenssl_rsa_key(
                modulus, Int32(clamping: modulus.count), exponent, Int32(clamping: exponent.count)))
    }

    /// A public key of the curve P-256, of two coordinates of 32 bytes. Nil: the point is not on the curve (RFC 8725 §3.4).
    static func p256(x: [UInt8], y: [UInt8]) -> EVPKey? {
        let point = [0x04] + x + y
        return unsafe EVPKey(owning: copenssl_p256_key(point, point.count))
    }

    /// A public key of Ed25519: 32 bytes.
    static func ed25519(_ bytes: [UInt8]) -> EVPKey? {
        unsafe EVPKey(owning: EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, bytes, bytes.count))
    }
}

extension SignatureAlgorithm {
    /// Prepares a context for signing or verifying. `initialize` is the call of OpenSSL's that begins it.
    func prepare(
        _ initialize: (UnsafeMutablePointer<OpaquePointer?>, OpaquePointer?) -> Int32
    ) -> Bool {
        var parameters: OpaquePointer?
        guard unsafe initialize(&parameters, self == .ed25519 ? nil : EVP_sha256()) == 1 else { return false }
        guard self == .ps256 else { return true }
        // The salt is as long as the digest, and the mask's digest is SHA-256, too (the default).
        guard unsafe EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 else { return false }
        return unsafe EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1
    }
}
