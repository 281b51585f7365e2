import Bytes
import HTTP1
import Memory
import Reactor
import Telemetry

/// A copy of a request, for code that goes on after the handler's call. It belongs to the server's loop.
public final class HeldRequest {
    private let anchor: ServerAnchor
    /// The head, and what lies where in it.
    private let text: [UInt8]
    private let table: HTTP1HeadTable
    private let bytes: [UInt8]
    /// As it was when the request was copied; what is attached later is added.
    private var context: RequestContext

    /// Copies a request: at most a head's and a body's limit of bytes.
    public init(_ request: borrowing HTTPRequest) {
        let source = request.context
        guard let server = unsafe source.value.server else { preconditionFailure("a request has a server") }
        anchor = unsafe server._withUnsafeGuaranteedRef { $0.anchor }
        context = source.value
        unsafe context.allowedOrigin = nil
        bytes = unsafe request.body.withUnsafeBufferPointer { unsafe Array($0) }
        var output = ByteBuffer()
        request.head.write(to: &output)
        text = output.array()
        // Not longer than it was; and never refused a second time.
        var limits = HTTP1Limits()
        limits.headBytes = 65_535
        limits.targetBytes = 65_535
        limits.fields = max(limits.fields, request.head.fieldCount)
        table = HTTP1HeadTable(limits: limits)
        var parser = HTTP1Parser()
        let span = output.span
        guard case .head = parser.next(span, into: table) else {
            preconditionFailure("a head that was accepted is accepted again")
        }
    }

    /// Bytes of the copy.
    var byteCount: Int { text.count + bytes.count }

    /// The whole body, decoded.
    public var body: [UInt8] { bytes }

    /// GET for a HEAD request, as in `HTTPRequest`.
    public var method: HTTP1Method { view { (request) throws(Never) in request.method } ?? .other }

    /// The first value of a field (its name in lower case) as text.
    public func text(_ name: StaticString) -> String? {
        view { (request) throws(Never) in request.text(name) } ?? nil
    }

    /// The path segment that stands for `{name}`, decoded; nil if there is no such name, or it can't be decoded.
    public func pathParameter(_ name: String) -> String? {
        view { (request) throws(Never) in request.pathParameter(name) } ?? nil
    }

    /// The pairs of the query, decoded; nil if one can't be decoded.
    public func queryPairs() -> [(name: String, value: String)]? {
        view { (request) throws(Never) in request.queryPairs() } ?? nil
    }

    /// What a gate has attached of this type; nil if none has.
    @inlinable
    public subscript<Value>(type: Value.Type) -> Value? { attached[type] }

    /// Attaches a value of its type for the gates and the handler behind.
    @inlinable
    public func attach<Value>(_ value: Value) { attached = attached.adding(value) }

    @usableFromInline var attached: AttachedValues {
        get { context.extras.contains(.attached) ? context.attached : AttachedValues() }
        set {
            context.attached = newValue
            context.extras.insert(.attached)
        }
    }

    /// The connection that it came on.
    public var connection: ConnectionID { context.connection }
    /// The identifier of this request.
    public var requestID: String { context.requestID.text }
    /// What its `traceparent` says.
    public var trace: TraceContext { context.trace }
    /// When it was dispatched, loop nanoseconds.
    public var startedAt: UInt64 { context.startedAt }

    /// Shows the request as its handler would see it, for the time of the call; nil if the server has ended.
    @discardableResult
    public func view<Result, Failure: Error>(
        _ body: (borrowing HTTPRequest) throws(Failure) -> Result
    ) throws(Failure) -> Result? {
        var outcome: Swift.Result<Result, Failure>?
        _ = anchor.server { server in outcome = show(server, body) }
        return try outcome?.get()
    }

    private func show<Result, Failure: Error>(
        _ server: HTTPServer, _ body: (borrowing HTTPRequest) throws(Failure) -> Result
    ) -> Swift.Result<Result, Failure> {
        // Another request's handler may be running, with its view further up the stack.
        let current = server.context.value
        defer { server.context.value = current }
        server.context.value = context
        // Its place among the answers that wait speaks for it.
        server.context.value.isActive = true
        server.context.value.isAnswered = true
        defer {
            context.attached = server.context.value.attached
            if server.context.value.extras.contains(.attached) { context.extras.insert(.attached) }
        }
        let (text, bytes) = (text, bytes)
        let head = HTTP1Head(bytes: text.span, table: table)
        if server.judgeOrigin(head) == .allowed, let origin = head.value("origin") {
            // Proof: taken away with the context, before the head's bytes are.
            unsafe server.context.value.allowedOrigin = unsafe origin.withUnsafeBufferPointer { unsafe $0 }
        }
        let content = bytes.span
        let request = HTTPRequest(head: head, body: content, context: server.context)
        do throws(Failure) { return .success(try body(request)) } catch { return .failure(error) }
    }
}

extension HTTP1Head {
    /// Writes the head again, line by line.
    fileprivate func write(to output: inout ByteBuffer) {
        output.append(methodName)
        output.append(UInt8(ascii: " "))
        output.append(target)
        output.append(minorVersion == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n")
        for index in 0..<fieldCount {
            output.append(name(at: index))
            output.append(UInt8(ascii: ":"))
            output.append(value(at: index))
            output.append("\r\n")
        }
        output.append("\r\n")
    }
}
