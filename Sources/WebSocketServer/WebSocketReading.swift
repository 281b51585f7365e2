import Bytes
import Memory
import Reactor
import WebSockets

/// What arrives: frames become messages, answers to control frames, or the end.
extension WebSocketServer {
    /// Everything that is in `bytes`, but not more than a turn's share; returns how much of it was used.
    func read(_ id: WebSocketID, _ socket: Place<Socket>, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        guard let base = bytes.baseAddress else { return 0 }
        var offset = 0
        var share = timeouts.framesPerTurn
        var endings = loop.endings
        while socket.value.state != .done {
            // Proof: the loop's buffer is ours during this call, and nobody else looks at it while the span lives.
            var input = unsafe MutableSpan<UInt8>(_unsafeBytes: bytes)
            let event = socket.value.parser.next(&input, &offset, limits)
            switch event {
            case .needsMoreBytes:
                socket.value.progress &+= UInt32(truncatingIfNeeded: offset)
                waitForRest(id, socket)
                pauseIfFull(id, socket)
                return offset
            case .message(let piece):
                // The parser says where in `bytes` it lies.
                unsafe take(id, socket, piece, UnsafeRawBufferPointer(start: base + piece.offset, count: piece.count))
                if loop.endings != endings {
                    // The endpoint may have closed this one at the loop: then what follows is for nobody.
                    guard loop.isOpen(id) else { return bytes.count }
                    endings = loop.endings
                }
            case .deflated(let piece):
                let payload = unsafe UnsafeRawBufferPointer(start: base + piece.offset, count: piece.count)
                // A KiB that was decompressed counts as a frame.
                share &-= unsafe takeDeflated(id, socket, piece, payload) >> 10
                if loop.endings != endings {
                    guard loop.isOpen(id) else { return bytes.count }
                    endings = loop.endings
                }
                if mustStop(id, socket, share, effort: 0) {
                    socket.value.progress &+= UInt32(truncatingIfNeeded: offset)
                    return offset
                }
            case .ping(let start, let count):
                unsafe answerPing(id, socket, UnsafeRawBufferPointer(start: base + start, count: count))
            case .pong:
                pong(id, socket)
            case .close(let code, _, _):
                closed(id, socket, code)
            case .violation(let violation):
                fail(id, socket, violation)
            }
            share &-= 1
            if share & 15 == 0 && mustStop(id, socket, share) {
                socket.value.progress &+= UInt32(truncatingIfNeeded: offset)
                return offset
            }
        }
        return bytes.count
    }

    /// Many frames came at once: the rest waits for the next turn when this turn's share is used up, or when the answers
    /// to them are more than a peer may let wait.
    @inline(never)
    private func mustStop(_ id: WebSocketID, _ socket: Place<Socket>, _ share: Int, effort: Int = 64) -> Bool {
        guard socket.value.state != .done else { return false }
        // Asked once for sixteen messages, which count as four things; long ones are counted by their bytes already.
        let isLate = loop.isTurnSpent(after: effort)
        guard share <= 0 || isLate || loop.pendingOutput(id) > timeouts.maximumPendingOutput else { return false }
        // It may be the peer that lets us wait.
        waitForRest(id, socket)
        socket.value.flags.insert(.paused)
        loop.pauseReading(id)
        // Behind this turn's flush: nobody else wakes the reading up when that takes everything at once.
        loop.schedule(after: 1, resumption, id.token)
        return true
    }

    func resumeIfTaken(_ id: WebSocketID) {
        guard let socket = sockets.find(id), loop.pendingOutput(id) <= timeouts.maximumPendingOutput else { return }
        resume(id, socket)
    }

    @inline(never)
    private func answerPing(_ id: WebSocketID, _ socket: Place<Socket>, _ payload: UnsafeRawBufferPointer) {
        guard socket.value.state == .open, let output = unsafe loop.output(id) else { return }
        unsafe FrameWriter.append(.pong, Span(_unsafeBytes: payload), mask: nextMask(), to: &output.pointee)
    }

    /// A whole message goes to the endpoint where it lies; pieces are put together first.
    @inline(__always)
    private func take(
        _ id: WebSocketID, _ socket: Place<Socket>, _ piece: MessagePiece, _ payload: UnsafeRawBufferPointer
    ) {
        guard socket.value.state == .open else { return }
        if piece.isFirst && piece.isLast {
            unsafe deliver(id, socket, isText: piece.isText, Span(_unsafeBytes: payload))
        } else {
            unsafe assemble(id, socket, piece, payload)
        }
    }

    @inline(never)
    private func assemble(
        _ id: WebSocketID, _ socket: Place<Socket>, _ piece: MessagePiece, _ payload: UnsafeRawBufferPointer
    ) {
        if piece.isFirst { socket.value.assembly = assemblies.insert(ByteBuffer()) ?? .none }
        guard let assembly = assemblies.find(socket.value.assembly) else { return }
        let before = assembly.value.capacity
        unsafe assembly.value.append(payload)
        metrics.held(assembly.value.capacity - before)
        guard piece.isLast else { return }
        socket.value.flags.remove(.longMessage)
        // Proof: the assembly is this message's alone, and its memory stays until the end of the turn.
        unsafe assembly.value.withUnsafeBytes { whole in
            unsafe deliver(id, socket, isText: piece.isText, Span(_unsafeBytes: whole))
        }
        dropAssembly(socket)
    }

    /// Lets go of a message that is complete, or never will be. Its memory goes at the end of the turn: the endpoint may be looking
    /// at it, and have closed the WebSocket.
    func dropAssembly(_ socket: Place<Socket>) {
        guard let assembly = assemblies.find(socket.value.assembly) else { return }
        metrics.held(-assembly.value.capacity)
        if !assemblies.hasRetired { loop.atEndOfTurn(self) }
        assemblies.remove(socket.value.assembly)
        socket.value.assembly = .none
    }

    @inline(__always)
    func deliver(_ id: WebSocketID, _ socket: Place<Socket>, isText: Bool, _ payload: Span<UInt8>) {
        metrics.received()
        // Proof: the table retains its handler until `connectionClosed`, which is not called inside this call's turn phase.
        unsafe socket.value.handler?._withUnsafeGuaranteedRef { handler in
            if isText { handler.webSocketText(id, payload) } else { handler.webSocketBinary(id, payload) }
        }
    }

    @inline(never)
    private func pong(_ id: WebSocketID, _ socket: Place<Socket>) {
        guard socket.value.flags.contains(.awaitsPong) else { return }
        socket.value.flags.remove(.awaitsPong)
        guard socket.value.state == .open, !socket.value.flags.contains(.leaving) else { return }
        heartbeats.set(id, after: timeouts.pingInterval.ticks)
    }

    /// RFC 6455 §5.5.1: the peer's Close frame, answered with its code unless ours is out already; the server ends the TCP
    /// connection, and a client waits for that (§7.1.1).
    @inline(never)
    private func closed(_ id: WebSocketID, _ socket: Place<Socket>, _ code: CloseCode) {
        if socket.value.state == .open {
            socket.value.closeCode = code
            sendClose(id, code, [UInt8]().span)
        }
        end(id, socket, waits: role == .client)
    }

    /// RFC 6455 §7.1.7: says what was wrong, then ends without waiting for an answer.
    @inline(never)
    func fail(_ id: WebSocketID, _ socket: Place<Socket>, _ violation: ProtocolViolation) {
        metrics.violated(violation)
        if socket.value.state == .open {
            socket.value.closeCode = violation.closeCode
            let reason = violation.reason
            unsafe sendClose(
                id, violation.closeCode,
                Span(_unsafeElements: UnsafeBufferPointer(start: reason.utf8Start, count: reason.utf8CodeUnitCount)))
        }
        end(id, socket)
    }

    /// Both sides have said what they had to say: what waits is written, then the connection ends. What the peer still sends
    /// is read and dropped for a moment, so that no reset overtakes our Close frame. How long the peer may take is the loop's
    /// affair.
    private func end(_ id: WebSocketID, _ socket: Place<Socket>, waits: Bool = false) {
        socket.value.state = .done
        topics.unsubscribe(id)
        heartbeats.remove(id)
        dropMessage(id, socket)
        if waits {
            heartbeats.set(id, after: timeouts.closeTimeout.ticks)
        } else {
            loop.closeAfterFlush(id, drain: true)
        }
    }

    /// A peer that asks and does not listen is not read from until it has taken its answers.
    @inline(__always)
    private func pauseIfFull(_ id: WebSocketID, _ socket: Place<Socket>) {
        guard loop.isBacklogged(id), loop.pendingOutput(id) > timeouts.maximumPendingOutput else { return }
        socket.value.flags.insert(.paused)
        loop.pauseReading(id)
    }

    /// Reads again from a peer that has taken its output.
    func resume(_ id: WebSocketID, _ socket: Place<Socket>) {
        guard socket.value.flags.contains(.paused) else { return }
        socket.value.flags.remove(.paused)
        loop.resumeReading(id)
    }
}
