import Bytes
import HTTP2
import Memory
import Reactor

// Messages in gzip. Calls without compression do not come here.
extension ClientConnections {
    /// The fields that say what a call's messages are in, and its answer's may be.
    func writeEncodings(
        _ compression: CallCompression, _ connection: Place<ClientConnection>, _ output: inout ByteBuffer
    ) {
        if compression.contains(.outgoing) {
            connection.value.session.encoder.encode("grpc-encoding", "gzip", .table, into: &output)
        }
        if compression.contains(.accepted) {
            connection.value.session.encoder.encode(
                "grpc-accept-encoding", MessageCompression.accepted, .table, into: &output)
        }
    }

    /// Takes a message of a call's answer out of gzip, or goes on with it. What this turn has no time for is done in the next.
    func inflate(_ message: inout ByteBuffer, of call: Handle<ClientCall>, begins: Bool) -> Inflation.Outcome {
        let outcome = compressor.inflate(
            &message, of: call.token, begins: begins, limit: options.maximumMessageSize, now: loop.now
        ) { [loop] in loop.isTurnSpent(after: EventLoop.effortPerClock) }
        if case .unfinished = outcome {
            late.append(call)
            goOnLater()
        }
        return outcome
    }

    private func goOnLater() {
        if hasLateTimer { return }
        hasLateTimer = true
        loop.schedule(after: 0) { [self] in
            hasLateTimer = false
            goOn()
        }
    }

    /// Call by call, as far as this turn goes.
    private func goOn() {
        compressor.turnBegan(loop.now)
        let due = late
        late = []
        for (index, name) in due.enumerated() {
            calls.find(name)?.value.goOnInflating()
            if compressor.isSpent || loop.isTurnSpent() {
                // A message that is half out of gzip goes on before others begin: else all would be kept half.
                late += due[(index + 1)...]
                break
            }
        }
        if !late.isEmpty { goOnLater() }
    }
}

extension ClientCall {
    /// Nil until the headers have come.
    var initialMetadata: Metadata? { hasHeaders ? received?.initial ?? Metadata() : nil }
    var trailers: Metadata { received?.trailing ?? Metadata() }
}
