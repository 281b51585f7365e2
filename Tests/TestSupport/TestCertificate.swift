import Glibc

/// A certificate that OpenSSL makes for this run.
public struct TestCertificate: Sendable {
    public let certificatePath: String
    public let keyPath: String

    /// For `localhost`, signed by itself.
    public static let shared = TestCertificate()

    /// - Parameters:
    ///   - names: its subjectAltName as OpenSSL writes it, `DNS:localhost,IP:127.0.0.1`; empty: it has none.
    ///   - authority: who signs it; nil: it is an authority, which has signed itself.
    ///   - days: how long it is valid from now on; below zero it has expired.
    public init(
        _ subject: String = "localhost", names: String = "DNS:localhost", signedBy authority: TestCertificate? = nil,
        days: Int = 2
    ) {
        let folder = "/tmp/cabstand-tls-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        unsafe mkdir(folder, 0o700)
        certificatePath = folder + "/certificate.pem"
        keyPath = folder + "/key.pem"
        let request = folder + "/request.pem"
        var make = [
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=\(subject)",
            "-keyout", keyPath,
        ]
        if !names.isEmpty { make += ["-addext", "subjectAltName=\(names)"] }
        guard let authority else {
            Self.openssl(make + ["-x509", "-days", "\(days)", "-out", certificatePath])
            return
        }
        Self.openssl(make + ["-out", request])
        Self.openssl([
            "x509", "-req", "-in", request, "-CA", authority.certificatePath, "-CAkey", authority.keyPath,
            "-set_serial", "\(UInt32.random(in: 1...UInt32.max))", "-copy_extensions", "copy", "-days", "\(days)",
            "-out", certificatePath,
        ])
    }

    private static func openssl(_ arguments: [String]) {
        var pid = pid_t()
        var pointers: [UnsafeMutablePointer<CChar>?] =
            unsafe (["openssl"] + arguments).map { unsafe strdup($0) } + [nil]
        unsafe posix_spawnp(&pid, "openssl", nil, nil, &pointers, environ)
        var status: Int32 = 0
        unsafe waitpid(pid, &status, 0)
        for index in unsafe pointers.indices { unsafe free(pointers[index]) }
    }
}
