import Basics
import Memory
import Reactor

extension ClientCore {
    /// Puts an exchange in line for a connection to where it goes. It has a deadline already.
    func line(_ handle: Handle<Exchange>) {
        guard let exchange = exchanges.find(handle) else { return }
        let origin = exchange.value.request.url.origin
        let name: Handle<OriginPool>
        if let known = poolByOrigin[origin] {
            name = known
        } else {
            // Each has an exchange at least, and of those there are as many places.
            guard let new = pools.insert(OriginPool(origin)) else { return }
            poolByOrigin[origin] = new
            name = new
        }
        guard let pool = pools.find(name) else { return }
        exchange.value.pool = name
        exchange.value.stage = .waiting
        exchange.value.connection = .none
        waiting += 1
        if exchange.value.wasLost { pool.value.waitingForNew.append(handle) } else { pool.value.waiting.append(handle) }
        serve(name)
    }

    /// An exchange ends while it waits.
    func leaveLine(_ exchange: Place<Exchange>) {
        let name = exchange.value.pool
        exchange.value.pool = .none
        waiting -= 1
        guard let pool = pools.find(name) else { return }
        if exchange.value.wasLost {
            pool.value.waitingForNew.lost { exchanges.contains($0) }
        } else {
            pool.value.waiting.lost { exchanges.contains($0) }
        }
        dropIfUnused(name)
    }

    // MARK: Giving connections to exchanges

    /// Gives connections to who waits, in the next turn: what a server has sent behind its last response, and the kernel has already,
    /// is seen before another request is on its way, and can't be taken for its answer.
    func serve(_ name: Handle<OriginPool>) {
        guard let pool = pools.find(name), !pool.value.isServing else { return }
        pool.value.isServing = true
        loop.schedule(after: 0, timers.pools, name.token)
    }

    func serveNow(_ name: Handle<OriginPool>) {
        guard let pool = pools.find(name) else { return }
        pool.value.isServing = false
        while pool.value.waitingCount > 0, let handle = takeIdle(pool) {
            guard let connection = connections.find(handle) else { continue }
            let isNew = connection.value.requests == 0
            var next = isNew ? pool.value.waitingForNew.popFirst { exchanges.contains($0) } : nil
            if next == nil { next = pool.value.waiting.popFirst { exchanges.contains($0) } }
            guard let next else {
                // All who wait want a new one, and this is none; it may be in the way of that.
                pool.value.idle.append(handle)
                if pool.value.open >= max(1, limits.connectionsPerOrigin) { close(handle, connection) }
                break
            }
            waiting -= 1
            send(next, on: handle, connection)
        }
        grow(name)
        dropIfUnused(name)
    }

    /// The idle connection that was used last, or one that is new if somebody waits for such a one.
    private func takeIdle(_ pool: Place<OriginPool>) -> Handle<ClientConnection>? {
        while let handle = pool.value.idle.popLast() {
            guard let connection = connections.find(handle) else { continue }
            if loop.isOpen(connection.value.id) { return handle }
        }
        return nil
    }

    /// Nobody uses a connection any more.
    func rest(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        guard let pool = pools.find(connection.value.pool), !isClosed else { return close(handle, connection) }
        connection.value.phase = .idle
        connection.value.exchange = .none
        connection.value.idleSince = loop.now
        pool.value.idle.append(handle)
        loop.setDeadline(connection.value.id, at: loop.now + min(connection.value.idleTime, 1 << 62))
        // Whoever had it may have held the rest of nothing back.
        loop.resumeReading(connection.value.id)
    }

    func leaveIdle(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        guard connection.value.phase == .idle, let pool = pools.find(connection.value.pool) else { return }
        pool.value.idle.removeAll { $0 == handle }
    }

    // MARK: Making connections

    /// Begins as many connections as are wanted and allowed: each for one who waits.
    private func grow(_ name: Handle<OriginPool>) {
        guard let pool = pools.find(name), !pool.value.isResolving, !isClosed, wantsMore(pool) else { return }
        if pool.value.origin.isSecure, tls == nil { return failWaiting(name, .noTLS) }
        pool.value.isResolving = true
        pool.value.resolving &+= 1
        let resolving = pool.value.resolving
        let connectBy = loop.now + min(limits.$connectTime, 1 << 62)
        pool.value.resolveTimer = loop.schedule(after: limits.$connectTime, timers.resolving, name.token)
        loop.resolve(pool.value.origin.host, port: pool.value.origin.port) { [self] result in
            guard let pool = pools.find(name), pool.value.isResolving, pool.value.resolving == resolving else { return }
            pool.value.isResolving = false
            loop.cancel(pool.value.resolveTimer)
            switch result {
            case .failure(let error): connectingFailed(name, .unresolved("\(error)"))
            case .success(let addresses) where addresses.isEmpty:
                connectingFailed(name, .unresolved("\(pool.value.origin.host) has no address"))
            case .success(let addresses):
                while wantsMore(pool), connect(name, pool, addresses, 0, connectBy) {}
            }
            dropIfUnused(name)
        }
    }

    func resolvingTookTooLong(_ name: Handle<OriginPool>) {
        guard let pool = pools.find(name), pool.value.isResolving else { return }
        pool.value.isResolving = false
        let host = pool.value.origin.host
        connectingFailed(name, .unresolved("the addresses of \(host) could not be found out in time"))
        dropIfUnused(name)
    }

    private func wantsMore(_ pool: Place<OriginPool>) -> Bool {
        let isFull = pool.value.open >= max(1, limits.connectionsPerOrigin)
        return pool.value.waitingCount > pool.value.connecting && !isFull
    }

    /// Begins a connection to one of the addresses. False: none can be made now.
    private func connect(
        _ name: Handle<OriginPool>, _ pool: Place<OriginPool>, _ addresses: [SocketAddress], _ index: Int,
        _ connectBy: UInt64
    ) -> Bool {
        guard connections.count < limits.connections || closeOldestIdle() else {
            connectingFailed(name, .busy("\(connections.count) connections are open"))
            return false
        }
        var time = max(1, connectBy - min(connectBy, loop.now))
        if index < addresses.count - 1 { time = min(time, limits.$addressTime) }
        let origin = pool.value.origin
        let id = loop.connect(
            addresses[index], timeout: time, tls: origin.isSecure ? tls : nil, serverName: origin.serverName,
            alpn: ["http/1.1"], handler: self)
        let connection = ClientConnection(
            id: id, pool: name, addresses: addresses, address: index, connectBy: connectBy,
            idleTime: limits.$idleTime)
        guard id != .none, let handle = connections.insert(connection) else {
            loop.close(id)
            connectingFailed(name, .busy("the loop has no place for another connection"))
            return false
        }
        loop.setHandle(id, handle)
        pool.value.open += 1
        pool.value.connecting += 1
        metrics.setOpen(connections.count)
        return true
    }

    /// Of all origins. The place is free when the loop has closed it; until then there is one more.
    private func closeOldestIdle() -> Bool {
        var oldest = Handle<ClientConnection>.none
        var since = UInt64.max
        connections.walk { handle, connection in
            guard connection.value.phase == .idle, connection.value.idleSince < since else { return }
            oldest = handle
            since = connection.value.idleSince
        }
        guard let connection = connections.find(oldest) else { return false }
        close(oldest, connection)
        return true
    }

    /// A connection was not made. The next address may be better.
    func failedToConnect(_ handle: Handle<ClientConnection>, _ reason: CloseReason) {
        guard let connection = connections.find(handle) else { return }
        let name = connection.value.pool
        let next = connection.value.address + 1
        let (addresses, connectBy) = (connection.value.addresses, connection.value.connectBy)
        let wasWanted = connection.value.phase == .connecting
        connections.remove(handle)
        metrics.setOpen(connections.count)
        askForTurnEnd()
        guard let pool = pools.find(name) else { return }
        pool.value.open -= 1
        pool.value.connecting -= 1
        let isWanted = wasWanted && wantsMore(pool)
        let goesOn = isWanted && next < addresses.count && loop.now < connectBy
        if goesOn, connect(name, pool, addresses, next, connectBy) { return }
        if !goesOn { connectingFailed(name, .unreachable(pool.value.origin.authority, reason)) }
        dropIfUnused(name)
    }

    /// Whoever waits for a new connection hears of it; so do all, if there is no other connection that could become free.
    func connectingFailed(_ name: Handle<OriginPool>, _ error: HTTPClientError) {
        guard let pool = pools.find(name) else { return }
        if pool.value.open == 0, !pool.value.isResolving { return failWaiting(name, error) }
        while let next = pool.value.waitingForNew.popFirst({ exchanges.contains($0) }) {
            giveUp(next, error)
        }
    }

    /// Ends all who wait. Their receivers hear of it one by one, in this turn or the next ones.
    func failWaiting(_ name: Handle<OriginPool>, _ error: HTTPClientError) {
        guard let pool = pools.find(name) else { return }
        while let next = pool.value.waitingForNew.popFirst({ exchanges.contains($0) }) { giveUp(next, error) }
        while let next = pool.value.waiting.popFirst({ exchanges.contains($0) }) { giveUp(next, error) }
    }

    private func giveUp(_ handle: Handle<Exchange>, _ error: HTTPClientError) {
        waiting -= 1
        guard let exchange = exchanges.find(handle) else { return }
        exchange.value.pool = .none
        loop.execute { [self] in finish(handle, .failure(error)) }
    }

    // MARK: Ends

    /// The loop has closed a connection that was there.
    func ended(_ handle: Handle<ClientConnection>, _ reason: CloseReason) {
        guard let connection = connections.find(handle) else { return }
        leaveIdle(handle, connection)
        let name = connection.value.pool
        let (exchange, failure) = (connection.value.exchange, connection.value.failure)
        let hasBegun = connection.value.parser.hasBegun
        let requests = connection.value.requests
        connections.remove(handle)
        metrics.setOpen(connections.count)
        askForTurnEnd()
        if let pool = pools.find(name) {
            pool.value.open -= 1
            // It was there, and then it was not: as good as none. Without this the next one would be made at once, for ever.
            if requests == 0, reason != .local || failure != nil { connectingFailed(name, failure ?? .lost(reason)) }
            if pool.value.waitingCount > 0 { serve(name) }
            dropIfUnused(name)
        }
        guard exchange != .none else { return }
        if let failure { return finish(exchange, .failure(failure)) }
        if hasBegun { return finish(exchange, .failure(.malformed(.truncatedResponse))) }
        lost(exchange, reason, wasKept: requests > 1)
    }

    /// A pool without connections and without anybody who waits is forgotten.
    func dropIfUnused(_ name: Handle<OriginPool>) {
        guard let pool = pools.find(name), pool.value.open == 0, pool.value.waitingCount == 0, !pool.value.isResolving
        else { return }
        poolByOrigin[pool.value.origin] = nil
        pools.remove(name)
        askForTurnEnd()
    }
}
