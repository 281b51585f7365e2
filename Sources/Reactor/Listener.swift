import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A socket that accepts connections for one loop. On the loop.
///
/// It lives until `close` or the end of the loop, whether or not somebody holds it.
public final class Listener {
    private unowned let loop: EventLoop
    let id: ConnectionID
    /// Where it listens, with the port that the system chose if 0 was asked for.
    public let localAddress: SocketAddress
    let handler: ConnectionHandler
    let tls: TLSServerContext?
    let alpn: [String: ConnectionHandler]
    /// The protocols of `alpn`, if one of them must be agreed on.
    let required: [UInt8]?
    let gate: (any ConnectionGate)?
    /// Whose PROXY headers count, and who takes them off; nil: none are expected.
    let proxies: ((SocketAddress) -> Bool)?
    let preamble: ProxyPreamble?
    private var pausedByUser = false
    private var retry = TimerID.none
    private var isClosing = false

    init(
        loop: EventLoop, id: ConnectionID, localAddress: SocketAddress, handler: ConnectionHandler,
        tls: TLSServerContext?, alpn: [String: ConnectionHandler], requiresALPN: Bool, gate: (any ConnectionGate)?,
        proxies: ((SocketAddress) -> Bool)?
    ) {
        self.loop = loop
        self.id = id
        self.localAddress = localAddress
        self.handler = handler
        self.tls = tls
        self.alpn = alpn
        let required = requiresALPN ? TLSContext.wire(alpn.keys.sorted()) : nil
        self.required = required
        self.gate = gate
        self.proxies = proxies
        preamble =
            proxies == nil
            ? nil
            : ProxyPreamble(
                loop: loop, handler: handler, gate: gate,
                startsTLS: tls.map { tls in
                    { [unowned loop] id, bytes in
                        loop.startTLS(id, bytes, .server(tls, required: required), alpn: alpn)
                    }
                })
    }

    /// Stops listening. Connections that were accepted go on, and so do those that waited to be: closing the socket would
    /// reset them.
    public func close() {
        if isClosing { return }
        isClosing = true
        loop.acceptAll(id)
        loop.cancel(retry)
        loop.closeListener(id)
    }

    /// Leaves new connections in the backlog until `resumeAccepting`.
    public func pauseAccepting() {
        pausedByUser = true
        loop.listen(id, for: [])
    }

    /// Accepts again.
    public func resumeAccepting() {
        pausedByUser = false
        loop.listen(id, for: .readable)
    }

    /// Descriptors or places have run out: a level-triggered listener would be reported without end. It is left alone for a
    /// moment; clients wait in the backlog meanwhile.
    func pause(for time: UInt64) {
        loop.listen(id, for: [])
        loop.cancel(retry)
        retry = loop.schedule(after: time) { [unowned self] in
            if !pausedByUser { loop.listen(id, for: .readable) }
        }
    }
}

extension EventLoop {
    /// Listens on `address`; `handler` gets the accepted connections.
    /// - Parameters:
    ///   - tls: speak TLS; `handler` then gets connections without ALPN, or with a protocol that is not in `alpn`.
    ///   - alpn: the handler for each application protocol, `h2` for instance.
    ///   - requiresALPN: with TLS, only the protocols of `alpn` are spoken, whatever `tls` says: a client that offers none of them
    ///     gets the alert no_application_protocol (RFC 7301 §3.2).
    ///   - gate: who may connect; nil: everybody.
    ///   - proxies: every connection comes from one of these and begins with a PROXY header of version 2, in front of TLS; whom
    ///     it names is asked for at the gate, and is the connection's `peerAddress`. nil: no headers are expected.
    /// - Throws: `SystemError`, with the address in it, when it is taken or not allowed.
    @discardableResult
    public func listen(
        _ address: SocketAddress, options: ListenOptions = .init(), tls: TLSServerContext? = nil,
        handler: ConnectionHandler, alpn: [String: ConnectionHandler] = [:], requiresALPN: Bool = false,
        gate: (any ConnectionGate)? = nil, proxies: ((SocketAddress) -> Bool)? = nil
    ) throws(SystemError) -> Listener {
        let descriptor = system.listen(address, options: options)
        guard descriptor >= 0 else { throw SystemError(operation: "listening on \(address)", errno: -descriptor) }
        guard let id = hot.value.take(.listener), let place = hot.value.find(id.token) else {
            system.close(descriptor)
            throw SystemError(operation: "listening on \(address)", errno: EMFILE)
        }
        place.value.descriptor = descriptor
        place.value.interest = .readable
        let registered = system.register(descriptor, token: id.token, interest: .readable)
        guard registered == 0 else {
            system.close(descriptor)
            hot.value.giveBack(id)
            throw SystemError(operation: "watching \(address)", errno: -registered)
        }
        let listener = Listener(
            loop: self, id: id, localAddress: system.localAddress(descriptor) ?? address, handler: handler, tls: tls,
            alpn: alpn, requiresALPN: requiresALPN, gate: gate, proxies: proxies)
        place.value.detail = Int32(addListener(listener))
        return listener
    }

    private func addListener(_ listener: Listener) -> Int {
        if let free = hot.value.listeners.firstIndex(where: { $0 == nil }) {
            hot.value.listeners[free] = listener
            return free
        }
        hot.value.listeners.append(listener)
        return hot.value.listeners.count - 1
    }

    func closeListener(_ id: ConnectionID) {
        guard let place = hot.value.find(id.token), place.value.kind == .listener else { return }
        system.close(place.value.descriptor)
        place.value.descriptor = -1
        let index = Int(place.value.detail)
        hot.value.giveBack(id)
        let listener = hot.value.listeners[index]
        hot.value.listeners[index] = nil
        withExtendedLifetime(listener) {}
    }

    /// Accepts everything that waits, as far as there are descriptors and places.
    func acceptAll(_ id: ConnectionID) {
        guard let place = hot.value.find(id.token), place.value.kind == .listener,
            let listener = hot.value.listeners[Int(place.value.detail)]
        else { return }
        let source = place.value.descriptor
        while true {
            let descriptor = system.accept(source)
            if descriptor >= 0 {
                guard adopt(descriptor, listener) != .paused else { return }
            } else if ![ECONNABORTED, EINTR, EPROTO].contains(-descriptor) {
                return
            }
        }
    }

    func listen(_ id: ConnectionID, for interest: Readiness) {
        guard let place = hot.value.find(id.token), place.value.kind == .listener else { return }
        guard place.value.interest != interest else { return }
        guard system.modify(place.value.descriptor, token: id.token, interest: interest) == 0 else {
            // ENOMEM: as it was. A listener that stays mute for it would refuse everybody from then on, so it tries again.
            if !interest.isEmpty, let listener = hot.value.listeners[Int(place.value.detail)] {
                listener.pause(for: configuration.$acceptPause)
            }
            return
        }
        place.value.interest = interest
    }

    /// Accepts what waits, up to the turn's budget; the level-triggered report brings the rest next turn.
    func listenerReady(_ place: Place<Connection>) {
        guard let listener = hot.value.listeners[Int(place.value.detail)] else { return }
        let source = place.value.descriptor
        var budget = configuration.acceptsPerTurn
        while budget > 0 {
            // The handler may have closed the listener.
            guard place.value.descriptor == source else { return }
            let descriptor = system.accept(source)
            if descriptor >= 0 {
                switch adopt(descriptor, listener) {
                case .taken: budget -= 1
                case .refused: budget -= Self.refusalWeight
                case .paused: return
                }
                if isTurnSpent(after: Self.acceptEffort) { return }
                continue
            }
            switch -descriptor {
            case EAGAIN: return
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                LoopCounters.add(counters.acceptPauses, 1)
                return listener.pause(for: configuration.$acceptPause)
            // That connection broke while it waited (accept(2) lists these); the next may be well.
            default: budget -= 1
            }
        }
    }

    /// What became of a connection that was accepted.
    private enum Adoption {
        case taken
        /// The listener's gate, or its list of proxies, does not want it; or it has gone already.
        case refused
        /// There is no room: the listener pauses.
        case paused
    }

    /// As how many accepted connections one that is refused counts in a turn. Reason: whoever floods a listener is refused on
    /// nearly each; 8 of them take some 0.3 ms, and those who are connected do not wait longer for it.
    private static let refusalWeight = 8
    /// Of the effort of `isTurnSpent`: accepting, asking the gate, and registering or closing.
    private static let acceptEffort = 48

    /// Gives an accepted connection a place.
    private func adopt(_ descriptor: Int32, _ listener: Listener) -> Adoption {
        guard let id = hot.value.take(.connection), let place = hot.value.find(id.token) else {
            system.close(descriptor)
            LoopCounters.add(counters.acceptPauses, 1)
            listener.pause(for: configuration.$acceptPause)
            return .paused
        }
        guard isWelcome(descriptor, place, listener) else {
            system.close(descriptor)
            hot.value.giveBack(id)
            return .refused
        }
        place.value.descriptor = descriptor
        place.value.interest = .readable
        unsafe place.value.handler = Unmanaged.passRetained(listener.preamble ?? listener.handler)
        LoopCounters.add(counters.connections, 1)
        LoopCounters.add(counters.accepted, 1)
        let registered = system.register(descriptor, token: id.token, interest: .readable)
        if registered != 0 {
            // ENOSPC: too many watches. The handler never heard of it, so it hears nothing now.
            system.close(descriptor)
            LoopCounters.add(counters.connections, -1)
            unsafe place.value.handler?.release()
            unsafe place.value.handler = nil
            sayGoodbye(place)
            hot.value.giveBack(id)
            LoopCounters.add(counters.acceptPauses, 1)
            listener.pause(for: configuration.$acceptPause)
            return .paused
        }
        if listener.preamble != nil {
            armDeadline(place, id.token, at: hot.value.now.later(by: ProxyPreamble.timeout))
        } else if let tls = listener.tls {
            startTLS(place, id.token, .server(tls, required: listener.required), alpn: listener.alpn)
        } else {
            place.value.flags.insert(.opened)
            listener.handler.connectionOpened(id)
        }
        return .taken
    }

    /// Asks who it is, where somebody wants to know.
    private func isWelcome(_ descriptor: Int32, _ place: Place<Connection>, _ listener: Listener) -> Bool {
        if listener.gate == nil && listener.proxies == nil { return true }
        // One that has gone already has no address.
        guard let peer = system.peerAddress(descriptor) else { return false }
        guard let proxies = listener.proxies else { return welcome(place, peer, listener.gate) }
        if proxies(peer) { return true }
        listener.gate?.refusedProxy(peer, nil)
        return false
    }
}
