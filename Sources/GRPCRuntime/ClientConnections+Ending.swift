import HTTP2
import Memory
import Reactor

// How connections end, and their calls with them: each once.
extension ClientConnections {
    /// Opens no more streams on a connection; the channel looks for another.
    func retire(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) {
        guard connection.value.enter(.retired) else { return }
        connection.value.retiredSince = loop.now
        connection.value.isReplaced = true
        watch(connection)
        channel?.connectionRetired(handle)
    }

    /// An address is gone: its connection finishes what it has. The channel knows already.
    func retireConnection(_ handle: Handle<ClientConnection>) {
        guard let connection = connections.find(handle) else { return }
        connection.value.isReplaced = true
        guard connection.value.phase == .ready else { return loop.close(connection.value.id) }
        guard connection.value.enter(.retired) else { return }
        connection.value.retiredSince = loop.now
        watch(connection)
        closeIfDone(handle)
    }

    func closeIfDone(_ handle: Handle<ClientConnection>) {
        guard let connection = connections.find(handle), connection.value.phase == .retired,
            connection.value.session.openStreams == 0, connection.value.firstCall == .none
        else { return }
        if beginClosing(handle, connection) { loop.closeAfterFlush(connection.value.id) }
    }

    /// Nothing is read from a connection or written to it any more; its calls are told from the next turn on. False: it was
    /// closing.
    @discardableResult
    func beginClosing(_ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>) -> Bool {
        guard connection.value.enter(.closing) else { return false }
        loop.cancel(connection.value.pumpTimer)
        workLater(on: handle)
        return true
    }

    /// The loop has closed a connection, or it never came to be.
    /// - Parameter isLast: the loop ends, and with it all turns.
    func ended(_ handle: Handle<ClientConnection>, _ reason: String, isLast: Bool) {
        guard let connection = connections.find(handle), !connection.value.isClosed else { return }
        beginClosing(handle, connection)
        connection.value.isClosed = true
        countSession(connection, isOver: true)
        connection.value.fail(reason)
        let text = connection.value.failure
        let address = connection.value.address
        let wasReady = connection.value.wasReady
        if !connection.value.isReplaced {
            connection.value.isReplaced = true
            channel?.connectionLost(handle, address, wasReady: wasReady, reason: text)
        }
        work(on: handle, budget: isLast ? .max : GRPCLimits.workPerTurn)
    }

    // MARK: Work in portions

    /// Refuses what the server's GOAWAY has not promised, and ends the calls of a closing connection.
    func work(on handle: Handle<ClientConnection>, budget: Int = GRPCLimits.workPerTurn) {
        var budget = budget
        if !work(on: handle, &budget) { workLater(on: handle) }
    }

    private func workLater(on handle: Handle<ClientConnection>) {
        if !ending.contains(handle) { ending.append(handle) }
        if hasWorkTimer { return }
        hasWorkTimer = true
        loop.schedule(after: 0) { [self] in
            hasWorkTimer = false
            var budget = GRPCLimits.workPerTurn
            let due = ending
            ending = []
            for handle in due where budget <= 0 || !work(on: handle, &budget) { workLater(on: handle) }
        }
    }

    /// Whether there is nothing left to do.
    private func work(on handle: Handle<ClientConnection>, _ budget: inout Int) -> Bool {
        let before = budget
        defer { countWork(before - budget) }
        while let connection = connections.find(handle) {
            let isClosing = connection.value.phase == .closing
            // The newest call is the first, and has the highest stream.
            let isOver = isClosing ? connection.value.isClosed : false
            guard let call = calls.find(connection.value.firstCall)?.value,
                isClosing ? true : connection.value.session.streamID(call.stream) > connection.value.lastProcessed
            else {
                if isOver { forget(handle) } else { closeIfDone(handle) }
                return true
            }
            guard budget > 0 else { return false }
            budget -= 1
            guard isClosing else {
                reset(call, .cancel)
                call.refused(RPCError(code: .unavailable, message: "the server is going away"))
                continue
            }
            detach(call)
            connection.value.fail("it is closing")
            let text = connection.value.failure
            let address = connection.value.address
            call.finish(RPCError(code: .unavailable, message: "the connection to \(address) was lost: \(text)"))
        }
        return true
    }

    private func forget(_ handle: Handle<ClientConnection>) {
        askForTurnEnd()
        connections.remove(handle)
    }

    /// Closes all connections, and with them all their calls. The channel has ended those that wait.
    func close(_ reason: String) {
        for slot in 0..<connections.end {
            guard let handle = connections.handle(atSlot: slot), let connection = connections.find(handle) else {
                continue
            }
            let id = connection.value.id
            let phase = connection.value.phase
            let hasSpoken = phase == .ready || phase == .retired
            connection.value.isReplaced = true
            connection.value.fail(reason)
            if hasSpoken, let output = unsafe loop.output(id) {
                unsafe connection.value.session.sendGoAway(output: &output.pointee)
                beginClosing(handle, connection)
                loop.closeAfterFlush(id)
            } else {
                beginClosing(handle, connection)
                loop.close(id)
            }
        }
        // Those whose end waits behind messages that a paused caller has not taken have no connection any more.
        var held: [ClientCall] = []
        calls.walk { if $1.value.holdsEnd { held.append($1.value) } }
        for call in held { call.finish(RPCError(code: .unavailable, message: reason)) }
        channel = nil
    }
}
