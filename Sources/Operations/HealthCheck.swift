import Reactor
import Settings

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// `--check`: asks the server that runs on this machine with the same settings whether it takes requests. For a container's
/// health check, compose and `exec` probes, in an image without a shell.
///
/// Healthy is what `/readyz` answers with 200, degraded included: a dependency that is away is no reason to restart a server
/// or to take it out of service. It is asked on the admin port if there is one, else where it serves: the gateway by HTTP,
/// the others by `grpc.health.v1`. Nothing is opened but that one connection. With TLS the certificate is not verified: the
/// server is known by its address, which is this machine's.
public enum HealthCheck {
    /// Nanoseconds after which a server that has not answered counts as not healthy.
    public static let timeout: UInt64 = 2_500_000_000

    /// What a check found.
    public struct Finding: Sendable, Equatable {
        public let isHealthy: Bool
        /// What the server said, in a few words.
        public let text: String

        public init(isHealthy: Bool, text: String) {
            self.isHealthy = isHealthy
            self.text = text
        }
    }

    /// Asks a gRPC server at an address, with TLS or without, within a timeout in nanoseconds: whether it serves, and what it said.
    public typealias GRPCQuestion = (
        EventLoop, SocketAddress, _ isTLS: Bool, _ timeout: UInt64,
        _ completion: @escaping (_ isServing: Bool, _ text: String) -> Void
    ) -> Void

    /// Asks, prints one line and exits: 0 healthy, 1 not.
    ///
    /// - Parameter overGRPC: for a service that has no HTTP port of its own.
    public static func exit(_ settings: ProgramSettings, overGRPC: GRPCQuestion? = nil) -> Never {
        signal(SIGPIPE, SIG_IGN)
        var finding = Finding(isHealthy: false, text: "no answer within \(timeout / 1_000_000) ms")
        do {
            let loop = try EventLoop()
            try ask(settings, overGRPC: overGRPC, on: loop) {
                finding = $0
                loop.stop()
            }
            loop.schedule(after: timeout) { loop.stop() }
            loop.run()
        } catch {
            finding = Finding(isHealthy: false, text: "\(error)")
        }
        print("\(settings.program): \(finding.isHealthy ? "healthy" : "not healthy"): \(finding.text)")
        fflush(nil)
        _exit(finding.isHealthy ? 0 : 1)
    }

    /// Asks where the settings say that the server is. `completion` is called on the loop, never before this returns.
    static func ask(
        _ settings: ProgramSettings, overGRPC: GRPCQuestion?, on loop: EventLoop,
        _ completion: @escaping (Finding) -> Void
    ) throws {
        if let port = settings.adminPort, port != 0 {
            return try ReadinessQuestion(
                on: loop, at: settings.listenAddress(port: port).reachableHere, isTLS: false, completion
            )
            .start()
        }
        let setting = overGRPC == nil ? \CabstandSettings.httpPort : \.grpcPort
        let port = settings[dynamicMember: setting]
        guard port != 0 else {
            throw UnknownPortError(variable: settings.variable(setting), instead: settings.variable(\.adminPort))
        }
        let address = try settings.listenAddress(port: port).reachableHere
        let isTLS = !settings.tlsCert.isEmpty
        if let overGRPC {
            return overGRPC(loop, address, isTLS, timeout) { isServing, text in
                completion(Finding(isHealthy: isServing, text: "\(text) (grpc.health.v1 at \(address))"))
            }
        }
        try ReadinessQuestion(
            on: loop, at: address, isTLS: isTLS, completion
        ).start()
    }
}

/// A check can't know which port the system has chosen for the server.
struct UnknownPortError: Error, CustomStringConvertible {
    let variable: String
    let instead: String

    var description: String {
        "\(variable) is 0, so the server's port was chosen by the system; \(instead) gives the check one."
    }
}
