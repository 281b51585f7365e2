import GRPCRuntime
import ProtobufWire
import Reactor
import RideAPI

/// Somebody who wants to know how a trip goes on.
protocol TripObserver: AnyObject {
    /// The trip, when it is known and after each change. After one that has ended nothing more comes.
    func tripChanged(_ trip: Trip_V1_Trip)
    /// The trip can't be watched, and nothing was known of it yet: NOT_FOUND, UNAVAILABLE and so on. Nothing more comes.
    func tripFailed(_ error: RPCError)
}

/// The trips that this loop's WebSockets watch: one `WatchTrip` stream each, however many watch it.
///
/// A stream that breaks is opened again after a second or so, and later and later while that does not help; the observers
/// keep what they have.
final class TripWatches {
    private final class Watch {
        var observers: [any TripObserver] = []
        var trip: Trip_V1_Trip?
        var call: ServerStreamingCall?
        /// The stream has not said anything yet: what it says first is how the trip stands, whatever was known before. (The
        /// trip database may have been restored from a copy, which counts from a lower number.)
        var isFresh = true
        var retry: TimerID?
        var backoff: RetryBackoff

        init(loop: EventLoop) { backoff = TripWatches.makeBackoff(loop) }
    }

    private let loop: EventLoop
    private let client: Trip_V1_TripServiceClient
    private var watches: [String: Watch] = [:]

    /// Nanoseconds until a broken stream is opened again: doubled from the first up to the second. Reason: thousands of
    /// them break together when the trip service starts anew, and must not come back together.
    static let retryDelays: (first: UInt64, last: UInt64) = (1_000_000_000, 5_000_000_000)

    /// The waits of one stream that breaks.
    static func makeBackoff(_ loop: EventLoop) -> RetryBackoff {
        RetryBackoff(first: retryDelays.first, last: retryDelays.last, seed: loop.randomNumber())
    }

    init(loop: EventLoop, client: Trip_V1_TripServiceClient) {
        self.loop = loop
        self.client = client
    }

    /// Trips that are watched.
    var count: Int { watches.count }

    /// Adds an observer; it hears of a trip that is known already at once.
    func watch(_ id: String, _ observer: any TripObserver) {
        if let watch = watches[id] {
            watch.observers.append(observer)
            if let trip = watch.trip { observer.tripChanged(trip) }
            return
        }
        let watch = Watch(loop: loop)
        watch.observers.append(observer)
        watches[id] = watch
        open(id, watch)
    }

    func unwatch(_ id: String, _ observer: any TripObserver) {
        guard let watch = watches[id] else { return }
        watch.observers.removeAll { $0 === observer }
        if watch.observers.isEmpty { end(id, watch) }
    }

    private func end(_ id: String, _ watch: Watch) {
        if let retry = watch.retry { loop.cancel(retry) }
        watches[id] = nil
        watch.observers = []
        watch.call?.cancel()
        watch.call = nil
    }

    private func open(_ id: String, _ watch: Watch) {
        watch.retry = nil
        watch.isFresh = true
        watch.call = client.watchTrip(
            Trip_V1_WatchTripRequest(tripID: id),
            onMessage: { [weak self, weak watch] in
                guard let self, let watch, let trip = $0.trip else { return }
                changed(id, watch, trip)
            },
            onEnd: { [weak self, weak watch] in
                guard let self, let watch else { return }
                ended(id, watch, $0)
            })
    }

    private func changed(_ id: String, _ watch: Watch, _ trip: Trip_V1_Trip) {
        watch.backoff.succeeded()
        let isFirst = watch.isFresh
        watch.isFresh = false
        if let old = watch.trip, old == trip || !isFirst && old.seq > trip.seq { return }
        watch.trip = trip
        let observers = watch.observers
        // It will not change any more.
        if trip.hasEnded { end(id, watch) }
        for observer in observers { observer.tripChanged(trip) }
    }

    private func ended(_ id: String, _ watch: Watch, _ error: RPCError?) {
        guard watches[id] === watch else { return }
        watch.call = nil
        if watch.trip == nil || error?.code == .notFound {
            let observers = watch.observers
            end(id, watch)
            let error = error ?? RPCError(code: .unavailable, message: "the stream ended without a trip")
            for observer in observers { observer.tripFailed(error) }
        } else {
            watch.retry = loop.schedule(after: watch.backoff.failed(at: loop.now)) { [weak self, weak watch] in
                guard let self, let watch else { return }
                open(id, watch)
            }
        }
    }
}

extension Trip_V1_Trip {
    /// Completed or cancelled.
    var hasEnded: Bool { status == .completed || status == .cancelled }
}
