import Bytes
import HTTP2
import Memory
import Reactor

// Messages in gzip. Calls without compression do not come here.
extension ServerConnections {
    /// A draft that has grown beyond this gives its memory back. Bytes.
    private static let maximumDraft = 64 << 10

    // MARK: Requests

    /// Takes a request message out of gzip, or goes on with it.
    ///
    /// - Parameter message: with its prefix, or nothing when it goes on; then what came out.
    /// - Returns: false: it goes on in the next turn, or the call has ended.
    func inflate(_ message: inout ByteBuffer, _ name: Handle<ServerCall>, _ call: Place<ServerCall>) -> Bool {
        let begins = !call.value.compression.contains(.inflating)
        if begins {
            guard call.value.compression.contains(.incoming), message[0] == 1 else {
                interrupt(name, .compressed)
                return false
            }
            call.value.compression.insert(.inflating)
            state.value.attaches = true
        }
        let outcome = compressor.inflate(
            &message, of: name.token, begins: begins, limit: limits.maximumMessageSize, now: loop.now
        ) { [loop] in loop.isTurnSpent(after: EventLoop.effortPerClock) }
        switch outcome {
        case .whole:
            call.value.compression.remove(.inflating)
            call.value.compression.insert(.wasCompressed)
            metrics.inflated(message.count)
            return true
        case .unfinished:
            postpone(name, call)
            if let problem = keep(name, call) { interrupt(name, problem) }
        case .failed(let error):
            call.value.compression.remove(.inflating)
            interrupt(name, error)
        }
        return false
    }

    func requestWasCompressed(_ name: Handle<ServerCall>) -> Bool {
        calls.find(name)?.value.compression.contains(.wasCompressed) ?? false
    }

    // MARK: Answers

    /// Sends the response's headers, unless they have gone out.
    func sendHeaders(_ name: Handle<ServerCall>, _ metadata: Metadata, _ compression: MessageCompression) {
        guard let call = calls.find(name), call.value.phase.isOpen, !call.value.head.isOut,
            let connection = connections.find(call.value.connection), connection.value.phase != .closing,
            let output = unsafe loop.output(connection.value.id)
        else { return }
        guard metadata.encodedSize <= GRPCLimits.maximumTrailers else {
            return interrupt(
                name, RPCError(code: .resourceExhausted, message: "the answer's metadata are too large"))
        }
        let isAccepted = call.value.compression.contains(.accepted)
        let compresses = compression == .gzip && isAccepted
        let discloses = call.value.head == .disclosing
        call.value.head = compresses ? .compressing : .plain
        unsafe connection.value.writer.headers(
            metadata, disclosing: discloses, compressing: compresses, &connection.value.session,
            stream: call.value.stream, output: &output.pointee)
    }

    func skipCompression(_ name: Handle<ServerCall>) {
        calls.find(name)?.value.compression.insert(.skipsNext)
    }

    /// Where a message is encoded that is to be compressed.
    func beginDraft(_ call: Place<ServerCall>) -> UnsafeMutablePointer<ByteBuffer> {
        call.value.target = .draft
        draft.value.removeAll()
        // Proof: the cell lives as long as this object, which the caller uses until `endMessage`.
        return unsafe withUnsafeMutablePointer(to: &draft.value) { unsafe $0 }
    }

    /// Compresses and sends what was encoded into the draft.
    func sendDraft(_ name: Handle<ServerCall>, _ call: Place<ServerCall>) {
        call.value.target = .output
        let skips = call.value.compression.contains(.skipsNext)
        call.value.compression.remove(.skipsNext)
        unsafe draft.value.withUnsafeBytes { message in
            var packed = ByteBuffer()
            guard !skips, unsafe compressor.deflate(message, into: &packed) else {
                return unsafe send(0, message, name, call)
            }
            metrics.saved(message.count - packed.count)
            unsafe packed.withUnsafeBytes { unsafe send(1, $0, name, call) }
        }
        if draft.value.capacity > Self.maximumDraft { draft.value.release() }
    }

    private func send(
        _ flag: UInt8, _ bytes: UnsafeRawBufferPointer, _ name: Handle<ServerCall>, _ call: Place<ServerCall>
    ) {
        guard let connection = connections.find(call.value.connection), connection.value.phase != .closing,
            let output = unsafe loop.output(connection.value.id),
            let target = unsafe place(bytes.count, name, call, connection, output)
        else { return }
        unsafe target.pointee.append(flag)
        unsafe target.pointee.append(bigEndian: UInt32(truncatingIfNeeded: bytes.count))
        unsafe target.pointee.append(bytes)
        if call.value.target == .pending { endPending(name, call) }
    }
}
