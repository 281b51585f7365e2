import GRPCRuntime
import Operations
import Reactor
import RideAPI
import Settings
import Synchronization
import Telemetry

/// How a program proves to the others who it is: by a certificate, by a token of the services' secret, or by both. What it
/// consists of is read again from its files while the program runs. Thread-safe.
public final class ServiceIdentity: Sendable {
    /// What it is to others.
    public let name: ServiceName
    /// For the program's gRPC listener: it asks clients for a certificate of the authorities that are believed, and takes those
    /// that have none. Nil: HTTP/2 in the clear.
    public let serverTLS: TLSServerContext?
    /// For connections to other services; nil: HTTP/2 in the clear.
    private let clientTLS: TLSClientContext?
    /// The same without this program's certificate.
    private let strangerTLS: TLSClientContext?
    private let settings: ProgramSettings
    private let secret: Mutex<ServiceSecret?>
    /// Grows with each change of the secret.
    private let generation = Atomic(0)
    private let expiry: CertificateExpiry
    private let authoritiesExpiry: CertificateExpiry
    private let logger = Logger(label: "access")

    /// Reads the files, blocking.
    ///
    /// - Throws: `AccessSettingError` or `TLSError`, which name the file.
    public init(_ name: ServiceName, settings: ProgramSettings) throws {
        self.name = name
        self.settings = settings
        for (certificate, key) in [
            (\CabstandSettings.tlsCert, \CabstandSettings.tlsKey), (\.tlsClientCert, \.tlsClientKey),
        ] {
            guard settings[dynamicMember: certificate].isEmpty == settings[dynamicMember: key].isEmpty else {
                throw AccessSettingError(
                    description:
                        "\(settings.variable(certificate)) and \(settings.variable(key)) belong together; give both, or none."
                )
            }
        }
        secret = Mutex(try ServiceSecret.of(settings))
        let (certificate, key, authorities) = (settings.tlsCert, settings.tlsKey, settings.tlsCA)
        serverTLS =
            certificate.isEmpty || name == .gateway
            ? nil
            : try TLSServerContext(
                certificatePath: certificate, keyPath: key, alpn: ["h2"],
                clients: authorities.isEmpty ? .none : .optional(authoritiesPath: authorities))
        var own: TLSIdentity?
        if !settings.tlsClientCert.isEmpty {
            own = TLSIdentity(certificatePath: settings.tlsClientCert, keyPath: settings.tlsClientKey)
        } else if !certificate.isEmpty {
            own = TLSIdentity(certificatePath: certificate, keyPath: key)
        }
        clientTLS =
            authorities.isEmpty ? nil : try TLSClientContext(trustedPath: authorities, identity: own, alpn: ["h2"])
        strangerTLS = authorities.isEmpty ? nil : try TLSClientContext(trustedPath: authorities, alpn: ["h2"])
        expiry = CertificateExpiry(service: name.rawValue, use: "services")
        authoritiesExpiry = CertificateExpiry(service: name.rawValue, use: "authorities")
        noteExpiry()
    }

    /// The files that `reload` reads.
    public var files: [String] {
        [
            settings.tlsCert, settings.tlsKey, settings.tlsCA, settings.tlsClientCert, settings.tlsClientKey,
            settings.serviceSecret,
        ]
        .filter { !$0.isEmpty }
    }

    /// Reads the files again, blocking: connections and tokens from now on are made with what they hold. A file that can't be used
    /// is named in the log, and what was read before stays in force.
    public func reload() {
        if let serverTLS {
            attempt("the certificate", settings.tlsCert) { () throws(TLSError) in
                try serverTLS.reload(certificatePath: settings.tlsCert, keyPath: settings.tlsKey)
            }
        }
        if let clientTLS {
            attempt("what other services are called with", settings.tlsCA) { () throws(TLSError) in
                try clientTLS.reload()
                try strangerTLS?.reload()
            }
        }
        if !settings.serviceSecret.isEmpty {
            attempt("the services' secret", settings.serviceSecret) { () throws(AccessSettingError) in
                let new = try ServiceSecret.of(settings)
                secret.withLock { $0 = new }
                generation.add(1, ordering: .releasing)
            }
        }
        noteExpiry()
    }

    private func attempt<Failure: Error>(_ what: String, _ file: String, _ read: () throws(Failure) -> Void) {
        do throws(Failure) {
            try read()
            logger.notice("read again", metadata: ["what": what, "file": file])
        } catch {
            logger.error(
                "can't be read again; what was read before stays in force",
                metadata: ["what": what, "file": file, "error": "\(error)"])
        }
    }

    private func noteExpiry() {
        expiry.set([serverTLS?.certificateExpiry, clientTLS?.certificateExpiry].compactMap { $0 }.min())
        authoritiesExpiry.set(clientTLS?.authoritiesExpiry)
    }

    // MARK: Calling others

    /// The options of a channel to another service: what is said of calls without `authorization` is said in this program's own
    /// name. Before the loop runs, or on it.
    public func channelOptions(on loop: EventLoop) -> ChannelOptions {
        var options = ChannelOptions.betweenServices
        options.tls = clientTLS
        if !settings.serviceSecret.isEmpty {
            options.interceptors = [OwnName(token: LoopBound(OwnToken(self, loop), loop: loop))]
        }
        return options
    }

    /// The options of a channel on which this program says nothing of itself: for calls that somebody else's token is shown with, as an
    /// app would make them.
    public var strangerChannelOptions: ChannelOptions {
        var options = ChannelOptions.betweenServices
        options.tls = strangerTLS
        return options
    }

    /// Puts a token of this program's into calls that have none, and beside the token of somebody whose call is passed on.
    private struct OwnName: ClientInterceptor {
        let token: LoopBound<OwnToken>

        func intercept(_ path: StaticString, _ options: inout CallOptions) throws(RPCError) {
            let passesOn = options.metadata.has(.authorization)
            guard let made = token.value.current else { return }
            options.metadata.add(passesOn ? made.relayed : made.own)
        }
    }

    /// One loop's token, which is replaced a minute before it expires, and when the secret has changed. On the loop.
    private final class OwnToken {
        private let identity: ServiceIdentity
        private let loop: EventLoop
        private var made: (own: Metadata.Entry, relayed: Metadata.Entry)?
        private var expires: Int64 = 0
        private var generation = 0

        init(_ identity: ServiceIdentity, _ loop: EventLoop) {
            self.identity = identity
            self.loop = loop
        }

        /// Nil: OpenSSL is out of memory.
        var current: (own: Metadata.Entry, relayed: Metadata.Entry)? {
            let now = loop.wallClockMilliseconds / 1000
            let current = identity.generation.load(ordering: .acquiring)
            // A clock that was put back makes a token that others would not take yet.
            if current == generation, now < expires - ServiceSecret.Limits.margin,
                now >= expires - ServiceSecret.Limits.life
            {
                return made
            }
            guard let token = identity.secret.withLock({ $0 })?.token(for: identity.name, at: now) else { return nil }
            var metadata = Metadata()
            metadata.add("authorization", "Bearer \(token.text)")
            metadata.add("\(RelayedCall.key)", "Bearer \(token.text)")
            made = (metadata.entries[0], metadata.entries[1])
            expires = token.expires
            generation = current
            return made
        }
    }
}

extension ServiceSecret {
    /// What the settings name; nil: none.
    static func of(_ settings: ProgramSettings) throws(AccessSettingError) -> ServiceSecret? {
        let path = settings.serviceSecret
        return path.isEmpty ? nil : try ServiceSecret(path: path, named: settings.variable(\.serviceSecret))
    }
}

/// When a certificate expires, as a metric. Thread-safe.
public struct CertificateExpiry: Sendable {
    private let seconds: Gauge

    /// - Parameters:
    ///   - service: whose certificate it is.
    ///   - use: `services` (between them), `authorities` (that the others are believed by), `http` (what clients of the
    ///     gateway see).
    public init(service: String, use: String) {
        seconds = MetricRegistry.shared.gauge(
            name: "cabstand_certificate_expires_seconds",
            help:
                "When the certificate expires, or the first behind it; of authorities, the last. Unix seconds; 0: there is none.",
            labels: ["service": service, "use": use])
    }

    /// Unix seconds; nil: there is no certificate.
    public func set(_ expiry: Int64?) { seconds.set(Double(expiry ?? 0)) }
}
