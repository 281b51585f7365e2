import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// Where a driver is asked for. All on the feed's loop.
protocol CarSource {
    /// `completion` is called once, later.
    func driver(_ id: String, _ completion: @escaping (Result<Driver_V1_GetDriverResponse, RPCError>) -> Void)
}

/// The driver service.
struct DriverServiceCars: CarSource {
    let client: Driver_V1_DriverServiceClient
    /// Nanoseconds.
    let timeout: UInt64

    func driver(_ id: String, _ completion: @escaping (Result<Driver_V1_GetDriverResponse, RPCError>) -> Void) {
        client.getDriver(
            Driver_V1_GetDriverRequest(driverID: id), options: CallOptions(timeoutNanoseconds: timeout), completion)
    }
}

/// The drivers whose cars somebody follows, and where they are, on the feed's loop.
///
///     record of driver_locations ──┐
///                                  ├──newer──▶ the listeners that follow the driver
///     nothing heard for a while ─▶ GetDriver
///
/// Kafka tells at once. Whoever was not heard of is asked for, because the record may never come: every second while no
/// record can be trusted, every few seconds otherwise (a driver service that may read the topic and not write it looks like
/// silence). The calls are bounded in flight and in each tick, and every car gets its turn: with very many the interval
/// grows, and nothing else.
final class FollowedCars {
    /// Every bound, with its reason.
    enum Limits {
        /// Nanoseconds between two looks for cars that are due, while there are any.
        static let tick: UInt64 = 250_000_000
        /// Nanoseconds without news after which a car is asked for, while records come and while they don't.
        static let interval: UInt64 = 5_000_000_000
        static let anxiousInterval: UInt64 = 1_000_000_000
        /// Calls under way. Reason: they share the channel and the driver service's loop with bookings and lists.
        static let callsInFlight = 32
        /// Calls begun in one tick: about a thousand a second.
        static let callsPerTick = 256
        /// Cars looked at in one tick. Reason: about 50 ns each.
        static let carsPerTick = 8_192
        /// Nanoseconds after a call that failed: doubled from the first up to the second.
        static let retry: (first: UInt64, last: UInt64) = (500_000_000, 5_000_000_000)
    }

    private struct Car {
        let driver: String
        /// By index.
        var listeners: [Int] = []
        var latest: DriverLocationUpdate?
        /// When it was last heard of, loop nanoseconds; nil: it is to be asked for at once.
        var heardAt: UInt64?
        var isAsking = false
        /// The number of `latest` when it was asked for.
        var askedAt: UInt64 = 0
    }

    private let loop: EventLoop
    private let source: any CarSource
    /// Gives a listener what is new.
    var deliver: (_ listener: Int, _ update: DriverLocationUpdate) -> Void = { _, _ in }
    /// Records of `driver_locations` arrive: set by the feed.
    var hasRecords = false

    private var cars: [Car] = []
    private var places: [String: Int] = [:]
    /// The next car to be looked at.
    private var next = 0
    private var inFlight = 0
    private var callsLeft = 0
    private var timer: TimerID?
    private var backoff: RetryBackoff
    /// Nothing is asked before, after a call that failed.
    private var pausedUntil: UInt64 = 0
    private var isClosed = false
    private let count: Gauge
    private let asked: Counter

    init(loop: EventLoop, source: any CarSource) {
        self.loop = loop
        self.source = source
        backoff = RetryBackoff(first: Limits.retry.first, last: Limits.retry.last, seed: loop.randomNumber())
        count = MetricRegistry.shared.gauge(
            name: "cabstand_followed_cars", help: "Drivers whose cars are followed by somebody.")
        asked = MetricRegistry.shared.counter(
            name: "cabstand_followed_cars_asked_total",
            help: "Calls of GetDriver for followed cars that Kafka said nothing about.")
    }

    var isEmpty: Bool { cars.isEmpty }

    func close() {
        isClosed = true
        if let timer { loop.cancel(timer) }
        timer = nil
    }

    // MARK: Listeners

    /// The listener gets what is known of the driver at once, and from now on what is new.
    func follow(_ driver: String, _ listener: Int) {
        let place = places[driver] ?? cars.count
        if place == cars.count {
            cars.append(Car(driver: driver))
            places[driver] = place
            count.set(cars.count)
        }
        guard !cars[place].listeners.contains(listener) else { return }
        cars[place].listeners.append(listener)
        if let latest = cars[place].latest { deliver(listener, latest) }
        guard cars[place].heardAt == nil, !cars[place].isAsking else { return startTicking() }
        if inFlight < Limits.callsInFlight && loop.now >= pausedUntil { ask(place) }
        startTicking()
    }

    func unfollow(_ driver: String, _ listener: Int) {
        guard let place = places[driver] else { return }
        cars[place].listeners.removeAll { $0 == listener }
        guard cars[place].listeners.isEmpty else { return }
        places[driver] = nil
        // The last one takes its place.
        let last = cars.removeLast()
        if place < cars.count {
            cars[place] = last
            places[last.driver] = place
        }
        count.set(cars.count)
    }

    // MARK: News

    /// A record of Kafka.
    func heard(_ update: DriverLocationUpdate) {
        guard let place = places[update.driverID] else { return }
        take(update, place)
    }

    private func take(_ update: DriverLocationUpdate, _ place: Int) {
        cars[place].heardAt = loop.now
        if let latest = cars[place].latest, !update.isNewer(than: latest) { return }
        cars[place].latest = update
        for listener in cars[place].listeners { deliver(listener, update) }
    }

    // MARK: Asking

    private func startTicking() {
        guard timer == nil, !isClosed else { return }
        timer = loop.schedule(every: Limits.tick) { [weak self] in self?.tick() }
    }

    private func tick() {
        guard !cars.isEmpty else {
            if let timer { loop.cancel(timer) }
            timer = nil
            return
        }
        callsLeft = Limits.callsPerTick
        askWhoIsDue()
    }

    /// Looks on from where it stopped.
    private func askWhoIsDue() {
        guard loop.now >= pausedUntil, !isClosed else { return }
        let interval = hasRecords ? Limits.interval : Limits.anxiousInterval
        for _ in 0..<min(cars.count, Limits.carsPerTick) {
            guard inFlight < Limits.callsInFlight, callsLeft > 0 else { return }
            if next >= cars.count { next = 0 }
            let car = cars[next]
            let isDue = car.heardAt.map { loop.now >= $0 && loop.now - $0 >= interval } ?? true
            if isDue && !car.isAsking {
                callsLeft -= 1
                ask(next)
            }
            next += 1
        }
    }

    private func ask(_ place: Int) {
        let driver = cars[place].driver
        cars[place].isAsking = true
        cars[place].askedAt = cars[place].latest?.seq ?? 0
        inFlight += 1
        asked.increment()
        source.driver(driver) { [weak self] result in
            guard let self, !isClosed else { return }
            inFlight -= 1
            answered(driver, result)
            // The rest of this tick's.
            if callsLeft > 0 { askWhoIsDue() }
        }
    }

    private func answered(_ driver: String, _ result: Result<Driver_V1_GetDriverResponse, RPCError>) {
        // The car may be followed by nobody by now.
        let place = places[driver]
        if let place { cars[place].isAsking = false }
        switch result {
        case .success(let response):
            backoff.succeeded()
            guard let place else { return }
            cars[place].heardAt = loop.now
            guard let update = DriverLocationUpdate(driver, response) else { return }
            // A number beyond the driver service's own, known before it was asked, came from nowhere: nothing that is true
            // would ever be newer.
            if update.seq > 0, let latest = cars[place].latest, latest.seq == cars[place].askedAt,
                latest.seq > update.seq
            {
                cars[place].latest = nil
            }
            take(update, place)
        case .failure(let error) where error.code == .notFound || error.code == .invalidArgument:
            // An answer, too: there is no such driver.
            if let place { cars[place].heardAt = loop.now }
        case .failure:
            guard loop.now >= pausedUntil else { return }
            pausedUntil = loop.now &+ backoff.failed(at: loop.now)
        }
    }
}

extension DriverLocationUpdate {
    /// What `GetDriver` says, as the record that Kafka would have brought. Nil: it names no place on earth.
    fileprivate init?(_ id: String, _ response: Driver_V1_GetDriverResponse) {
        guard let driver = response.driver, driver.hasPosition, Position(lat: driver.lat, lon: driver.lon).isValid
        else { return nil }
        self.init(
            eventID: "", seq: response.revision, at: driver.updatedAt?.unixMilliseconds ?? 0, driverID: id,
            lat: driver.lat, lon: driver.lon, heading: driver.heading, speed: driver.speed,
            status: DriverStatus(driver.status) ?? .offline, reason: nil)
    }

    /// By `seq`; by the instant while one of them has none, as an older driver service's answer.
    fileprivate func isNewer(than other: DriverLocationUpdate) -> Bool {
        if seq > 0 && other.seq > 0 { return seq > other.seq }
        return at == other.at ? seq > other.seq : at > other.at
    }
}
