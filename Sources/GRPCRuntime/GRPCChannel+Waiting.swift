import Reactor

// What becomes of calls that find no stream.
extension GRPCChannel {
    /// Nanoseconds without a further connection after one that could not be had.
    private static let growthPause: UInt64 = 1_000_000_000

    /// Makes a further connection when calls wait because all streams of those that there are have been taken (gRFC A105). One at
    /// a time, to the address with the fewest.
    func growIfFull() {
        guard options.maximumConnectionsPerAddress > 1, waitingCount > 0, state == .ready, loop.now >= growsFrom,
            // An attempt under way brings room.
            !subchannels.contains(where: { $0.connection != nil && !$0.isReady })
        else { return }
        var counts: [SocketAddress: Int] = [:]
        for subchannel in subchannels where subchannel.isReady { counts[subchannel.address, default: 0] += 1 }
        guard let (address, count) = counts.min(by: { $0.value < $1.value }),
            count < options.maximumConnectionsPerAddress
        else { return }
        let further = Subchannel(address: address, backoff: Backoff(options), isFurther: true)
        subchannels.append(further)
        start(further)
    }

    /// A call was cancelled, or its deadline has passed, and its stream is free: nothing that is read will say so.
    func streamWasGivenUp() {
        guard waitingCount > 0, !looksForRoom else { return }
        looksForRoom = true
        loop.execute { [self] in
            looksForRoom = false
            roomAppeared()
        }
    }

    /// Forgets a further connection that has gone: it is made again when it is needed. False: it was an address' own.
    func drop(_ subchannel: Subchannel, isBroken: Bool = false) -> Bool {
        guard subchannel.isFurther else { return false }
        subchannels.removeAll { $0 === subchannel }
        if isBroken { growsFrom = loop.now &+ Self.growthPause }
        updateState()
        growIfFull()
        return true
    }

    /// Nothing can be reached: calls that do not want to wait fail, so many in a turn. All do when the channel is closed.
    func failWaiting() {
        let isClosed = state == .shutdown
        guard isClosed || state == .transientFailure, !hasFailTimer else { return }
        var failed: [ClientCall] = []
        var isMore = false
        for call in waiting[waitingHead...] where call.isQueued && (isClosed || !call.options.waitForReady) {
            isMore = failed.count == GRPCLimits.workPerTurn
            if isMore { break }
            failed.append(call)
        }
        let error = isClosed ? Self.closed : unavailable
        for call in failed { call.finish(error) }
        transport.countWork(failed.count)
        guard isMore else { return }
        hasFailTimer = true
        loop.schedule(after: 0) { [self] in
            hasFailTimer = false
            failWaiting()
        }
    }
}
