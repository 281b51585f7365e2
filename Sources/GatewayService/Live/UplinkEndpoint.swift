import Bytes
import GRPCRuntime
import HTTPServer
import JSONWire
import ProtobufWire
import Reactor
import RideAPI
import RideDomain
import Telemetry
import WebSocketServer
import WebSockets

/// `/ws/drivers/{id}/location` on one loop: a driver's own app sends positions and learns of its trip.
final class UplinkEndpoint: WebSocketHandler {
    private let sockets: WebSocketServer
    private let service: LocationService
    private let watches: TripWatches
    private let messages: MessageLimit?
    /// By the number that a WebSocket has as its context.
    private var uplinks: [Uplink?] = []
    private var free: [Int] = []

    /// Takes messages that renew a token; nil: nobody is asked who they are.
    var tokens: TokenRenewal?

    init(
        sockets: WebSocketServer, drivers: Driver_V1_DriverServiceClient, watches: TripWatches,
        messages: MessageLimit? = nil
    ) {
        self.sockets = sockets
        service = LocationService(client: drivers)
        self.watches = watches
        self.messages = messages
    }

    /// A WebSocket whose 101 is on its way belongs to `driver`'s app.
    func open(_ id: WebSocketID, driver: String, _ origin: RequestOrigin) {
        let place = free.popLast() ?? uplinks.count
        if place == uplinks.count { uplinks.append(nil) }
        sockets.adopt(id, handler: self, context: UInt32(place))
        guard sockets.isOpen(id) else { return }
        guard Identifier.isValid(driver) else {
            return sockets.refuse(id, .noDriver(driver), requestID: origin.requestID)
        }
        let uplink = Uplink(id, driver, origin, sockets: sockets, service: service, watches: watches)
        uplinks[place] = uplink
        uplink.begin()
    }

    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        if tokens?.take(id, text) == true { return }
        guard let uplink = uplinks[Int(sockets.context(id))] else { return }
        if let messages {
            let verdict = uplink.sent.take(messages.rule, now: sockets.loop.now)
            guard messages.admits(id, verdict) else { return }
        }
        do throws(BodyError) {
            uplink.report(try RequestBodies.driverPosition(text))
        } catch {
            sockets.sendError(id, Problem(body: error))
            sockets.countBadMessage(id)
        }
    }

    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        let place = Int(sockets.context(id))
        uplinks[place]?.end()
        uplinks[place] = nil
        free.append(place)
    }
}

/// One driver's app.
///
///     positions ─▶ LocationSender ─▶ what became of them, every `ackInterval` ─▶ ack
///     WatchDriver ─▶ active trip ─▶ WatchTrip ─▶ trip
///
/// Without positions there are neither streams nor acks.
final class Uplink: TripObserver {
    private let id: WebSocketID
    private let driver: String
    private let requestID: String
    private let sockets: WebSocketServer
    private let drivers: Driver_V1_DriverServiceClient
    private let watches: TripWatches
    private let positions: LocationSender
    private var ackTimer: TimerID?
    private var watch: ServerStreamingCall?
    private var retry: TimerID?
    private var hasEnded = false
    var sent = SentMessages()
    /// The trip that the driver service names; nil inside is none, nil outside is not known yet.
    private var activeTrip: String??

    /// Nanoseconds between two acks at least.
    static let ackInterval: UInt64 = 5_000_000_000

    init(
        _ id: WebSocketID, _ driver: String, _ origin: RequestOrigin, sockets: WebSocketServer,
        service: LocationService, watches: TripWatches
    ) {
        self.id = id
        self.driver = driver
        requestID = origin.requestID
        self.sockets = sockets
        self.watches = watches
        drivers = service.client
        driverRetries = TripWatches.makeBackoff(sockets.loop)
        tripRetries = TripWatches.makeBackoff(sockets.loop)
        options.metadata.add(origin)
        positions = LocationSender(driver: driver, service: service, options: options)
    }

    private var loop: EventLoop { sockets.loop }
    private var driverRetries: RetryBackoff
    private var tripRetries: RetryBackoff

    /// The driver service's log lines, and its events of positions, name the request that became this WebSocket.
    private var options = CallOptions()

    func begin() {
        retry = nil
        watch = drivers.watchDriver(
            Driver_V1_WatchDriverRequest(driverID: driver), options: options,
            onMessage: { [weak self] in self?.driverChanged($0) },
            onEnd: { [weak self] in self?.watchEnded($0) })
    }

    func end() {
        hasEnded = true
        if let retry { loop.cancel(retry) }
        if let ackTimer { loop.cancel(ackTimer) }
        watch?.cancel()
        watch = nil
        positions.end()
        if case .some(.some(let trip)) = activeTrip { watches.unwatch(trip, self) }
    }

    // MARK: Positions

    func report(_ position: Driver_V1_ReportLocationsRequest) {
        positions.send(position)
        if ackTimer == nil { scheduleAck() }
    }

    private func scheduleAck() {
        ackTimer = loop.schedule(after: Self.ackInterval) { [weak self] in
            guard let self else { return }
            ackTimer = nil
            positions.settle { [weak self] in self?.ack($0) }
            if !positions.isIdle { scheduleAck() }
        }
    }

    /// `{"type":"ack","accepted":n,"dropped":{"stale":1}}`; what could not be handed on is `unavailable`.
    private func ack(_ outcome: LocationSender.Outcome) {
        guard !hasEnded, !outcome.isEmpty else { return }
        var buffer = ByteBuffer(capacity: 128)
        buffer.append("{\"type\":\"ack\",\"accepted\":")
        buffer.append(decimal: outcome.accepted)
        buffer.append(",\"dropped\":{")
        for (reason, count) in outcome.dropped.sorted(by: { $0.key < $1.key }) where count > 0 {
            buffer.appendJSON(dynamicName: reason)
            buffer.append(decimal: count)
        }
        if outcome.lost > 0 { buffer.appendJSON("unavailable", integer: outcome.lost) }
        buffer.append("}}")
        sockets.sendText(id, buffer.span)
    }

    // MARK: The trip

    private func driverChanged(_ state: Driver_V1_WatchDriverResponse) {
        guard !hasEnded else { return }
        driverRetries.succeeded()
        let trip = state.activeTripID.flatMap { $0.isEmpty ? nil : $0 }
        if case .some(let old) = activeTrip {
            guard old != trip else { return }
            if let old { watches.unwatch(old, self) }
        }
        activeTrip = .some(trip)
        if let trip { watches.watch(trip, self) } else { send(nil) }
    }

    private func watchEnded(_ error: RPCError?) {
        guard !hasEnded else { return }
        watch = nil
        if let error, error.code == .notFound || error.code == .invalidArgument {
            return sockets.refuse(id, .noDriver(driver), requestID: requestID)
        }
        // The driver is suspended.
        if let error, error.code == .failedPrecondition {
            return sockets.refuse(id, Problem(error, from: .driver), requestID: requestID)
        }
        if activeTrip == nil {
            let error = error ?? RPCError(code: .unavailable, message: "the stream ended")
            return sockets.refuse(id, Problem(error, from: .driver), requestID: requestID, .tryAgainLater)
        }
        retry = loop.schedule(after: driverRetries.failed(at: loop.now)) { [weak self] in self?.begin() }
    }

    func tripChanged(_ trip: Trip_V1_Trip) {
        tripRetries.succeeded()
        send(trip)
    }

    /// The trip can't be watched: asked again with the driver's next change, or after a while.
    func tripFailed(_ error: RPCError) {
        guard !hasEnded, case .some(.some(let trip)) = activeTrip else { return }
        loop.schedule(after: tripRetries.failed(at: loop.now)) { [weak self] in
            guard let self, !hasEnded, case .some(.some(trip)) = activeTrip else { return }
            watches.watch(trip, self)
        }
    }

    /// `{"type":"trip","trip":{…}|null}`.
    private func send(_ trip: Trip_V1_Trip?) {
        var buffer = ByteBuffer(capacity: 512)
        buffer.append("{\"type\":\"trip\",\"trip\":")
        if let trip { buffer.appendJSON(trip: trip) } else { buffer.appendJSONNull() }
        buffer.append(UInt8(ascii: "}"))
        sockets.sendText(id, buffer.span)
    }
}
