import Bytes
import HTTP2
import Reactor

// What handlers do with their calls, by token.
extension ServerConnections {
    @inline(__always)
    func isCurrent(_ call: UInt32, _ generation: UInt32) -> Bool {
        unsafe calls.isUsed(call) && calls[call].pointee.generation == generation
    }

    /// The state of a call that has not ended; nil for a token that was kept too long.
    @inline(__always)
    func find(_ token: ServerCallToken) -> UnsafeMutablePointer<ServerCallState>? {
        isCurrent(token.call, token.generation) ? unsafe calls[token.call] : nil
    }

    func token(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>) -> ServerCallToken {
        unsafe ServerCallToken(server: self, call: call, generation: state.pointee.generation)
    }

    // MARK: Asking

    func metadata(_ token: ServerCallToken) -> Metadata {
        guard let state = unsafe find(token) else { return Metadata() }
        return unsafe Self.metadata(of: state)
    }

    private static func metadata(of state: UnsafeMutablePointer<ServerCallState>) -> Metadata {
        var result = Metadata()
        unsafe forEachEntry(of: state) { unsafe result.append(key: $0, value: $1) }
        return result
    }

    /// The entries of a call's custom metadata as they came.
    static func forEachEntry(
        of state: UnsafeMutablePointer<ServerCallState>,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) {
        unsafe state.pointee.metadata.withUnsafeBytes { bytes in
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

    func deadline(_ token: ServerCallToken) -> UInt64? {
        guard let state = unsafe find(token), unsafe state.pointee.deadline != 0 else { return nil }
        return unsafe state.pointee.deadline
    }

    func isCancelled(_ token: ServerCallToken) -> Bool {
        guard let state = unsafe find(token) else { return true }
        return unsafe state.pointee.phase == .cancelled
    }

    func peer(_ token: ServerCallToken) -> SocketAddress? {
        guard let state = unsafe find(token), unsafe state.pointee.phase != .cancelled else { return nil }
        return unsafe loop.peerAddress(connections[state.pointee.connection].pointee.id)
    }

    func isWritable(_ token: ServerCallToken) -> Bool {
        guard let state = unsafe find(token), unsafe state.pointee.phase.isOpen else { return false }
        let connection = unsafe connections[state.pointee.connection]
        let stream = unsafe state.pointee.stream
        if unsafe connection.pointee.session.pendingCount(stream) < limits.writableBelow { return true }
        unsafe state.pointee.wantsWritable = true
        unsafe connection.pointee.session.notifyWhenDrained(stream)
        return false
    }

    func onCancel(_ token: ServerCallToken) -> (() -> Void)? { unsafe find(token)?.pointee.onCancel }

    func setOnCancel(_ token: ServerCallToken, _ action: (() -> Void)?) {
        guard let state = unsafe find(token), unsafe state.pointee.phase.isOpen else { return }
        unsafe state.pointee.onCancel = action
    }

    func attach(_ token: ServerCallToken, _ receiver: ServerCallReceiver) {
        unsafe find(token)?.pointee.receiver = receiver
    }

    // MARK: Answering

    /// Where to encode a message of `size` bytes. Its prefix, and the response's headers if they are due, are written.
    func beginMessage(_ token: ServerCallToken, _ size: Int) -> UnsafeMutablePointer<ByteBuffer>? {
        guard let state = unsafe find(token), unsafe state.pointee.phase.isOpen else { return nil }
        guard size <= limits.maximumMessageSize else {
            finish(token, .failure(.tooLarge(size, limits.maximumMessageSize)))
            return nil
        }
        let connection = unsafe connections[state.pointee.connection]
        guard let output = unsafe loop.output(connection.pointee.id) else { return nil }
        let stream = unsafe state.pointee.stream
        if unsafe !state.pointee.hasHeaders {
            unsafe state.pointee.hasHeaders = true
            unsafe connection.pointee.writer.headers(
                &connection.pointee.session, stream: stream, output: &output.pointee)
        }
        unsafe connection.pointee.pingStrikes = 0
        let count = size + GRPCMessage.prefixSize
        let target: UnsafeMutablePointer<ByteBuffer>
        if unsafe connection.pointee.session.beginData(
            stream, count: count, endStream: false, output: &output.pointee)
        {
            unsafe state.pointee.isPending = false
            unsafe target = output
        } else {
            guard unsafe connection.pointee.session.pendingCount(stream) + count <= limits.maximumQueuedBytes else {
                unsafe abandonSlowReader(token, state, output)
                return nil
            }
            unsafe state.pointee.isPending = true
            guard let buffer = unsafe connection.pointee.session.pendingBuffer(stream) else { return nil }
            unsafe target = buffer
        }
        unsafe target.pointee.append(0)
        unsafe target.pointee.append(bigEndian: UInt32(size))
        return unsafe target
    }

    func endMessage(_ token: ServerCallToken) {
        guard let state = unsafe find(token), unsafe state.pointee.isPending else { return }
        unsafe state.pointee.isPending = false
        let index = unsafe state.pointee.connection
        let connection = unsafe connections[index]
        guard let output = unsafe loop.output(connection.pointee.id) else { return }
        // False: all the calls of the connection hold more than they may, and this one's stream was reset.
        let fits = unsafe connection.pointee.session.pendingAppended(
            state.pointee.stream, endStream: false, now: loop.now, output: &output.pointee)
        unsafe schedulePump(index, connection)
        if !fits { unsafe cancelled(token.call, state) }
    }

    /// Ends a call for the handler. The end goes out at once, or behind the messages that wait.
    func finish(_ token: ServerCallToken, _ end: ServerCallEnd) {
        guard let state = unsafe find(token) else { return }
        guard unsafe state.pointee.phase.isOpen else {
            // The handler of a cancelled call has come to its end.
            if unsafe state.pointee.phase == .cancelled { unsafe release(token.call, state) }
            return
        }
        unsafe state.pointee.onCancel = nil
        let receiver = unsafe state.pointee.receiver
        unsafe state.pointee.receiver = nil
        receiver?.ended()
        let connection = unsafe connections[state.pointee.connection]
        let stream = unsafe state.pointee.stream
        if unsafe connection.pointee.session.pendingCount(stream) > 0 {
            unsafe state.pointee.phase = .ending
            unsafe state.pointee.end = end
            unsafe connection.pointee.session.notifyWhenDrained(stream)
        } else {
            unsafe writeEnd(token.call, state, end)
        }
    }

    private func writeEnd(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>, _ end: ServerCallEnd) {
        let connection = unsafe connections[state.pointee.connection]
        let stream = unsafe state.pointee.stream
        let code = end.code
        let duration = unsafe loop.now &- state.pointee.startedAt
        unsafe metrics.callEnded(method: state.pointee.method, code: code, nanoseconds: duration)
        if code != .ok || duration >= noteFrom { unsafe note(state, code) }
        if let output = unsafe loop.output(connection.pointee.id) {
            let isWhole = unsafe connection.pointee.session.isRemoteEnded(stream)
            unsafe connection.pointee.pingStrikes = 0
            unsafe connection.pointee.writer.end(
                end, hasHeaders: state.pointee.hasHeaders, &connection.pointee.session, stream: stream,
                output: &output.pointee)
            // The client is still sending: it is told to stop (RFC 9113 §8.1).
            if !isWhole {
                unsafe connection.pointee.session.reset(stream, .noError, now: loop.now, output: &output.pointee)
            }
        }
        unsafe remove(call, state)
        unsafe closeIfDrained(connection)
    }

    /// A slow reader's queue is full: what waits is dropped, the client sees RESOURCE_EXHAUSTED.
    private func abandonSlowReader(
        _ token: ServerCallToken, _ state: UnsafeMutablePointer<ServerCallState>,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        let connection = unsafe connections[state.pointee.connection]
        unsafe connection.pointee.session.reset(
            state.pointee.stream, .enhanceYourCalm, now: loop.now, output: &output.pointee)
        unsafe cancelled(token.call, state)
    }

    // MARK: Ending early

    /// The call that a stream has in its context, if it has not ended: generation and place, 0 for none.
    @inline(__always)
    func call(_ context: UInt64) -> UInt32? {
        let call = UInt32(truncatingIfNeeded: context)
        return isCurrent(call, UInt32(truncatingIfNeeded: context >> 32)) ? call : nil
    }

    /// The client reset the stream, the deadline passed, or the connection is lost.
    func cancel(_ call: UInt32, sendsReset: Bool) {
        let state = unsafe calls[call]
        if sendsReset {
            let connection = unsafe connections[state.pointee.connection]
            if let output = unsafe loop.output(connection.pointee.id) {
                unsafe connection.pointee.session.reset(
                    state.pointee.stream, .cancel, now: loop.now, output: &output.pointee)
            }
        }
        unsafe cancelled(call, state)
    }

    /// The stream is gone. A handler that can hear of it is told; a unary handler that can not still works, and its call
    /// counts as an open stream until it answers: else resetting would buy more work than MAX_CONCURRENT_STREAMS allows.
    private func cancelled(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>) {
        // It was counted when its stream ended.
        if unsafe state.pointee.phase == .cancelled { return unsafe release(call, state) }
        let action = unsafe state.pointee.onCancel
        unsafe metrics.callEnded(
            method: state.pointee.method, code: .cancelled, nanoseconds: loop.now &- state.pointee.startedAt)
        unsafe note(state, .cancelled)
        let stillRuns = unsafe state.pointee.phase == .running && state.pointee.receiver == nil && action == nil
        let connection = unsafe connections[state.pointee.connection]
        if unsafe stillRuns && !connection.pointee.isClosing {
            unsafe state.pointee.phase = .cancelled
            unsafe connection.pointee.session.hold()
            return
        }
        unsafe remove(call, state)
        action?()
        unsafe closeIfDrained(connection)
    }

    /// The handler of a cancelled call is done.
    private func release(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>) {
        let connection = unsafe connections[state.pointee.connection]
        unsafe connection.pointee.session.unhold()
        unsafe remove(call, state)
        unsafe closeIfDrained(connection)
    }

    /// Puts a new call in front of its connection's calls.
    func link(
        _ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>,
        _ connection: UnsafeMutablePointer<ServerConnection>
    ) {
        let first = unsafe connection.pointee.firstCall
        unsafe state.pointee.next = first
        if first != UInt32.max { unsafe calls[first].pointee.previous = call }
        unsafe connection.pointee.firstCall = call
    }

    private func unlink(_ state: UnsafeMutablePointer<ServerCallState>) {
        let next = unsafe state.pointee.next
        let previous = unsafe state.pointee.previous
        if next != UInt32.max { unsafe calls[next].pointee.previous = previous }
        if previous != UInt32.max {
            unsafe calls[previous].pointee.next = next
        } else {
            unsafe connections[state.pointee.connection].pointee.firstCall = next
        }
    }

    private func remove(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>) {
        unsafe unlink(state)
        let timer = unsafe state.pointee.timer
        if timer != .none { loop.cancel(timer) }
        let receiver = unsafe state.pointee.receiver
        calls.remove(call)
        receiver?.ended()
    }

    // MARK: Deadlines

    /// Arms the timer of a call that was not answered at once.
    func armDeadline(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>) {
        guard unsafe state.pointee.deadline != 0 && state.pointee.timer == .none else { return }
        let now = loop.now
        let delay = unsafe state.pointee.deadline > now ? state.pointee.deadline - now : 0
        unsafe state.pointee.timer = loop.schedule(
            after: delay, timers, UInt64(state.pointee.generation) << 32 | UInt64(call))
    }

    func deadlinePassed(_ call: UInt32, _ generation: UInt32) {
        guard isCurrent(call, generation) else { return }
        let state = unsafe calls[call]
        unsafe state.pointee.timer = .none
        switch unsafe state.pointee.phase {
        case .cancelled:
            unsafe release(call, state)
        case .ending:
            cancel(call, sendsReset: true)
        case .receiving, .running:
            let action = unsafe state.pointee.onCancel
            let token = unsafe token(call, state)
            finish(token, .failure(RPCError(code: .deadlineExceeded, message: "the deadline has passed")))
            action?()
        }
    }

    // MARK: Flow control

    func pauseReading(_ token: ServerCallToken) {
        unsafe find(token)?.pointee.isPaused = true
    }

    func resumeReading(_ token: ServerCallToken) {
        guard let state = unsafe find(token), unsafe state.pointee.isPaused else { return }
        unsafe state.pointee.isPaused = false
        unsafe deliver(token.call, state)
    }

    /// The pending bytes of a call have left.
    func drained(_ call: UInt32) {
        let state = unsafe calls[call]
        if unsafe state.pointee.phase == .ending, let end = unsafe state.pointee.end {
            unsafe state.pointee.end = nil
            return unsafe writeEnd(call, state, end)
        }
        if unsafe state.pointee.wantsWritable {
            unsafe state.pointee.wantsWritable = false
            let receiver = unsafe state.pointee.receiver
            receiver?.becameWritable()
        }
    }
}

extension ServerCallState.Phase {
    /// Whether the handler may still answer.
    var isOpen: Bool { self == .receiving || self == .running }
}
