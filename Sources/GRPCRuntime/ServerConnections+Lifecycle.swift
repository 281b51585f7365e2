import Bytes
import HTTP2
import Reactor

// Keepalive, pings, draining, and what follows the use of a session.
extension ServerConnections {
    /// After events were handled: tells calls that their bytes have left, and sees to what could not be written.
    func afterUse(_ index: UInt32, _ connection: UnsafeMutablePointer<ServerConnection>) {
        while let context = unsafe connection.pointee.session.popDrained() {
            if let call = call(context) { drained(call) }
        }
        unsafe schedulePump(index, connection)
        unsafe closeIfDrained(connection)
    }

    /// Streams have more to send than the output takes now: go on when the kernel has taken some.
    func schedulePump(_ index: UInt32, _ connection: UnsafeMutablePointer<ServerConnection>) {
        guard unsafe connection.pointee.session.wantsPump && connection.pointee.pumpTimer == .none else { return }
        // A timer that is due now fires in the next turn, after this turn's flush. If the flush was short,
        // `connectionDrained` goes on instead.
        unsafe connection.pointee.pumpTimer = loop.schedule(
            after: 0, timers, ServerTimers.pump | UInt64(index))
    }

    func pump(_ index: UInt32) {
        let connection = unsafe connections[index]
        guard unsafe !connection.pointee.isClosing, let output = unsafe loop.output(connection.pointee.id) else {
            return
        }
        unsafe connection.pointee.session.pump(output: &output.pointee)
        unsafe afterUse(index, connection)
    }

    func pumpTimerFired(_ index: UInt32) {
        guard connections.isUsed(index) else { return }
        let connection = unsafe connections[index]
        unsafe connection.pointee.pumpTimer = .none
        let id = unsafe connection.pointee.id
        // After a short write `connectionDrained` goes on. Output that was added in the last flush is written in this one:
        // without a short write nobody would call.
        if loop.isBacklogged(id) { return }
        if loop.pendingOutput(id) == 0 { pump(index) } else { unsafe schedulePump(index, connection) }
    }

    func fail(_ connection: UnsafeMutablePointer<ServerConnection>, _ failure: HTTP2Failure) {
        let peer = unsafe loop.peerAddress(connection.pointee.id).map { "\($0)" } ?? "a peer"
        metrics.connectionFailed(failure.reason)
        onNotice?("gRPC connection of \(peer) ended: \(failure)")
        if let logger, let heldBack = failureLines.admit(now: loop.now) {
            logger.warning(
                "connection ended", metadata: ["peer": peer, "reason": "\(failure)", "held_back": "\(heldBack)"])
        }
        unsafe connection.pointee.isClosing = true
        if failure.reason == .http1Preface {
            unsafe loop.output(connection.pointee.id)?.pointee.append(Self.http1Hint)
        }
        unsafe loop.closeAfterFlush(connection.pointee.id, drain: true)
    }

    private static var http1Hint: StaticString {
        """
        HTTP/1.1 505 HTTP Version Not Supported\r
        Content-Type: text/plain; charset=utf-8\r
        Content-Length: 52\r
        Connection: close\r
        \r
        This port speaks gRPC: HTTP/2 with prior knowledge.\n
        """
    }

    // MARK: Pings

    /// A client may ping for a reason; one that pings too often while nothing is sent to it is stopped.
    func countPing(
        _ connection: UnsafeMutablePointer<ServerConnection>, _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        let now = loop.now
        let last = unsafe connection.pointee.lastPing
        unsafe connection.pointee.lastPing = now
        guard last != 0 && now < last + limits.minimumPingInterval else { return }
        unsafe connection.pointee.pingStrikes += 1
        guard unsafe connection.pointee.pingStrikes > limits.maximumPingStrikes else { return }
        unsafe connection.pointee.session.sendGoAway(
            .enhanceYourCalm, debug: "too_many_pings", output: &output.pointee)
        unsafe connection.pointee.isClosing = true
        unsafe loop.closeAfterFlush(connection.pointee.id, drain: true)
    }

    // MARK: Draining

    /// Stops all connections in order (RFC 9113 §6.8): GOAWAY(2³¹−1), and a round trip later, when streams that were on the
    /// way have arrived, GOAWAY with the last of them. Calls in flight finish, then the connection closes.
    func drain(_ completion: @escaping () -> Void) {
        isDraining = true
        onEmpty = completion
        guard connections.count > 0 else { return becameEmpty() }
        for index in connections.places where connections.isUsed(index) { beginDrain(index) }
    }

    func beginDrain(_ index: UInt32) {
        let connection = unsafe connections[index]
        guard unsafe !connection.pointee.isDraining && !connection.pointee.isClosing,
            let output = unsafe loop.output(connection.pointee.id)
        else { return }
        unsafe connection.pointee.isDraining = true
        unsafe connection.pointee.session.announceGoAway(output: &output.pointee)
        unsafe connection.pointee.session.sendPing(ServerConnection.drainPing, output: &output.pointee)
        unsafe connection.pointee.drainTimer = loop.schedule(
            after: limits.drainGrace, timers, ServerTimers.drain | UInt64(index))
    }

    func pong(_ index: UInt32, _ connection: UnsafeMutablePointer<ServerConnection>, _ value: UInt64) {
        if unsafe value == ServerConnection.drainPing && connection.pointee.isDraining { return endDrain(index) }
        unsafe connection.pointee.pingSent = 0
        unsafe loop.setDeadline(connection.pointee.id, at: loop.now + limits.keepaliveInterval)
    }

    func endDrain(_ index: UInt32) {
        guard connections.isUsed(index) else { return }
        let connection = unsafe connections[index]
        guard unsafe connection.pointee.isDraining && !connection.pointee.isDrained && !connection.pointee.isClosing,
            let output = unsafe loop.output(connection.pointee.id)
        else { return }
        loop.cancel(unsafe connection.pointee.drainTimer)
        unsafe connection.pointee.drainTimer = .none
        unsafe connection.pointee.isDrained = true
        unsafe connection.pointee.session.sendGoAway(output: &output.pointee)
        unsafe closeIfDrained(connection)
    }

    func closeIfDrained(_ connection: UnsafeMutablePointer<ServerConnection>) {
        guard unsafe connection.pointee.isDrained && !connection.pointee.isClosing else { return }
        guard unsafe connection.pointee.session.openStreams + connection.pointee.session.heldStreams == 0 else {
            return
        }
        unsafe connection.pointee.isClosing = true
        unsafe loop.closeAfterFlush(connection.pointee.id, drain: true)
    }

    /// Closes every connection now.
    func closeAll() {
        for index in connections.places where connections.isUsed(index) {
            unsafe loop.close(connections[index].pointee.id)
        }
    }

    func becameEmpty() {
        let completion = onEmpty
        onEmpty = nil
        completion?()
    }
}

/// Where the server's timers fire: without an allocation per timer.
final class ServerTimers: TimerHandler {
    /// Payloads: a call is (generation, call) with a generation below 2³⁰; a connection has one of these bits.
    static let pump: UInt64 = 1 << 63
    static let drain: UInt64 = 1 << 62

    private unowned let server: ServerConnections

    init(_ server: ServerConnections) { self.server = server }

    override func timerFired(_ payload: UInt64) {
        let index = UInt32(truncatingIfNeeded: payload)
        if payload & Self.pump != 0 {
            server.pumpTimerFired(index)
        } else if payload & Self.drain != 0 {
            server.endDrain(index)
        } else {
            server.deadlinePassed(index, UInt32(truncatingIfNeeded: payload >> 32))
        }
    }
}
