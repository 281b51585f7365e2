import Bytes
import HTTP2
import Memory
import Reactor

// From DATA to messages.
extension ServerConnections {
    /// A part of a call's body. `bytes` lie in the receive buffer.
    func receive(
        _ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, _ stream: HTTP2StreamHandle,
        _ bytes: UnsafeRawBufferPointer, _ endStream: Bool, _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        let name = name(connection.value.session.context(stream))
        guard let call = calls.find(name) else {
            // A request that was refused with 405 or 415 while its body was on the way.
            return unsafe connection.value.session.consumed(stream, bytes.count, output: &output.pointee)
        }
        if endStream { call.value.remoteEnded = true }
        guard call.value.phase == .receiving else {
            if call.value.phase == .intercepted { return unsafe keepForLater(name, call, bytes) }
            // The handler has ended the call, its end waits for room: what the client still sends is dropped.
            return unsafe connection.value.session.consumed(stream, bytes.count, output: &output.pointee)
        }
        if case .oneRequest(let dispatch) = methods[call.value.method].kind {
            // The usual case: one frame with one whole message.
            if endStream, call.value.body.isEmpty, bytes.count >= GRPCMessage.prefixSize,
                unsafe GRPCMessage.isWhole(bytes), bytes.count <= limits.maximumMessageSize + GRPCMessage.prefixSize
            {
                call.value.phase = .running
                connection.value.incomplete &-= 1
                unsafe dispatch(
                    UnsafeRawBufferPointer(rebasing: bytes[GRPCMessage.prefixSize...]),
                    ServerCallToken(server: self, call: name))
                return armDeadline(name)
            }
            unsafe call.value.body.append(bytes)
            let mayBeGzip = call.value.compression.contains(.incoming)
            if let problem = unsafe call.value.body.withUnsafeBytes({ unsafe oneMessageProblem($0, mayBeGzip) }) {
                return interrupt(name, problem)
            }
            if let problem = keep(name, call) { return interrupt(name, problem) }
            if endStream {
                unsafe dispatchWhole(name, call, dispatch)
            } else {
                unsafe connection.value.session.consumed(stream, bytes.count, output: &output.pointee)
                armDeadline(name)
                watch(connection)
            }
            return
        }
        call.value.unconsumed += bytes.count
        var rest = unsafe bytes
        if call.value.body.isEmpty, call.value.hold.isEmpty, !call.value.isDelivering {
            // The usual case: whole messages, delivered where they lie.
            call.value.isDelivering = true
            call.value.compression.remove(.wasCompressed)
            while call.value.hold.isEmpty, call.value.phase == .receiving,
                let message = unsafe GRPCMessage.takeWhole(&rest, limit: limits.maximumMessageSize)
            {
                let receiver = call.value.receiver
                unsafe receiver?.receive(message)
                guard calls.contains(name) else { return }
                choke(call)
                if loop.isTurnSpent() { postpone(name, call) }
            }
            call.value.isDelivering = false
        }
        if rest.count > 0 {
            if call.value.body.isEmpty { call.value.messageSince = loop.now }
            unsafe call.value.body.append(rest)
        }
        deliver(name, call)
    }

    /// The whole body of a call with one request message has come in several parts.
    private func dispatchWhole(
        _ name: Handle<ServerCall>, _ call: Place<ServerCall>,
        _ dispatch: (UnsafeRawBufferPointer, ServerCallToken) -> Void
    ) {
        guard call.value.phase == .receiving else { return }
        var body = ByteBuffer()
        var start = GRPCMessage.prefixSize
        swap(&body, &call.value.body)
        if !call.value.compression.contains(.inflating) {
            guard unsafe body.withUnsafeBytes({ unsafe GRPCMessage.wholeSize($0) == $0.count && $0.count > 0 }) else {
                return interrupt(name, unsafe body.withUnsafeBytes { unsafe GRPCMessage.problem($0) })
            }
        }
        if call.value.compression.contains(.inflating) || body[0] != 0 {
            guard inflate(&body, name, call) else { return armDeadline(name) }
            start = 0
        }
        account(call, call.value.metadata.capacity)
        leaveReceiving(call)
        unsafe body.withUnsafeBytes { bytes in
            unsafe dispatch(
                UnsafeRawBufferPointer(rebasing: bytes[start...]), ServerCallToken(server: self, call: name))
        }
        armDeadline(name)
    }

    /// Why what has come of a body can't become exactly one message, said as soon as it is known: else what follows a short
    /// message would be kept without a bound.
    private func oneMessageProblem(_ body: UnsafeRawBufferPointer, _ mayBeGzip: Bool) -> RPCError? {
        guard body.count > 0 else { return nil }
        if unsafe body[0] != 0, unsafe !mayBeGzip || body[0] != 1 { return .compressed }
        guard body.count >= GRPCMessage.prefixSize else { return nil }
        let length = unsafe GRPCMessage.length(body)
        if length > limits.maximumMessageSize { return .tooLarge(length, limits.maximumMessageSize) }
        return body.count > length + GRPCMessage.prefixSize ? unsafe GRPCMessage.problem(body) : nil
    }

    /// Counts what a call keeps now. An error: its connection keeps too much.
    func keep(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) -> RPCError? {
        var bytes = call.value.body.capacity + call.value.metadata.capacity
        if call.value.compression.contains(.inflating) {
            bytes += compressor.held(name.token)
        }
        account(call, bytes)
        guard let connection = connections.find(call.value.connection),
            connection.value.account > limits.maximumHeldBytes, call.value.held > 0
        else { return nil }
        return .tooMuchHeld(limits.maximumHeldBytes)
    }

    private func sizeProblem(_ body: borrowing ByteBuffer) -> RPCError? {
        guard body.count >= GRPCMessage.prefixSize else { return nil }
        let length = unsafe body.withUnsafeBytes { unsafe GRPCMessage.length($0) }
        return length > limits.maximumMessageSize ? .tooLarge(length, limits.maximumMessageSize) : nil
    }

    /// Delivers the whole messages of a streaming call, and its end.
    func deliver(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        guard !call.value.isDelivering else { return }
        call.value.isDelivering = true
        while call.value.hold.isEmpty, call.value.phase == .receiving {
            var message = ByteBuffer()
            var start = GRPCMessage.prefixSize
            if !call.value.compression.contains(.inflating) {
                if let problem = sizeProblem(call.value.body) { return interrupt(name, problem) }
                let size = unsafe call.value.body.withUnsafeBytes { unsafe GRPCMessage.wholeSize($0) }
                guard size > 0 else {
                    guard call.value.remoteEnded else { break }
                    if !call.value.body.isEmpty { return interrupt(name, .truncated) }
                    call.value.phase = .running
                    let receiver = call.value.receiver
                    receiver?.receiveEnd()
                    guard calls.contains(name) else { return }
                    break
                }
                // The message leaves the call's buffer before the handler runs: the handler may end the call.
                take(size, of: call, into: &message)
            }
            if call.value.compression.contains(.inflating) || message[0] != 0 {
                guard inflate(&message, name, call) else { break }
                start = 0
            }
            let receiver = call.value.receiver
            unsafe message.withUnsafeBytes {
                unsafe receiver?.receive(UnsafeRawBufferPointer(rebasing: $0[start...]))
            }
            guard calls.contains(name) else { return }
            choke(call)
            if loop.isTurnSpent() { postpone(name, call) }
        }
        call.value.isDelivering = false
        guard call.value.phase == .receiving else { return }
        if let problem = keep(name, call) { return interrupt(name, problem) }
        if !call.value.body.isEmpty, let connection = connections.find(call.value.connection) { watch(connection) }
        giveBack(call)
    }

    /// Takes the first message, of `size` bytes with its prefix, out of a call's body.
    private func take(_ size: Int, of call: Place<ServerCall>, into message: inout ByteBuffer) {
        call.value.compression.remove(.wasCompressed)
        guard call.value.body.count > size else { return swap(&message, &call.value.body) }
        unsafe call.value.body.withUnsafeBytes { unsafe message.append(UnsafeRawBufferPointer(rebasing: $0[..<size])) }
        call.value.body.consume(size)
        call.value.messageSince = loop.now
    }

    /// Answers of a call wait for room: it takes no more questions until they have left.
    @inline(__always)
    private func choke(_ call: Place<ServerCall>) {
        guard call.value.head.isOut, call.value.phase == .receiving,
            let connection = connections.find(call.value.connection),
            connection.value.session.pendingCount(call.value.stream) >= limits.writableBelow
        else { return }
        call.value.hold.insert(.choked)
        connection.value.session.notifyWhenDrained(call.value.stream)
    }

    /// Reports the bytes that were taken to flow control, unless the call is held.
    private func giveBack(_ call: Place<ServerCall>) {
        let count = call.value.unconsumed
        guard count > 0, call.value.hold.isEmpty, !call.value.remoteEnded else { return }
        guard let connection = connections.find(call.value.connection), connection.value.phase != .closing,
            let output = unsafe loop.output(connection.value.id)
        else { return }
        call.value.unconsumed = 0
        unsafe connection.value.session.consumed(call.value.stream, count, output: &output.pointee)
    }

    // MARK: Holding

    /// The rest of a call's messages is delivered in the next turn.
    func postpone(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        guard call.value.phase == .receiving, !call.value.hold.contains(.late) else { return }
        call.value.hold.insert(.late)
        late.append(name.token)
        scheduleWork()
    }

    /// Delivers what was postponed, call by call, as far as this turn goes.
    func deliverLate() {
        let count = late.count
        var done = 0
        compressor.turnBegan(loop.now)
        while done < count {
            let name = Handle<ServerCall>(token: late[done])
            done += 1
            letGo(name, .late)
            guard compressor.isSpent || loop.isTurnSpent() else { continue }
            // A message that is half out of gzip goes on before others begin: else all would be kept half.
            if late.count > count, late[late.count - 1] == name.token,
                calls.find(name)?.value.compression.contains(.inflating) == true
            {
                late.removeLast()
                done -= 1
            }
            break
        }
        late.removeFirst(done)
        if !late.isEmpty { scheduleWork() }
    }

    func pauseReading(_ name: Handle<ServerCall>) {
        calls.find(name)?.value.hold.insert(.paused)
    }

    func resumeReading(_ name: Handle<ServerCall>) { letGo(name, .paused) }

    /// A reason to hold messages back is over: those that were kept are delivered.
    func letGo(_ name: Handle<ServerCall>, _ reason: ServerCall.Hold) {
        guard let call = calls.find(name), call.value.hold.contains(reason) else { return }
        call.value.hold.remove(reason)
        if !call.value.body.isEmpty { call.value.messageSince = loop.now }
        if case .oneRequest(let dispatch) = methods[call.value.method].kind {
            unsafe dispatchWhole(name, call, dispatch)
        } else {
            deliver(name, call)
        }
    }
}
