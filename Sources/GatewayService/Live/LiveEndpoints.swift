import Access
import Bytes
import HTTPServer
import Reactor
import RideAPI
import RideDomain
import Telemetry
import WebSocketServer

/// The gateway's WebSockets on one loop: routes, handshake, and the endpoints behind them.
///
///     let links = FeedLink.links(feed, loops: group.loops)           // once, on the feed's loop, before the loops run
///     let live = LiveEndpoints(link: links[i].value, …)               // on each loop
///     live.register(on: GuardedRoutes(router.group(["", "/v1"]), access: access))
final class LiveEndpoints {
    struct Configuration: Sendable {
        /// What the live lists of this loop may hold and do.
        var limits = FeedLimits()
        /// Milliseconds between two lists, unless a subscriber asks for another interval.
        var interval = 100
        /// What is answered to permessage-deflate; nil: nothing.
        var deflate: DeflateOptions? = DeflateOptions()
    }

    let sockets: WebSocketServer
    private let configuration: Configuration
    private let available: AvailableEndpoint
    private let trips: TripEndpoint
    private let uplinks: UplinkEndpoint
    private let refused = RefusedEndpoint()
    private let door: LoopDoor?
    let expiry: SocketExpiry
    private var isDraining = false

    init(
        link: FeedLink, drivers: Driver_V1_DriverServiceClient, trips: Trip_V1_TripServiceClient,
        configuration: Configuration = .init(), limits: LoopLimits? = nil, door: LoopDoor? = nil
    ) {
        self.configuration = configuration
        self.door = door
        sockets = WebSocketServer(
            loop: link.loop, deflate: configuration.deflate,
            freshness: MetricRegistry.shared.histogram(
                name: "cabstand_list_freshness_seconds",
                help:
                    "From the time of the Kafka record that caused a list to the list's socket write, per subscriber."))
        expiry = SocketExpiry(sockets: sockets)
        let watches = TripWatches(loop: link.loop, client: trips)
        available = AvailableEndpoint(
            sockets: sockets, link: link, interval: configuration.interval, limits: configuration.limits,
            messages: limits?.messages(.view, sockets))
        self.trips = TripEndpoint(sockets: sockets, watches: watches, link: link)
        uplinks = UplinkEndpoint(
            sockets: sockets, drivers: drivers, watches: watches, messages: limits?.messages(.uplink, sockets))
    }

    /// Adds the routes.
    func register(on routes: GuardedRoutes) {
        if let access = routes.access {
            expiry.isRevoked = access.authenticator.isRevoked
            let renewal = TokenRenewal(access: access, expiry: expiry, sockets: sockets)
            (available.tokens, trips.tokens, uplinks.tokens) = (renewal, renewal, renewal)
        }
        routes.add(.watchAvailableDrivers, openAvailable)
        routes.add(.watchTrip, openTrip)
        routes.add(.reportLocation, openUplink)
    }

    /// Refuses new WebSockets (503) from now on.
    func refuseNew() { isDraining = true }

    /// Refuses new WebSockets (503) and closes those that are there 1001, spread over `time`.
    func drain(over time: Duration, _ completion: @escaping () -> Void) {
        isDraining = true
        sockets.drain(over: time, completion)
    }

    /// Cuts every WebSocket off.
    func closeAll() { sockets.closeAll() }

    // MARK: Routes

    private func openAvailable(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        guard let id = shakeHands(request, responder) else { return }
        guard let pairs = request.queryPairs() else {
            let detail = "The query can't be decoded; percent-encode it as UTF-8."
            return refuse(id, Problem(400, "invalid-parameter", detail), request.requestID)
        }
        do throws(ParameterError) {
            // A ticket has been taken at the door.
            let parameters = try AreaParameters(pairs.filter { $0.name != "ticket" }, .live)
            available.open(
                id, try parameters.query(), interval: parameters.interval, requestID: request.requestID)
        } catch {
            refuse(id, Problem(parameter: error.parameter, error.detail), request.requestID)
        }
    }

    private func openTrip(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        guard let id = shakeHands(request, responder) else { return }
        trips.open(id, trip: request.pathParameter("id") ?? "", requestID: request.requestID)
    }

    private func openUplink(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        guard let id = shakeHands(request, responder) else { return }
        uplinks.open(
            id, driver: request.pathParameter("id") ?? "",
            RequestOrigin(requestID: request.requestID, trace: request.trace))
    }

    /// Answers the handshake with 101 or with a problem. The connection, if it is a WebSocket now.
    private func shakeHands(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) -> WebSocketID? {
        if isDraining {
            var fields = HTTPFields()
            fields.add("retry-after", "1")
            responder.problem(Problem(503, "backend-unavailable", "The server is stopping; try again."), fields: fields)
            return nil
        }
        var response = ByteBuffer()
        let id = request.connection
        if let refusal = sockets.shakeHands(
            request.head, id, isForeign: request.isForeign, protocols: [BearerSubprotocol.spoken], response: &response)
        {
            var fields = HTTPFields()
            for header in refusal.headers { fields.add(header.name, header.value) }
            if refusal == .foreignOrigin {
                responder.problem(.foreignOrigin("open a WebSocket"))
            } else {
                responder.problem(Problem(refusal.status, refusal.code, "\(refusal.detail)"), fields: fields)
            }
            return nil
        }
        if let door, let principal = request[Principal.self] {
            do throws(Problem) {
                try door.enter(principal, id)
            } catch {
                responder.problem(error)
                return nil
            }
        }
        guard responder.upgrade(to: sockets, context: 0, response: response.span) else { return nil }
        if let principal = request[Principal.self] { expiry.add(id, of: principal) }
        return id
    }

    private func refuse(_ id: WebSocketID, _ problem: Problem, _ requestID: String) {
        sockets.adopt(id, handler: refused)
        sockets.refuse(id, problem, requestID: requestID)
    }
}

/// Whose request was bad: it hears why, then nothing.
private final class RefusedEndpoint: WebSocketHandler {}
