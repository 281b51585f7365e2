import COpenSSL

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Whom a certificate names that a peer has shown and that was verified.
public struct TLSPeerCertificate: Sendable, Hashable {
    /// The subject as RFC 2253 writes it, `CN=Ada,O=Example`: for people. What decides are the names below.
    public let subject: String
    /// The names of hosts in its subjectAltName, `*.example.org` for instance.
    public private(set) var dnsNames: [String] = []
    /// The addresses in its subjectAltName.
    public private(set) var ipAddresses: [String] = []
    /// The URIs in its subjectAltName, `spiffe://example.org/billing` for instance.
    public private(set) var uris: [String] = []

    /// - Parameter certificate: an `X509`, borrowed.
    init(_ certificate: OpaquePointer) {
        subject = unsafe Self.subject(certificate)
        unsafe withUnsafeMutablePointer(to: &self) { names in
            unsafe copenssl_each_name(certificate, names) { names, type, bytes, count in
                let names = unsafe names.unsafelyUnwrapped.assumingMemoryBound(to: TLSPeerCertificate.self)
                unsafe names.pointee.add(type, UnsafeBufferPointer(start: bytes, count: Int(count)))
            }
        }
    }

    private mutating func add(_ type: Int32, _ bytes: UnsafeBufferPointer<UInt8>) {
        if type == GEN_IPADD {
            if let address = unsafe Self.address(bytes) { ipAddresses.append(address) }
            return
        }
        // A name that goes on behind a NUL, or is no text, is somebody's attempt to be taken for another.
        guard unsafe !bytes.contains(0), let name = unsafe String(validating: bytes, as: UTF8.self) else { return }
        if type == GEN_DNS { dnsNames.append(name) } else if type == GEN_URI { uris.append(name) }
    }

    private static func address(_ bytes: UnsafeBufferPointer<UInt8>) -> String? {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            unsafe inet_ntop(
                bytes.count == 4 ? AF_INET : AF_INET6, bytes.baseAddress, text.baseAddress, socklen_t(INET6_ADDRSTRLEN)
            ).map { unsafe String(cString: $0) }
        }
    }

    private static func subject(_ certificate: OpaquePointer) -> String {
        guard let bio = unsafe BIO_new(BIO_s_mem()) else { return "" }
        defer { unsafe BIO_free(bio) }
        guard unsafe copenssl_write_subject(bio, certificate) >= 0 else { return "" }
        let count = Int(unsafe BIO_ctrl_pending(bio))
        guard count > 0 else { return "" }
        return unsafe String(unsafeUninitializedCapacity: count) { text in
            max(0, Int(unsafe BIO_read(bio, text.baseAddress, Int32(clamping: count))))
        }
    }
}

extension EventLoop {
    /// Whom the peer's certificate names, if the connection speaks TLS, the peer has shown one and it was verified. It is read once
    /// for each connection. On the loop.
    public func peerCertificate(_ id: ConnectionID) -> TLSPeerCertificate? { session(id)?.peerCertificate }

    /// The application protocol that the handshake has agreed on (RFC 7301), `h2` for instance. On the loop.
    public func applicationProtocol(_ id: ConnectionID) -> String? { session(id)?.applicationProtocol }

    /// Whether the peer has said that nothing more comes, and has not only stopped: over TLS by a close_notify (RFC 8446 §6.1),
    /// without which anybody on the way may have cut the connection. Always true over plain TCP.
    public func endedInOrder(_ id: ConnectionID) -> Bool { session(id)?.endedInOrder ?? true }

    private func session(_ id: ConnectionID) -> TLSSession? {
        unsafe connection(id)?.value.tls?.takeUnretainedValue()
    }
}
