import AccessTokens
import Operations
import Telemetry

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// `gateway make-keys KEY_FOLDER SERVICES_FOLDER`: makes what an installation needs to ask who somebody is, where openssl is not at
/// hand, as in a container: `key.pem` for the gateway; `key.pub.pem` and `service-secret` for all. What is there stays.
public enum KeysCommand {
    /// Does it and exits, if that is the first argument; else returns.
    public static func runIfAsked() {
        var arguments = CommandLine.arguments.dropFirst()
        guard arguments.popFirst() == "make-keys" else { return }
        guard arguments.count == 2, let keys = arguments.popFirst(), let services = arguments.popFirst() else {
            stop("give two folders: one for key.pem, one for key.pub.pem and service-secret.", 64)
        }
        do throws(AccessSettingError) {
            let path = "\(keys)/key.pem"
            try OwnIssuer.makeKeyIfNeeded(path)
            guard let pem = try OwnIssuer.keys([path], named: "make-keys").first?.publicPEM else {
                stop("OpenSSL is out of memory.", 1)
            }
            let publicPath = "\(services)/key.pub.pem"
            if !SmallFile.exists(publicPath) { try SmallFile.makePrivate(publicPath, pem) }
            try ServiceSecret.makeIfNeeded("\(services)/service-secret")
            exit(0)
        } catch {
            stop(error.description, 1)
        }
    }

    private static func stop(_ line: String, _ status: Int32) -> Never {
        LogSink.standard.write(line: "make-keys: \(line)")
        LogSink.standard.flush(within: 1_000)
        exit(status)
    }
}
