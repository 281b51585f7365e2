import Bytes
import HTTP2
import Memory
import Reactor

// The streams of calls: opening, sending, giving up.
extension ClientConnections {
    /// Tries to open a stream for a call.
    func open(_ call: ClientCall, on handle: Handle<ClientConnection>) -> Bool {
        guard let connection = connections.find(handle), connection.value.phase == .ready,
            let output = unsafe loop.output(connection.value.id)
        else { return false }
        switch connection.value.session.open(context: call.name.token) {
        case .failure(let failure):
            if failure == .exhausted { retire(handle, connection) }
            return false
        case .success(let stream):
            unsafe writeHeaders(call, connection, stream, &output.pointee)
            attach(call, handle, connection, stream)
            call.opened()
            return true
        }
    }

    /// A call has a stream: it is in the connection's list until `detach`.
    private func attach(
        _ call: ClientCall, _ handle: Handle<ClientConnection>, _ connection: Place<ClientConnection>,
        _ stream: HTTP2StreamHandle
    ) {
        call.connection = handle
        call.stream = stream
        let first = connection.value.firstCall
        call.next = first
        call.previous = .none
        calls.find(first)?.value.previous = call.name
        connection.value.firstCall = call.name
    }

    /// A call has no stream any more. False: it had none.
    @discardableResult
    func detach(_ call: ClientCall) -> Bool {
        guard call.hasStream else { return false }
        let next = call.next
        let previous = call.previous
        calls.find(next)?.value.previous = previous
        let connection = connections.find(call.connection)
        if let before = calls.find(previous)?.value {
            before.next = next
        } else {
            connection?.value.firstCall = next
        }
        if call.held > 0 {
            connection?.value.held -= call.held
            call.channel.metrics.addHeld(-call.held)
            call.held = 0
        }
        call.connection = .none
        call.next = .none
        call.previous = .none
        return true
    }

    private func writeHeaders(
        _ call: ClientCall, _ connection: Place<ClientConnection>, _ stream: HTTP2StreamHandle,
        _ output: inout ByteBuffer
    ) {
        let start = connection.value.session.beginHeaders(output: &output)
        // :method POST and :scheme http are in the static table.
        connection.value.session.encoder.encode(staticIndex: 3, into: &output)
        connection.value.session.encoder.encode(
            staticIndex: loop.isTLS(connection.value.id) ? 7 : 6, into: &output)
        connection.value.paths.encode(call.path, &connection.value.session.encoder, into: &output)
        unsafe authority.withUnsafeBytes {
            unsafe connection.value.session.encoder.encode(
                .authority, $0, remembered: &connection.value.authority, into: &output)
        }
        connection.value.session.encoder.encode(
            "te", "trailers", remembered: &connection.value.te, into: &output)
        connection.value.session.encoder.encode(
            "content-type", "application/grpc", remembered: &connection.value.contentType, into: &output)
        connection.value.session.encoder.encode(
            "user-agent", "grpc-swift-cabstand/1", remembered: &connection.value.userAgent, into: &output)
        if !call.compression.isEmpty { writeEncodings(call.compression, connection, &output) }
        if call.deadline != 0 {
            let now = loop.now
            let text = GRPCTimeout(call.deadline > now ? call.deadline - now : 1)
            unsafe text.withUnsafeBytes {
                unsafe connection.value.session.encoder.encode(.grpcTimeout, $0, .none, into: &output)
            }
        }
        if !call.options.metadata.isEmpty {
            call.options.metadata.encode(&connection.value.session.encoder, into: &output)
        }
        connection.value.session.endHeaders(start, stream: stream, endStream: false, output: &output)
    }

    /// Arms a call's deadline.
    func schedule(after delay: UInt64, _ call: Handle<ClientCall>) -> TimerID {
        loop.schedule(after: delay, timers.deadline, call.token)
    }

    /// False: the stream was reset, since the connection holds more than it may.
    func send(_ call: ClientCall, _ bytes: UnsafeRawBufferPointer, endStream: Bool) -> Bool {
        guard let connection = connections.find(call.connection), connection.value.phase != .closing,
            let output = unsafe loop.output(connection.value.id)
        else { return true }
        if bytes.count > 0,
            unsafe connection.value.session.beginData(
                call.stream, count: bytes.count, endStream: endStream, output: &output.pointee)
        {
            unsafe output.pointee.append(bytes)
            return true
        }
        guard let buffer = unsafe connection.value.session.pendingBuffer(call.stream) else { return true }
        unsafe buffer.pointee.append(bytes)
        let fits = unsafe connection.value.session.pendingAppended(
            call.stream, endStream: endStream, now: loop.now, output: &output.pointee)
        schedulePump(call.connection, connection)
        watch(connection)
        return fits
    }

    func pendingCount(_ call: ClientCall) -> Int {
        guard let connection = connections.find(call.connection), connection.value.phase != .closing else { return 0 }
        return connection.value.session.pendingCount(call.stream)
    }

    func notifyWhenDrained(_ call: ClientCall) {
        guard let connection = connections.find(call.connection), connection.value.phase != .closing else { return }
        connection.value.session.notifyWhenDrained(call.stream)
    }

    func consumed(_ call: ClientCall, _ count: Int) {
        guard let connection = connections.find(call.connection), connection.value.phase != .closing,
            let output = unsafe loop.output(connection.value.id)
        else { return }
        unsafe connection.value.session.consumed(call.stream, count, output: &output.pointee)
    }

    /// Sets what a call keeps of its answer. False: the connection's calls keep too much.
    func account(_ call: ClientCall, _ bytes: Int) -> Bool {
        guard let connection = connections.find(call.connection) else { return true }
        connection.value.held += bytes - call.held
        call.channel.metrics.addHeld(bytes - call.held)
        call.held = bytes
        if bytes > 0 { watch(connection) }
        return bytes == 0 ? true : connection.value.account <= options.maximumHeldBytes
    }

    /// This side gives a call's stream up.
    func reset(_ call: ClientCall, _ code: HTTP2ErrorCode) {
        let handle = call.connection
        guard let connection = connections.find(handle) else { return }
        if connection.value.phase != .closing, let output = unsafe loop.output(connection.value.id) {
            unsafe connection.value.session.reset(call.stream, code, now: loop.now, output: &output.pointee)
        }
        detach(call)
        closeIfDone(handle)
    }

    /// The server has ended a call. If this side has not, the rest of its stream is of no use any more.
    func ended(_ call: ClientCall, isHalfClosed: Bool) {
        if let connection = connections.find(call.connection), connection.value.phase != .closing,
            isHalfClosed ? connection.value.session.pendingCount(call.stream) > 0 : true,
            let output = unsafe loop.output(connection.value.id)
        {
            unsafe connection.value.session.reset(call.stream, .noError, now: loop.now, output: &output.pointee)
        }
        detach(call)
    }
}
