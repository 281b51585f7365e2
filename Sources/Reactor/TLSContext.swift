import COpenSSL
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What TLS needs could not be set up, with OpenSSL's words.
public struct TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ operation: String) {
        description = "\(operation): \(Self.reason())"
    }

    private init(description: String) { self.description = description }

    /// Refuses what is no file: reading a pipe, or a device, could wait for ever, and an end of the program with it.
    static func requireFile(_ path: String) throws(TLSError) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else {
            throw TLSError(description: "reading \(path): \(unsafe String(cString: strerror(errno)))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw TLSError(description: "reading \(path): it is no regular file")
        }
    }

    /// The first reason in this thread's error queue, which is emptied.
    static func reason() -> String {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0 else { return "unknown reason" }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
            unsafe text.initialize(repeating: 0)
            unsafe ERR_error_string_n(code, text.baseAddress!, 255)
            return unsafe String(cString: text.baseAddress!)
        }
    }
}

/// A certificate, its key and the protocols that a TLS listener speaks: TLS 1.2 and later. May be shared by loops.
///
/// A certificate can be replaced while the listener serves (`reload`): handshakes that begin afterwards show the new one,
/// connections that are open go on as they are.
///
/// Proof of `@unchecked Sendable`: `current` is read and changed under `lock` only; the `SSL_CTX` behind it is not configured
/// any more once it is there, and such a one may be used by all threads (OpenSSL's rule).
@safe public final class TLSServerContext: @unchecked Sendable {
    private let lock = Mutex(())
    private var current: OpaquePointer
    /// Protocol names with their lengths in front, ours first (RFC 7301 §3.1).
    private let protocols: [UInt8]

    /// - Parameters:
    ///   - certificatePath: a PEM file with the certificate and the chain behind it. Read at once, blocking.
    ///   - keyPath: a PEM file with the private key, without a passphrase.
    ///   - alpn: application protocols in the order of preference, `["h2", "http/1.1"]` for instance.
    /// - Throws: `TLSError`
    public init(certificatePath: String, keyPath: String, alpn: [String] = []) throws(TLSError) {
        unsafe current = try Self.read(certificatePath, keyPath)
        protocols = alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        unsafe offerProtocols(current)
    }

    deinit { unsafe SSL_CTX_free(current) }

    /// Reads certificate and key again, blocking: handshakes from now on use them. Thread-safe.
    /// - Throws: `TLSError`, which names the file and the reason; what was read before stays in force then.
    public func reload(certificatePath: String, keyPath: String) throws(TLSError) {
        let new = unsafe try Self.read(certificatePath, keyPath)
        unsafe offerProtocols(new)
        let old = unsafe lock.withLock { _ in
            defer { unsafe current = new }
            return unsafe current
        }
        // Sessions that were made from it keep it until they end.
        unsafe SSL_CTX_free(old)
    }

    /// A session with the certificate that is in force; nil: out of memory.
    func makeSession() -> OpaquePointer? { unsafe lock.withLock { _ in unsafe SSL_new(current) } }

    private static func read(_ certificatePath: String, _ keyPath: String) throws(TLSError) -> OpaquePointer {
        for path in [certificatePath, keyPath] { try TLSError.requireFile(path) }
        ERR_clear_error()
        guard let context = unsafe SSL_CTX_new(TLS_server_method()) else { throw TLSError("making a TLS context") }
        do throws(TLSError) {
            _ = unsafe copenssl_set_tls12_or_later(context)
            _ = unsafe copenssl_release_buffers(context)
            unsafe copenssl_set_server_options(context)
            // Without this OpenSSL asks the terminal for the passphrase of an encrypted key, and waits.
            unsafe SSL_CTX_set_default_passwd_cb(context) { _, _, _, _ in 0 }
            guard unsafe SSL_CTX_use_certificate_chain_file(context, certificatePath) == 1 else {
                throw TLSError("reading the certificate \(certificatePath)")
            }
            guard unsafe SSL_CTX_use_PrivateKey_file(context, keyPath, SSL_FILETYPE_PEM) == 1 else {
                throw TLSError("reading the private key \(keyPath)")
            }
            guard unsafe SSL_CTX_check_private_key(context) == 1 else {
                throw TLSError("\(keyPath) is not the key of \(certificatePath)")
            }
            return unsafe context
        } catch {
            unsafe SSL_CTX_free(context)
            throw error
        }
    }

    private func offerProtocols(_ context: OpaquePointer) {
        // Whoever has a session has this object too (`TLSSession.role`), so the callback may find it unretained.
        unsafe SSL_CTX_set_alpn_select_cb(
            context, { unsafe selectProtocol($1, $2, $3, $4, $5) }, Unmanaged.passUnretained(self).toOpaque())
    }

    fileprivate func select(
        _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ size: UnsafeMutablePointer<UInt8>?,
        _ offered: UnsafePointer<UInt8>?, _ offeredSize: UInt32
    ) -> Int32 {
        unsafe protocols.withUnsafeBufferPointer { ours in
            var result: UnsafeMutablePointer<UInt8>?
            let outcome = unsafe SSL_select_next_proto(
                &result, size, ours.baseAddress, UInt32(ours.count), offered, offeredSize)
            // Without a protocol in common the connection goes on without one: RFC 7301 allows it, old clients need it.
            guard outcome == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_NOACK }
            // `result` may point into `ours`, which the array keeps as long as this object lives.
            unsafe chosen?.pointee = unsafe UnsafePointer(result)
            return SSL_TLSEXT_ERR_OK
        }
    }
}

private func selectProtocol(
    _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ size: UnsafeMutablePointer<UInt8>?,
    _ offered: UnsafePointer<UInt8>?, _ offeredSize: UInt32, _ context: UnsafeMutableRawPointer?
) -> Int32 {
    let context = unsafe Unmanaged<TLSServerContext>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    return unsafe context.select(chosen, size, offered, offeredSize)
}

/// Whom a TLS client trusts and what it asks for. May be shared by loops.
///
/// Proof of `@unchecked Sendable`: as for `TLSServerContext`.
@safe public final class TLSClientContext: @unchecked Sendable {
    let context: OpaquePointer
    let serverName: String

    /// - Parameters:
    ///   - serverName: the name that the certificate must be for; sent as SNI.
    ///   - trustedPath: a PEM file of trusted certificates; nil is the system's store.
    ///   - alpn: application protocols to offer.
    /// - Throws: `TLSError`
    public init(serverName: String, trustedPath: String? = nil, alpn: [String] = []) throws(TLSError) {
        guard let context = unsafe SSL_CTX_new(TLS_client_method()) else { throw TLSError("making a TLS context") }
        unsafe self.context = context
        self.serverName = serverName
        _ = unsafe copenssl_set_tls12_or_later(context)
        _ = unsafe copenssl_release_buffers(context)
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        let trusts: Bool
        if let trustedPath {
            try TLSError.requireFile(trustedPath)
            trusts = unsafe SSL_CTX_load_verify_locations(context, trustedPath, nil) == 1
        } else {
            trusts = unsafe SSL_CTX_set_default_verify_paths(context) == 1
        }
        guard trusts else { throw TLSError("reading trusted certificates from \(trustedPath ?? "the system's store")") }
        let protocols = alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        guard unsafe protocols.isEmpty || SSL_CTX_set_alpn_protos(context, protocols, UInt32(protocols.count)) == 0
        else {
            throw TLSError("offering \(alpn)")
        }
    }

    /// Encrypts without knowing to whom: no certificate is asked for any proof. Only for a server that is known by other
    /// means, such as one's own on the loopback address.
    /// - Throws: `TLSError`
    public init(trustingAnyone alpn: [String]) throws(TLSError) {
        guard let context = unsafe SSL_CTX_new(TLS_client_method()) else { throw TLSError("making a TLS context") }
        unsafe self.context = context
        serverName = ""
        _ = unsafe copenssl_set_tls12_or_later(context)
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
        let protocols = alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        guard unsafe protocols.isEmpty || SSL_CTX_set_alpn_protos(context, protocols, UInt32(protocols.count)) == 0
        else {
            throw TLSError("offering \(alpn)")
        }
    }

    deinit { unsafe SSL_CTX_free(context) }
}
