import HTTP2
import Reactor
import Telemetry

/// A gRPC server on one loop: HTTP/2 with prior knowledge (h2c), or over TLS with ALPN `h2`.
///
///     let registry = ServiceRegistry()
///     Driver_V1_DriverService.register(handler, in: registry)
///     let server = GRPCServer(loop: loop, registry: registry)
///     let listener = try server.listen(.any(port: 50051))
///
/// It serves `grpc.health.v1.Health` and server reflection (v1 and v1alpha) beside the registry's methods. On the loop.
public final class GRPCServer: LoopService {
    /// The loop that the server belongs to.
    public let loop: EventLoop
    /// What `grpc.health.v1.Health` says. Everything that is registered is SERVING at first.
    public let health: HealthService
    let connections: ServerConnections
    private var listeners: [Listener] = []

    /// - Parameters:
    ///   - registry: what is registered in it from now on is not served.
    ///   - logger: where calls are logged (`RequestLog` says which), and connections that broke the rules; nil: nowhere.
    public init(
        loop: EventLoop, registry: ServiceRegistry, limits: GRPCLimits = GRPCLimits(),
        http2Limits: HTTP2Limits = HTTP2Limits(), logger: Logger? = nil
    ) {
        self.loop = loop
        health = HealthService(loop: loop, services: registry.serviceNames)
        health.register(in: registry)
        ReflectionService.register(in: registry)
        connections = ServerConnections(
            loop: loop, registry: registry, limits: limits, http2Limits: http2Limits, logger: logger)
    }

    /// Called with a line for the log when a connection ends for a reason that someone should know.
    public var onNotice: ((String) -> Void)? {
        get { connections.onNotice }
        set { connections.onNotice = newValue }
    }

    /// Connections that are open.
    public var connectionCount: Int { connections.connections.count }
    /// Calls that have not ended.
    public var callCount: Int { connections.calls.count }
    /// Bytes of bodies and metadata that calls keep.
    package var heldBytes: Int { connections.state.value.held }
    /// Bytes of answers that wait for windows or for room.
    package var queuedBytes: Int { connections.state.value.queued }
    /// Bytes of output that kernels have not taken.
    package var unsentBytes: Int {
        var sum = 0
        connections.connections.walk { sum += loop.pendingOutput($1.value.id) }
        return sum
    }
    /// Everything that connections make this process keep, as far as it is counted: input and output that the loop holds, what
    /// HTTP/2 keeps, requests, answers, calls. Bytes.
    package var accountedBytes: Int {
        var sum = connections.account.input + connections.account.output
        sum += connections.calls.count * MemoryLayout<ServerCall>.stride
        connections.connections.walk { sum += $1.value.held + $1.value.session.heldBytes }
        return sum
    }
    /// The most that one turn has done: events, ends of calls, steps of a walk.
    package var longestTurn: Int { connections.state.value.longestTurn }

    /// Takes connections on `address`. With `tls`, the protocol is agreed on by ALPN: a client that does not offer `h2` is refused,
    /// whatever `tls` offers. Whom a client's certificate names is in each call's `peerCertificate`.
    /// - Throws: `SystemError` when the address is taken or not allowed.
    @discardableResult
    public func listen(
        _ address: SocketAddress, options: ListenOptions = .init(), tls: TLSServerContext? = nil
    ) throws(SystemError) -> Listener {
        let listener = try loop.listen(
            address, options: options, tls: tls, handler: connections, alpn: ["h2": connections],
            requiresALPN: true)
        listeners.append(listener)
        return listener
    }

    /// Ends in order: no new connections, health says NOT_SERVING, clients are told to go elsewhere (two GOAWAYs), calls in
    /// flight finish. `completion` is called when the last connection has closed; a caller with a deadline closes the loop then.
    public func drain(_ completion: @escaping () -> Void = {}) {
        for listener in listeners { listener.close() }
        listeners.removeAll()
        health.shutDown()
        connections.drain(completion)
    }

    /// Ends at once: listeners and connections are closed, calls in flight are cancelled.
    public func close() {
        for listener in listeners { listener.close() }
        listeners.removeAll()
        connections.closeAll()
    }
}
