import COpenSSL

/// HMAC with SHA-256 (RFC 2104): what only those can make, and check, who share a key.
public enum HMACSHA256 {
    /// The 32 bytes of a message's code; nil: out of memory.
    public static func code(of message: Span<UInt8>, key: [UInt8]) -> [UInt8]? {
        var code = [UInt8](repeating: 0, count: 32)
        let made = unsafe message.withUnsafeBufferPointer { message in
            unsafe HMAC(
                EVP_sha256(), key, Int32(clamping: key.count), message.baseAddress, message.count, &code, nil) != nil
        }
        return made ? code : nil
    }

    /// A new key of 32 random bytes; nil: OpenSSL has none.
    public static var randomKey: [UInt8]? {
        var key = [UInt8](repeating: 0, count: 32)
        return unsafe RAND_bytes(&key, 32) == 1 ? key : nil
    }

    /// Whether `code` is the message's, in a time that does not tell how much of it is right.
    public static func verifies(_ code: Span<UInt8>, of message: Span<UInt8>, key: [UInt8]) -> Bool {
        guard code.count == 32, let right = self.code(of: message, key: key) else { return false }
        return unsafe code.withUnsafeBytes { unsafe CRYPTO_memcmp($0.baseAddress, right, 32) } == 0
    }
}
