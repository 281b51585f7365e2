/// What a protocol does with its connections.
///
/// One instance per loop and protocol, not per connection: a call gets the identifier, and the protocol's own state of
/// that connection lies in the handler's flat storage, found by `loop.context(id)`. All calls are on the loop's thread.
/// Calling anything of the loop inside any of them is safe, closing included: a closed connection is freed at the end of
/// the turn.
open class ConnectionHandler {
    public init() {}

    /// Accepted (after the TLS handshake, if there is one) or connected.
    open func connectionOpened(_ id: ConnectionID) {}

    /// Bytes have arrived. `bytes` is the loop's receive buffer, valid during the call; what was left over from the last call
    /// comes first. It may be changed in place.
    /// - Returns: how many bytes were consumed. The rest is kept and presented again in front of what comes next.
    open func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int { bytes.count }

    /// The peer will send nothing more. What was asked for may still be answered; the default writes what waits, then closes.
    open func connectionReadClosed(_ id: ConnectionID) {
        EventLoop.current?.closeAfterFlush(id)
    }

    /// Called in the flush phase when `requestFlush` asked for it: the last chance to produce output in this turn.
    open func connectionWillFlush(_ id: ConnectionID) {}

    /// Output that a short write had left over is completely written now.
    open func connectionDrained(_ id: ConnectionID) {}

    /// The deadline of `setDeadline` has passed. It is cleared before the call.
    open func connectionDeadline(_ id: ConnectionID) {}

    /// The last call for this connection, exactly once, also for a connect that failed. Nothing can be sent any more;
    /// `loop.context(id)` is still there.
    open func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {}
}

/// Something that timers fire at without an allocation per timer. One instance serves any number of timers.
open class TimerHandler {
    public init() {}

    /// On the loop's thread. `payload` is what was given to `schedule`.
    open func timerFired(_ payload: UInt64) {}
}
