#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Something that serves on one loop and can end in order.
public protocol LoopService: AnyObject {
    /// Takes no new connections, finishes what is in flight, and calls `completion` once nobody is connected. On the loop.
    func drain(_ completion: @escaping () -> Void)
}

/// The life of a program that serves on several loops:
///
///     set up ─▶ serving ──SIGTERM, SIGINT──▶ draining ─▶ 0
///        │throws                                │grace over, second signal
///        ▼ 1                                    ▼ 1
///
/// Libraries of protocols add verbs that listen, such as `Server.run(at:)` of HTTPServer.
public enum Server {
    /// Runs loops, a thread each, until SIGTERM or SIGINT, then ends in order. Call it on the main thread, before there are
    /// others: signals are blocked for it and for those that it starts, and a thread that has one unblocked would die of it.
    ///
    ///     let status = Server.run { loop in [try makeService(loop)] }
    ///     exit(status)
    ///
    /// - Parameters:
    ///   - count: how many loops; the CPUs that this process may use, unless it is said.
    ///   - grace: what an orderly end may take; then everything is closed.
    ///   - setUp: makes what serves on a loop, before the loop runs. The services are held until the end, and drained in their
    ///     order.
    /// - Returns: the exit status: 0 after an end in order; 1 if there was no start (standard error says why), or if the grace
    ///   was over or a second signal came before everything had ended.
    public static func run(
        loops count: Int = EventLoopGroup.defaultCount, grace: Duration = .seconds(20),
        _ setUp: @Sendable (EventLoop) throws -> [any LoopService]
    ) -> Int32 {
        serve(loops: count, grace: grace, setUp)
    }

    /// As `run`, for services that listen on one address on every loop, the kernel sharing out the connections.
    ///
    /// - Parameters:
    ///   - address: a port of 0 is one that is free, the same for all.
    ///   - ready: told the address once every loop listens.
    ///   - setUp: makes what serves on a loop, and says how it listens.
    package static func serve(
        at address: SocketAddress, loops count: Int, grace: Duration, ready: (SocketAddress) -> Void,
        _ setUp: (EventLoop) throws -> (
            service: any LoopService, listen: (SocketAddress, ListenOptions) throws -> Listener
        )
    ) -> Int32 {
        var address = address
        var listening = 0
        return serve(loops: count, grace: grace) { loop in
            let (service, listen) = try setUp(loop)
            // With SO_REUSEPORT a second program would share the port in silence: ask for it alone first.
            if listening == 0, count > 1, address.port != 0 { try listen(address, .init()).close() }
            address = try listen(address, .init(reusePort: count > 1)).localAddress
            listening += 1
            if listening == count { ready(address) }
            return [service]
        }
    }

    /// As `run`, for a `setUp` that passes something on from one loop to the next. What the services use is not to be shared.
    package static func serve(
        loops count: Int, grace: Duration, _ setUp: (EventLoop) throws -> [any LoopService]
    ) -> Int32 {
        let inherited = SignalMask.block()
        defer { SignalMask.restore(inherited) }
        // A peer that goes away is an error of the call, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        ProcessDescriptors.widen()
        do {
            let control = try EventLoop()
            let group = try EventLoopGroup(count: count)
            let services = try group.loops.map { LoopBound(try setUp($0), loop: $0) }
            let end = ServerEnd(services, control: control, grace: grace)
            try control.onSignals([SIGTERM, SIGINT]) { _ in end.begin() }
            try group.start(named: "server") { _ in }
            control.run()
            group.stop()
            // A loop that something holds up would keep the program for ever.
            if end.isInOrder { group.join() }
            return end.isInOrder ? 0 : 1
        } catch {
            let line = Array("\(error)\n".utf8)
            _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
            return 1
        }
    }
}

/// How a server ends. It belongs to the loop of the main thread.
private final class ServerEnd {
    private let services: [LoopBound<[any LoopService]>]
    private let control: EventLoop
    private let grace: Duration
    private var isEnding = false
    private var left: Int
    /// Everything had ended when the main loop was stopped.
    private(set) var isInOrder = false

    init(_ services: [LoopBound<[any LoopService]>], control: EventLoop, grace: Duration) {
        self.services = services
        self.control = control
        self.grace = grace
        left = services.count
    }

    /// The first time: everybody drains. The second time: it is over.
    func begin() {
        if isEnding { return control.stop() }
        isEnding = true
        control.schedule(after: grace) { [control] in control.stop() }
        let end = LoopBound(self, loop: control)
        for bound in services {
            bound.loop.submit {
                Self.drain(bound.value[...]) { end.loop.submit { end.value.drained() } }
            }
        }
    }

    private func drained() {
        left -= 1
        if left > 0 { return }
        isInOrder = true
        control.stop()
    }

    private static func drain(_ services: ArraySlice<any LoopService>, _ completion: @escaping () -> Void) {
        guard let first = services.first else { return completion() }
        first.drain { drain(services.dropFirst(), completion) }
    }
}
