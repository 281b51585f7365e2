import Bytes
import HTTP1
import Memory
import Reactor

/// The right to answer one request: at once, or later on the same loop, once. Copyable; an answer to a connection that is
/// gone, or a second answer, is dropped.
public struct HTTPResponder {
    let anchor: ServerAnchor
    let connection: Handle<HTTPConnection>
    let sequence: UInt32

    /// Whether the client is still there and nothing was answered.
    public var isOpen: Bool { server { $0.isWaiting(self) } ?? false }

    /// Answers with a body that is known at compile time.
    @inlinable
    public func respond(
        _ status: Int = 200, _ type: StaticString = "text/plain; charset=utf-8", fields: HTTPFields = .init(),
        body: StaticString
    ) {
        unsafe respond(
            status, type, fields: fields,
            bytes: UnsafeRawBufferPointer(start: body.utf8Start, count: body.utf8CodeUnitCount))
    }

    /// Answers with a copy of `body`.
    public func respond(
        _ status: Int = 200, _ type: StaticString, fields: HTTPFields = .init(), body: Span<UInt8>
    ) {
        unsafe body.withUnsafeBytes { unsafe respond(status, type, fields: fields, bytes: $0) }
    }

    /// Answers with what `write` appends.
    public func respond(
        _ status: Int = 200, _ type: StaticString, fields: HTTPFields = .init(), write: (inout ByteBuffer) -> Void
    ) {
        server { $0.respond(self, status, type, fields, write) }
    }

    /// Answers with bytes that many responses share: no copy when they can be sent at once.
    public func respond(
        _ status: Int = 200, _ type: StaticString, fields: HTTPFields = .init(), shared: SharedBytes
    ) {
        server { $0.respond(self, status, type, fields, shared) }
    }

    /// Answers without a body. 204 and 304 have no Content-Length, the others say 0.
    public func respond(_ status: Int, fields: HTTPFields = .init()) {
        server { unsafe $0.respond(self, status, nil, fields, UnsafeRawBufferPointer(start: nil, count: 0)) }
    }

    /// Answers with a problem; the request's identifier is added.
    public func problem(_ problem: Problem, fields: HTTPFields = .init()) {
        server { $0.respond(self, problem, fields) }
    }

    /// Answers `OPTIONS`, and the preflight requests of browsers, for a path that takes the methods in `allow`:
    /// `GET, HEAD, OPTIONS`.
    public func options(_ allow: String, to request: borrowing HTTPRequest) {
        let isPreflight = request.head.has("access-control-request-method")
        server { $0.respondToOptions(self, allow, isPreflight: isPreflight) }
    }

    /// The loop's clock, Unix seconds.
    var unixSeconds: Int64 { server { $0.loop.wallClockMilliseconds / 1000 } ?? 0 }

    /// Begins a body of unknown length: chunked on HTTP/1.1, up to the connection's end on HTTP/1.0. Whoever writes it looks after how
    /// fast it is taken; the form with a function does that by itself.
    public func stream(_ status: Int = 200, _ type: StaticString, fields: HTTPFields = .init()) -> HTTPBodyStream {
        server { $0.beginStream(self, status, type, fields) }
        return HTTPBodyStream(responder: self)
    }

    /// Hands the connection over to another protocol: sends `response` (the 101), then `handler` gets every following byte,
    /// under the context number `context`. Only while the request's handler is being called.
    ///
    /// A request that did not ask for it (`Upgrade` and `Connection: upgrade`, HTTP/1.1; RFC 9110 §7.8), or that has a body,
    /// is answered with 400 here, and the connection ends: nobody could say which bytes belong to which protocol.
    ///
    /// - Returns: false if the connection is gone or the request was answered, be it by this call.
    @discardableResult
    public func upgrade(to handler: ConnectionHandler, context: UInt32, response: Span<UInt8>) -> Bool {
        server { $0.upgrade(self, handler, context, response) } ?? false
    }

    @usableFromInline
    func respond(_ status: Int, _ type: StaticString, fields: HTTPFields, bytes: UnsafeRawBufferPointer) {
        server { unsafe $0.respond(self, status, type, fields, bytes) }
    }

    @inline(__always)
    func server<Result>(_ body: (HTTPServer) -> Result) -> Result? { anchor.server(body) }
}

/// A body that is sent piece by piece, by whoever has it: an event comes, and is told at once.
public struct HTTPBodyStream {
    let responder: HTTPResponder

    /// Bytes that the client has not taken yet: wait with more while they are many.
    public var pendingBytes: Int { responder.server { $0.streamPending(responder) } ?? 0 }

    /// Whether the client is still there.
    public var isOpen: Bool { responder.isOpen }

    /// Sends a piece. A client that lets more than `HTTPLimits.heldAnswers` wait is cut off.
    public func write(_ bytes: Span<UInt8>) { responder.server { $0.writeStream(responder, bytes) } }

    /// The body can't become whole: ends its connection, so that the client sees that.
    public func breakOff() { responder.server { $0.breakOff(responder) } }

    /// Ends the body.
    public func finish() { responder.server { $0.endStream(responder) } }
}
