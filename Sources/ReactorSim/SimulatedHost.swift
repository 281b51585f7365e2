import Reactor
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The kernel under one loop of a simulated network: descriptors, the lowest free one first, as Linux gives them.
///
/// Proof of `@unchecked Sendable`: a simulation runs in one thread; `wake`, the one call from others, is an atomic.
final class SimulatedHost: SimulatedSystem, @unchecked Sendable {
    private unowned let network: SimulatedNetwork
    /// By descriptor; the first three are taken, as everywhere.
    private var sockets: [SimulatedSocket?] = [nil, nil, nil]
    private var wakeToken: UInt64 = 0
    /// What `wait` is about to report.
    private var ready: [ReadyEvent] = []
    private let woken = Atomic<Bool>(false)

    init(network: SimulatedNetwork) { self.network = network }

    func now() -> UInt64 { network.now }

    func wallClockMilliseconds() -> Int64 { network.wallClockStart + Int64(network.now / 1_000_000) }

    func randomNumber() -> UInt64 { network.numbers.next() }

    // MARK: Waiting

    var hasEvents: Bool {
        woken.load(ordering: .acquiring) || sockets.contains { $0.map { !$0.reported.isEmpty } ?? false }
    }

    func wait(_ events: UnsafeMutableBufferPointer<ReadyEvent>, timeout: Int64) -> Int {
        // A signal ends a wait with no event; all are there the next time.
        if fails { return 0 }
        ready.removeAll(keepingCapacity: true)
        if woken.exchange(false, ordering: .acquiring) {
            ready.append(ReadyEvent(token: wakeToken, readiness: .readable))
        }
        for case let socket? in sockets {
            let reported = socket.reported
            if !reported.isEmpty, let registration = socket.registration {
                ready.append(ReadyEvent(token: registration.token, readiness: reported))
            }
        }
        if network.options.reordersEvents { ready.shuffle(using: &network.random) }
        let count = min(ready.count, events.count)
        for index in 0..<count { unsafe events[index] = ready[index] }
        return count
    }

    func wake() { woken.store(true, ordering: .releasing) }

    func registerWake(token: UInt64) { wakeToken = token }

    func register(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        network.spend(network.options.callTime)
        guard let socket = socket(descriptor) else { return -EBADF }
        guard socket.registration == nil else { return -EEXIST }
        if let failure = failure(of: [ENOMEM, ENOSPC]) { return failure }
        socket.registration = (token, interest)
        return 0
    }

    func modify(_ descriptor: Int32, token: UInt64, interest: Readiness) -> Int32 {
        network.spend(network.options.callTime)
        guard let socket = socket(descriptor) else { return -EBADF }
        guard socket.registration != nil else { return -ENOENT }
        if let failure = failure(of: [ENOMEM]) { return failure }
        socket.registration = (token, interest)
        return 0
    }

    func deregister(_ descriptor: Int32) -> Int32 {
        network.spend(network.options.callTime)
        guard let socket = socket(descriptor) else { return -EBADF }
        guard socket.registration != nil else { return -ENOENT }
        socket.registration = nil
        return 0
    }

    // MARK: Failures

    private var fails: Bool { network.random.chance(network.options.systemCallFailures) }

    /// One of `codes`, negative, if this call is to fail.
    private func failure(of codes: [Int32]) -> Int32? {
        guard fails else { return nil }
        return codes.randomElement(using: &network.random).map { -$0 }
    }

    // MARK: Descriptors

    private func socket(_ descriptor: Int32) -> SimulatedSocket? {
        sockets.indices.contains(Int(descriptor)) ? sockets[Int(descriptor)] : nil
    }

    /// A descriptor for `socket`, or −EMFILE.
    private func add(_ socket: SimulatedSocket) -> Int32 {
        if let free = sockets.indices.dropFirst(3).first(where: { sockets[$0] == nil }) {
            sockets[free] = socket
            return Int32(free)
        }
        guard sockets.count < network.options.maximumDescriptors else { return -EMFILE }
        sockets.append(socket)
        return Int32(sockets.count - 1)
    }

    func breakOff(_ descriptor: Int32) { socket(descriptor)?.reset() }

    func close(_ descriptor: Int32) {
        network.spend(network.options.callTime)
        socket(descriptor)?.close()
        if sockets.indices.contains(Int(descriptor)) { sockets[Int(descriptor)] = nil }
    }

    func resetAll() {
        for case let socket? in sockets where socket.peer != nil { socket.reset() }
    }

    func abandon() {
        for case let socket? in sockets { socket.abandon() }
    }

    // MARK: Sockets

    func listener(at address: SocketAddress) -> SimulatedSocket? {
        for case let socket? in sockets {
            guard case .listener = socket.role else { continue }
            let everywhere = socket.localAddress == .any(port: address.port)
            if socket.localAddress == address || everywhere { return socket }
        }
        return nil
    }

    func listen(_ address: SocketAddress, options: ListenOptions) -> Int32 {
        let address = address.port == 0 ? address.with(port: network.newPort()) : address
        guard network.listener(at: address) == nil else { return -EADDRINUSE }
        let socket = SimulatedSocket(network, .listener, local: address)
        socket.backlogLimit = Int(options.backlog)
        return add(socket)
    }

    func accept(_ listener: Int32) -> Int32 {
        network.spend(network.options.callTime)
        guard let socket = socket(listener) else { return -EBADF }
        guard let waiting = socket.backlog.first else { return -EAGAIN }
        if let failure = failure(of: [EMFILE, ENFILE, ENOMEM, ENOBUFS, EINTR]) { return failure }
        let descriptor = add(waiting)
        if descriptor >= 0 { socket.backlog.removeFirst() }
        return descriptor
    }

    func connect(_ address: SocketAddress) -> Int32 {
        network.spend(network.options.callTime)
        if let failure = failure(of: [EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL]) { return failure }
        let socket = SimulatedSocket(network, .connecting, local: .loopback(port: network.newPort()), peer: address)
        let descriptor = add(socket)
        if descriptor >= 0 { socket.connect(to: address) }
        return descriptor
    }

    func pendingError(_ descriptor: Int32) -> Int32 { socket(descriptor)?.takeError() ?? EBADF }

    func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        network.spend(network.options.callTime)
        if let failure = failure(of: [ENOMEM]) { return Int(failure) }
        return unsafe socket(descriptor)?.read(into: buffer) ?? -Int(EBADF)
    }

    func write(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        network.spend(network.options.callTime)
        if let failure = failure(of: [ENOBUFS, ENOMEM]) { return Int(failure) }
        return unsafe socket(descriptor)?.write(bytes) ?? -Int(EBADF)
    }

    func shutdownWrite(_ descriptor: Int32) -> Int32 { socket(descriptor)?.shutdownWrite() ?? -EBADF }

    func localAddress(_ descriptor: Int32) -> SocketAddress? { socket(descriptor)?.localAddress }

    func peerAddress(_ descriptor: Int32) -> SocketAddress? { socket(descriptor)?.peerAddress }

    func resolve(_ host: String, port: UInt16) -> Result<[SocketAddress], ResolveError> {
        guard let addresses = network.names[host], !addresses.isEmpty else { return .failure(.notFound(host: host)) }
        return .success(addresses.map { $0.with(port: port) })
    }
}
