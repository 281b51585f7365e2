import Bytes
import Memory

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EventLoop {
    /// Marks a connection closed. It is freed, and its handler told, at the end of the turn: whoever is running in one of its
    /// callbacks still finds everything in place.
    func close(_ place: Place<Connection>, _ token: UInt64, _ code: CloseCode, _ detail: Int32 = 0) {
        if place.value.flags.contains(.closed) { return }
        place.value.flags.insert(.closed)
        hot.value.endings &+= 1
        place.value.closeCode = code
        place.value.detail = detail
        hot.value.closed.append(token)
    }

    /// Nothing can be sent on a connection any more: the other side, or the network, has broken it.
    ///
    /// A server may answer before it has heard all of a request, and break the connection under the rest. Whoever has connected
    /// gets what had come, as much in a turn as one read gives and not before they want it, and then hears of the end. Of one that was
    /// accepted nothing is read: nobody is there to be answered.
    func broke(_ place: Place<Connection>, _ token: UInt64, _ code: Int32) {
        let flags = place.value.flags
        guard place.value.isClient, flags.contains(.opened),
            flags.isDisjoint(with: [.closed, .finishing, .lingering, .readClosed])
        else { return close(place, token, .reset, code) }
        if flags.contains(.broken) { return }
        place.value.detail = code
        place.value.flags.insert(.broken)
        place.value.flags.remove([.backlogged, .writable])
        place.value.outputDue = 0
        hot.value.endings &+= 1
        dropOutput(place)
        recount(place)
        // A hang-up can't be masked.
        if !flags.contains(.detached) { detach(place) }
        if flags.isDisjoint(with: [.paused, .resumes]) { presentSoon(place, token) }
    }

    /// All output is written: half-closes and reads on for a moment, or closes.
    func finished(_ place: Place<Connection>, _ token: UInt64) {
        place.value.flags.remove(.unbounded)
        guard place.value.flags.contains(.drains), !place.value.flags.contains(.readClosed) else {
            return close(place, token, .local)
        }
        guard !place.value.flags.contains(.lingering) else { return }
        guard system.shutdownWrite(place.value.descriptor) == 0 else { return close(place, token, .local) }
        place.value.flags.insert(.lingering)
        place.value.outputDue = 0
        armDeadline(place, token, at: hot.value.now.later(by: configuration.$lingerTimeout))
        applyInterest(place, token)
    }

    /// Frees what was closed up to now: the descriptor, then the buffers, then the last call to the handler. What is closed
    /// by these calls waits for the next turn, so that a connect that always fails cannot hold the loop; so does what a crowd
    /// that ends together leaves over.
    func freeClosed() {
        let count = hot.value.closed.count
        var freed = 0
        while freed < count {
            free(hot.value.closed[freed])
            freed += 1
            if isTurnSpent() { break }
        }
        hot.value.closed.removeFirst(freed)
    }

    private func free(_ token: UInt64) {
        guard let place = hot.value.find(token) else { return }
        let id = ConnectionID(token: token)
        if place.value.descriptor >= 0 {
            if place.value.flags.contains(.unbounded) { system.breakOff(place.value.descriptor) }
            system.close(place.value.descriptor)
        }
        place.value.descriptor = -1
        if place.value.timerDue != 0 {
            _ = hot.value.timers.cancel(place.value.timer)
            place.value.timerDue = 0
        }
        dropOutput(place)
        unsafe Glibc.free(place.value.kept)
        unsafe place.value.kept = nil
        place.value.keptCount = 0
        let reason = closeReason(place)
        unsafe place.value.tls?.release()
        unsafe place.value.tls = nil
        LoopCounters.add(counters.connections, -1)

        discount(place)
        let handler = unsafe place.value.handler.unsafelyUnwrapped.takeRetainedValue()
        if place.value.flags.contains(.opened) {
            handler.connectionClosed(id, reason)
        } else if place.value.isClient {
            handler.connectionFailed(id, reason)
        } else {
            LoopCounters.add(counters.handshakesFailed, 1)
        }
        unsafe place.value.handler = nil
        sayGoodbye(place)
        hot.value.giveBack(id)
    }

    private func closeReason(_ place: Place<Connection>) -> CloseReason {
        let detail = place.value.detail
        return switch place.value.closeCode {
        case .local: place.value.flags.contains(.readClosed) ? .peer : .local
        case .peer: .peer
        case .reset: .reset(errno: detail)
        case .connectFailed: .connectFailed(errno: detail)
        case .connectTimeout: .connectTimeout
        case .tls: .tls(unsafe place.value.tls?._withUnsafeGuaranteedRef { $0.failure } ?? "no memory for a session")
        case .deadline: .deadline
        case .inputOverflow: .inputOverflow
        case .outputOverflow: .outputOverflow
        case .shutdown: .shutdown
        }
    }
}
