import Bytes
import HTTP2
import Memory
import Reactor

// Calls that interceptors decide about. Without interceptors nothing here is called.
extension ServerConnections {
    func add(_ interceptor: AnyServerInterceptor) {
        precondition(connections.isEmpty, "interceptors are added before the first connection")
        interceptors.append(interceptor)
        state.value.intercepts = true
    }

    func isTLS(_ name: Handle<ServerCall>) -> Bool { connection(of: name).map { loop.isTLS($0) } ?? false }

    func peerCertificate(_ name: Handle<ServerCall>) -> TLSPeerCertificate? {
        connection(of: name).flatMap { loop.peerCertificate($0) }
    }

    private func connection(of name: Handle<ServerCall>) -> ConnectionID? {
        guard let call = calls.find(name) else { return nil }
        return connections.find(call.value.connection)?.value.id
    }

    /// What interceptors have attached to a call; nothing to one that has ended.
    @usableFromInline
    func attached(to name: Handle<ServerCall>) -> AttachedValues {
        guard let call = calls.find(name) else { return AttachedValues() }
        return call.value.attached
    }

    @usableFromInline
    func setAttached(to name: Handle<ServerCall>, _ values: AttachedValues) {
        guard let call = calls.find(name) else { return }
        call.value.attached = values
    }

    /// What lay beside a call goes with it.
    func detach(_ name: Handle<ServerCall>) {
        compressor.forget(name.token)
        tellOfEnd(name)
        state.value.attaches = !endings.isEmpty || compressor.isInflating
    }

    // MARK: Ends

    /// Calls `action` when a call has ended, or at once.
    func whenEnded(_ name: Handle<ServerCall>, _ action: @escaping (RPCError?) -> Void) {
        guard let call = calls.find(name), call.value.phase != .cancelled else { return action(.clientHasGone) }
        endings[name.token, default: CallEnding()].actions.append(action)
        state.value.attaches = true
    }

    /// Remembers how a call ends, until it has; without `end` its client has gone. One that goes well need not come here.
    func keepEnd(_ name: Handle<ServerCall>, _ end: ServerCallEnd?) {
        guard let index = endings.index(forKey: name.token) else { return }
        switch end {
        case .ok: break
        case .failure(let error): endings.values[index].error = error
        case nil: endings.values[index].error = .clientHasGone
        }
    }

    /// Nobody waits for a call's answer any more.
    func tellOfEnd(_ name: Handle<ServerCall>) {
        guard !endings.isEmpty, let ending = endings.removeValue(forKey: name.token) else { return }
        for action in ending.actions { action(ending.error) }
    }

    /// Holds a new call until all have let it pass.
    func intercept(_ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ endStream: Bool) {
        call.value.phase = .intercepted
        call.value.remoteEnded = endStream
        armDeadline(name)
        ask(
            name,
            InterceptedCall(
                token: ServerCallToken(server: self, call: name), path: methods[call.value.method].path,
                method: call.value.method))
    }

    private func ask(_ name: Handle<ServerCall>, _ call: InterceptedCall, from first: Int = 0) {
        for index in first..<interceptors.count {
            switch interceptors[index] {
            case .fast(let interceptor):
                do throws(RPCError) { try interceptor.intercept(call) } catch { return refuse(name, error) }
            case .async(let interceptor):
                let bound = LoopBound((self, interceptor, call), loop: loop)
                let task = loop.spawn {
                    let (connections, interceptor, call) = bound.value
                    do throws(RPCError) {
                        try await interceptor.intercept(call)
                    } catch {
                        return connections.refuse(name, error)
                    }
                    connections.ask(name, call, from: index + 1)
                }
                return setOnCancel(name) { task.cancel() }
            }
        }
        admit(name)
    }

    /// How many values an ASCII key has in a call's metadata, and the first, where it lies until the call is changed.
    @usableFromInline
    func value(_ name: Handle<ServerCall>, of key: StaticString) -> (count: Int, first: UnsafeRawBufferPointer) {
        var count = 0
        var first = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        guard let call = calls.find(name) else { return unsafe (count, first) }
        unsafe Self.forEachEntry(of: call) { name, value in
            guard unsafe Self.equals(name, key) else { return }
            if count == 0 { unsafe first = value }
            count += 1
        }
        return unsafe (count, first)
    }

    private func refuse(_ name: Handle<ServerCall>, _ error: RPCError) {
        guard let call = calls.find(name), call.value.phase == .intercepted else { return }
        finish(name, .failure(error))
    }

    /// The handler gets the call, and what has come of it.
    private func admit(_ name: Handle<ServerCall>) {
        guard let call = calls.find(name), call.value.phase == .intercepted else { return }
        let handle = call.value.connection
        guard let connection = connections.find(handle), connection.value.phase != .closing else { return }
        call.value.phase = .receiving
        call.value.onCancel = nil
        call.value.messageSince = loop.now
        start(name, connection, call.value.method)
        // The handler may have ended the call, and what it wrote the connection.
        guard let call = calls.find(name), let connection = connections.find(handle),
            connection.value.phase != .closing, let output = unsafe loop.output(connection.value.id)
        else { return }
        let hasEnded = call.value.remoteEnded
        var body = ByteBuffer()
        swap(&body, &call.value.body)
        account(call, call.value.metadata.capacity)
        guard hasEnded || !body.isEmpty else { return }
        unsafe body.withUnsafeBytes { bytes in
            unsafe receive(handle, connection, call.value.stream, bytes, hasEnded, output)
        }
    }

    /// Keeps what has come of a call that is not decided. The client's window is not refilled: it sends that much at most.
    func keepForLater(_ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ bytes: UnsafeRawBufferPointer) {
        unsafe call.value.body.append(bytes)
        if let problem = keep(name, call) { interrupt(name, problem) }
    }
}

/// What interceptors are to be told of one call's end.
struct CallEnding {
    var actions: [(RPCError?) -> Void] = []
    /// How it has ended; nil: well.
    var error: RPCError?
}

extension RPCError {
    /// Of a call that has nobody who waits for its answer.
    static let clientHasGone = RPCError(code: .cancelled, message: "the client has gone")
}
