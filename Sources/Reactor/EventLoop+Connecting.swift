import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EventLoop {
    /// Connects to `address`. The outcome is `connectionOpened` or `connectionFailed` of `handler`, never before this call
    /// returns. Output may be given at once; it is sent when the connection is there.
    /// - Parameters:
    ///   - timeout: nanoseconds until `.connectTimeout`, the TLS handshake included.
    ///   - tls: speak TLS.
    ///   - serverName: the name, or the address, that the certificate must be for; nil: the one of `tls`, which must have one then
    ///     unless it trusts anyone.
    ///   - alpn: application protocols to offer instead of those of `tls`.
    @discardableResult
    public func connect(
        _ address: SocketAddress, timeout: UInt64, tls: TLSClientContext? = nil, serverName: String? = nil,
        alpn: [String] = [], handler: ConnectionHandler
    ) -> ConnectionID {
        guard let id = hot.value.take(.connection), let place = hot.value.find(id.token) else {
            return refuse(handler, EMFILE)
        }
        place.value.flags = .connecting
        place.value.isClient = true
        unsafe place.value.handler = Unmanaged.passRetained(handler)
        LoopCounters.add(counters.connections, 1)
        if let tls {
            let role = TLSSession.Role.client(
                tls, name: serverName ?? tls.serverName ?? "", protocols: TLSContext.wire(alpn))
            guard let session = TLSSession(role, alpn: [:]) else {
                close(place, id.token, .tls)
                return id
            }
            unsafe place.value.tls = Unmanaged.passRetained(session)
            place.value.flags.insert(.tls)
            guard session.failure.isEmpty else {
                close(place, id.token, .tls)
                return id
            }
        }
        let descriptor = system.connect(address)
        guard descriptor >= 0 else {
            close(place, id.token, .connectFailed, -descriptor)
            return id
        }
        place.value.descriptor = descriptor
        place.value.interest = .writable
        let registered = system.register(descriptor, token: id.token, interest: .writable)
        guard registered == 0 else {
            close(place, id.token, .connectFailed, -registered)
            return id
        }
        // `now` is the turn's beginning; before the first turn it may be long past.
        armDeadline(place, id.token, at: system.now().later(by: timeout))
        return id
    }

    /// No place is left: the handler hears of it by an identifier that names nothing.
    private func refuse(_ handler: ConnectionHandler, _ code: Int32) -> ConnectionID {
        execute { handler.connectionFailed(.none, .connectFailed(errno: code)) }
        return .none
    }

    /// The outcome of a connect is there.
    func connectReady(_ place: Place<Connection>, _ token: UInt64, _ readiness: Readiness) {
        let code = system.pendingError(place.value.descriptor)
        if code != 0 { return close(place, token, .connectFailed, code) }
        if readiness.contains(.hangUp) { return close(place, token, .connectFailed, ECONNREFUSED) }
        guard readiness.contains(.writable) else { return }
        place.value.flags.remove(.connecting)
        applyInterest(place, token)
        if place.value.flags.contains(.closed) { return }
        if place.value.flags.contains(.tls) {
            place.value.flags.insert(.handshaking)
            continueHandshake(place, token)
        } else {
            opened(place, token)
        }
    }

    /// The connection is there: its first deadline is over, output that came early goes out in this turn.
    func opened(_ place: Place<Connection>, _ token: UInt64) {
        place.value.deadline = 0
        place.value.flags.insert(.opened)
        if place.value.pendingOutput > 0 { queueFlush(place, token) }
        unsafe place.value.handler.unsafelyUnwrapped._withUnsafeGuaranteedRef {
            $0.connectionOpened(ConnectionID(token: token))
        }
    }
}
