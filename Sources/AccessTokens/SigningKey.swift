import Bytes
import COpenSSL
import JSONWire

/// A private key that access tokens are signed with: Ed25519, or ECDSA on P-256. Thread-safe.
public struct SigningKey: Sendable {
    /// What tokens of it are verified with. Its name is the thumbprint of the public key (RFC 7638): the same wherever the key is.
    public let publicKey: VerificationKey
    /// The public key as a JSON Web Key, for a set.
    public let json: String
    private let key: EVPKey

    /// Makes a new key of Ed25519; nil: OpenSSL can't.
    public init?() {
        guard let context = unsafe EVP_PKEY_CTX_new_from_name(nil, "ED25519", nil) else { return nil }
        defer { unsafe EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard unsafe EVP_PKEY_keygen_init(context) == 1, unsafe EVP_PKEY_generate(context, &key) == 1,
            let key = unsafe EVPKey(owning: key)
        else { return nil }
        self.init(key)
    }

    /// Reads a private key in PEM without a passphrase; nil: it is none, or of another kind than Ed25519 and P-256.
    public init?(pem: Span<UInt8>) {
        let key = unsafe pem.withUnsafeBytes { bytes -> EVPKey? in
            guard let file = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer { unsafe BIO_free(file) }
            // Without this OpenSSL asks the terminal for the passphrase of an encrypted key, and waits.
            return unsafe EVPKey(owning: PEM_read_bio_PrivateKey(file, nil, { _, _, _, _ in -1 }, nil))
        }
        guard let key else { return nil }
        self.init(key)
    }

    private init?(_ key: EVPKey) {
        guard let described = Self.describe(key) else { return nil }
        (publicKey, json) = described
        self.key = key
    }

    /// A key's public half, named by its thumbprint, and the same as a JSON Web Key; nil: it is of another kind.
    fileprivate static func describe(_ key: EVPKey) -> (VerificationKey, String)? {
        let algorithm: SignatureAlgorithm
        let members: [(StaticString, String)]
        if let x = key.rawPublicKey {
            algorithm = .ed25519
            members = [("crv", "Ed25519"), ("kty", "OKP"), ("x", Base64URL.encode(x.span))]
        } else if let (x, y) = key.p256Point {
            algorithm = .es256
            members = [
                ("crv", "P-256"), ("kty", "EC"), ("x", Base64URL.encode(x.span)), ("y", Base64URL.encode(y.span)),
            ]
        } else {
            return nil
        }
        // RFC 7638 §3: the members that make the key, in the order of their names.
        var required = ByteBuffer()
        Self.write(members, to: &required)
        let name = Base64URL.encode(SHA256.digest(required.span).span)
        var json = ByteBuffer()
        Self.write(members + [("kid", name), ("alg", algorithm.name), ("use", "sig")], to: &json)
        return (
            VerificationKey(identifier: name, algorithm: algorithm, key: key),
            String(decoding: json.array(), as: UTF8.self)
        )
    }

    private static func write(_ members: [(StaticString, String)], to output: inout ByteBuffer) {
        output.beginJSONObject()
        for (name, value) in members { output.appendJSON(name, string: value) }
        output.endJSONObject()
    }

    /// The private key in PEM (PKCS #8), to be kept where nobody else reads it; nil: out of memory.
    public var pem: [UInt8]? {
        unsafe written { unsafe PEM_write_bio_PrivateKey($0, $1, nil, nil, 0, nil, nil) }
    }

    /// The public half in PEM, for those who verify; nil: out of memory.
    public var publicPEM: [UInt8]? { unsafe written { unsafe PEM_write_bio_PUBKEY($0, $1) } }

    /// What `write` writes of the key.
    private func written(_ write: (_ file: OpaquePointer, _ key: OpaquePointer) -> Int32) -> [UInt8]? {
        unsafe key.with { key in
            guard let file = unsafe BIO_new(BIO_s_mem()) else { return nil }
            defer { unsafe BIO_free(file) }
            guard unsafe write(file, key) == 1 else { return nil }
            let count = Int(unsafe BIO_ctrl_pending(file))
            return unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                filled = max(0, Int(unsafe BIO_read(file, buffer.baseAddress, Int32(clamping: count))))
            }
        }
    }

    /// A token in its compact form, of the type `at+jwt`; nil: out of memory.
    public func sign(_ token: AccessToken) -> String? {
        var header = ByteBuffer()
        Self.write(
            [("alg", publicKey.algorithm.name), ("kid", publicKey.identifier ?? ""), ("typ", "at+jwt")], to: &header)
        var claims = ByteBuffer()
        claims.beginJSONObject()
        claims.appendJSON("iss", string: token.issuer)
        claims.appendJSON("sub", string: token.subject)
        claims.appendJSON(name: "aud")
        if token.audience.count == 1 {
            claims.appendJSON(string: token.audience[0])
        } else {
            claims.beginJSONArray()
            for audience in token.audience {
                claims.appendJSONSeparator()
                claims.appendJSON(string: audience)
            }
            claims.endJSONArray()
        }
        claims.appendJSON("exp", integer: token.expires)
        if let notBefore = token.notBefore { claims.appendJSON("nbf", integer: notBefore) }
        claims.appendJSON("iat", integer: token.issuedAt)
        claims.appendJSON("jti", string: token.identifier)
        claims.appendJSON("client_id", string: token.client)
        claims.appendJSON("scope", string: token.scopes.sorted().joined(separator: " "))
        claims.endJSONObject()
        let signed = Base64URL.encode(header.span) + "." + Base64URL.encode(claims.span)
        guard let signature = sign(Array(signed.utf8)) else { return nil }
        return signed + "." + Base64URL.encode(signature.span)
    }

    /// A signature in the form of RFC 7518.
    func sign(_ message: [UInt8]) -> [UInt8]? {
        let signature = unsafe key.with { key -> [UInt8]? in
            guard let context = unsafe EVP_MD_CTX_new() else { return nil }
            defer { unsafe EVP_MD_CTX_free(context) }
            guard
                unsafe publicKey.algorithm.prepare({ parameters, digest in
                    unsafe EVP_DigestSignInit(context, parameters, digest, nil, key)
                })
            else { return nil }
            var signature = [UInt8](repeating: 0, count: Int(unsafe EVP_PKEY_get_size(key)))
            var count = signature.count
            guard unsafe EVP_DigestSign(context, &signature, &count, message, message.count) == 1 else { return nil }
            return Array(signature.prefix(count))
        }
        return publicKey.algorithm == .es256 ? signature.flatMap(ECDSASignature.raw) : signature
    }
}

extension VerificationKey {
    /// Reads a public key in PEM (`openssl pkey -pubout`), named by its thumbprint as its private key is; nil: it is none, or of
    /// another kind than Ed25519 and P-256.
    public init?(pem: Span<UInt8>) {
        let key = unsafe pem.withUnsafeBytes { bytes -> EVPKey? in
            guard let file = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer { unsafe BIO_free(file) }
            return unsafe EVPKey(owning: PEM_read_bio_PUBKEY(file, nil, nil, nil))
        }
        guard let key, let described = SigningKey.describe(key) else { return nil }
        self = described.0
    }
}

extension EVPKey {
    /// The public key, if this is one of Ed25519.
    fileprivate var rawPublicKey: [UInt8]? {
        unsafe with { key in
            guard unsafe EVP_PKEY_is_a(key, "ED25519") == 1 else { return nil }
            var bytes = [UInt8](repeating: 0, count: 32)
            var count = bytes.count
            return unsafe EVP_PKEY_get_raw_public_key(key, &bytes, &count) == 1 && count == 32 ? bytes : nil
        }
    }

    /// The public point, if this is a key of P-256.
    fileprivate var p256Point: ([UInt8], [UInt8])? {
        unsafe with { key in
            guard unsafe EVP_PKEY_is_a(key, "EC") == 1 else { return nil }
            var name = [CChar](repeating: 0, count: 32)
            var count = 0
            guard unsafe EVP_PKEY_get_group_name(key, &name, name.count, &count) == 1,
                name.prefix(count).map(UInt8.init(bitPattern:)).elementsEqual("prime256v1".utf8),
                let x = unsafe Self.coordinate(OSSL_PKEY_PARAM_EC_PUB_X, key),
                let y = unsafe Self.coordinate(OSSL_PKEY_PARAM_EC_PUB_Y, key)
            else { return nil }
            return (x, y)
        }
    }

    private static func coordinate(_ name: String, _ key: OpaquePointer) -> [UInt8]? {
        var number: OpaquePointer?
        guard unsafe EVP_PKEY_get_bn_param(key, name, &number) == 1 else { return nil }
        defer { unsafe BN_free(number) }
        var bytes = [UInt8](repeating: 0, count: 32)
        return unsafe BN_bn2binpad(number, &bytes, 32) == 32 ? bytes : nil
    }
}
