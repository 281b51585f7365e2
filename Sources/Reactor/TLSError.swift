import COpenSSL

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
        // A peer that does not speak TLS at all is the commonest, and OpenSSL's words for it tell nobody.
        if copenssl_is_no_tls(code) != 0 { return "the peer does not speak TLS" }
        let alert = copenssl_alert(code)
        if alert >= 0, let text = unsafe ERR_reason_error_string(code) {
            // "tlsv13 alert certificate required"
            let words = unsafe String(cString: text).split(separator: " ")
            let meaning = words[(words.firstIndex(of: "alert").map { $0 + 1 } ?? 0)...].joined(separator: " ")
            return "the peer has refused: \(meaning) (alert \(alert))"
        }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
            unsafe text.initialize(repeating: 0)
            unsafe ERR_error_string_n(code, text.baseAddress!, 255)
            return unsafe String(cString: text.baseAddress!)
        }
    }
}
