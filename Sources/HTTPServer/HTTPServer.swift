import Bytes
import HTTP1
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
@safe public final class HTTPServer: ConnectionHandler {
    public let loop: EventLoop
    let router: Router
    /// Hot state, flat, outside any object: touched on the loop's thread only, freed with the server.
    let core: Ref<ServerCore>
    /// The request whose handler is being called.
    let context: Ref<RequestContext>
    let routes: Ref<RouteTable>
    let anchor: Ref<ServerAnchor>
    private var listeners: [Listener] = []
    private var drained: (() -> Void)?

    /// - Parameters:
    ///   - router: filled before; it is not changed any more.
    ///   - origins: whose pages may read the answers.
    ///   - requestIDs: whether each answer carries an `X-Request-Id`, the client's or one made here.
    ///   - metrics: where requests are counted and timed, by route; nil: nowhere.
    ///   - logger: where requests are logged (`RequestLog` says which); nil: nowhere.
    public init(
        loop: EventLoop, router: Router, limits: HTTPLimits = .init(), origins: OriginPolicy = .init(),
        requestIDs: Bool = true, metrics: MetricRegistry? = nil, logger: Logger? = nil
    ) {
        self.loop = loop
        self.router = router
        anchor = .allocate(ServerAnchor())
        context = .allocate(RequestContext(router: router))
        routes = .allocate(RouteTable(router))
        core = .allocate(
            ServerCore(
                limits: limits, origins: origins, requestIDs: requestIDs,
                metrics: metrics.map { HTTPMetrics($0, router: router) }, log: RequestLog(logger)))
        super.init()
        unsafe anchor.value.server = Unmanaged.passUnretained(self)
    }

    deinit {
        unsafe anchor.value.server = nil
        core.free()
        context.free()
        routes.free()
    }

    /// Listens on `address`, with TLS if a context is given.
    @discardableResult
    public func listen(
        _ address: SocketAddress, options: ListenOptions = .init(), tls: TLSServerContext? = nil
    ) throws -> Listener {
        let listener = try loop.listen(address, options: options, tls: tls, handler: self)
        listeners.append(listener)
        return listener
    }

    /// Connections that are open, without those that were upgraded.
    public var connectionCount: Int { core.value.slab.count }

    /// From now on every answer is the last of its connection (`Connection: close`, RFC 9112 §9.6), so that clients go on
    /// elsewhere. New connections are still accepted and quiet ones stay open: this is for the time before `drain`.
    public func announceEnd() { core.value.isDraining = true }

    /// Stops gracefully: no new connections, quiet ones are half-closed, the others end with their answer.
    ///
    /// - Parameters:
    ///   - quietTime: nanoseconds for which quiet connections are kept. A request that comes on one is answered; one that
    ///     crosses the half-closing can't be, so clients need time to hear of the end from an answer.
    ///   - completion: called once no connection is left.
    public func drain(keepingQuietFor quietTime: UInt64 = 0, _ completion: @escaping () -> Void = {}) {
        stopAccepting()
        core.value.isDraining = true
        drained = completion
        if quietTime == 0 {
            closeQuiet()
        } else {
            loop.schedule(after: quietTime) { [weak self] in self?.closeQuiet() }
        }
        reportIfDrained()
    }

    private func closeQuiet() {
        for place in 0..<UInt32(core.value.slab.used) {
            let connection = core.value.slab.pointer(place)
            let isQuiet = connection.value.inFlight == 0 && !connection.value.parser.isInsideRequest
            if connection.value.flags.contains(.open) && isQuiet { finish(connection) }
        }
    }

    /// Closes the listeners and nothing else.
    public func stopAccepting() {
        for listener in listeners { listener.close() }
        listeners = []
    }

    /// Closes every connection at once, answered or not.
    public func closeAll() {
        for place in 0..<UInt32(core.value.slab.used) {
            let connection = core.value.slab.pointer(place)
            if connection.value.flags.contains(.open) { loop.close(connection.value.id) }
        }
    }

    func reportIfDrained() {
        guard core.value.isDraining, core.value.slab.count == 0, let completion = drained else { return }
        drained = nil
        completion()
    }

    // MARK: Connections

    public override func connectionOpened(_ id: ConnectionID) {
        let place = core.value.slab.take(id)
        loop.setContext(id, place)
        let connection = core.value.slab.pointer(place)
        setDeadline(connection, .idle, core.value.limits.idleTime)
    }

    public override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
        unsafe read(loop.context(id), UnsafeRawBufferPointer(bytes))
    }

    public override func connectionReadClosed(_ id: ConnectionID) {
        let connection = core.value.slab.pointer(loop.context(id))
        connection.value.flags.insert(.readClosed)
        endIfAnswered(connection)
    }

    public override func connectionDrained(_ id: ConnectionID) {
        resumeIfPaused(core.value.slab.pointer(loop.context(id)))
    }

    public override func connectionClosed(_ id: ConnectionID, _ reason: CloseReason) {
        free(loop.context(id))
        reportIfDrained()
    }

    public override func connectionDeadline(_ id: ConnectionID) {
        deadlinePassed(core.value.slab.pointer(loop.context(id)))
    }

    /// Forgets a connection: it is closed, or belongs to another protocol now.
    func free(_ place: UInt32) {
        let connection = core.value.slab.pointer(place)
        if let pending = connection.value.pending {
            pending.free()
        }
        if let queue = connection.value.queue { core.value.recycle(queue) }
        core.value.slab.giveBack(place)
    }
}

/// The hot state of one server.
@safe struct ServerCore: ~Copyable {
    let limits: HTTPLimits
    let origins: OriginPolicy
    let requestIDs: Bool
    let metrics: HTTPMetrics?
    var log: RequestLog
    var slab = HTTPConnectionSlab()
    let table: HTTP1HeadTable
    var date = HTTP1DateCache()
    /// Until when, loop nanoseconds, `date` need not be looked at.
    var dateHolds: UInt64 = 0
    var random = RandomBits()
    /// Where a body is written before its length is known.
    var scratch = ByteBuffer()
    var isDraining = false
    private var spareQueues: [Ref<ResponseQueue>] = []

    init(
        limits: HTTPLimits, origins: OriginPolicy, requestIDs: Bool, metrics: HTTPMetrics?, log: RequestLog
    ) {
        self.limits = limits
        self.origins = origins
        self.requestIDs = requestIDs
        self.metrics = metrics
        self.log = log
        table = HTTP1HeadTable(limits: limits.http1)
    }

    deinit {
        for queue in spareQueues {
            queue.free()
        }
    }

    /// An empty queue, used before if there is one.
    mutating func takeQueue() -> Ref<ResponseQueue> {
        if let queue = spareQueues.popLast() { return queue }
        return Ref.allocate(ResponseQueue(depth: limits.pipelineDepth))
    }

    /// Keeps a queue for the next connection that needs one.
    mutating func recycle(_ queue: Ref<ResponseQueue>) {
        if spareQueues.count < 64 {
            queue.value.reset()
            spareQueues.append(queue)
        } else {
            queue.free()
        }
    }
}
