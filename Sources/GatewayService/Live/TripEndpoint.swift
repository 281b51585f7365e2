import Bytes
import GRPCRuntime
import HTTPServer
import JSONWire
import ProtobufWire
import Reactor
import RideAPI
import RideDomain
import WebSocketServer
import WebSockets

/// `/ws/trips/{id}` on one loop: the trip and where its car is, at once and on each change; closes 1000 when it has ended.
///
/// A car that stands still may really stand, or nobody may know where it is: its driver's app is silent, or Kafka and the
/// driver service are away. A position that is not followed by a newer one for `FollowedCar.freshness` is told once more, as
/// stale.
final class TripEndpoint: WebSocketHandler {
    enum Limits {
        /// Nanoseconds between two looks for positions that have become stale, while cars are followed.
        static let look: UInt64 = 1_000_000_000
        /// Frames made for that in one turn. Reason: about 5 µs each.
        static let framesPerTurn = 512
    }

    private let sockets: WebSocketServer
    private let watches: TripWatches
    private let link: FeedLink
    /// By trip.
    private var followed: [String: FollowedTrip] = [:]
    /// By the number that a WebSocket has as its context.
    private var places: [FollowedTrip?] = []
    private var freePlaces: [Int] = []
    /// Followed trips by driver: for the records of `driver_locations`.
    private var byDriver: [String: [FollowedTrip]] = [:]
    private var freshnessTimer: TimerID?

    /// Takes messages that renew a token; nil: nobody is asked who they are.
    var tokens: TokenRenewal?

    init(sockets: WebSocketServer, watches: TripWatches, link: FeedLink) {
        self.sockets = sockets
        self.watches = watches
        self.link = link
        super.init()
        link.onLocation = { [unowned self] in moved($0) }
    }

    /// A WebSocket whose 101 is on its way follows `trip`.
    func open(_ id: WebSocketID, trip: String, requestID: String) {
        let place = freePlaces.popLast() ?? places.count
        if place == places.count { places.append(nil) }
        sockets.adopt(id, handler: self, context: UInt32(place))
        guard sockets.isOpen(id) else { return }
        guard Identifier.isValid(trip) else { return sockets.refuse(id, .noTrip(trip), requestID: requestID) }
        let isNew = followed[trip] == nil
        let follow = followed[trip] ?? FollowedTrip(trip, endpoint: self, topic: sockets.topics.makeTopic())
        followed[trip] = follow
        places[place] = follow
        follow.sockets[id] = requestID
        sockets.topics.subscribe(id, to: follow.topic)
        if isNew { watches.watch(trip, follow) }
    }

    /// Nothing is expected; whoever sends is told so.
    override func webSocketText(_ id: WebSocketID, _ text: Span<UInt8>) {
        if tokens?.take(id, text) == true { return }
        sockets.sendError(id, Problem(422, "invalid-body", "This WebSocket takes no messages; it only tells."))
        sockets.countBadMessage(id)
    }

    override func webSocketClosed(_ id: WebSocketID, _ code: CloseCode) {
        let place = Int(sockets.context(id))
        freePlaces.append(place)
        guard let follow = places[place] else { return }
        places[place] = nil
        follow.sockets[id] = nil
        if follow.sockets.isEmpty { forget(follow) }
    }

    private func forget(_ follow: FollowedTrip) {
        guard followed[follow.id] === follow else { return }
        followed[follow.id] = nil
        watches.unwatch(follow.id, follow)
        sockets.topics.removeTopic(follow.topic)
        guard let driver = follow.driver else { return }
        byDriver[driver]?.removeAll { $0 === follow }
        if byDriver[driver]?.isEmpty == true {
            byDriver[driver] = nil
            link.unfollow(driver)
        }
    }

    // MARK: What happens

    fileprivate func changed(_ follow: FollowedTrip) {
        guard let trip = follow.trip else { return }
        if follow.driver == nil && !trip.hasEnded { findCar(follow, trip.driverID) }
        let frame = follow.frame()
        guard trip.hasEnded else { return sockets.topics.publish(follow.topic, frame) }
        // The last word goes to everybody, also to those who have not taken the one before.
        let all = Array(follow.sockets.keys)
        loop.inPortions(below: UInt32(clamping: all.count)) { [sockets] in
            let id = all[Int($0)]
            sockets.topics.unsubscribe(id)
            sockets.send(id, frame: frame)
            sockets.close(id, .normal, reason: "the trip has ended")
        }
        forget(follow)
    }

    fileprivate func failed(_ follow: FollowedTrip, _ error: RPCError) {
        let all = Array(follow.sockets)
        let tripID = follow.id
        loop.inPortions(below: UInt32(clamping: all.count)) { [sockets] in
            let (id, requestID) = all[Int($0)]
            if error.code == .notFound || error.code == .invalidArgument {
                sockets.refuse(id, .noTrip(tripID), requestID: requestID)
            } else {
                sockets.refuse(id, Problem(error, from: .trip), requestID: requestID, .tryAgainLater)
            }
        }
        forget(follow)
    }

    /// Where the car is now, and then whatever is newer: the feed tells.
    private func findCar(_ follow: FollowedTrip, _ driver: String) {
        follow.driver = driver
        if let other = byDriver[driver]?.first {
            follow.car = other.car
        } else {
            link.follow(driver)
        }
        byDriver[driver, default: []].append(follow)
        if freshnessTimer == nil {
            freshnessTimer = loop.schedule(every: Limits.look) { [weak self] in self?.markStale() }
        }
    }

    private var loop: EventLoop { sockets.loop }

    private func moved(_ update: DriverLocationUpdate) {
        for follow in byDriver[update.driverID] ?? [] {
            guard follow.car.take(update, now: loop.now, wall: loop.wallClockMilliseconds) else { continue }
            if follow.trip != nil { sockets.topics.publish(follow.topic, follow.frame()) }
        }
    }

    /// Tells of the positions that have become stale: some in this turn, the rest in the next ones.
    private func markStale() {
        if byDriver.isEmpty {
            if let timer = freshnessTimer { loop.cancel(timer) }
            freshnessTimer = nil
            return
        }
        var left = Limits.framesPerTurn
        for follow in followed.values where follow.car.isDue(now: loop.now) {
            if left == 0 {
                // It is found again.
                loop.schedule(after: 0) { [weak self] in self?.markStale() }
                return
            }
            left -= 1
            follow.car.markStale()
            if follow.trip != nil { sockets.topics.publish(follow.topic, follow.frame()) }
        }
    }
}

/// One trip and those on this loop who follow it.
final class FollowedTrip: TripObserver {
    let id: String
    let topic: TopicID
    private unowned let endpoint: TripEndpoint
    /// With the identifiers of their requests.
    var sockets: [WebSocketID: String] = [:]
    var trip: Trip_V1_Trip?
    var driver: String?
    var car = FollowedCar()

    init(_ id: String, endpoint: TripEndpoint, topic: TopicID) {
        self.id = id
        self.endpoint = endpoint
        self.topic = topic
    }

    func tripChanged(_ trip: Trip_V1_Trip) {
        self.trip = trip
        endpoint.changed(self)
    }

    func tripFailed(_ error: RPCError) { endpoint.failed(self, error) }

    /// `{"type":"trip","trip":{…},"position":{…,"stale":true?}?}`.
    func frame() -> SharedBytes {
        var buffer = ByteBuffer(capacity: 768)
        FrameWriter.beginFrame(in: &buffer)
        buffer.append("{\"type\":\"trip\",\"trip\":")
        if let trip { buffer.appendJSON(trip: trip) } else { buffer.appendJSONNull() }
        if let position = car.position {
            buffer.append(",\"position\":")
            position.append(to: &buffer)
        }
        buffer.append(UInt8(ascii: "}"))
        FrameWriter.finishFrame(.text, in: &buffer)
        return SharedBytes(buffer)
    }
}
