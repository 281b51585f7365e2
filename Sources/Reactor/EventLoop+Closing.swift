import Bytes

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension EventLoop {
    /// Marks a connection closed. It is freed, and its handler told, at the end of the turn: whoever is running in one of its
    /// callbacks still finds everything in place.
    func close(_ place: Ref<Connection>, _ slot: UInt32, _ code: CloseCode, _ detail: Int32 = 0) {
        if place.value.flags.contains(.closed) { return }
        place.value.flags.insert(.closed)
        place.value.closeCode = code
        place.value.detail = detail
        hot.value.closed.append(slot)
    }

    /// All output is written: half-closes and reads on for a moment, or closes.
    func finished(_ place: Ref<Connection>, _ token: UInt64) {
        let slot = UInt32(truncatingIfNeeded: token)
        guard place.value.flags.contains(.drains), !place.value.flags.contains(.readClosed) else {
            return close(place, slot, .local)
        }
        guard !place.value.flags.contains(.lingering) else { return }
        guard system.shutdownWrite(place.value.descriptor) == 0 else { return close(place, slot, .local) }
        place.value.flags.insert(.lingering)
        armDeadline(place, token, at: hot.value.now &+ configuration.lingerTimeout)
        applyInterest(place, token)
    }

    /// Frees what was closed up to now: the descriptor, then the buffers, then the last call to the handler. What is closed
    /// by these calls waits for the next turn, so that a connect that always fails cannot hold the loop.
    func freeClosed() {
        let count = hot.value.closed.count
        for index in 0..<count { free(hot.value.closed[index]) }
        hot.value.closed.removeFirst(count)
    }

    private func free(_ slot: UInt32) {
        let place = hot.value.slab.place(slot)
        let id = ConnectionID(slot: slot, generation: place.value.generation)
        if place.value.descriptor >= 0 { system.close(place.value.descriptor) }
        place.value.descriptor = -1
        if place.value.timerDue != 0 {
            _ = hot.value.timers.cancel(place.value.timer)
            place.value.timerDue = 0
        }
        if place.value.output.capacity > 0 {
            place.value.output.removeAll()
            hot.value.recycle(&place.value.output)
        }
        dropShared(place)
        unsafe Glibc.free(place.value.kept)
        unsafe place.value.kept = nil
        place.value.keptCount = 0
        let reason = closeReason(place)
        unsafe place.value.tls?.release()
        unsafe place.value.tls = nil
        LoopCounters.add(counters.connections, -1)

        let handler = unsafe place.value.handler.unsafelyUnwrapped.takeRetainedValue()
        handler.connectionClosed(id, reason)
        unsafe place.value.handler = nil
        hot.value.slab.giveBack(slot)
    }

    private func closeReason(_ place: Ref<Connection>) -> CloseReason {
        let detail = place.value.detail
        return switch place.value.closeCode {
        case .local: place.value.flags.contains(.readClosed) ? .peer : .local
        case .peer: .peer
        case .reset: .reset(errno: detail)
        case .connectFailed: .connectFailed(errno: detail)
        case .connectTimeout: .connectTimeout
        case .tls: .tls(unsafe place.value.tls?._withUnsafeGuaranteedRef { $0.failure } ?? "no session")
        case .deadline: .deadline
        case .inputOverflow: .inputOverflow
        case .outputOverflow: .outputOverflow
        case .shutdown: .shutdown
        }
    }
}
