import Bytes
import COpenSSL

/// The TLS state of one connection: OpenSSL between two of our buffers. It does no I/O, so it runs on a simulated kernel.
///
/// Everything that is read from the socket goes in by `feed`, everything to be sent comes out in `ciphertext`. On the loop.
///
/// Proof of `@safe`: the `SSL` is made in `init`, freed in `deinit` and never handed out.
@safe final class TLSSession {
    enum Role {
        case server(TLSServerContext)
        case client(TLSClientContext)
    }

    enum Outcome {
        case done(Int)
        case wantsInput
        /// The peer has sent its close_notify.
        case ended
        case failed
    }

    private let ssl: OpaquePointer
    /// Keeps the OpenSSL context.
    private let role: Role
    let alpn: [String: ConnectionHandler]
    /// Records to be sent.
    var ciphertext = ByteBuffer()
    /// Records that were received and are not decrypted yet.
    private var input = ByteBuffer()
    private(set) var failure = ""
    private var saidGoodbye = false

    /// - Returns: nil if OpenSSL has no memory for it.
    init?(_ role: Role, alpn: [String: ConnectionHandler]) {
        self.role = role
        self.alpn = alpn
        let made =
            switch role {
            case .server(let server): unsafe server.makeSession()
            case .client(let client): unsafe SSL_new(client.context)
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
        case .client(let client):
            unsafe SSL_set_connect_state(ssl)
            if !client.serverName.isEmpty {
                _ = unsafe copenssl_set_server_name(ssl, client.serverName)
                _ = unsafe SSL_set1_host(ssl, client.serverName)
            }
        }
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
        return outcome(unsafe SSL_do_handshake(ssl))
    }

    /// Decrypts up to `count` bytes.
    func read(into memory: UnsafeMutableRawPointer, _ count: Int) -> Outcome {
        ERR_clear_error()
        return outcome(unsafe SSL_read(ssl, memory, Int32(clamping: count)))
    }

    /// Encrypts bytes into `ciphertext`.
    func write(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        ERR_clear_error()
        return outcome(unsafe SSL_write(ssl, bytes.baseAddress, Int32(clamping: bytes.count)))
    }

    /// Puts a close_notify into `ciphertext`, once.
    func sayGoodbye() {
        guard !saidGoodbye else { return }
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

    private func outcome(_ result: Int32) -> Outcome {
        if result > 0 { return .done(Int(result)) }
        switch unsafe SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return .wantsInput
        case SSL_ERROR_ZERO_RETURN: return .ended
        default:
            failure = TLSError.reason()
            return .failed
        }
    }

    // MARK: The BIO's side

    fileprivate func takeInput(_ memory: UnsafeMutableRawPointer, _ count: Int) -> Int {
        let taken = min(count, input.count)
        guard taken > 0 else { return 0 }
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

    static func session(_ bio: OpaquePointer) -> TLSSession {
        unsafe Unmanaged<TLSSession>.fromOpaque(BIO_get_data(bio).unsafelyUnwrapped).takeUnretainedValue()
    }
}
