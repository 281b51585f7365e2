import Bytes
import Memory
import Telemetry

// Lines about calls. Off the common path: whoever calls it has compared before.
extension ServerConnections {
    /// A call has ended; without `end` because its client has gone.
    @inline(never)
    func note(
        _ name: Handle<ServerCall>, _ call: Place<ServerCall>, _ code: StatusCode, _ end: ServerCallEnd? = nil
    ) {
        if state.value.attaches { keepEnd(name, end) }
        guard noteFrom != .max else { return }
        let method = methods[call.value.method]
        // A stream that ends because this server does has not failed, and thousands of them end at once.
        let isLeft = !method.isUnary && code == .unavailable && state.value.isDraining
        log.note(
            isLeft ? nil : Self.level(code), "call", nanoseconds: loop.now &- call.value.startedAt,
            canBeSlow: method.isUnary, now: loop.now, origin(call),
            [("method", .text(method.path)), ("code", .text(code.description))])
    }

    /// The codes that say that this server, or what it needs, has failed. The others are answers.
    private static func level(_ code: StatusCode) -> LogLevel? {
        switch code {
        case .unknown, .internal, .dataLoss: .error
        case .unavailable, .deadlineExceeded, .resourceExhausted: .warning
        default: nil
        }
    }

    /// Of the call's request, as far as the client's metadata says it.
    func origin(_ name: Handle<ServerCall>) -> RequestOrigin {
        guard let call = calls.find(name) else { return .none }
        return origin(call)
    }

    private func origin(_ call: Place<ServerCall>) -> RequestOrigin {
        guard !call.value.metadata.isEmpty else { return .none }
        var requestID = ""
        var trace = TraceContext.none
        var parents = 0
        unsafe Self.forEachEntry(of: call) { key, value in
            // Anybody may call: what is too long for an identifier is none.
            if unsafe Self.equals(key, "x-request-id") && value.count <= 64 {
                requestID = unsafe String(decoding: value, as: UTF8.self)
            } else if unsafe Self.equals(key, "traceparent") {
                trace = unsafe TraceContext(Span(_unsafeBytes: value))
                parents += 1
            }
        }
        // Of several none is to be believed.
        return RequestOrigin(requestID: requestID, trace: parents == 1 ? trace : .none)
    }

    static func equals(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        unsafe ASCII.equals(Span(_unsafeBytes: bytes), text)
    }
}

extension UnaryServerCall {
    /// The request that the call is made for, as far as the client's metadata says it: for calls that are made for it in
    /// turn (`Metadata.add`), and for log lines.
    public var origin: RequestOrigin { token.origin }
}

extension StreamingServerCall {
    /// The request that the call is made for, as far as the client's metadata says it.
    public final var origin: RequestOrigin { token.origin }
}

extension ServerCallToken {
    @usableFromInline var origin: RequestOrigin { server.origin(call) }
}

extension Metadata {
    /// Adds `x-request-id` and `traceparent`, those that are there.
    public mutating func add(_ origin: RequestOrigin) {
        if !origin.requestID.isEmpty { add(.requestID, Array(origin.requestID.utf8)) }
        if !origin.trace.isNone { add(.traceParent, Array(origin.trace.traceparent.utf8)) }
    }
}
