import Bytes
import Reactor
import WebSockets

/// What arrives: frames become messages, answers to control frames, or the end.
extension WebSocketServer {
    /// Everything that is in `bytes`; returns how much of it was used.
    func read(
        _ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>, _ bytes: UnsafeMutableRawBufferPointer
    ) -> Int {
        unsafe socket.pointee.lastRead = UInt32(truncatingIfNeeded: heartbeats.now)
        var offset = 0
        while unsafe socket.pointee.state == .open || socket.pointee.state == .closeSent {
            // Proof: the loop's buffer is ours during this call, and nobody else looks at it while the span lives.
            var input = unsafe MutableSpan<UInt8>(_unsafeBytes: bytes)
            let event = unsafe socket.pointee.parser.next(&input, &offset, limits)
            switch event {
            case .needsMoreBytes:
                unsafe pauseIfFull(id, socket)
                return offset
            case .message(let piece):
                unsafe take(id, socket, piece, UnsafeRawBufferPointer(bytes))
            case .ping(let start, let count):
                guard unsafe socket.pointee.state == .open, let output = unsafe loop.output(id) else { continue }
                unsafe FrameWriter.append(.pong, Span(_unsafeBytes: slice(bytes, start, count)), to: &output.pointee)
            case .pong:
                unsafe pong(id, socket)
            case .close(let code, _, _):
                unsafe closed(id, socket, code)
            case .violation(let violation):
                unsafe fail(id, socket, violation)
            }
        }
        return bytes.count
    }

    @inline(__always)
    private func slice(
        _ bytes: UnsafeMutableRawBufferPointer, _ start: Int, _ count: Int
    ) -> UnsafeRawBufferPointer {
        unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<(start &+ count)])
    }

    /// A whole message goes to the endpoint where it lies; pieces are put together first.
    @inline(__always)
    private func take(
        _ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>, _ piece: MessagePiece,
        _ bytes: UnsafeRawBufferPointer
    ) {
        guard unsafe socket.pointee.state == .open else { return }
        let payload = unsafe UnsafeRawBufferPointer(rebasing: bytes[piece.offset..<(piece.offset &+ piece.count)])
        if piece.isFirst && piece.isLast {
            unsafe deliver(id, socket, isText: piece.isText, Span(_unsafeBytes: payload))
            return
        }
        let assembly = unsafe socket.pointee.assembly ?? makeAssembly(socket)
        unsafe assembly.pointee.append(payload)
        guard piece.isLast else { return }
        unsafe socket.pointee.assembly = nil
        unsafe assembly.pointee.withUnsafeBytes { whole in
            unsafe deliver(id, socket, isText: piece.isText, Span(_unsafeBytes: whole))
        }
        unsafe release(assembly)
    }

    private func makeAssembly(_ socket: UnsafeMutablePointer<Socket>) -> UnsafeMutablePointer<ByteBuffer> {
        let assembly = UnsafeMutablePointer<ByteBuffer>.allocate(capacity: 1)
        unsafe assembly.initialize(to: ByteBuffer())
        unsafe socket.pointee.assembly = assembly
        return unsafe assembly
    }

    @inline(__always)
    private func deliver(
        _ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>, isText: Bool, _ payload: Span<UInt8>
    ) {
        metrics.received()
        // Proof: the place retains its handler until `connectionClosed`, which is not called inside this call's turn phase.
        unsafe socket.pointee.handler?._withUnsafeGuaranteedRef { handler in
            if isText { handler.webSocketText(id, payload) } else { handler.webSocketBinary(id, payload) }
        }
    }

    private func pong(_ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>) {
        guard unsafe socket.pointee.flags.contains(.awaitsPong) else { return }
        unsafe socket.pointee.flags.remove(.awaitsPong)
        guard unsafe socket.pointee.state == .open, unsafe !socket.pointee.flags.contains(.leaving) else { return }
        heartbeats.set(id.slot, after: timeouts.pingInterval)
    }

    /// RFC 6455 §5.5.1: the peer's Close frame, answered with its code unless ours is out already; the server ends the TCP
    /// connection (§7.1.1).
    private func closed(_ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>, _ code: CloseCode) {
        if unsafe socket.pointee.state == .open {
            unsafe socket.pointee.closeCode = code
            sendClose(id, code, [UInt8]().span)
        }
        unsafe end(id, socket)
    }

    /// RFC 6455 §7.1.7: says what was wrong, then ends without waiting for an answer.
    private func fail(_ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>, _ violation: ProtocolViolation) {
        metrics.violated(violation)
        if unsafe socket.pointee.state == .open {
            unsafe socket.pointee.closeCode = violation.closeCode
            let reason = violation.reason
            unsafe sendClose(
                id, violation.closeCode,
                Span(_unsafeElements: UnsafeBufferPointer(start: reason.utf8Start, count: reason.utf8CodeUnitCount)))
        }
        unsafe end(id, socket)
    }

    /// Both sides have said what they had to say: what waits is written, then the connection ends. What the peer still sends
    /// is read and dropped for a moment, so that no reset overtakes our Close frame.
    private func end(_ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>) {
        unsafe socket.pointee.state = .done
        topics.unsubscribe(id)
        heartbeats.set(id.slot, after: timeouts.closeTimeout)
        loop.closeAfterFlush(id, drain: true)
    }

    /// A peer that asks and does not listen is not read from until it has taken its answers.
    @inline(__always)
    private func pauseIfFull(_ id: WebSocketID, _ socket: UnsafeMutablePointer<Socket>) {
        guard loop.isBacklogged(id), loop.pendingOutput(id) > timeouts.maximumPendingOutput else { return }
        unsafe socket.pointee.flags.insert(.paused)
        loop.pauseReading(id)
    }
}
