import Memory

/// The least that a peer must take of what waits for it, whatever the protocol and the state of the connection: an open one
/// that does not read, one that has closed its half, one that is being closed, with TLS and without.
///
///     short write, closeAfterFlush ──▶ watched ──window──▶ enough taken: the next window
///                                         └── all taken ──▶ not watched     └── too little: closed, `.deadline`
extension EventLoop {
    /// Begins a window.
    func watchOutput(_ place: Place<Connection>, _ token: UInt64) {
        place.value.takenBefore = progress(place)
        let window = place.value.flags.contains(.finishing) ? configuration.$closeTimeout : configuration.$outputTimeout
        let due = hot.value.now.later(by: max(1, window))
        place.value.outputDue = due
        moveTimer(place, token, to: due)
    }

    /// A window is over.
    func judgeOutput(_ place: Place<Connection>, _ token: UInt64) {
        if place.value.flags.contains(.closed) { return }
        let window = place.value.flags.contains(.finishing) ? configuration.$closeTimeout : configuration.$outputTimeout
        let share = UInt64(clamping: configuration.outputRate) &* (window / 1_000_000) / 1000
        if UInt64(clamping: progress(place) &- place.value.takenBefore) >= share {
            watchOutput(place, token)
        } else {
            close(place, token, .deadline)
        }
    }

    /// How far the peer is: what the kernel has taken, without what still lies there. A kernel takes output in gulps of
    /// hundreds of kilobytes; what the peer takes from it is smooth.
    private func progress(_ place: Place<Connection>) -> Int {
        place.value.taken &- system.unacknowledged(place.value.descriptor)
    }
}
