import Bytes
import HTTP2
import Reactor

// The streams of calls: opening, sending, giving up.
extension ClientConnections {
    /// Tries to open a stream for a call.
    func open(_ call: ClientCall, on index: UInt32) -> Result<Void, HTTP2Session.OpenFailure> {
        let connection = unsafe connections[index]
        guard unsafe connection.pointee.isReady && !connection.pointee.isClosing && !connection.pointee.isGoingAway,
            let output = unsafe loop.output(connection.pointee.id)
        else { return .failure(.exhausted) }
        switch unsafe connection.pointee.session.open(context: Self.context(call.place)) {
        case .failure(let failure):
            if failure == .exhausted { unsafe retire(index, connection) }
            return .failure(failure)
        case .success(let stream):
            unsafe writeHeaders(call, connection, stream, &output.pointee)
            call.opened(connection: index, stream: stream)
            return .success(())
        }
    }

    private func writeHeaders(
        _ call: ClientCall, _ connection: UnsafeMutablePointer<ClientConnection>, _ stream: HTTP2StreamHandle,
        _ output: inout ByteBuffer
    ) {
        let start = unsafe connection.pointee.session.beginHeaders(output: &output)
        // :method POST and :scheme http are in the static table.
        unsafe connection.pointee.session.encoder.encode(staticIndex: 3, into: &output)
        unsafe connection.pointee.session.encoder.encode(
            staticIndex: loop.isTLS(connection.pointee.id) ? 7 : 6, into: &output)
        unsafe connection.pointee.paths.encode(
            call.path, &connection.pointee.session.encoder, into: &output)
        unsafe authority.withUnsafeBytes {
            unsafe connection.pointee.session.encoder.encode(
                .authority, $0, remembered: &connection.pointee.authority, into: &output)
        }
        unsafe connection.pointee.session.encoder.encode(
            "te", "trailers", remembered: &connection.pointee.te, into: &output)
        unsafe connection.pointee.session.encoder.encode(
            "content-type", "application/grpc", remembered: &connection.pointee.contentType, into: &output)
        unsafe connection.pointee.session.encoder.encode(
            "user-agent", "grpc-swift-cabstand/1", remembered: &connection.pointee.userAgent, into: &output)
        if call.deadline != 0 {
            let now = loop.now
            let text = GRPCTimeout(call.deadline > now ? call.deadline - now : 1)
            unsafe text.withUnsafeBytes {
                unsafe connection.pointee.session.encoder.encode(.grpcTimeout, $0, .none, into: &output)
            }
        }
        if !call.options.metadata.isEmpty {
            unsafe call.options.metadata.encode(&connection.pointee.session.encoder, into: &output)
        }
        unsafe connection.pointee.session.endHeaders(start, stream: stream, endStream: false, output: &output)
    }

    @inline(__always)
    func call(_ place: UInt32) -> ClientCall? {
        calls.isUsed(place) ? unsafe calls[place].pointee : nil
    }

    /// What a stream keeps: its call's place, and a bit that says that there is one.
    private static func context(_ place: UInt32) -> UInt64 { 1 << 32 | UInt64(place) }

    @inline(__always)
    func call(context: UInt64) -> ClientCall? {
        context == 0 ? nil : call(UInt32(truncatingIfNeeded: context))
    }

    /// False: the stream was reset, since the connection holds more than it may.
    func send(_ call: ClientCall, _ bytes: UnsafeRawBufferPointer, endStream: Bool) -> Bool {
        let connection = unsafe connections[call.connection]
        guard let output = unsafe loop.output(connection.pointee.id) else { return true }
        if unsafe bytes.count > 0
            && connection.pointee.session.beginData(
                call.stream, count: bytes.count, endStream: endStream, output: &output.pointee)
        {
            unsafe output.pointee.append(bytes)
            return true
        }
        guard let buffer = unsafe connection.pointee.session.pendingBuffer(call.stream) else { return true }
        unsafe buffer.pointee.append(bytes)
        let fits = unsafe connection.pointee.session.pendingAppended(
            call.stream, endStream: endStream, now: loop.now, output: &output.pointee)
        unsafe schedulePump(call.connection, connection)
        return fits
    }

    func pendingCount(_ call: ClientCall) -> Int {
        unsafe connections[call.connection].pointee.session.pendingCount(call.stream)
    }

    func notifyWhenDrained(_ call: ClientCall) {
        unsafe connections[call.connection].pointee.session.notifyWhenDrained(call.stream)
    }

    func consumed(_ call: ClientCall, _ count: Int) {
        let connection = unsafe connections[call.connection]
        guard let output = unsafe loop.output(connection.pointee.id) else { return }
        unsafe connection.pointee.session.consumed(call.stream, count, output: &output.pointee)
    }

    /// This side gives a call up.
    func reset(_ call: ClientCall, _ code: HTTP2ErrorCode) {
        let connection = unsafe connections[call.connection]
        if let output = unsafe loop.output(connection.pointee.id) {
            unsafe connection.pointee.session.reset(call.stream, code, now: loop.now, output: &output.pointee)
        }
        call.hasStream = false
        unsafe closeIfDone(connection)
    }

    /// The server has ended a call. If this side has not, the rest of its stream is of no use any more.
    func ended(_ call: ClientCall, isHalfClosed: Bool) {
        let connection = unsafe connections[call.connection]
        if unsafe !isHalfClosed || connection.pointee.session.pendingCount(call.stream) > 0,
            let output = unsafe loop.output(connection.pointee.id)
        {
            unsafe connection.pointee.session.reset(call.stream, .noError, now: loop.now, output: &output.pointee)
        }
        call.hasStream = false
    }
}
