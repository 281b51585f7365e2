import GRPCRuntime
import HTTP2
import Reactor
import ReactorSim
import Telemetry

/// A server and a client on the simulated network: one seed, one run.
final class World {
    let network: SimulatedNetwork
    let serverLoop: EventLoop
    let clientLoop: EventLoop
    let service = EchoService()
    /// Serves instead of `service`.
    private let tasks: AsyncEcho?
    private(set) var server: GRPCServer
    private let limits: GRPCLimits
    private let http2Limits: HTTP2Limits
    private let tls: TLSServerContext?
    let channel: GRPCChannel
    let echo: Cabstand_Test_EchoClient
    static let port: UInt16 = 50_051

    init(
        seed: UInt64 = 1, options: SimulationOptions = .init(), limits: GRPCLimits = .init(),
        http2Limits: HTTP2Limits = .init(), channelOptions: ChannelOptions = .init(), listens: Bool = true,
        logger: Logger? = nil, tasks: AsyncEcho? = nil, tls: TLSServerContext? = nil
    ) throws {
        network = SimulatedNetwork(seed: seed, options: options)
        serverLoop = try network.makeLoop()
        clientLoop = try network.makeLoop()
        self.limits = limits
        self.http2Limits = http2Limits
        self.tls = tls
        self.tasks = tasks
        let registry = ServiceRegistry()
        Self.register(service, tasks, registry)
        server = GRPCServer(
            loop: serverLoop, registry: registry, limits: limits, http2Limits: http2Limits, logger: logger)
        channel = GRPCChannel(loop: clientLoop, target: "localhost:\(Self.port)", options: channelOptions)
        echo = Cabstand_Test_EchoClient(channel: channel)
        if listens { try listen() }
    }

    private static func register(_ service: EchoService, _ tasks: AsyncEcho?, _ registry: ServiceRegistry) {
        if let tasks {
            Cabstand_Test_Echo.register(tasks, in: registry)
        } else {
            Cabstand_Test_Echo.register(service, in: registry)
        }
    }

    /// Runs a task on the client's loop.
    @discardableResult
    func spawn(_ body: @escaping () async -> Void) -> Task<Void, Never> {
        let bound = LoopBound(body, loop: clientLoop)
        return clientLoop.spawn { await bound.value() }
    }

    func listen() throws {
        try server.listen(.loopback(port: Self.port), tls: tls)
    }

    /// A new server beside one that drains.
    func restartKeepingOld() throws {
        old.append(server)
        let registry = ServiceRegistry()
        Self.register(service, tasks, registry)
        server = GRPCServer(loop: serverLoop, registry: registry, limits: limits, http2Limits: http2Limits)
        try listen()
    }
    private var old: [GRPCServer] = []
    var allServers: [GRPCServer] { old + [server] }

    /// Runs until `value` is there; nil after a virtual minute.
    func wait<Value>(_ limit: UInt64 = 60_000_000_000, for value: () -> Value?) -> Value? {
        network.run(until: { value() != nil }, limit: limit)
        return value()
    }

    func unary(
        _ options: CallOptions = CallOptions(), limit: UInt64 = 60_000_000_000,
        _ fill: (inout EchoRequest) -> Void = { _ in }
    ) -> Result<EchoResponse, RPCError>? {
        var request = EchoRequest()
        fill(&request)
        var result: Result<EchoResponse, RPCError>?
        echo.unary(request, options: options) { result = $0 }
        return wait(limit) { result }
    }
}

extension Result where Failure == RPCError {
    var success: Success? { if case .success(let value) = self { value } else { nil } }
    var error: RPCError? { if case .failure(let error) = self { error } else { nil } }
}

extension UInt64 {
    static let second: UInt64 = 1_000_000_000
    static let millisecond: UInt64 = 1_000_000
}
