import Glibc

/// A certificate for `localhost`, made for this run by OpenSSL.
public struct TestCertificate: Sendable {
    public let certificatePath: String
    public let keyPath: String

    public static let shared = TestCertificate()

    private init() {
        let folder = "/tmp/cabstand-tls-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        unsafe mkdir(folder, 0o700)
        certificatePath = folder + "/certificate.pem"
        keyPath = folder + "/key.pem"
        let arguments = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", keyPath, "-out",
            certificatePath,
        ]
        var pid = pid_t()
        var pointers: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) } + [nil]
        unsafe posix_spawnp(&pid, "openssl", nil, nil, &pointers, environ)
        var status: Int32 = 0
        unsafe waitpid(pid, &status, 0)
        for index in unsafe pointers.indices { unsafe free(pointers[index]) }
    }
}
