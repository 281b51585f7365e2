import Bytes
import HTTP1
import Memory
import Reactor
import Telemetry

extension HTTPServer {
    /// What is to be done with a request, as far as its head tells.
    enum Verdict {
        /// Call the handler of that route; -1 is the router's fallback.
        case route(Int)
        /// Boxed: the common case stays a word.
        indirect case answer(EarlyAnswer)
    }

    /// An answer that needs no handler.
    enum EarlyAnswer {
        case problem(Problem)
        /// To OPTIONS: the methods that are allowed.
        case options(String)
    }

    /// Gives the request its number and its context, and finds its route.
    @inline(__always)
    func examine(_ connection: Place<HTTPConnection>, _ head: HTTP1Head) -> Verdict {
        begin(connection)
        let generation = core.value.table.generation
        if context.value.knownGeneration == generation {
            context.value.flags = context.value.knownFlags
            context.value.route = context.value.knownRoute
            if core.value.requestIDs { identify(head, mayHaveOne: context.value.knownRequestID) }
            return .route(context.value.knownRoute)
        }
        return examineAnew(head)
    }

    /// As above, for a head that differs from the last one.
    @inline(never)
    private func examineAnew(_ head: HTTP1Head) -> Verdict {
        let verdict = judge(head)
        if case .route(let route) = verdict, !context.value.extras.contains(.origin) {
            context.value.knownGeneration = core.value.table.generation
            context.value.knownRoute = route
            context.value.knownFlags = context.value.flags
            context.value.knownRequestID = head.has("x-request-id")
        } else {
            context.value.knownGeneration = .max
        }
        return verdict
    }

    private func judge(_ head: HTTP1Head) -> Verdict {
        var flags: ResponseFlags = []
        if head.method == .head { flags.insert(.noBody) }
        if head.minorVersion == 0 { flags.insert(.version10) }
        if !head.isKeepAlive { flags.insert(.close) }
        if head.asksForUpgrade && !head.hasBody && head.minorVersion == 1 { flags.insert(.mayUpgrade) }
        context.value.flags = flags
        if core.value.requestIDs { identify(head, mayHaveOne: true) }
        let parent = head.index(of: "traceparent")
        if parent >= 0 {
            // Of several none is to be believed.
            let isOne = head.index(of: "traceparent", from: parent + 1) < 0
            context.value.trace = isOne ? TraceContext(head.value(at: parent)) : .none
        } else if !context.value.trace.isNone {
            context.value.trace = .none
        }
        lookAtOrigin(head)

        if !core.value.hosts.knows(head.authority) {
            return .answer(.problem(.misdirected(head.authority)))
        }
        if head.hasUnknownExpectation {
            return .answer(
                .problem(.init(417, "expectation-failed", "The only expectation that is met here is 100-continue.")))
        }
        switch head.method {
        case .other, .connect, .trace:
            return .answer(.problem(.init(501, "not-implemented", "This method is not known here.")))
        default: break
        }
        let verdict = findRoute(head)
        if head.hasBody, case .route = verdict, isEncoded(head) { return .answer(.problem(.encodedBody)) }
        return verdict
    }

    /// Whether the body has a content coding (RFC 9110 §8.4): a handler would take gzip for JSON. None is undone here: what
    /// a body may have is small, so a coding would save little, and its inflating would want a bound of its own.
    private func isEncoded(_ head: HTTP1Head) -> Bool {
        var index = head.index(of: "content-encoding")
        while index >= 0 {
            let value = head.value(at: index)
            var list = HTTP1List(count: value.count)
            while let range = list.next(in: value) {
                if !ASCII.equalsIgnoringCase(value.extracting(range), "identity") { return true }
            }
            index = head.index(of: "content-encoding", from: index + 1)
        }
        return false
    }

    /// The context of the next request in order.
    @inline(__always)
    func begin(_ connection: Place<HTTPConnection>) {
        let sequence = connection.value.received
        connection.value.received = sequence &+ 1
        context.value.connection = connection.value.id
        context.value.handle = connection.value.handle
        context.value.sequence = sequence
        context.value.isActive = true
        context.value.isAnswered = false
        context.value.startedAt = loop.now
        context.value.route = -1
        unsafe context.value.allowedOrigin = nil
        context.value.extras = []
        context.value.requestID.count = 0
    }

    /// Takes or makes the request's identifier.
    @inline(__always)
    private func identify(_ head: HTTP1Head, mayHaveOne: Bool) {
        let index = mayHaveOne ? head.index(of: "x-request-id") : -1
        if index < 0 || !context.value.requestID.adopt(head.value(at: index)) {
            context.value.requestID.mint(unixMilliseconds: loop.wallClockMilliseconds, &core.value.random)
        }
    }

    private func lookAtOrigin(_ head: HTTP1Head) {
        let origin = head.index(of: "origin")
        guard origin >= 0 else { return }
        context.value.extras.insert(.origin)
        if judgeOrigin(head) == .allowed {
            // Proof: used only while the handler is being called, when the head's bytes are there.
            unsafe context.value.allowedOrigin = unsafe head.value(at: origin).withUnsafeBufferPointer { unsafe $0 }
        }
    }

    /// What the head of this context's request says of the page that sent it.
    func judgeOrigin(_ head: HTTP1Head) -> OriginPolicy.Verdict {
        core.value.cors.origins.judge(head, scheme: scheme(of: head))
    }

    /// How the client has sent this context's request.
    func scheme(of head: HTTP1Head) -> OriginPolicy.Scheme {
        let connection = context.value.connection
        return core.value.proxies.scheme(
            of: head, from: loop.peerAddress(connection), isTLS: loop.isTLS(connection))
    }

    /// Whom the request of this context, which has this head, comes from. Looked for once: limits and the audit ask.
    func clientAddress(of head: HTTP1Head) -> SocketAddress? {
        let (connection, sequence) = (context.value.connection, context.value.sequence)
        if let known = context.value.client, known.connection == connection, known.sequence == sequence {
            return known.address
        }
        guard let peer = loop.peerAddress(connection) else { return nil }
        let address = core.value.proxies.client(of: head, from: peer)
        context.value.client = (connection, sequence, address)
        return address
    }

    @inline(__always)
    private func findRoute(_ head: HTTP1Head) -> Verdict {
        let path = head.path
        if path.count == 0 || path.count == 1 && path[0] == UInt8(ascii: "*") {
            return .answer(.options("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"))
        }
        let node = routes.value.match(path, &context.value.match)
        guard node >= 0 else {
            if router.fallback != nil { return .route(-1) }
            return .answer(.problem(notFound(path)))
        }
        let route = routes.value.route(node, head.method)
        if route >= 0 {
            context.value.route = route
            return .route(route)
        }
        let allow = router.nodes[node].allow
        if head.method == .options { return .answer(.options(allow)) }
        return .answer(
            .problem(
                .init(
                    405, "method-not-allowed", "This path takes \(allow).",
                    fields: ["Allow": allow])))
    }

    @inline(never)
    private func notFound(_ path: Span<UInt8>) -> Problem {
        let text = PercentCoding.decode(path) ?? "that path"
        return Problem(404, "not-found", "There is nothing at \(text.clipped(to: 200)).")
    }

    func bodyLimit(_ verdict: Verdict) -> Int {
        guard case .route(let route) = verdict, route >= 0 else { return core.value.limits.bodyBytes }
        return router.routes[route].bodyBytes ?? core.value.limits.bodyBytes
    }

    func tooLarge(_ limit: Int) -> EarlyAnswer { .problem(tooLarge(limit)) }

    func tooLarge(_ limit: Int) -> Problem {
        Problem(413, "payload-too-large", "The body is larger than \(limit) bytes, which is all that is taken here.")
    }

    /// Calls the handler of the route that `examine` found.
    func dispatch(_ connection: Place<HTTPConnection>, _ request: borrowing HTTPRequest) {
        let responder = currentResponder()
        if context.value.flags.contains(.close) { connection.value.flags.insert(.last) }
        let route = context.value.route
        if route >= 0 {
            routes.value.call(route, request, responder)
        } else {
            do throws(Problem) { try router.fallback?(request, responder) } catch { responder.problem(error) }
        }
        endDispatch()
    }

    private func currentResponder() -> HTTPResponder {
        HTTPResponder(anchor: anchor, connection: context.value.handle, sequence: context.value.sequence)
    }

    /// The handler has returned: if it has not answered, the answer will come later. The connection may be gone.
    @inline(__always)
    private func endDispatch() {
        if !context.value.isAnswered, let connection = core.value.connections.find(context.value.handle) {
            park(connection)
        }
        context.value.isActive = false
    }

    /// Answers a request whose body, if it has one, was not read. A short body is read over, so that the connection can go
    /// on; a long one, or one that the client holds back, ends it.
    func answerEarly(
        _ connection: Place<HTTPConnection>, _ head: HTTP1Head, _ answer: EarlyAnswer, keeps: Bool = true
    ) {
        if head.hasBody {
            let isShort = (head.contentLength ?? 0) <= UInt64(core.value.limits.discardedBodyBytes)
            if !keeps || !isShort || head.expectsContinue {
                context.value.flags.insert(.close)
            } else {
                connection.value.bodyBytes = 0
                connection.value.bodyBegan = loop.now
            }
        }
        if context.value.flags.contains(.close) { connection.value.flags.insert(.last) }
        let responder = currentResponder()
        switch answer {
        case .problem(let problem): responder.problem(problem)
        case .options(let allow):
            respondToOptions(responder, allow, isPreflight: head.has("access-control-request-method"))
        }
        context.value.isActive = false
    }

    /// `OPTIONS`, and the preflight requests of browsers (Fetch §3.2.2).
    func respondToOptions(_ responder: HTTPResponder, _ allow: String, isPreflight: Bool) {
        var fields = HTTPFields()
        fields.add("Allow", allow)
        if unsafe context.value.allowedOrigin != nil && isPreflight {
            fields.add("Access-Control-Allow-Methods", allow)
            let allowed = core.value.cors.allowedFields
            if !allowed.isEmpty { fields.add("Access-Control-Allow-Headers", allowed.joined(separator: ", ")) }
            fields.add("Access-Control-Max-Age", String(core.value.cors.maximumAge))
        }
        responder.respond(204, fields: fields)
    }

    /// Answers a request that could not be read, as the last one of its connection.
    @inline(never)
    func refuse(_ connection: Place<HTTPConnection>, _ problem: Problem) {
        begin(connection)
        if core.value.requestIDs {
            context.value.requestID.mint(
                unixMilliseconds: loop.wallClockMilliseconds, &core.value.random)
        }
        context.value.trace = .none
        context.value.knownGeneration = .max
        context.value.flags = .close
        connection.value.flags.insert(.last)
        currentResponder().problem(problem)
        context.value.isActive = false
    }
}
