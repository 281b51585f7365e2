import Reactor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One end of a simulated connection, or a listener.
///
///     connecting ──▶ established ──▶ (writeShut, finArrived) ──▶ closed
///          └──────▶ failed               broken (reset)
final class SimulatedSocket {
    enum Role {
        case listener
        case connecting
        case established
        case failed(Int32)
    }

    private unowned let network: SimulatedNetwork
    var role: Role
    var localAddress: SocketAddress
    var peerAddress: SocketAddress?
    private(set) var peer: SimulatedSocket?
    /// Connections that wait to be accepted.
    var backlog: [SimulatedSocket] = []
    var backlogLimit = 0

    /// What epoll was told: token and interest; nil is not registered.
    var registration: (token: UInt64, interest: Readiness)?

    private var inbound: [UInt8] = []
    private var inboundStart = 0
    /// Bytes under way to this end.
    private var underWay = 0
    /// Arrivals at this end keep their order.
    private var lastArrival: UInt64 = 0
    private var finArrived = false
    private var writeShut = false
    private var broken = false
    /// What the next call says of it, once, as on Linux: a read behind that finds an end.
    private var error: Int32 = 0
    private(set) var isClosed = false

    init(_ network: SimulatedNetwork, _ role: Role, local: SocketAddress, peer: SocketAddress? = nil) {
        self.network = network
        self.role = role
        localAddress = local
        peerAddress = peer
    }

    private var unread: Int { inbound.count - inboundStart }
    private var space: Int {
        guard let peer else { return 0 }
        return max(0, network.options.window - peer.underWay - peer.unread)
    }

    /// What a level-triggered poll reports.
    var readiness: Readiness {
        switch role {
        case .listener: return backlog.isEmpty ? [] : .readable
        case .connecting: return []
        case .failed: return [.writable, .error, .hangUp]
        case .established: break
        }
        if broken { return error == 0 ? [.readable, .writable, .hangUp] : [.readable, .writable, .error, .hangUp] }
        var ready: Readiness = []
        if unread > 0 || finArrived { ready.insert(.readable) }
        if space > 0 && !writeShut { ready.insert(.writable) }
        if finArrived && writeShut { ready.insert(.hangUp) }
        return ready
    }

    /// What `wait` reports: errors and hang-ups always, the rest if asked for.
    var reported: Readiness {
        guard let registration else { return [] }
        return readiness.intersection([registration.interest, .error, .hangUp])
    }

    // MARK: Connecting

    /// Sends the first packet; its answer makes this end established or failed.
    func connect(to address: SocketAddress) {
        network.deliver { [self] in
            guard !isClosed else { return }
            guard let listener = network.listener(at: address), listener.backlog.count < listener.backlogLimit else {
                network.deliver { [self] in role = .failed(ECONNREFUSED) }
                return
            }
            let other = SimulatedSocket(network, .established, local: address, peer: localAddress)
            other.peer = self
            peer = other
            listener.backlog.append(other)
            lastArrival = network.deliver { [self] in
                if case .connecting = role { role = .established }
            }
        }
    }

    func takeError() -> Int32 {
        if case .failed(let code) = role { return code }
        defer { error = 0 }
        return error
    }

    private func breakOff() {
        broken = true
        error = ECONNRESET
    }

    // MARK: Bytes

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        guard case .established = role else { return -Int(ENOTCONN) }
        // What has come stays there to be read.
        if unread == 0, error != 0 { return -Int(takeError()) }
        if unread == 0 { return broken || finArrived ? 0 : -Int(EAGAIN) }
        if !broken, network.random.chance(network.options.spuriousRetries) { return -Int(EAGAIN) }
        let limit = Int.random(in: network.options.readSize, using: &network.random)
        let count = min(buffer.count, unread, limit)
        for index in 0..<count { unsafe buffer[index] = inbound[inboundStart + index] }
        inboundStart += count
        network.hasChanged = true
        if unread == 0 {
            inbound.removeAll(keepingCapacity: true)
            inboundStart = 0
        }
        return count
    }

    func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard case .established = role, let peer else { return -Int(ENOTCONN) }
        if error != 0 { return -Int(takeError()) }
        if broken || writeShut { return -Int(EPIPE) }
        if bytes.count == 0 { return 0 }
        if network.random.chance(network.options.resets) {
            reset()
            return -Int(takeError())
        }
        guard space > 0, !network.random.chance(network.options.spuriousRetries) else { return -Int(EAGAIN) }
        let limit = Int.random(in: network.options.writeSize, using: &network.random)
        let count = min(bytes.count, space, limit)
        let segment = unsafe [UInt8](UnsafeRawBufferPointer(rebasing: bytes[..<count]))
        peer.underWay += count
        peer.arrive { [self] in
            peer.underWay -= count
            if peer.isClosed {
                // Data for a closed end is answered with a reset.
                if !isClosed { arrive { [self] in breakOff() } }
            } else if !peer.broken {
                peer.inbound += segment
            }
        }
        return count
    }

    /// Lets something arrive at this end, behind what is under way already.
    private func arrive(_ work: @escaping () -> Void) {
        lastArrival = network.deliver(notBefore: lastArrival, work)
    }

    // MARK: Ending

    func shutdownWrite() -> Int32 {
        guard case .established = role, !broken else { return -ENOTCONN }
        sendFin()
        return 0
    }

    private func sendFin() {
        guard !writeShut, let peer else { return }
        writeShut = true
        peer.arrive { peer.finArrived = true }
    }

    /// Closes this end as Linux does: unread input turns the end into a reset.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        registration = nil
        for waiting in backlog { waiting.close() }
        backlog = []
        defer { partIfBothAreClosed() }
        // An end that closes before it knows that it is connected tells the other one, too.
        guard peer != nil, !broken else { return }
        if unread > 0, let peer {
            writeShut = true
            peer.arrive { peer.breakOff() }
        } else {
            sendFin()
        }
    }

    /// The two ends hold each other as long as one of them is in use.
    private func partIfBothAreClosed() {
        guard let other = peer, other.isClosed else { return }
        other.peer = nil
        peer = nil
    }

    /// The world ends: whoever held this end holds nothing more.
    func abandon() {
        for waiting in backlog { waiting.abandon() }
        backlog = []
        peer?.peer = nil
        peer = nil
    }

    /// Breaks both ends.
    func reset() {
        breakOff()
        if let peer, !peer.isClosed { peer.arrive { peer.breakOff() } }
    }
}
