import Bytes
import HTTP1
import Memory
import Reactor
import Telemetry

/// HTTP/1.1 on one loop: reads requests, calls the router's handlers, writes answers in order.
///
///     let router = Router()
///     router.get("/") { request, responder in responder.respond(body: "Hello, World!") }
///     let server = HTTPServer(loop: loop, router: router)
///     let listener = try server.listen(.loopback(port: 8080))
///
/// Everything is to be called on the loop. One instance serves any number of listeners of its loop.
@safe public final class HTTPServer: ConnectionHandler, TurnEnding, LoopService {
    /// What clients can ask for by ALPN (RFC 7301), in the order of preference: for the context of a listener with TLS. A client that
    /// offers nothing of it is refused by the alert no_application_protocol.
    public static let applicationProtocols = ["http/1.1", "http/1.0"]

    /// The loop that the server belongs to.
    public let loop: EventLoop
    let router: Router
    /// Hot state, flat, outside any object: touched on the loop's thread only.
    let core: Cell<ServerCore>
    /// The request whose handler is being called.
    let context: Cell<RequestContext>
    let routes: Cell<RouteTable>
    let anchor = ServerAnchor()
    private var listeners: [Listener] = []
    private var drained: (() -> Void)?

    /// - Parameters:
    ///   - router: filled before; it is not changed any more.
    ///   - cors: what pages of other origins may do.
    ///   - proxies: whose word counts about how a request came to them.
    ///   - hosts: by which names the server may be called; another one is 421.
    ///   - requestIDs: whether each answer carries an `X-Request-Id`, the client's or one made here.
    ///   - problemTypes: what stands before a problem's code in its type, such as `urn:example:problem:`; nil: problems have
    ///     no type.
    ///   - metrics: where requests are counted and timed, by route; nil: nowhere.
    ///   - logger: where requests are logged (`RequestLog` says which); nil: nowhere.
    public init(
        loop: EventLoop, router: Router, limits: HTTPLimits = .init(), cors: CORSPolicy = .init(),
        proxies: TrustedProxies = .init(), hosts: HostNames = .all, requestIDs: Bool = true,
        problemTypes: String? = nil, metrics: MetricRegistry? = nil, logger: Logger? = nil
    ) {
        self.loop = loop
        self.router = router
        context = Cell(RequestContext(router: router))
        routes = Cell(RouteTable(router))
        core = Cell(
            ServerCore(
                limits: limits, cors: cors, proxies: proxies, hosts: hosts, requestIDs: requestIDs,
                problemTypes: problemTypes,
                metrics: metrics.map { HTTPMetrics($0, router: router) }, log: RequestLog(logger),
                seed: loop.randomNumber()))
        super.init()
        anchor.set(self)
        metrics?.addConnections(account, protocol: "http")
        unsafe context.value.server = Unmanaged.passUnretained(self)
    }

    deinit { anchor.set(nil) }

    /// Listens on `address`, with TLS if a context is given.
    ///
    /// - Parameters:
    ///   - gate: who may connect; nil: everybody.
    ///   - proxyProtocol: all connections come from the trusted proxies, each with a PROXY header of version 2 in front.
    @discardableResult
    public func listen(
        _ address: SocketAddress, options: ListenOptions = .init(), tls: TLSServerContext? = nil,
        gate: (any ConnectionGate)? = nil, proxyProtocol: Bool = false
    ) throws -> Listener {
        let proxies = core.value.proxies
        let listener = try loop.listen(
            address, options: options, tls: tls, handler: self, gate: gate,
            proxies: proxyProtocol ? { proxies.isTrusted($0) } : nil)
        listeners.append(listener)
        return listener
    }

    /// Connections that are open, without those that were upgraded.
    public var connectionCount: Int { core.value.connections.count }

    /// Bytes of memory that bodies take which are still coming.
    public var heldBodyBytes: Int { core.value.heldBodyBytes }

    /// Bytes of answers that wait for an earlier one of their connection.
    public var heldAnswerBytes: Int { core.value.heldAnswerBytes }

    /// From now on every answer is the last of its connection (`Connection: close`, RFC 9112 §9.6), so that clients go on
    /// elsewhere. New connections are still accepted and quiet ones stay open: this is for the time before `drain`.
    public func announceEnd() { core.value.isDraining = true }

    /// Stops gracefully: no new connections, quiet ones are half-closed, the others end with their answer. What took
    /// connections over and drains with the router is drained, too.
    ///
    /// - Parameter completion: called once no connection is left.
    public func drain(_ completion: @escaping () -> Void) { drain(keepingQuietFor: .zero, completion) }

    /// Stops gracefully, as `drain(_:)`, in two steps.
    ///
    /// - Parameters:
    ///   - quietTime: for how long quiet connections are kept. A request that comes on one is answered; one that crosses the
    ///     half-closing can't be, so clients need time to hear of the end from an answer.
    ///   - completion: called once no connection is left.
    public func drain(keepingQuietFor quietTime: Duration = .zero, _ completion: @escaping () -> Void = {}) {
        stopAccepting()
        core.value.isDraining = true
        var left = 1 + router.companions.count
        let partDone = {
            left -= 1
            if left == 0 { completion() }
        }
        drained = partDone
        for companion in router.companions { companion.drain(partDone) }
        if quietTime == .zero {
            closeQuiet()
        } else {
            loop.schedule(after: quietTime) { [weak self] in self?.closeQuiet() }
        }
        reportIfDrained()
    }

    /// Ends the connections on which nothing is asked, thousands in portions, a turn each. One that becomes quiet from now on
    /// ends by itself.
    private func closeQuiet() {
        core.value.endsQuiet = true
        loop.inPortions(below: core.value.connections.end) { [weak self] slot in
            guard let self, let handle = core.value.connections.handle(atSlot: slot),
                let connection = core.value.connections.find(handle)
            else { return }
            if connection.value.inFlight == 0, !connection.value.parser.isInsideRequest { finish(connection) }
        }
    }

    /// Closes the listeners and nothing else.
    public func stopAccepting() {
        for listener in listeners { listener.close() }
        listeners = []
    }

    /// Closes every connection, answered or not: thousands in portions, a turn each.
    public func closeAll() {
        loop.inPortions(below: core.value.connections.end) { [weak self] slot in
            guard let self, let handle = core.value.connections.handle(atSlot: slot),
                let connection = core.value.connections.find(handle)
            else { return }
            connection.value.flags.insert([.last, .closing])
            loop.close(connection.value.id)
        }
    }

    func reportIfDrained() {
        guard core.value.isDraining, core.value.connections.count == 0, let completion = drained else { return }
        drained = nil
        completion()
    }

    // MARK: Connections

    @inline(__always)
    private func handle(_ id: ConnectionID) -> Handle<HTTPConnection> { loop.handle(id, of: HTTPConnection.self) }

    public override func connectionOpened(_ id: ConnectionID) {
        guard let handle = core.value.connections.insert(HTTPConnection(id)),
            let connection = core.value.connections.find(handle)
        else { return loop.close(id) }
        connection.value.handle = handle
        loop.setHandle(id, handle)
        beQuiet(connection)
    }

    public override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        unsafe read(handle(id), UnsafeRawBufferPointer(bytes))
    }

    public override func connectionReadClosed(_ id: ConnectionID) {
        guard let connection = core.value.connections.find(handle(id)) else { return loop.closeAfterFlush(id) }
        connection.value.flags.insert(.readClosed)
        endIfAnswered(connection)
    }

    public override func connectionDrained(_ id: ConnectionID) {
        if let connection = core.value.connections.find(handle(id)) { goOn(connection) }
    }

    public override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        forget(handle(id))
        reportIfDrained()
    }

    public override func connectionDeadline(_ id: ConnectionID) {
        if let connection = core.value.connections.find(handle(id)) { deadlinePassed(connection) }
    }

    /// Forgets a connection: it is closed, or belongs to another protocol now. Whoever has a handle finds nothing from now
    /// on.
    ///
    /// - Returns: false if that was done before.
    @discardableResult
    func forget(_ handle: Handle<HTTPConnection>) -> Bool {
        guard let connection = core.value.connections.find(handle) else { return false }
        dropPending(connection)
        dropWaiting(connection)
        connection.value.flags.insert(.gone)
        core.value.connections.remove(handle)
        reclaimAtEndOfTurn()
        return true
    }

    func reclaimAtEndOfTurn() {
        if core.value.reclaims { return }
        core.value.reclaims = true
        loop.atEndOfTurn(self)
    }

    public func turnEnded() {
        core.value.reclaims = false
        core.value.connections.reclaim()
        core.value.pending.reclaim()
        core.value.answers.reclaim()
    }
}
