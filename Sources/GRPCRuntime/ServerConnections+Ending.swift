import Bytes
import HTTP2
import Memory
import Reactor

// How calls and connections end: each in one place, once.
extension ServerConnections {
    // MARK: Calls

    /// The one end of a call: from here on its handle finds nothing. False: it had ended.
    @discardableResult
    func end(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) -> Bool {
        askForTurnEnd()
        guard calls.remove(name) else { return false }
        leaveReceiving(call)
        let next = call.value.next
        let previous = call.value.previous
        if let after = calls.find(next) { after.value.previous = previous }
        if let before = calls.find(previous) {
            before.value.next = next
        } else if let connection = connections.find(call.value.connection) {
            connection.value.firstCall = next
        }
        if call.value.held > 0 { account(call, 0) }
        if call.value.timer != .none { loop.cancel(call.value.timer) }
        if let receiver = call.value.receiver {
            call.value.receiver = nil
            receiver.ended()
        }
        if state.value.attaches { detach(name) }
        return true
    }

    /// A new call of a connection.
    func begin(
        _ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, stream: HTTP2StreamHandle,
        method: Int
    ) -> Handle<ServerCall>? {
        let call = ServerCall(connection: handle, stream: stream, method: method, startedAt: loop.now)
        guard let name = calls.insert(call), let call = calls.find(name) else { return nil }
        let first = connection.value.firstCall
        call.value.next = first
        if let after = calls.find(first) { after.value.previous = name }
        connection.value.firstCall = name
        return name
    }

    /// A request is whole, or will never be.
    @inline(__always)
    func leaveReceiving(_ call: Place<ServerCall>) {
        guard call.value.phase == .receiving else { return }
        call.value.phase = .running
        guard case .oneRequest = methods[call.value.method].kind else { return }
        connections.find(call.value.connection)?.value.incomplete -= 1
    }

    /// Sets what a call keeps, in its connection's account and in the server's.
    @inline(__always)
    func account(_ call: Place<ServerCall>, _ bytes: Int) {
        let change = bytes - call.value.held
        guard change != 0 else { return }
        call.value.held = bytes
        state.value.held += change
        connections.find(call.value.connection)?.value.held += change
    }

    /// The stream of a call is gone: the client reset it, or the connection is lost.
    ///
    /// A handler that can hear of it is told. A task is told too, but it, and a unary handler that can not hear, still work, and
    /// their call counts as an open stream until they are done: else resetting would buy more work than MAX_CONCURRENT_STREAMS
    /// allows.
    func cancel(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        // It was counted when its stream ended.
        if call.value.phase == .cancelled { return release(name, call) }
        let action = call.value.onCancel
        call.value.onCancel = nil
        metrics.callEnded(
            method: call.value.method, code: .cancelled, nanoseconds: loop.now &- call.value.startedAt)
        note(name, call, .cancelled)
        if call.value.isAtWork ? true : action == nil && isDeaf(call) {
            keepForHandler(name, call)
        } else {
            end(name, call)
        }
        action?()
        closeIfDrained(call.value.connection)
    }

    /// A unary handler that is at work and did not ask to hear of the call's end.
    func isDeaf(_ call: Place<ServerCall>) -> Bool {
        guard call.value.phase == .running, call.value.receiver == nil else { return false }
        return call.value.onCancel == nil
    }

    /// The stream of a call is gone, but its handler is at work: the call counts as an open stream until that answers, and so does
    /// its metadata, which the handler, or a closure of `InterceptedCall.withValue`, may be reading.
    func keepForHandler(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        guard let connection = connections.find(call.value.connection), connection.value.phase != .closing else {
            end(name, call)
            return
        }
        call.value.phase = .cancelled
        call.value.body.release()
        account(call, call.value.metadata.capacity)
        connection.value.session.hold()
        waitForHandler(name, call)
        if state.value.attaches {
            compressor.forget(name.token)
            tellOfEnd(name)
        }
    }

    /// Cancels a call whose stream is still there.
    func abandon(_ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ code: HTTP2ErrorCode) {
        if call.value.phase != .cancelled, let connection = connections.find(call.value.connection),
            connection.value.phase != .closing, let output = unsafe loop.output(connection.value.id)
        {
            unsafe connection.value.session.reset(call.value.stream, code, now: loop.now, output: &output.pointee)
        }
        cancel(name, call)
    }

    /// The handler of a cancelled call is done.
    func release(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        guard end(name, call) else { return }
        connections.find(call.value.connection)?.value.session.unhold()
        closeIfDrained(call.value.connection)
    }

    // MARK: Connections

    /// Nothing is read from a connection or written to it any more. Its calls are ended from the next turn on. False: it was
    /// closing.
    @discardableResult
    func beginClosing(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>) -> Bool {
        guard connection.value.enter(.closing) else { return false }
        loop.cancel(connection.value.pumpTimer)
        loop.cancel(connection.value.drainTimer)
        closing.append(handle)
        scheduleWork()
        return true
    }

    /// The loop has closed a connection.
    /// - Parameter isLast: the loop ends, and with it all turns.
    func closed(_ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, isLast: Bool) {
        beginClosing(handle, connection)
        connection.value.isClosed = true
        metrics.disconnected()
        var budget = isLast ? Int.max : GRPCLimits.workPerTurn
        countQueue(connection, 0)
        countSession(connection, isOver: true)
        endCalls(handle, &budget)
        showGauges()
    }

    /// Ends the calls of a closing connection, as many as the budget allows; the connection goes with the last one.
    private func endCalls(_ handle: Handle<ServerConnection>, _ budget: inout Int) {
        let before = budget
        defer { countWork(before - budget) }
        while budget > 0, let connection = connections.find(handle) {
            let name = connection.value.firstCall
            // A handler that hears of the end may end others.
            guard let call = calls.find(name) else {
                if connection.value.isClosed { forget(handle) }
                return
            }
            budget -= 1
            cancel(name, call)
        }
    }

    private func forget(_ handle: Handle<ServerConnection>) {
        askForTurnEnd()
        guard connections.remove(handle) else { return }
        if connections.isEmpty && state.value.isDraining { becameEmpty() }
    }

    // MARK: Work in portions

    func scheduleWork() {
        if state.value.hasWorkTimer { return }
        state.value.hasWorkTimer = true
        loop.schedule(after: 0, timers.work, 0)
    }

    func workTimerFired() {
        state.value.hasWorkTimer = false
        work()
    }

    /// One portion of what is too much for one turn.
    func work() {
        if !late.isEmpty { deliverLate() }
        var budget = GRPCLimits.workPerTurn
        while budget > 0, let slot = state.value.closeSlot {
            guard slot < connections.end else {
                state.value.closeSlot = nil
                break
            }
            state.value.closeSlot = slot + 1
            budget -= 1
            if let handle = connections.handle(atSlot: slot), let connection = connections.find(handle) {
                loop.close(connection.value.id)
            }
        }
        while budget > 0, let slot = state.value.drainSlot {
            guard slot < connections.end else {
                state.value.drainSlot = nil
                break
            }
            state.value.drainSlot = slot + 1
            budget -= 1
            if let handle = connections.handle(atSlot: slot), let connection = connections.find(handle) {
                beginDrain(connection, handle)
            }
        }
        var done = 0
        while budget > 0, done < closing.count {
            let handle = closing[done]
            endCalls(handle, &budget)
            if let connection = connections.find(handle), connection.value.firstCall != .none { break }
            done += 1
        }
        closing.removeFirst(done)
        showGauges()
        if state.value.closeSlot != nil || state.value.drainSlot != nil || !closing.isEmpty { scheduleWork() }
    }

    /// Closes every connection.
    func closeAll() {
        state.value.closeSlot = 0
        work()
    }
}
