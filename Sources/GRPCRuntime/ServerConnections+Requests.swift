import Bytes
import HTTP2
import Memory
import Reactor

// From request headers to a call, or to an answer that says why there is none.
extension ServerConnections {
    func beginCall(
        _ handle: Handle<ServerConnection>, _ connection: Place<ServerConnection>, _ stream: HTTP2StreamHandle,
        _ endStream: Bool, _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        var path = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
        var isPost = false
        var isGRPC = false
        var hasTE = false
        var isHead = false
        var metadataBytes = 0
        var compression: CallCompression = []
        var timeout: UInt64 = 0
        var problem: RPCError?
        let fieldCount = connection.value.session.headers.count
        for place in 0..<fieldCount {
            let field = connection.value.session.headers[place]
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
                    problem = RPCError(
                        code: .internal,
                        message: "grpc-timeout \"\(unsafe String(clipped: field.value))\" is not a timeout")
                }
            case .grpcEncoding:
                if field.valueEquals("gzip") {
                    compression.insert(.incoming)
                } else if !field.valueEquals("identity") {
                    problem = unsafe .unknownEncoding(String(clipped: field.value))
                }
            case .grpcAcceptEncoding:
                if unsafe CallCompression.lists(gzip: field.value) { compression.insert(.accepted) }
            default:
                if Metadata.isCustom(field) { metadataBytes &+= Self.keptBytes(field) }
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

        guard let name = begin(handle, connection, stream: stream, method: method), let call = calls.find(name) else {
            return unsafe reject(connection, stream, .tooMuchHeld(limits.maximumHeldBytes), output)
        }
        connection.value.session.setContext(stream, name.token)
        if timeout != 0 { call.value.deadline = loop.now.after(timeout) }
        call.value.compression = compression
        if compression.contains(.incoming) { call.value.head = .disclosing }
        if metadataBytes > 0 {
            keepMetadata(connection, call, metadataBytes)
            guard connection.value.account <= limits.maximumHeldBytes else {
                return interrupt(name, .tooMuchHeld(limits.maximumHeldBytes))
            }
        }
        if state.value.intercepts { return intercept(name, call, endStream) }
        start(name, connection, method)
        if endStream, calls.contains(name) {
            unsafe receive(handle, connection, stream, UnsafeRawBufferPointer(start: nil, count: 0), true, output)
        }
    }

    /// The handler may have the call.
    @inline(__always)
    func start(_ name: Handle<ServerCall>, _ connection: Place<ServerConnection>, _ method: Int) {
        switch methods[method].kind {
        case .oneRequest:
            connection.value.incomplete &+= 1
        case .manyRequests(let start):
            armDeadline(name)
            start(ServerCallToken(server: self, call: name))
        }
    }

    /// Bytes of a field in `ServerCall.metadata`.
    @inline(__always)
    private static func keptBytes(_ field: HeaderField) -> Int { unsafe 8 &+ field.name.count &+ field.value.count }

    private func keepMetadata(_ connection: Place<ServerConnection>, _ call: Place<ServerCall>, _ count: Int) {
        call.value.metadata.reserve(count)
        let fieldCount = connection.value.session.headers.count
        for place in 0..<fieldCount {
            let field = connection.value.session.headers[place]
            guard Metadata.isCustom(field) else { continue }
            // A header list has a bound far below 4 GiB.
            unsafe call.value.metadata.append(bigEndian: UInt32(clamping: field.name.count))
            unsafe call.value.metadata.append(bigEndian: UInt32(clamping: field.value.count))
            unsafe call.value.metadata.append(field.name)
            unsafe call.value.metadata.append(field.value)
        }
        account(call, call.value.metadata.capacity)
    }

    /// `application/grpc`, alone, with parameters, or with the message format that is spoken here.
    private static func isGRPC(_ value: UnsafeRawBufferPointer) -> Bool {
        let expected: StaticString = "application/grpc"
        let count = expected.utf8CodeUnitCount
        guard value.count >= count else { return false }
        let start = unsafe Span<UInt8>(_unsafeBytes: UnsafeRawBufferPointer(rebasing: value[..<count]))
        guard ASCII.equalsIgnoringCase(start, expected) else { return false }
        if unsafe value.count == count || value[count] == UInt8(ascii: ";") { return true }
        let rest = unsafe String(decoding: value[count...].prefix(7), as: UTF8.self)
        return rest == "+proto" || rest == "+proto;"
    }

    private func unknownMethod(_ path: UnsafeRawBufferPointer) -> RPCError {
        let text = unsafe String(clipped: path)
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty else {
            return RPCError(code: .unimplemented, message: "malformed method name: \"\(text)\"")
        }
        // A path that was cut names no service: those that exist have short names.
        return serviceNames.contains(String(parts[1]))
            ? RPCError(code: .unimplemented, message: "unknown method \(parts[2]) of service \(parts[1])")
            : RPCError(code: .unimplemented, message: "unknown service \(parts[1])")
    }

    /// Not a gRPC request: 405 or 415, with a line for people.
    private func refuse(
        _ connection: Place<ServerConnection>, _ stream: HTTP2StreamHandle, isPost: Bool, isHead: Bool,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        metrics.rejectedRequest()
        let text: StaticString = "This port speaks gRPC: POST with content-type application/grpc over HTTP/2.\n"
        unsafe ResponseWriter.plain(
            status: isPost ? "415" : "405", text: text, allow: isPost ? nil : "POST", withBody: !isHead,
            &connection.value.session, stream: stream, now: loop.now, output: &output.pointee)
        guard connection.value.session.isOpen(stream) else { return }
        // It goes on sending, or gives no window for the line, and no call has an eye on its stream.
        if connection.value.refused.add(stream, now: loop.now, isOpen: { connection.value.session.isOpen($0) }) {
            watch(connection)
        } else {
            unsafe connection.value.session.reset(stream, .noError, now: loop.now, output: &output.pointee)
        }
    }

    /// A gRPC request that does not become a call: Trailers-Only.
    private func reject(
        _ connection: Place<ServerConnection>, _ stream: HTTP2StreamHandle, _ error: RPCError,
        _ output: UnsafeMutablePointer<ByteBuffer>
    ) {
        metrics.rejectedRequest()
        let isWhole = connection.value.session.isRemoteEnded(stream)
        unsafe connection.value.writer.end(
            .failure(error), head: .none, &connection.value.session, stream: stream, output: &output.pointee)
        if !isWhole { unsafe connection.value.session.reset(stream, .noError, now: loop.now, output: &output.pointee) }
    }
}
