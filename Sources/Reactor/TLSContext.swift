import COpenSSL
import Synchronization

/// PEM files that say who somebody is.
public struct TLSIdentity: Sendable, Hashable {
    /// The certificate, and the chain behind it.
    public var certificatePath: String
    /// Its private key, without a passphrase.
    public var keyPath: String

    /// Files that are read when a context is made from them, and at each of its reloads.
    public init(certificatePath: String, keyPath: String) {
        self.certificatePath = certificatePath
        self.keyPath = keyPath
    }
}

/// An `SSL_CTX`, which is replaced as a whole when its files are read again: what was begun with the one before goes on with it.
///
/// Proof of `@unchecked Sendable`: `current` is read and changed under `lock` only; the `SSL_CTX` behind it is not configured
/// any more once it is there, and such a one may be used by all threads (OpenSSL's rule).
@safe final class TLSContext: @unchecked Sendable {
    private let lock = Mutex(())
    private var current: OpaquePointer

    /// - Parameter configure: fills the new context.
    init(
        _ method: OpaquePointer?, _ configure: (OpaquePointer) throws(TLSError) -> Void
    ) throws(TLSError) {
        unsafe current = try Self.make(method, configure)
    }

    deinit { unsafe SSL_CTX_free(current) }

    /// Replaces the context by a new one, or throws and leaves it as it is. Thread-safe.
    func replace(
        _ method: OpaquePointer?, _ configure: (OpaquePointer) throws(TLSError) -> Void
    ) throws(TLSError) {
        let new = unsafe try Self.make(method, configure)
        let old = unsafe lock.withLock { _ in
            defer { unsafe current = new }
            return unsafe current
        }
        // Sessions that were made from it keep it until they end.
        unsafe SSL_CTX_free(old)
    }

    /// A session with what is in force now; nil: out of memory. Thread-safe.
    func makeSession() -> OpaquePointer? { unsafe lock.withLock { _ in unsafe SSL_new(current) } }

    /// When the first of its own certificate and the chain behind it expires, in Unix seconds; nil: it has none. Thread-safe.
    var expiry: Int64? {
        let seconds = lock.withLock { _ in unsafe copenssl_expiry(current) }
        return seconds == 0 ? nil : seconds
    }

    /// When the last of the authorities that it trusts expires, in Unix seconds; nil: it trusts none. Thread-safe.
    var authoritiesExpiry: Int64? {
        let seconds = lock.withLock { _ in unsafe copenssl_authorities_expiry(current) }
        return seconds == 0 ? nil : seconds
    }

    private static func make(
        _ method: OpaquePointer?, _ configure: (OpaquePointer) throws(TLSError) -> Void
    ) throws(TLSError) -> OpaquePointer {
        ERR_clear_error()
        guard let context = unsafe SSL_CTX_new(method) else { throw TLSError("making a TLS context") }
        do throws(TLSError) {
            _ = unsafe copenssl_set_tls12_or_later(context)
            _ = unsafe copenssl_release_buffers(context)
            // Among others no renegotiation: HTTP/2 forbids it to both sides (RFC 9113 §9.2.1).
            unsafe copenssl_set_options(context)
            unsafe try configure(context)
            return unsafe context
        } catch {
            unsafe SSL_CTX_free(context)
            throw error
        }
    }

    // MARK: What contexts of both sides are filled with

    static func show(_ identity: TLSIdentity, _ context: OpaquePointer) throws(TLSError) {
        let (certificate, key) = (identity.certificatePath, identity.keyPath)
        for path in [certificate, key] { try TLSError.requireFile(path) }
        // Without this OpenSSL asks the terminal for the passphrase of an encrypted key, and waits.
        unsafe SSL_CTX_set_default_passwd_cb(context) { _, _, _, _ in 0 }
        guard unsafe SSL_CTX_use_certificate_chain_file(context, certificate) == 1 else {
            throw TLSError("reading the certificate \(certificate)")
        }
        guard unsafe SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 else {
            throw TLSError("reading the private key \(key)")
        }
        guard unsafe SSL_CTX_check_private_key(context) == 1 else {
            throw TLSError("\(key) is not the key of \(certificate)")
        }
    }

    /// - Parameter path: a PEM file of certificates; nil is the system's store.
    static func trust(_ path: String?, _ context: OpaquePointer) throws(TLSError) {
        let trusts: Bool
        if let path {
            try TLSError.requireFile(path)
            trusts = unsafe SSL_CTX_load_verify_locations(context, path, nil) == 1
        } else {
            trusts = unsafe SSL_CTX_set_default_verify_paths(context) == 1
        }
        guard trusts else { throw TLSError("reading trusted certificates from \(path ?? "the system's store")") }
    }

    /// Names of application protocols with their lengths in front (RFC 7301 §3.1). Names of no or more than 255 bytes are none.
    static func wire(_ protocols: [String]) -> [UInt8] {
        protocols.flatMap { name in UInt8(exactly: name.utf8.count).map { [$0] + Array(name.utf8) } ?? [] }
    }
}

/// Whether a server asks its clients for certificates, and whom it believes.
public enum TLSClientCertificates: Sendable, Hashable {
    /// It does not ask.
    case none
    /// A client may show one. It has to be signed by an authority of that PEM file, and to be for clients; another one ends the
    /// handshake.
    case optional(authoritiesPath: String)
    /// A client has to show such a one.
    case required(authoritiesPath: String)
}

/// A certificate, its key and the protocols that a TLS listener speaks: TLS 1.2 and 1.3. May be shared by loops.
///
/// A certificate can be replaced while the listener serves (`reload`): handshakes that begin afterwards show the new one,
/// connections that are open go on as they are.
public final class TLSServerContext: Sendable {
    private let context: TLSContext
    private let clients: TLSClientCertificates
    /// Ours first.
    let protocols: [UInt8]

    /// - Parameters:
    ///   - certificatePath: a PEM file with the certificate and the chain behind it. Read at once, blocking.
    ///   - keyPath: a PEM file with the private key, without a passphrase.
    ///   - alpn: application protocols in the order of preference, `["h2", "http/1.1"]` for instance.
    ///   - clients: whether clients have to prove who they are.
    /// - Throws: `TLSError`
    public init(
        certificatePath: String, keyPath: String, alpn: [String] = [], clients: TLSClientCertificates = .none
    ) throws(TLSError) {
        let identity = TLSIdentity(certificatePath: certificatePath, keyPath: keyPath)
        protocols = TLSContext.wire(alpn)
        self.clients = clients
        context = unsafe try TLSContext(TLS_server_method()) { (new) throws(TLSError) in
            unsafe try Self.configure(new, identity, clients)
        }
    }

    /// Reads certificate and key again, and the authorities of clients if there are any, blocking: handshakes from now on use
    /// them. Thread-safe.
    /// - Throws: `TLSError`, which names the file and the reason; what was read before stays in force then.
    public func reload(certificatePath: String, keyPath: String) throws(TLSError) {
        let identity = TLSIdentity(certificatePath: certificatePath, keyPath: keyPath)
        let clients = clients
        unsafe try context.replace(TLS_server_method()) { (new) throws(TLSError) in
            unsafe try Self.configure(new, identity, clients)
        }
    }

    /// When the certificate, or the first of the chain behind it, expires, in Unix seconds. Thread-safe.
    public var certificateExpiry: Int64? { context.expiry }

    func makeSession() -> OpaquePointer? { unsafe context.makeSession() }

    private static func configure(
        _ context: OpaquePointer, _ identity: TLSIdentity, _ clients: TLSClientCertificates
    ) throws(TLSError) {
        unsafe try TLSContext.show(identity, context)
        unsafe SSL_CTX_set_client_hello_cb(context, { ssl, alert, _ in unsafe TLSSession.checkHello(ssl, alert) }, nil)
        unsafe SSL_CTX_set_alpn_select_cb(
            context,
            { ssl, chosen, size, offered, count, _ in
                unsafe TLSSession.selectProtocol(ssl, chosen, size, offered, count)
            }, nil)
        let path: String
        switch clients {
        case .none: return
        case .optional(let authorities):
            path = authorities
            unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        case .required(let authorities):
            path = authorities
            unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        }
        unsafe try TLSContext.trust(path, context)
        // A session that is resumed would be one whose certificate nobody has looked at since it began.
        unsafe copenssl_no_resumption(context)
        // The names of the authorities, so that a client that has several certificates knows which one to show.
        unsafe SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(path))
    }
}

/// Whom a TLS client trusts, who it is, and what it asks for: TLS 1.2 and 1.3. May be shared by loops.
public final class TLSClientContext: Sendable {
    private enum Trust {
        case system
        case file(String)
        case anyone
    }

    private let context: TLSContext
    private let trust: Trust
    private let identity: TLSIdentity?
    private let protocols: [UInt8]
    /// The name that certificates must be for, unless a connection says its own.
    public let serverName: String?
    /// Whether certificates are verified.
    let verifies: Bool

    /// - Parameters:
    ///   - serverName: the name, or the address, that the certificate must be for (in its subjectAltName: RFC 9525); a name is
    ///     sent as SNI. Nil: each connection says its own.
    ///   - trustedPath: a PEM file of trusted certificates; nil is the system's store.
    ///   - identity: what to show to a server that asks for a certificate.
    ///   - alpn: application protocols to offer.
    /// - Throws: `TLSError`
    public convenience init(
        serverName: String? = nil, trustedPath: String? = nil, identity: TLSIdentity? = nil, alpn: [String] = []
    ) throws(TLSError) {
        try self.init(serverName, trustedPath.map { .file($0) } ?? .system, identity, alpn)
    }

    /// Encrypts without knowing to whom: no certificate is asked for any proof. Only for a server that is known by other
    /// means, such as one's own on the loopback address.
    /// - Throws: `TLSError`
    public convenience init(trustingAnyone alpn: [String]) throws(TLSError) {
        try self.init(nil, .anyone, nil, alpn)
    }

    private init(
        _ serverName: String?, _ trust: Trust, _ identity: TLSIdentity?, _ alpn: [String]
    ) throws(TLSError) {
        self.serverName = serverName
        self.trust = trust
        self.identity = identity
        let protocols = TLSContext.wire(alpn)
        self.protocols = protocols
        if case .anyone = trust { verifies = false } else { verifies = true }
        context = unsafe try TLSContext(TLS_client_method()) { (new) throws(TLSError) in
            unsafe try Self.configure(new, trust, identity, protocols)
        }
    }

    /// Reads the files again from which it was made, blocking: connections from now on use them. Thread-safe.
    /// - Throws: `TLSError`, which names the file and the reason; what was read before stays in force then.
    public func reload() throws(TLSError) {
        let (trust, identity, protocols) = (trust, identity, protocols)
        unsafe try context.replace(TLS_client_method()) { (new) throws(TLSError) in
            unsafe try Self.configure(new, trust, identity, protocols)
        }
    }

    /// When the certificate that it shows, or the first of the chain behind it, expires, in Unix seconds; nil: it shows none. Thread-safe.
    public var certificateExpiry: Int64? { context.expiry }

    /// When the last of the authorities of its file expires, in Unix seconds: from then on it believes no server. Nil: it has no file.
    /// Thread-safe.
    public var authoritiesExpiry: Int64? {
        guard case .file = trust else { return nil }
        return context.authoritiesExpiry
    }

    func makeSession() -> OpaquePointer? { unsafe context.makeSession() }

    private static func configure(
        _ context: OpaquePointer, _ trust: Trust, _ identity: TLSIdentity?, _ protocols: [UInt8]
    ) throws(TLSError) {
        switch trust {
        case .system: unsafe try TLSContext.trust(nil, context)
        case .file(let path): unsafe try TLSContext.trust(path, context)
        case .anyone: break
        }
        if case .anyone = trust {
            unsafe SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
        } else {
            unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
        }
        if let identity { unsafe try TLSContext.show(identity, context) }
        guard unsafe protocols.isEmpty || SSL_CTX_set_alpn_protos(context, protocols, UInt32(protocols.count)) == 0
        else { throw TLSError("offering application protocols") }
    }
}
