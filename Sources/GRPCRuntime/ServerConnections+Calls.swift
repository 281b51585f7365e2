import Bytes
import HTTP2
import Memory
import Reactor

// What handlers ask of their calls and answer, by handle: one of a call that has ended finds nothing.
extension ServerConnections {
    // MARK: Asking

    func metadata(_ name: Handle<ServerCall>) -> Metadata {
        guard let call = calls.find(name) else { return Metadata() }
        var result = Metadata()
        unsafe Self.forEachEntry(of: call) { unsafe result.append(key: $0, value: $1) }
        return result
    }

    /// The entries of a call's custom metadata as they came.
    static func forEachEntry(
        of call: Place<ServerCall>, _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) {
        unsafe call.value.metadata.withUnsafeBytes { bytes in
            var offset = 0
            while offset < bytes.count {
                let keyCount = unsafe Int(
                    UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
                let valueCount = unsafe Int(
                    UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)))
                let key = offset + 8
                let value = key + keyCount
                unsafe body(
                    UnsafeRawBufferPointer(rebasing: bytes[key..<value]),
                    UnsafeRawBufferPointer(rebasing: bytes[value..<value + valueCount]))
                offset = value + valueCount
            }
        }
    }

    func deadline(_ name: Handle<ServerCall>) -> UInt64? {
        guard let call = calls.find(name), call.value.deadline != 0 else { return nil }
        return call.value.deadline
    }

    func isCancelled(_ name: Handle<ServerCall>) -> Bool {
        guard let call = calls.find(name) else { return true }
        return !call.value.phase.isOpen
    }

    func peer(_ name: Handle<ServerCall>) -> SocketAddress? {
        guard let call = calls.find(name), call.value.phase != .cancelled,
            let connection = connections.find(call.value.connection)
        else { return nil }
        return loop.peerAddress(connection.value.id)
    }

    func isWritable(_ name: Handle<ServerCall>) -> Bool {
        guard let call = calls.find(name), call.value.phase.isOpen,
            let connection = connections.find(call.value.connection), connection.value.phase != .closing
        else { return false }
        if connection.value.session.pendingCount(call.value.stream) < limits.writableBelow { return true }
        call.value.wantsWritable = true
        connection.value.session.notifyWhenDrained(call.value.stream)
        return false
    }

    func onCancel(_ name: Handle<ServerCall>) -> (() -> Void)? { calls.find(name)?.value.onCancel }

    /// A call that has ended tells at once: its handler had no ear for the end, since it sent, or waited, before it listened.
    func setOnCancel(_ name: Handle<ServerCall>, _ action: (() -> Void)?) {
        if let call = calls.find(name) {
            if call.value.phase.isOpen {
                call.value.onCancel = action
                return
            }
            guard action != nil else { return }
            // The handler hears of the end and is done with the call.
            if call.value.phase == .cancelled { release(name, call) }
        }
        action?()
    }

    func attach(_ name: Handle<ServerCall>, _ receiver: ServerCallReceiver) {
        calls.find(name)?.value.receiver = receiver
    }

    // MARK: Answering

    /// Where to encode a message of `size` bytes. Its prefix, and the response's headers if they are due, are written.
    func beginMessage(_ name: Handle<ServerCall>, _ size: Int) -> UnsafeMutablePointer<ByteBuffer>? {
        guard let call = calls.find(name), call.value.phase.isOpen else {
            answeredLate(name)
            return nil
        }
        guard size <= limits.maximumMessageSize else {
            forgetIfAnswered(call)
            interrupt(name, .tooLarge(size, limits.maximumMessageSize))
            return nil
        }
        guard let connection = connections.find(call.value.connection), connection.value.phase != .closing,
            let output = unsafe loop.output(connection.value.id)
        else {
            // The connection's end will be the call's.
            forgetIfAnswered(call)
            return nil
        }
        if call.value.head == .none {
            call.value.head = .plain
            unsafe connection.value.writer.headers(
                &connection.value.session, stream: call.value.stream, output: &output.pointee)
        } else if call.value.head != .plain {
            if call.value.head == .compressing { return unsafe beginDraft(call) }
            sendHeaders(name, Metadata(), .identity)
        }
        guard let target = unsafe place(size, name, call, connection, output) else { return nil }
        unsafe target.pointee.append(0)
        unsafe target.pointee.append(bigEndian: UInt32(truncatingIfNeeded: size))
        return unsafe target
    }

    /// Where `size` bytes of a message and their prefix go. Nil: a slow reader's queue is full, and the call has ended.
    @inline(__always)
    func place(
        _ size: Int, _ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ connection: Place<ServerConnection>,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) -> UnsafeMutablePointer<ByteBuffer>? {
        let stream = call.value.stream
        connection.value.pingStrikes = 0
        let count = size + GRPCMessage.prefixSize
        if unsafe connection.value.session.beginData(
            stream, count: count, endStream: false, output: &output.pointee)
        {
            call.value.target = .output
            return unsafe output
        }
        guard connection.value.session.pendingCount(stream) + count <= limits.maximumQueuedBytes,
            connection.value.queuedBytes + count <= limits.maximumConnectionQueuedBytes
        else {
            // What waits is dropped, the client sees RESOURCE_EXHAUSTED.
            forgetIfAnswered(call)
            leaveReceiving(call)
            call.value.phase = .ending
            abandon(name, call, .enhanceYourCalm)
            return nil
        }
        call.value.target = .pending
        return unsafe connection.value.session.pendingBuffer(stream)
    }

    func endMessage(_ name: Handle<ServerCall>) {
        guard let call = calls.find(name), call.value.target != .output else { return }
        if call.value.target == .draft { return sendDraft(name, call) }
        endPending(name, call)
    }

    /// A message was appended to what waits for a window.
    func endPending(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        call.value.target = .output
        guard let connection = connections.find(call.value.connection), connection.value.phase != .closing,
            let output = unsafe loop.output(connection.value.id)
        else { return }
        // False: all the calls of the connection hold more than they may, and this one's stream was reset.
        let fits = unsafe connection.value.session.pendingAppended(
            call.value.stream, endStream: false, now: loop.now, output: &output.pointee)
        guard fits else {
            forgetIfAnswered(call)
            leaveReceiving(call)
            call.value.phase = .ending
            return cancel(name, call)
        }
        schedulePump(call.value.connection, connection)
        watch(connection)
    }

    /// What the handler sends ends the call. A handler that answers once has answered by it, and hears of no other end; for one
    /// that sends a stream it is news.
    private func forgetIfAnswered(_ call: Place<ServerCall>) {
        if methods[call.value.method].answersOnce { call.value.onCancel = nil }
    }

    /// Ends a call for its handler, and for nobody else.
    func finish(_ name: Handle<ServerCall>, _ end: ServerCallEnd) {
        guard let call = calls.find(name) else { return }
        if call.value.phase.isOpen { conclude(name, call, end) } else { answeredLate(name) }
    }

    /// The handler of a cancelled call has come to its end: whatever it answers with, and whether there is anything to write.
    private func answeredLate(_ name: Handle<ServerCall>) {
        if let call = calls.find(name), call.value.phase == .cancelled { release(name, call) }
    }

    /// Ends a call for a reason that is not its handler's: a deadline, a message that can't be taken, a bound. The handler is
    /// told, as of a client that has gone; else it would keep for ever what it has for the rest of the call.
    func interrupt(_ name: Handle<ServerCall>, _ error: RPCError) {
        guard let call = calls.find(name), call.value.phase.isOpen else { return }
        let action = call.value.onCancel
        conclude(name, call, .failure(error))
        action?()
    }

    /// The same for a handler that is at work and can't be told (`isDeaf`): the client gets its answer now, the call waits for
    /// its handler. Else a client that sets deadlines of a millisecond could have any number of handlers at work.
    func interruptAtWork(_ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ error: RPCError) {
        guard let connection = connections.find(call.value.connection) else { return }
        call.value.isAtWork = true
        writeEnd(name, call, connection, .failure(error))
    }

    /// The end goes out at once, or behind the messages that wait.
    private func conclude(_ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ end: ServerCallEnd) {
        leaveReceiving(call)
        call.value.phase = .ending
        call.value.onCancel = nil
        if let receiver = call.value.receiver {
            call.value.receiver = nil
            receiver.ended()
        }
        guard calls.contains(name), let connection = connections.find(call.value.connection) else { return }
        if connection.value.phase != .closing, connection.value.session.pendingCount(call.value.stream) > 0 {
            call.value.end = end
            call.value.reading.clear()
            connection.value.session.notifyWhenDrained(call.value.stream)
            watch(connection)
        } else {
            writeEnd(name, call, connection, end)
        }
    }

    private func writeEnd(
        _ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ connection: Place<ServerConnection>,
        _ end: ServerCallEnd
    ) {
        let stream = call.value.stream
        let code = end.code
        let duration = loop.now &- call.value.startedAt
        metrics.callEnded(method: call.value.method, code: code, nanoseconds: duration)
        if code != .ok || duration >= noteFrom { note(name, call, code, end) }
        if connection.value.phase != .closing, let output = unsafe loop.output(connection.value.id) {
            let isWhole = connection.value.session.isRemoteEnded(stream)
            connection.value.pingStrikes = 0
            unsafe connection.value.writer.end(
                end, head: call.value.head, &connection.value.session, stream: stream,
                output: &output.pointee)
            // The client is still sending: it is told to stop (RFC 9113 §8.1).
            if !isWhole {
                unsafe connection.value.session.reset(stream, .noError, now: loop.now, output: &output.pointee)
            }
        }
        if call.value.isAtWork { keepForHandler(name, call) } else { self.end(name, call) }
        closeIfDrained(call.value.connection)
    }

    /// The pending bytes of a call have left.
    func drained(_ name: Handle<ServerCall>) {
        guard let call = calls.find(name) else { return }
        call.value.reading.clear()
        if call.value.phase == .ending, let end = call.value.end {
            call.value.end = nil
            if let connection = connections.find(call.value.connection) { writeEnd(name, call, connection, end) }
            return
        }
        letGo(name, .choked)
        guard let call = calls.find(name), call.value.wantsWritable else { return }
        call.value.wantsWritable = false
        let receiver = call.value.receiver
        receiver?.becameWritable()
    }
}
