import Basics
import Bytes
import COpenSSL

/// The TLS state of one connection: OpenSSL between two of our buffers. It does no I/O, so it runs on a simulated kernel.
///
/// Everything that is read from the socket goes in by `feed`, everything to be sent comes out in `ciphertext`. On the loop.
///
/// Proof of `@safe`: the `SSL` is made in `init`, freed in `deinit` and never handed out.
@safe final class TLSSession {
    enum Role {
        /// - Parameter required: protocols one of which must be agreed on, as `TLSContext.wire` writes them; nil: those of the
        ///   context, and a client that offers none will do.
        case server(TLSServerContext, required: [UInt8]?)
        /// - Parameters:
        ///   - name: what the certificate must be for, an address or a name.
        ///   - protocols: what is offered; empty: what the context says.
        case client(TLSClientContext, name: String, protocols: [UInt8])
    }

    enum Outcome {
        case done(Int)
        case wantsInput
        /// The peer has sent its close_notify.
        case ended
        case failed
    }

    private let ssl: OpaquePointer
    private let role: Role
    let alpn: [String: ConnectionHandler]
    /// Records to be sent.
    var ciphertext = ByteBuffer()
    /// Records that were received and are not decrypted yet.
    private var input = ByteBuffer()
    private(set) var failure = ""
    private var saidGoodbye = false

    /// Records behind the handshake that carry nothing for the user, KeyUpdate above all (RFC 8446 §4.6.3): one has 27 bytes and costs
    /// new keys, a thousand times what as many bytes of data cost, and all that have come are read at once. So many at once, and as
    /// many a minute; honest peers need one in millions of records.
    private var idleRecords = RateLimit(burst: TLSSession.maximumIdleRecords, interval: .seconds(60))
    private static let maximumIdleRecords = 64
    /// Reads of OpenSSL's that got all they asked for, since the last look: two for each record, its header and the rest. -1: the
    /// handshake goes on, whose records are not counted.
    private var wholeReads = -1

    /// - Returns: nil if OpenSSL has no memory for it. One whose name no certificate can have has failed already (`failure`).
    init?(_ role: Role, alpn: [String: ConnectionHandler]) {
        self.role = role
        self.alpn = alpn
        let made =
            switch role {
            case .server(let server, _): unsafe server.makeSession()
            case .client(let client, _, _): unsafe client.makeSession()
            }
        guard let ssl = unsafe made else { return nil }
        guard let method = unsafe LoopBIO.method, let bio = unsafe BIO_new(method) else {
            unsafe SSL_free(ssl)
            return nil
        }
        unsafe self.ssl = ssl
        // The session outlives its SSL, so the BIO may find it unretained.
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        unsafe BIO_set_init(bio, 1)
        unsafe SSL_set_bio(ssl, bio, bio)
        switch role {
        case .server: unsafe SSL_set_accept_state(ssl)
        case .client(let client, let name, let protocols):
            unsafe SSL_set_connect_state(ssl)
            guard name.isEmpty ? !client.verifies : expect(name),
                unsafe protocols.isEmpty || SSL_set_alpn_protos(ssl, protocols, UInt32(protocols.count)) == 0
            else {
                failure = "no certificate can have the name \"\(name)\""
                return
            }
        }
    }

    /// Lets the handshake succeed only with a certificate whose subjectAltName has `name` (RFC 9525 §6): its common name counts
    /// for nothing, and a wildcard is a whole label. False: no certificate can have such a name.
    private func expect(_ name: String) -> Bool {
        unsafe SSL_set_hostflags(
            ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT))
        if SocketAddress(ip: name, port: 0) != nil {
            // SNI is for names (RFC 6066 §3).
            return unsafe X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
        }
        let host = name.hasSuffix(".") ? String(name.dropLast()) : name
        return unsafe !host.utf8.contains(0) && copenssl_set_server_name(ssl, host) == 1
            && SSL_set1_host(ssl, host) == 1
    }

    deinit { unsafe SSL_free(ssl) }

    /// Bytes of memory for records that are not decrypted.
    var inputMemory: Int { input.capacity }

    /// Hands over bytes from the socket.
    func feed(_ bytes: UnsafeRawBufferPointer) { unsafe input.append(bytes) }

    /// Gives memory back that only a handshake or a burst needs.
    func shrink() {
        if input.isEmpty { input.release() }
        if ciphertext.isEmpty { ciphertext.release() }
    }

    func handshake() -> Outcome {
        ERR_clear_error()
        let outcome = self.outcome(unsafe SSL_do_handshake(ssl))
        if case .done = outcome { wholeReads = 0 }
        return outcome
    }

    /// Decrypts up to `count` bytes. Fails when the peer sends too many records that carry nothing.
    ///
    /// - Parameter now: nanoseconds of the loop's clock.
    func read(into memory: UnsafeMutableRawPointer, _ count: Int, now: UInt64) -> Outcome {
        ERR_clear_error()
        let outcome = self.outcome(unsafe SSL_read(ssl, memory, Int32(clamping: count)))
        var idle = wholeReads / 2
        wholeReads &= 1
        if case .done = outcome { idle -= 1 }
        guard idle <= 0 || idleRecords.take(now: now, count: idle) else {
            failure = "too many records that carry nothing"
            return .failed
        }
        return outcome
    }

    /// Encrypts bytes into `ciphertext`.
    func write(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        ERR_clear_error()
        return outcome(unsafe SSL_write(ssl, bytes.baseAddress, Int32(clamping: bytes.count)))
    }

    /// Puts a close_notify into `ciphertext`, once; behind a failure there is none.
    func sayGoodbye() {
        guard !saidGoodbye, failure.isEmpty else { return }
        saidGoodbye = true
        ERR_clear_error()
        _ = unsafe SSL_shutdown(ssl)
    }

    /// The application protocol that was agreed on (RFC 7301).
    var applicationProtocol: String? {
        var name: UnsafePointer<UInt8>?
        var size: UInt32 = 0
        unsafe SSL_get0_alpn_selected(ssl, &name, &size)
        guard let name = unsafe name, size > 0 else { return nil }
        return unsafe String(decoding: UnsafeBufferPointer(start: name, count: Int(size)), as: UTF8.self)
    }

    /// Whether a close_notify has come.
    var endedInOrder: Bool { unsafe SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0 }

    private func outcome(_ result: Int32) -> Outcome {
        if result > 0 { return .done(Int(result)) }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantsInput
        case SSL_ERROR_ZERO_RETURN: return .ended
        default:
            failure = explain()
            return .failed
        }
    }

    /// Why the handshake, or the record layer, has failed.
    private func explain() -> String {
        let verdict = unsafe SSL_get_verify_result(ssl)
        let peer: String
        switch role {
        case .server: peer = "the client's certificate"
        case .client(let client, let name, _):
            guard client.verifies else { return TLSError.reason() }
            peer = "the certificate that \(name) has shown"
        }
        guard verdict != Int(X509_V_OK) else { return TLSError.reason() }
        ERR_clear_error()
        let words = unsafe String(cString: X509_verify_cert_error_string(verdict))
        return "\(peer) is not accepted: \(words)"
    }

    /// Whom the peer's certificate names; nil: it has shown none, or none that was verified.
    private(set) lazy var peerCertificate: TLSPeerCertificate? = {
        if case .client(let client, _, _) = role, !client.verifies { return nil }
        guard unsafe SSL_get_verify_result(ssl) == Int(X509_V_OK),
            let certificate = unsafe SSL_get1_peer_certificate(ssl)
        else { return nil }
        defer { unsafe X509_free(certificate) }
        return unsafe TLSPeerCertificate(certificate)
    }()

    // MARK: The server's choice of a protocol

    /// Stops a client that offers no protocols where one is required: OpenSSL asks `selectProtocol` only about those that it has.
    static func checkHello(_ ssl: OpaquePointer?, _ alert: UnsafeMutablePointer<Int32>?) -> Int32 {
        guard let ssl = unsafe ssl, let session = unsafe LoopBIO.session(of: ssl),
            case .server(_, .some) = session.role,
            unsafe SSL_client_hello_get0_ext(
                ssl, UInt32(TLSEXT_TYPE_application_layer_protocol_negotiation), nil, nil) != 1
        else { return SSL_CLIENT_HELLO_SUCCESS }
        unsafe alert?.pointee = SSL_AD_NO_APPLICATION_PROTOCOL
        return SSL_CLIENT_HELLO_ERROR
    }

    static func selectProtocol(
        _ ssl: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
        _ size: UnsafeMutablePointer<UInt8>?,
        _ offered: UnsafePointer<UInt8>?, _ count: UInt32
    ) -> Int32 {
        guard let ssl = unsafe ssl, let session = unsafe LoopBIO.session(of: ssl),
            case .server(let context, let required) = session.role
        else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        let protocols = required ?? context.protocols
        // A server that speaks no protocol by name says nothing of the client's (RFC 7301 §3.2).
        if protocols.isEmpty { return SSL_TLSEXT_ERR_NOACK }
        return unsafe protocols.withUnsafeBufferPointer { ours in
            var result: UnsafeMutablePointer<UInt8>?
            let outcome = unsafe SSL_select_next_proto(
                &result, size, ours.baseAddress, UInt32(ours.count), offered, count)
            // Alert 120, no_application_protocol.
            guard outcome == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_ALERT_FATAL }
            // `result` may point into `ours`, an array that the session's role holds: OpenSSL copies it when this returns.
            unsafe chosen?.pointee = unsafe UnsafePointer(result)
            return SSL_TLSEXT_ERR_OK
        }
    }

    // MARK: The BIO's side

    fileprivate func takeInput(_ memory: UnsafeMutableRawPointer, _ count: Int) -> Int {
        // OpenSSL goes on until there are data: enough is enough.
        let taken = wholeReads > 2 * Self.maximumIdleRecords + 1 ? 0 : min(count, input.count)
        guard taken > 0 else { return 0 }
        if taken == count && wholeReads >= 0 { wholeReads += 1 }
        unsafe input.withUnsafeBytes {
            unsafe memory.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: taken)
        }
        input.consume(taken)
        return taken
    }

    fileprivate func putOutput(_ memory: UnsafeRawPointer, _ count: Int) {
        unsafe ciphertext.append(UnsafeRawBufferPointer(start: memory, count: count))
    }
}

/// The BIO that reads from and writes to a session's buffers.
private enum LoopBIO {
    /// Proof: it is made once and never changed.
    nonisolated(unsafe) static let method: OpaquePointer? = {
        guard let method = unsafe BIO_meth_new(BIO_get_new_index() | Int32(BIO_TYPE_SOURCE_SINK), "event loop") else {
            return nil
        }
        unsafe BIO_meth_set_read(method) { bio, memory, count in
            guard let bio = unsafe bio, let memory = unsafe memory, count > 0 else { return 0 }
            unsafe copenssl_clear_retry(bio)
            let taken = unsafe session(bio).takeInput(memory, Int(count))
            if taken > 0 { return Int32(taken) }
            unsafe copenssl_retry_read(bio)
            return -1
        }
        unsafe BIO_meth_set_write(method) { bio, memory, count in
            guard let bio = unsafe bio, let memory = unsafe memory, count > 0 else { return 0 }
            unsafe copenssl_clear_retry(bio)
            unsafe session(bio).putOutput(memory, Int(count))
            return count
        }
        unsafe BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return unsafe method
    }()

    static func session(of ssl: OpaquePointer) -> TLSSession? {
        guard let bio = unsafe SSL_get_rbio(ssl) else { return nil }
        return unsafe session(bio)
    }

    static func session(_ bio: OpaquePointer) -> TLSSession {
        unsafe Unmanaged<TLSSession>.fromOpaque(BIO_get_data(bio).unsafelyUnwrapped).takeUnretainedValue()
    }
}
