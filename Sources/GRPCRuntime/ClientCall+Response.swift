import Bytes
import HTTP2

// The server's side of a call: headers, messages, the end.
extension ClientCall {
    /// The response's headers; with `endStream` it is Trailers-Only.
    func receiveHeaders(_ headers: borrowing HPACKDecoder, endStream: Bool) {
        hasHeaders = true
        keepsRequest = false
        dropRequest()
        let head = ResponseHead(headers)
        httpStatus = head.status
        if endStream {
            remoteEnded = true
            return complete(head.outcome(status: httpStatus))
        }
        // A copy: passed on itself, the property would be checked for exclusive access wherever it is used.
        var agreed = compression
        let problem = head.problem(&agreed)
        compression = agreed
        if let problem { return abort(problem, .cancel) }
        if !head.metadata.isEmpty { keepMetadata(\.initial, head.metadata) }
    }

    func receiveTrailers(_ headers: borrowing HPACKDecoder) {
        remoteEnded = true
        let head = ResponseHead(headers)
        if !head.metadata.isEmpty { keepMetadata(\.trailing, head.metadata) }
        complete(head.outcome(status: httpStatus))
    }

    private func keepMetadata(_ part: ReferenceWritableKeyPath<ReceivedMetadata, Metadata>, _ metadata: Metadata) {
        let received = received ?? ReceivedMetadata()
        received[keyPath: part] = metadata
        self.received = received
    }

    /// A part of the body. `bytes` lie in the receive buffer.
    func receiveData(_ bytes: UnsafeRawBufferPointer, endStream: Bool) {
        unconsumed += bytes.count
        var left = unsafe bytes
        if rest == nil && hold.isEmpty && !isDelivering {
            // The usual case: whole messages, delivered where they lie.
            isDelivering = true
            while phase == .open && hold.isEmpty,
                let message = unsafe GRPCMessage.takeWhole(
                    &left, limit: channel.options.maximumMessageSize)
            {
                if let problem = unsafe take(message) { abort(problem, .cancel) }
            }
            isDelivering = false
        }
        guard phase == .open else { return }
        if left.count > 0 { unsafe keep(left) }
        deliver()
        guard endStream, phase == .open else { return }
        remoteEnded = true
        complete(RPCError(code: .internal, message: "the server ended the stream without grpc-status"))
    }

    /// Bytes that can't be delivered yet.
    private func keep(_ bytes: UnsafeRawBufferPointer) {
        let rest = rest ?? channel.transport.buffers.take()
        if rest.count == 0 { messageSince = channel.loop.now }
        unsafe rest.cell.value.append(bytes)
        self.rest = rest
    }

    /// A whole message.
    @inline(__always)
    private func take(_ message: UnsafeRawBufferPointer) -> RPCError? {
        if let onMessage = unsafe self.onMessage { return unsafe onMessage(message) }
        guard self.answer == nil else {
            return RPCError(code: .internal, message: "the server answered a unary call with more than one message")
        }
        let answer = channel.transport.buffers.take()
        unsafe answer.cell.value.append(message)
        self.answer = answer
        return nil
    }

    /// Delivers whole messages, unless the call is paused.
    private func deliver() {
        guard !isDelivering else { return }
        isDelivering = true
        defer { isDelivering = false }
        while hold.isEmpty && phase == .open {
            var message = ByteBuffer()
            var start = GRPCMessage.prefixSize
            if !compression.contains(.inflating) {
                guard let rest else { break }
                if rest.count >= GRPCMessage.prefixSize {
                    let length = unsafe rest.cell.value.withUnsafeBytes { unsafe GRPCMessage.length($0) }
                    if length > channel.options.maximumMessageSize {
                        return abort(.tooLarge(length, channel.options.maximumMessageSize), .cancel)
                    }
                }
                let size = unsafe rest.cell.value.withUnsafeBytes { unsafe GRPCMessage.wholeSize($0) }
                guard size > 0 else { break }
                // The receiver may do anything with the call, so the message leaves the buffer first.
                take(size, of: rest, into: &message)
            }
            if compression.contains(.inflating) || message[0] != 0 {
                guard inflate(&message) else { break }
                start = 0
            }
            let problem = unsafe message.withUnsafeBytes {
                unsafe take(UnsafeRawBufferPointer(rebasing: $0[start...]))
            }
            if let problem { return abort(problem, .cancel) }
            // Messages that are not compressed are mostly delivered without coming here.
            if unsafe onMessage != nil { compression.remove(.wasCompressed) }
        }
        guard phase == .open else { return }
        guard accountForAnswer() else { return abort(.tooMuchHeld(channel.options.maximumHeldBytes), .cancel) }
        if hold.isEmpty && unconsumed > 0 {
            if hasStream && !remoteEnded { channel.transport.consumed(self, unconsumed) }
            unconsumed = 0
        }
        if hold.isEmpty, let end = heldEnd {
            heldEnd = nil
            complete(end)
        }
    }

    /// Takes the first message, of `size` bytes with its prefix, out of what has come.
    private func take(_ size: Int, of rest: PooledBuffer, into message: inout ByteBuffer) {
        guard rest.count > size else {
            swap(&message, &rest.cell.value)
            channel.transport.buffers.giveBack(rest)
            self.rest = nil
            return
        }
        unsafe rest.cell.value.withUnsafeBytes { unsafe message.append(UnsafeRawBufferPointer(rebasing: $0[..<size])) }
        rest.cell.value.consume(size)
        messageSince = channel.loop.now
    }

    /// Takes a message out of gzip, or goes on with it: `message` has its prefix, or nothing when it goes on; then what came out.
    ///
    /// - Returns: false: it goes on in the next turn, or the call has ended.
    private func inflate(_ message: inout ByteBuffer) -> Bool {
        let begins = !compression.contains(.inflating)
        if begins {
            guard compression.contains(.incoming), message[0] == 1 else {
                abort(.compressed, .cancel)
                return false
            }
            compression.insert(.inflating)
        }
        switch channel.transport.inflate(&message, of: name, begins: begins) {
        case .whole:
            compression.remove(.inflating)
            compression.insert(.wasCompressed)
            return true
        case .unfinished:
            hold.insert(.inflating)
        case .failed(let error):
            compression.remove(.inflating)
            abort(error, .cancel)
        }
        return false
    }

    func goOnInflating() {
        hold.remove(.inflating)
        deliver()
    }

    /// Counts what the call keeps of its answer. False: the connection's calls keep too much.
    private func accountForAnswer() -> Bool {
        guard hasStream else { return true }
        var bytes = (rest?.capacity ?? 0) + (answer?.capacity ?? 0)
        if compression.contains(.inflating) { bytes += channel.transport.compressor.held(name.token) }
        return bytes == held || channel.transport.account(self, bytes)
    }

    /// A message of the answer is half there, and nobody but the server is waited for.
    var owesMessage: Bool { phase == .open && hold.isEmpty && rest != nil }

    /// Until when it must be whole: its bytes earn time.
    func messageDeadline(_ patience: UInt64) -> UInt64 {
        let earned = UInt64(clamping: rest?.count ?? 0) &* (1_000_000_000 / UInt64(GRPCLimits.minimumRate))
        return messageSince.after(patience).after(earned)
    }

    /// The server has ended the call.
    private func complete(_ error: RPCError?) {
        guard phase == .open else { return }
        if !hold.isEmpty && (hold.contains(.inflating) || rest != nil) {
            heldEnd = .some(error)
            channel.transport.ended(self, isHalfClosed: isHalfClosed)
            return
        }
        if error == nil && rest != nil { return finishFromServer(.truncated) }
        finishFromServer(error)
    }

    private func finishFromServer(_ error: RPCError?) {
        if hasStream { channel.transport.ended(self, isHalfClosed: isHalfClosed) }
        let lacksMessage = unsafe onMessage == nil && answer == nil
        if error == nil && lacksMessage {
            return finish(RPCError(code: .internal, message: "the server answered OK without a message"))
        }
        // The server's end comes from the network, not from inside a call of the caller's: it is told at once.
        finish(error, isDeferred: isDelivering)
    }

    @usableFromInline
    func pauseReading() { hold.insert(.paused) }

    @usableFromInline
    func resumeReading() {
        guard hold.contains(.paused) else { return }
        hold.remove(.paused)
        messageSince = channel.loop.now
        deliver()
    }
}
