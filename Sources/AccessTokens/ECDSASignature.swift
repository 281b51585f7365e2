import COpenSSL

/// Signatures of ECDSA on P-256 in their two forms: a token has r and s, 32 bytes each (RFC 7518 §3.4); OpenSSL wants them as
/// ASN.1 DER.
enum ECDSASignature {
    /// The DER form of r and s; nil if they are not 64 bytes. Whether both are between 1 and the order of the curve is for
    /// OpenSSL to say when it verifies.
    static func der(_ raw: Span<UInt8>) -> [UInt8]? {
        guard raw.count == 64, let signature = unsafe ECDSA_SIG_new() else { return nil }
        defer { unsafe ECDSA_SIG_free(signature) }
        let (r, s) = unsafe raw.withUnsafeBufferPointer { bytes in
            unsafe (BN_bin2bn(bytes.baseAddress, 32, nil), BN_bin2bn(bytes.baseAddress.unsafelyUnwrapped + 32, 32, nil))
        }
        guard unsafe r != nil, unsafe s != nil, unsafe ECDSA_SIG_set0(signature, r, s) == 1 else {
            unsafe BN_free(r)
            unsafe BN_free(s)
            return nil
        }
        // Two numbers of up to 33 bytes, a tag and a length each, and those of the sequence.
        return unsafe [UInt8](unsafeUninitializedCapacity: 72) { buffer, count in
            var end = buffer.baseAddress
            count = max(0, Int(unsafe i2d_ECDSA_SIG(signature, &end)))
        }
    }

    /// r and s of a DER form; nil if it is none.
    static func raw(_ der: [UInt8]) -> [UInt8]? {
        unsafe der.withUnsafeBufferPointer { bytes -> [UInt8]? in
            var start = bytes.baseAddress
            guard let signature = unsafe d2i_ECDSA_SIG(nil, &start, bytes.count) else { return nil }
            defer { unsafe ECDSA_SIG_free(signature) }
            var raw = [UInt8](repeating: 0, count: 64)
            let fits = unsafe raw.withUnsafeMutableBufferPointer { raw in
                guard unsafe BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw.baseAddress, 32) == 32 else { return false }
                return unsafe BN_bn2binpad(
                    ECDSA_SIG_get0_s(signature), raw.baseAddress.unsafelyUnwrapped + 32, 32) == 32
            }
            return fits ? raw : nil
        }
    }
}
