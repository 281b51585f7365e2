import Bytes
import HTTP2
import Reactor

/// All connections of one gRPC server on its loop: reads frames into calls. What handlers do with calls is in
/// `ServerConnections+Calls.swift`, keepalive and draining in `ServerConnections+Lifecycle.swift`.
@usableFromInline
final class ServerConnections: ConnectionHandler {
    @usableFromInline let loop: EventLoop
    let limits: GRPCLimits
    let http2Limits: HTTP2Limits
    /// Kept because reflection answers from it, even when nobody keeps the `GRPCServer` whose listener goes on.
    let registry: ServiceRegistry
    let methods: [MethodRecord]
    let routes: RouteTable
    /// The services that exist, to say "unknown method" instead of "unknown service".
    let serviceNames: Set<String>
    var connections = Slab<ServerConnection>()
    var calls = Slab<ServerCallState>()
    var nextGeneration: UInt32 = 1
    var isDraining = false
    var onEmpty: (() -> Void)?
    lazy var timers = ServerTimers(self)
    /// Called when something is worth a line in the log.
    var onNotice: ((String) -> Void)?

    init(loop: EventLoop, registry: ServiceRegistry, limits: GRPCLimits, http2Limits: HTTP2Limits) {
        self.loop = loop
        self.limits = limits
        self.http2Limits = http2Limits
        self.registry = registry
        methods = registry.methods
        routes = RouteTable(registry.methods.map(\.path))
        serviceNames = Set(registry.serviceNames)
    }

    // MARK: Reading

    @usableFromInline
    override func connectionOpened(_ id: ConnectionID) {
        guard let output = unsafe loop.output(id) else { return }
        let index = connections.insert(ServerConnection(id: id, generation: takeGeneration(), limits: http2Limits))
        loop.setContext(id, index)
        let connection = unsafe connections[index]
        unsafe connection.pointee.session.start(output: &output.pointee)
        unsafe connection.pointee.lastRead = loop.now
        loop.setDeadline(id, at: loop.now + ServerConnection.prefaceTimeout)
        if isDraining { beginDrain(index) }
    }

    @usableFromInline
    override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        let index = loop.context(id)
        let connection = unsafe connections[index]
        unsafe connection.pointee.lastRead = loop.now
        let input = UnsafeRawBufferPointer(bytes)
        let now = loop.now
        var position = 0
        reading: while true {
            // A handler may have closed the connection.
            guard unsafe !connection.pointee.isClosing, let output = unsafe loop.output(id) else {
                return bytes.count
            }
            let event = unsafe connection.pointee.session.next(input, &position, now: now, output: &output.pointee)
            switch event {
            case .needsMore:
                break reading
            case .headers(let stream, let endStream):
                unsafe beginCall(index, connection, stream, endStream, output)
            case .data(let stream, let offset, let count, let endStream):
                let part = unsafe UnsafeRawBufferPointer(rebasing: input[offset..<offset + count])
                unsafe receive(connection, stream, part, endStream, output)
            case .trailers(let stream):
                // Request trailers mean nothing in gRPC; they only end the stream.
                unsafe receive(connection, stream, UnsafeRawBufferPointer(start: nil, count: 0), true, output)
            case .reset(let context, _, _):
                cancel(context, sendsReset: false)
            case .goAway, .settings:
                break
            case .ping:
                unsafe countPing(connection, output)
            case .pong(let value):
                unsafe pong(index, connection, value)
            case .failed(let failure):
                unsafe fail(connection, failure)
                break reading
            }
        }
        unsafe afterUse(index, connection)
        return position
    }

    @usableFromInline
    override func connectionReadClosed(_ id: ConnectionID) {
        loop.closeAfterFlush(id)
    }

    @usableFromInline
    override func connectionDrained(_ id: ConnectionID) {
        pump(loop.context(id))
    }

    @usableFromInline
    override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        let index = loop.context(id)
        guard index != UInt32.max, connections.count > 0 else { return }
        let connection = unsafe connections[index]
        guard unsafe connection.pointee.id == id else { return }
        unsafe connection.pointee.isClosing = true
        var open: [UInt32] = []
        unsafe connection.pointee.session.forEachContext { if $0 != UInt32.max { open.append($0) } }
        for call in open { cancel(call, sendsReset: false) }
        loop.cancel(unsafe connection.pointee.pumpTimer)
        loop.cancel(unsafe connection.pointee.drainTimer)
        connections.remove(index)
        if connections.count == 0 && isDraining { becameEmpty() }
    }

    /// Keepalive: a client that was silent for long is asked whether it is there.
    @usableFromInline
    override func connectionDeadline(_ id: ConnectionID) {
        let connection = unsafe connections[loop.context(id)]
        guard unsafe !connection.pointee.isClosing, let output = unsafe loop.output(id) else { return }
        let now = loop.now
        guard unsafe connection.pointee.session.hasPeerSettings else { return loop.close(id) }
        if unsafe connection.pointee.pingSent != 0 {
            if unsafe connection.pointee.lastRead < connection.pointee.pingSent { return loop.close(id) }
            unsafe connection.pointee.pingSent = 0
        }
        let due = unsafe connection.pointee.lastRead + limits.keepaliveInterval
        if now < due { return loop.setDeadline(id, at: due) }
        unsafe connection.pointee.session.sendPing(0, output: &output.pointee)
        unsafe connection.pointee.pingSent = now
        loop.setDeadline(id, at: now + limits.keepaliveTimeout)
    }

    func takeGeneration() -> UInt32 {
        // Below 2³⁰: timers carry it beside two bits of their own. 0 is never used.
        nextGeneration = nextGeneration >= 1 << 30 - 1 ? 1 : nextGeneration + 1
        return nextGeneration
    }

    // MARK: A call begins

    private func beginCall(
        _ index: UInt32, _ connection: UnsafeMutablePointer<ServerConnection>, _ stream: UInt32, _ endStream: Bool,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        var path = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var isPost = false
        var isGRPC = false
        var hasTE = false
        var isHead = false
        var hasMetadata = false
        var timeout: UInt64 = 0
        var problem: RPCError?
        let fieldCount = unsafe connection.pointee.session.headers.count
        for place in 0..<fieldCount {
            let field = unsafe connection.pointee.session.headers[place]
            switch field.token {
            case .method:
                isPost = field.valueEquals("POST")
                isHead = field.valueEquals("HEAD")
            case .path: unsafe path = field.value
            case .contentType: isGRPC = unsafe Self.isGRPC(field.value)
            case .te: hasTE = true
            case .grpcTimeout:
                if let value = unsafe GRPCTimeout.decode(field.value) {
                    timeout = max(value, 1)
                } else {
                    problem = RPCError(code: .internal, message: "grpc-timeout \"\(field.valueText)\" is not a timeout")
                }
            case .grpcEncoding:
                if !field.valueEquals("identity") { problem = .unknownEncoding(field.valueText) }
            default:
                if Metadata.isCustom(field) { hasMetadata = true }
            }
        }
        guard isPost && isGRPC else {
            return unsafe refuse(connection, stream, isPost: isPost, isHead: isHead, output)
        }
        guard let method = unsafe routes.find(path) else {
            return unsafe reject(connection, stream, unknownMethod(path), output)
        }
        if !hasTE && problem == nil {
            problem = RPCError(
                code: .internal, message: "the request lacks \"te: trailers\": a proxy may have dropped it")
        }
        if let problem { return unsafe reject(connection, stream, problem, output) }

        let generation = takeGeneration()
        let call = calls.insert(
            ServerCallState(
                generation: generation, connection: index,
                connectionGeneration: unsafe connection.pointee.generation, stream: stream, method: method))
        unsafe connection.pointee.session.setContext(stream, call)
        let state = unsafe calls[call]
        if timeout != 0 { unsafe state.pointee.deadline = loop.now &+ timeout }
        if hasMetadata { unsafe keepMetadata(connection, state) }
        if case .manyRequests(let start) = methods[method].kind {
            unsafe armDeadline(call, state)
            start(ServerCallToken(server: self, call: call, generation: generation))
        }
        if endStream, isCurrent(call, generation) {
            unsafe receive(connection, stream, UnsafeRawBufferPointer(start: nil, count: 0), true, output)
        }
    }

    private func keepMetadata(
        _ connection: UnsafeMutablePointer<ServerConnection>, _ state: UnsafeMutablePointer<ServerCallState>
    ) {
        let fieldCount = unsafe connection.pointee.session.headers.count
        for place in 0..<fieldCount {
            let field = unsafe connection.pointee.session.headers[place]
            guard Metadata.isCustom(field) else { continue }
            unsafe state.pointee.metadata.append(bigEndian: UInt32(field.name.count))
            unsafe state.pointee.metadata.append(bigEndian: UInt32(field.value.count))
            unsafe state.pointee.metadata.append(field.name)
            unsafe state.pointee.metadata.append(field.value)
        }
    }

    /// `application/grpc`, alone, with parameters, or with the message format that is spoken here.
    private static func isGRPC(_ value: UnsafeRawBufferPointer) -> Bool {
        let expected: StaticString = "application/grpc"
        let count = expected.utf8CodeUnitCount
        guard value.count >= count else { return false }
        let start = unsafe Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(rebasing: value[..<count]))
        guard ASCII.equalsIgnoringCase(start, expected) else { return false }
        if unsafe value.count == count || value[count] == UInt8(ascii: ";") { return true }
        let rest = unsafe String(decoding: value[count...], as: UTF8.self)
        return rest == "+proto" || rest.hasPrefix("+proto;")
    }

    private func unknownMethod(_ path: UnsafeRawBufferPointer) -> RPCError {
        let text = unsafe String(decoding: path, as: UTF8.self)
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty else {
            return RPCError(code: .unimplemented, message: "malformed method name: \"\(text)\"")
        }
        return serviceNames.contains(String(parts[1]))
            ? RPCError(code: .unimplemented, message: "unknown method \(parts[2]) of service \(parts[1])")
            : RPCError(code: .unimplemented, message: "unknown service \(parts[1])")
    }

    /// Not a gRPC request: 405 or 415, with a line for people.
    private func refuse(
        _ connection: UnsafeMutablePointer<ServerConnection>, _ stream: UInt32, isPost: Bool, isHead: Bool,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        let text: StaticString = "This port speaks gRPC: POST with content-type application/grpc over HTTP/2.\n"
        unsafe ResponseWriter.plain(
            status: isPost ? "415" : "405", text: text, allow: isPost ? nil : "POST", withBody: !isHead,
            &connection.pointee.session, stream: stream, output: &output.pointee)
    }

    /// A gRPC request that does not become a call: Trailers-Only.
    private func reject(
        _ connection: UnsafeMutablePointer<ServerConnection>, _ stream: UInt32, _ error: RPCError,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        let isWhole = unsafe connection.pointee.session.isRemoteEnded(stream)
        unsafe connection.pointee.writer.end(
            .failure(error), hasHeaders: false, &connection.pointee.session, stream: stream, output: &output.pointee)
        if !isWhole { unsafe connection.pointee.session.reset(stream, .noError, output: &output.pointee) }
    }

    // MARK: Messages

    /// A part of a call's body. `bytes` lie in the receive buffer.
    private func receive(
        _ connection: UnsafeMutablePointer<ServerConnection>, _ stream: UInt32, _ bytes: UnsafeRawBufferPointer,
        _ endStream: Bool, _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        let call = unsafe connection.pointee.session.context(stream)
        guard call != UInt32.max else {
            // A request that was refused with 405 or 415 while its body was on the way.
            return unsafe connection.pointee.session.consumed(stream, bytes.count, output: &output.pointee)
        }
        let state = unsafe calls[call]
        if endStream { unsafe state.pointee.remoteEnded = true }
        let method = unsafe state.pointee.method
        if case .oneRequest(let dispatch) = methods[method].kind {
            // The usual case: one frame with one whole message.
            if endStream, unsafe state.pointee.body.isEmpty, bytes.count >= GRPCMessage.prefixSize,
                unsafe GRPCMessage.isWhole(bytes), bytes.count <= limits.maximumMessageSize + GRPCMessage.prefixSize
            {
                unsafe state.pointee.phase = .running
                let generation = unsafe state.pointee.generation
                unsafe dispatch(
                    UnsafeRawBufferPointer(rebasing: bytes[GRPCMessage.prefixSize...]),
                    ServerCallToken(server: self, call: call, generation: generation))
                if unsafe isCurrent(call, generation) && state.pointee.deadline != 0 { unsafe armDeadline(call, state) }
                return
            }
            if !endStream { unsafe connection.pointee.session.consumed(stream, bytes.count, output: &output.pointee) }
            unsafe state.pointee.body.append(bytes)
            if let problem = unsafe checkSize(state.pointee.body) {
                return finish(unsafe token(call, state), .failure(problem))
            }
            if endStream { unsafe dispatchWhole(call, state, dispatch) } else { unsafe armDeadline(call, state) }
            return
        }
        unsafe state.pointee.unconsumed += bytes.count
        unsafe state.pointee.body.append(bytes)
        unsafe deliver(call, state)
    }

    /// The whole body of a call with one request message has come in several parts.
    private func dispatchWhole(
        _ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>,
        _ dispatch: (UnsafeRawBufferPointer, ServerCallToken) -> Void
    ) {
        let token = unsafe token(call, state)
        var body = ByteBuffer()
        unsafe swap(&body, &state.pointee.body)
        unsafe body.withUnsafeBytes { bytes in
            guard bytes.count >= GRPCMessage.prefixSize, unsafe bytes[0] == 0, unsafe GRPCMessage.isWhole(bytes) else {
                return finish(token, .failure(unsafe GRPCMessage.problem(bytes)))
            }
            unsafe state.pointee.phase = .running
            unsafe dispatch(UnsafeRawBufferPointer(rebasing: bytes[GRPCMessage.prefixSize...]), token)
        }
        if isCurrent(call, token.generation) { unsafe armDeadline(call, state) }
    }

    private func checkSize(_ body: borrowing ByteBuffer) -> RPCError? {
        guard body.count >= GRPCMessage.prefixSize else { return nil }
        let length = unsafe body.withUnsafeBytes { unsafe GRPCMessage.length($0) }
        return length > limits.maximumMessageSize ? .tooLarge(length, limits.maximumMessageSize) : nil
    }

    /// Delivers the whole messages of a streaming call, and its end.
    func deliver(_ call: UInt32, _ state: UnsafeMutablePointer<ServerCallState>) {
        guard unsafe !state.pointee.isDelivering else { return }
        let token = unsafe token(call, state)
        unsafe state.pointee.isDelivering = true
        while unsafe !state.pointee.isPaused && state.pointee.phase == .receiving {
            if let problem = unsafe checkSize(state.pointee.body) { return finish(token, .failure(problem)) }
            let size = unsafe state.pointee.body.withUnsafeBytes { unsafe GRPCMessage.wholeSize($0) }
            guard size > 0 else {
                guard unsafe state.pointee.remoteEnded else { break }
                if unsafe !state.pointee.body.isEmpty { return finish(token, .failure(.truncated)) }
                unsafe state.pointee.phase = .running
                unsafe state.pointee.receiver?.receiveEnd()
                guard isCurrent(call, token.generation) else { return }
                break
            }
            guard unsafe state.pointee.body[0] == 0 else { return finish(token, .failure(.compressed)) }
            // The message leaves the call's buffer before the handler runs: the handler may end the call.
            var message = ByteBuffer()
            if unsafe state.pointee.body.count == size {
                unsafe swap(&message, &state.pointee.body)
            } else {
                unsafe state.pointee.body.withUnsafeBytes {
                    unsafe message.append(UnsafeRawBufferPointer(rebasing: $0[..<size]))
                }
                unsafe state.pointee.body.consume(size)
            }
            let receiver = unsafe state.pointee.receiver
            unsafe message.withUnsafeBytes {
                unsafe receiver?.receive(UnsafeRawBufferPointer(rebasing: $0[GRPCMessage.prefixSize...]))
            }
            guard isCurrent(call, token.generation) else { return }
        }
        unsafe state.pointee.isDelivering = false
        unsafe giveBack(state)
    }

    /// Reports the bytes that were taken to flow control, unless the call is paused.
    private func giveBack(_ state: UnsafeMutablePointer<ServerCallState>) {
        let count = unsafe state.pointee.unconsumed
        guard count > 0, unsafe !state.pointee.isPaused, unsafe !state.pointee.remoteEnded else { return }
        let connection = unsafe connections[state.pointee.connection]
        guard let output = unsafe loop.output(connection.pointee.id) else { return }
        unsafe state.pointee.unconsumed = 0
        unsafe connection.pointee.session.consumed(state.pointee.stream, count, output: &output.pointee)
    }
}
