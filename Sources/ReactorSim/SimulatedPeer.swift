import Reactor

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The far end of a connection, without a loop: a script or a fuzzer decides about each of its bytes, and about what a
/// well-behaved program would never do.
///
///     let peer = network.connect(to: listener.localAddress)
///     peer.send(Array("GET / HTTP/1.1\r\n".utf8))
///     network.run(for: 1_000_000)
///     peer.takeReceived()
///
/// What is sent goes out as the window allows, what arrives is taken at once unless reading is paused.
public final class SimulatedPeer {
    private unowned let network: SimulatedNetwork
    private let socket: SimulatedSocket
    private var waiting: [UInt8] = []
    private var halfCloses = false
    private var received: [UInt8] = []
    private var scratch = [UInt8](repeating: 0, count: 4096)

    /// Whether what arrives is taken. While it is not, the window fills and the other side cannot go on.
    public var isReading = true {
        didSet { network.hasChanged = true }
    }
    /// The other side has ended its half: all it sent was received.
    public private(set) var hasEnded = false
    /// The other side, or the network, has broken the connection; or nobody listened.
    public private(set) var isBroken = false
    /// This side was closed or reset.
    public private(set) var isClosed = false

    init(_ network: SimulatedNetwork, _ socket: SimulatedSocket) {
        self.network = network
        self.socket = socket
        network.peers.append(self)
        network.hasChanged = true
    }

    /// Bytes that have not fitted into the window yet.
    public var pendingBytes: Int { waiting.count }

    /// Where this end is.
    public var localAddress: SocketAddress { socket.localAddress }

    /// Sends, behind what waits.
    public func send(_ bytes: [UInt8]) {
        guard !isClosed, !halfCloses else { return }
        waiting += bytes
        exchange()
    }

    /// All that has arrived since the last call.
    public func takeReceived() -> [UInt8] {
        defer { received.removeAll() }
        return received
    }

    /// Ends this half, behind what waits to be sent; what the other side sends is still taken.
    public func shutDownWriting() {
        halfCloses = true
        exchange()
    }

    /// Closes as a program does: what waits is lost, what was not read turns it into a reset.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        socket.close()
    }

    /// Breaks the connection.
    public func reset() {
        guard !isClosed else { return }
        isClosed = true
        socket.reset()
        socket.close()
    }

    func abandon() { socket.abandon() }

    /// Moves bytes both ways as far as they go.
    func exchange() {
        guard !isClosed else { return }
        var retries = 0
        var sentBytes = 0
        var fails = socket.readiness.contains(.error)
        while sentBytes < waiting.count, retries < 100 {
            let sent = unsafe waiting.withUnsafeBytes { unsafe socket.write(.init(rebasing: $0[sentBytes...])) }
            if sent > 0 {
                sentBytes += sent
            } else {
                // It may still be connecting.
                if sent != -Int(EAGAIN), sent != -Int(ENOTCONN) { fails = true }
                guard sent == -Int(EAGAIN), socket.readiness.contains(.writable) else { break }
                retries += 1
            }
        }
        waiting.removeFirst(sentBytes)
        // So much bad luck is no reason to stop until something else happens.
        if retries == 100 { network.hasChanged = true }
        if halfCloses && waiting.isEmpty { _ = socket.shutdownWrite() }
        while isReading, !hasEnded, !isBroken, socket.readiness.contains(.readable) {
            let count = unsafe scratch.withUnsafeMutableBytes { unsafe socket.read(into: $0) }
            if count > 0 {
                received += scratch[..<count]
            } else if count == 0 {
                // Behind an error that was said, an end is none.
                if fails { isBroken = true } else { hasEnded = true }
            } else if count != -Int(EAGAIN) {
                isBroken = true
            }
        }
        if fails || socket.readiness.contains(.error) { isBroken = true }
    }
}

/// Accepts connections of loops for a script.
public final class SimulatedPeerListener {
    private unowned let network: SimulatedNetwork
    let socket: SimulatedSocket

    init(_ network: SimulatedNetwork, _ address: SocketAddress) {
        self.network = network
        socket = SimulatedSocket(network, .listener, local: address)
        socket.backlogLimit = 128
    }

    /// The connection that has waited longest, if one does.
    public func accept() -> SimulatedPeer? {
        guard !socket.backlog.isEmpty else { return nil }
        return SimulatedPeer(network, socket.backlog.removeFirst())
    }

    /// Refuses from now on; what waits to be accepted is closed.
    public func close() {
        network.peerListeners.removeAll { $0 === self }
        socket.close()
    }
}

extension SimulatedNetwork {
    /// A connection from nowhere to a listener of this world. It begins when the network runs.
    public func connect(to address: SocketAddress, from local: SocketAddress? = nil) -> SimulatedPeer {
        let port = newPort()
        let local = (local ?? .loopback(port: 0)).with(port: port)
        let socket = SimulatedSocket(self, .connecting, local: local, peer: address)
        socket.connect(to: address)
        return SimulatedPeer(self, socket)
    }

    /// Listens on `address` without a loop.
    public func listenForPeers(_ address: SocketAddress) -> SimulatedPeerListener {
        let listener = SimulatedPeerListener(self, address)
        peerListeners.append(listener)
        return listener
    }

    /// Lets every peer send and take what it can. A closed one is forgotten.
    func exchangeOfPeers() {
        guard !peers.isEmpty else { return }
        for peer in peers { peer.exchange() }
        if peers.contains(where: { $0.isClosed }) { peers.removeAll { $0.isClosed } }
    }
}
