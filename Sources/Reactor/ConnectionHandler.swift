/// What a protocol does with its connections.
///
/// One instance per loop and protocol, not per connection: a call gets the identifier, and the protocol's own state of
/// that connection lies in the handler's flat storage, found by `loop.context(id)`. All calls are on the loop's thread.
/// Calling anything of the loop inside any of them is safe, closing included: a closed connection is freed at the end of
/// the turn.
open class ConnectionHandler {
    /// What the loop holds in memory for its connections.
    public final let account = ConnectionAccount()

    /// A handler without connections.
    public init() {}

    /// Accepted (after the TLS handshake, if there is one) or connected.
    open func connectionOpened(_ id: ConnectionID) {}

    /// Bytes have arrived; the span is valid during the call. What was left over from the last call comes first.
    /// - Returns: how many bytes were consumed. The rest is kept and presented again in front of what comes next.
    open func connectionRead(_ id: ConnectionID, _ bytes: Span<UInt8>) -> Int { bytes.count }

    /// The same for an engine that changes the bytes in place: `bytes` is the loop's receive buffer. Override one of the two;
    /// this one calls the other.
    open func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        // Proof: the loop's buffer lives and is not changed during the call.
        unsafe connectionRead(id, Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(bytes)))
    }

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

    /// The last call for a connection that was opened, exactly once. Nothing can be sent any more; `loop.context(id)` is still
    /// there.
    open func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {}

    /// The only call for a connect that came to nothing (refused, timed out, TLS failed, closed before it was there), exactly
    /// once. `loop.context(id)` is still there. Of an accepted connection whose TLS handshake fails nobody hears; it is
    /// counted in `LoopStatistics.handshakesFailed`.
    open func connectionFailed(_ id: ConnectionID, _ reason: CloseReason) {}
}

/// Something that wants to be called at the end of a turn: to reclaim the places of what it removed.
public protocol TurnEnding: AnyObject {
    /// On the loop, after the flush, when no callback is running.
    func turnEnded()
}

/// Something that timers fire at without an allocation per timer. One instance serves any number of timers.
open class TimerHandler {
    /// A handler without timers.
    public init() {}

    /// On the loop's thread. `payload` is what was given to `schedule`.
    open func timerFired(_ payload: UInt64) {}
}
