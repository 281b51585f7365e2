import Bytes
import HTTP1
import Memory
import Reactor
import Telemetry

/// A request: a view of its bytes, valid during the handler's call. Copy what is needed longer.
@safe public struct HTTPRequest: ~Escapable {
    /// Request line and fields.
    public let head: HTTP1Head
    /// The whole body, decoded; empty if there is none.
    public let body: Span<UInt8>
    let context: Place<RequestContext>

    @_lifetime(copy head, copy body)
    init(head: HTTP1Head, body: Span<UInt8>, context: borrowing Cell<RequestContext>) {
        self.head = head
        self.body = body
        // Proof: the cell lives as long as its server, which is calling the handler.
        self.context = unsafe _overrideLifetime(context.place, copying: head)
    }

    /// GET for a HEAD request: its handler answers as for GET, and the server leaves the body out.
    public var method: HTTP1Method { head.method == .head ? .get : head.method }

    /// The path as it was sent, without the query, percent-encoded.
    public var path: Span<UInt8> {
        @_lifetime(copy self) get { head.path }
    }

    /// The query as it was sent, without the question mark.
    public var query: Span<UInt8> {
        @_lifetime(copy self) get { head.query }
    }

    /// The pairs of the query, decoded; nil if one can't be decoded.
    public func queryPairs() -> [(name: String, value: String)]? { QueryString.decoded(head.query) }

    /// The first value of a field (its name in lower case) as text.
    public func text(_ name: StaticString) -> String? { head.text(name) }

    /// The path segment that stands for `{name}`, decoded; nil if there is no such name, or it can't be decoded.
    public func pathParameter(_ name: String) -> String? {
        let route = context.value.route
        guard route >= 0,
            let index = unsafe context.value.router._withUnsafeGuaranteedRef({
                $0.routes[route].parameters.firstIndex(of: name)
            })
        else { return nil }
        let range = context.value.match.range(index)
        return PercentCoding.decode(head.path.extracting(range))
    }

    /// The identifier of this request: the client's `x-request-id`, or one made here.
    public var requestID: String { context.value.requestID.text }

    /// What the client's `traceparent` says; `none` if there is none that is valid.
    public var trace: TraceContext { context.value.trace }

    /// The connection that it came on.
    public var connection: ConnectionID { context.value.connection }

    /// Whom it comes from: whom the proxies name that are trusted, else the other side of the connection. The port is of no
    /// meaning. nil: the connection is gone.
    public var clientAddress: SocketAddress? {
        unsafe context.value.server?._withUnsafeGuaranteedRef { $0.clientAddress(of: head) }
    }

    /// Whether a page of an origin that is not allowed has sent it. A browser lets such a page send some requests, and hides
    /// the answer only: one that changes something is to be refused.
    public var isForeign: Bool { unsafe context.value.extras.contains(.origin) && context.value.allowedOrigin == nil }

    /// How the client has sent it: over TLS, be it up to a trusted proxy, or in the clear.
    public var scheme: OriginPolicy.Scheme {
        unsafe context.value.server?._withUnsafeGuaranteedRef { $0.scheme(of: head) } ?? .unknown
    }

    /// What it says of the page that sent it, by another policy than the server's own: a stricter one for what a browser
    /// sends along by itself.
    public func verdict(by origins: OriginPolicy) -> OriginPolicy.Verdict { origins.judge(head, scheme: scheme) }

    /// What a gate has attached of this type; nil if none has.
    @inlinable
    public subscript<Value>(type: Value.Type) -> Value? { attached[type] }

    /// Attaches a value of its type for the gates and the handler behind: a principal, a limit. A later one replaces it.
    @inlinable
    public func attach<Value>(_ value: Value) { attached = attached.adding(value) }

    @usableFromInline var attached: AttachedValues {
        // What lies there without the mark is another request's.
        get { context.value.extras.contains(.attached) ? context.value.attached : AttachedValues() }
        nonmutating set {
            context.value.attached = newValue
            context.value.extras.insert(.attached)
        }
    }

    /// Adds a field line to the answer, whoever gives it.
    public func addResponseField(_ name: StaticString, _ value: String) { addResponseFields([name: value]) }

    /// Adds field lines to the answer, whoever gives it.
    public func addResponseFields(_ fields: HTTPFields) {
        unsafe context.value.server?._withUnsafeGuaranteedRef { $0.addResponseFields(fields) }
    }

    /// When it was dispatched, loop nanoseconds.
    public var startedAt: UInt64 { context.value.startedAt }

    /// Whether the body is declared as JSON: `application/json`, `application/…+json`, with any parameters.
    public var isJSON: Bool {
        guard let type = head.value("content-type") else { return false }
        var end = 0
        while end < type.count && type[end] != UInt8(ascii: ";") && type[end] != 32 { end += 1 }
        let name = type.extracting(0..<end)
        if ASCII.equalsIgnoringCase(name, "application/json") { return true }
        return name.count > 17 && ASCII.equalsIgnoringCase(name.extracting(0..<12), "application/")
            && ASCII.equalsIgnoringCase(name.extracting((name.count - 5)..<name.count), "+json")
    }
}

/// What the server knows of a request beside its bytes.
@safe struct RequestContext {
    /// Outlived by the server, which retains it.
    let router: Unmanaged<Router>
    var connection = ConnectionID.none
    var handle = Handle<HTTPConnection>.none
    var sequence: UInt32 = 0
    /// A handler is being called for it.
    var isActive = false
    var isAnswered = false
    var flags: ResponseFlags = []
    var startedAt: UInt64 = 0
    /// Index into the router's routes; -1 is no route.
    var route = -1
    var match = RouteMatch()
    var requestID = RequestID()
    /// What `traceparent` says. Of the last head that was looked at; the same head again says the same.
    var trace = TraceContext.none
    /// Where `Origin` lies, if it is allowed; nil else.
    var allowedOrigin: UnsafeBufferPointer<UInt8>?
    var extras: ResponseExtras = []
    /// Field lines that gates have added to the answer, while it is not parked (`ResponseExtras.fields`).
    var fields: [UInt8] = []
    /// What gates have attached (`ResponseExtras.attached`); else what they had to another request.
    var attached = AttachedValues()
    /// Whom a request comes from, and which one.
    var client: (connection: ConnectionID, sequence: UInt32, address: SocketAddress)?
    /// The server itself, which outlives its context.
    var server: Unmanaged<HTTPServer>?

    /// The head table's generation when a route was last found for a request without an origin, and what was found: the same
    /// head again needs no second look.
    var knownGeneration: UInt64 = .max
    var knownRoute = -1
    var knownFlags: ResponseFlags = []
    var knownRequestID = false

    init(router: Router) {
        unsafe self.router = unsafe Unmanaged.passUnretained(router)
        unsafe allowedOrigin = nil
        unsafe server = nil
    }
}

/// What a request has that most have not.
struct ResponseExtras: OptionSet {
    let rawValue: UInt8
    /// It has an `Origin`: the answer gets the CORS fields.
    static let origin = ResponseExtras(rawValue: 1)
    /// Gates have added fields to its answer.
    static let fields = ResponseExtras(rawValue: 2)
    /// Gates have attached something to it.
    static let attached = ResponseExtras(rawValue: 4)
}

/// How a response must be written.
struct ResponseFlags: OptionSet {
    let rawValue: UInt8
    /// HEAD: no body.
    static let noBody = ResponseFlags(rawValue: 1)
    /// The connection ends behind it.
    static let close = ResponseFlags(rawValue: 2)
    /// HTTP/1.0: keeping the connection must be said.
    static let version10 = ResponseFlags(rawValue: 4)
    /// The client asks for another protocol and sends no body: behind the 101 there are only bytes of that protocol.
    static let mayUpgrade = ResponseFlags(rawValue: 8)
}
