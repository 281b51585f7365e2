import Bytes
import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// What a list says beside its drivers.
struct LiveSnapshot: Sendable, Equatable {
    /// The driver service's revision.
    var version: UInt64 = 0
    /// Unix milliseconds at the driver service.
    var asOf: Int64 = 0
    /// The driver service can't be reached: every list is the last that is known.
    var isStale = false
}

/// What the feed has learnt for one loop.
struct LiveUpdate: Sendable {
    struct News: Sendable {
        let unit: LiveUnit
        let state: UnitState
        /// Unix milliseconds of the oldest Kafka record that caused it; 0 if none did.
        let cause: Int64
    }

    var news: [News]
    var snapshot: LiveSnapshot
}

/// A loop that shows lists.
protocol FeedListener: Sendable {
    /// Called on the feed's loop.
    func deliver(_ update: LiveUpdate)
    /// Called on the feed's loop for drivers that it follows.
    func deliver(_ update: DriverLocationUpdate)
}

/// What a loop asks of the feed, in order.
enum FeedRequest: Sendable {
    /// News about a unit, from now on, as often as `pace`; what is known of it at once.
    case watch(LiveUnit, Pace)
    /// Another pace.
    case repace(LiveUnit, Pace)
    /// Somebody new looks at it: what waits for its pace need not.
    case refresh(LiveUnit)
    case unwatch(LiveUnit)
}

/// The one source of live lists in a process, on its home loop.
///
///     Kafka record ─▶ tiles dirty ─┐                                       ┌─▶ lists of loop 0 ─▶ lists ─▶ topics
///     slow poll ─────▶ all dirty ──┼─▶ calls, bounded ─▶ units' snapshots ─┼─▶ lists of loop 1 …
///     new view ──────▶ its tiles ──┘   (several under way)                 └─▶ …
///
/// A unit is a tile that many views share, or a view of its own where tiles would bring many times what it shows. Each dirty
/// unit is asked for once, at most as often as its quickest watcher wants it; snapshots are immutable and shared by all loops,
/// which make their own lists. A unit that can't be fetched is marked, and so are the views over it alone. While the
/// driver service can't be reached at all everything stays as it is, `stale`.
///
/// While the consumer is not positioned a poll of one second stands in for it, and once it is, everything is dirty once.
final class DriverFeed {
    struct Configuration: Sendable {
        /// Milliseconds between two fetches of everything without any trigger.
        var pollInterval = 5_000
        /// Milliseconds between two fetches of everything while no trigger can be trusted; and until what failed is tried
        /// again.
        var anxiousPollInterval = 1_000
        var limits = FeedLimits()
    }

    let loop: EventLoop
    let source: any AreaSource
    let configuration: Configuration
    let metrics = FeedMetrics()
    let log = Logger(label: "feed")
    private var listeners: [any FeedListener] = []
    /// Units that a loop watches.
    private var watched: [Int] = []
    private let cars: FollowedCars

    var units = FeedUnits()
    var snapshot = LiveSnapshot()
    /// Dirty units that wait until they are due.
    var waiting: [FeedUnit] = []
    /// Those whose call may be made as soon as there is room for it.
    var readyTiles = WorkQueue<FeedUnit>()
    var readyExact = WorkQueue<FeedUnit>()
    var roundTimer: TimerID?
    /// When the planned round is to be; `.max`: none is planned.
    var roundAt = UInt64.max
    var lastRound: UInt64 = 0
    var tileCalls = 0
    var exactCalls = 0
    var exactRestsUntil: UInt64 = 0
    /// When a call was answered last.
    var lastAnswer: UInt64 = 0
    /// While the driver service is away: no call before.
    var awayUntil: UInt64 = 0
    /// Every unit that is a view of its own is dirty.
    var exactAreDirty = false
    /// Answers that are not read yet, and units that nobody watches any more.
    var arrivals = WorkQueue<FeedArrival>()
    var leaving = WorkQueue<FeedUnit>()
    /// One of those, of whose drivers some are still to be forgotten.
    var removing: FeedUnit?
    var budget: TurnBudget

    private var pollTimer: TimerID?
    private var isPositioned = false
    private(set) var isClosed = false
    private var lastUnreadableLog: UInt64 = 0
    var lastFailureLog: UInt64 = 0

    init(loop: EventLoop, source: any AreaSource, cars: any CarSource, configuration: Configuration = .init()) {
        self.loop = loop
        self.source = source
        self.cars = FollowedCars(loop: loop, source: cars)
        self.configuration = configuration
        budget = TurnBudget(loop: loop, perTurn: configuration.limits.workPerTurn)
        budget.more = { [unowned self] in readArrivals() }
        self.cars.deliver = { [unowned self] in listeners[$0].deliver($1) }
        schedulePoll()
    }

    func close() {
        isClosed = true
        cars.close()
        if let pollTimer { loop.cancel(pollTimer) }
        if let roundTimer { loop.cancel(roundTimer) }
        budget.close()
        // Nothing of it is fetched any more.
        waiting = []
        readyTiles = WorkQueue()
        readyExact = WorkQueue()
        arrivals = WorkQueue()
        (tileCalls, exactCalls) = (0, 0)
        showCounts()
    }

    // MARK: Loops

    /// Adds a loop; returns its index.
    func add(_ listener: any FeedListener) -> Int {
        listeners.append(listener)
        watched.append(0)
        return listeners.count - 1
    }

    /// What a loop asks. An answer never comes inside the question.
    func take(_ requests: [FeedRequest], from loopIndex: Int) {
        guard !isClosed else { return }
        var news: [LiveUpdate.News] = []
        for request in requests {
            switch request {
            case .watch(let unit, let pace):
                let unit = units.find(orMake: unit)
                let wasWatched = unit.isWatched
                if !unit.watchers.contains(where: { $0.loopIndex == loopIndex }) { watched[loopIndex] += 1 }
                unit.watch(loopIndex, pace)
                if unit.state.snapshot != nil || unit.state.isFailing || unit.state.isTooFull {
                    news.append(.init(unit: unit.unit, state: unit.state, cause: 0))
                    refresh(unit)
                }
                // New, or not kept current since its last watcher left.
                if !wasWatched { mark(unit, cause: 0) }
            case .repace(let unit, let pace):
                guard let unit = units.units[unit] else { continue }
                unit.watch(loopIndex, pace)
                if unit.isDirty && !unit.isTaken { plan(unit.due) }
            case .refresh(let unit):
                if let unit = units.units[unit] { refresh(unit) }
            case .unwatch(let unit):
                guard let unit = units.units[unit], unit.watchers.contains(where: { $0.loopIndex == loopIndex }) else {
                    continue
                }
                unit.unwatch(loopIndex)
                watched[loopIndex] -= 1
                if !unit.isWatched { leaving.append(unit) }
            }
        }
        if !news.isEmpty || snapshot.isStale {
            let update = LiveUpdate(news: news, snapshot: snapshot)
            loop.execute { [weak self] in self?.listeners[loopIndex].deliver(update) }
        }
        showCounts()
        readArrivals()
    }

    /// A unit of a long interval is not the current one when somebody new looks at it.
    private func refresh(_ unit: FeedUnit) {
        guard unit.isDirty, !unit.isTaken, loop.now - unit.lastFetch >= Pace(number: 0).nanoseconds else { return }
        unit.lastFetch = 0
        plan(unit.due)
    }

    /// Tells every loop that watches anything what is new for it, also when nothing is: a `pong` names the newest version.
    func deliver(_ changed: [(unit: FeedUnit, cause: Int64)]) {
        var news = [[LiveUpdate.News]](repeating: [], count: listeners.count)
        for (unit, cause) in changed {
            for watcher in unit.watchers {
                news[watcher.loopIndex].append(.init(unit: unit.unit, state: unit.state, cause: cause))
            }
        }
        for (loopIndex, listener) in listeners.enumerated() where watched[loopIndex] > 0 {
            listener.deliver(LiveUpdate(news: news[loopIndex], snapshot: snapshot))
        }
    }

    /// Units that wait to be asked for.
    var waitingCount: Int { waiting.count + readyTiles.count + readyExact.count }

    func showCounts() {
        metrics.units.set(units.count)
        metrics.drivers.set(units.driverCount)
        metrics.dirty.set(waitingCount)
        metrics.calls.set(tileCalls + exactCalls)
    }

    /// Gives the loop of this index where this driver is, and whatever is newer from now on.
    func follow(_ driver: String, _ loopIndex: Int) { cars.follow(driver, loopIndex) }

    func unfollow(_ driver: String, _ loopIndex: Int) { cars.unfollow(driver, loopIndex) }

    // MARK: Triggers

    /// A record of `driver_locations`; `timestamp` is Kafka's, Unix milliseconds.
    func receive(_ value: Span<UInt8>, timestamp: Int64?) {
        // Nobody looks anywhere: it need not be read.
        if units.isEmpty && cars.isEmpty { return metrics.ignored.increment() }
        let event: RideEvent
        do throws(EventError) {
            event = try RideEvent(decoding: value)
        } catch {
            metrics.unreadable.increment()
            if lastUnreadableLog == 0 || loop.now - lastUnreadableLog > 10_000_000_000 {
                lastUnreadableLog = loop.now
                log.warning("a record of driver_locations is no event and was skipped: \(error)")
            }
            return
        }
        if case .driverLocationUpdate(let update) = event { receive(update, timestamp: timestamp) }
    }

    func receive(_ update: DriverLocationUpdate, timestamp: Int64?) {
        let position = Position(lat: update.lat, lon: update.lon)
        guard position.isValid else { return metrics.unreadable.increment() }
        cars.heard(update)
        let cause = timestamp ?? 0
        var isSeen = !units.exact.isEmpty
        units.forEachTile(of: update.driverID, at: GeoCell(position)) { unit in
            isSeen = true
            mark(unit, cause: cause)
        }
        if !exactAreDirty && !units.exact.isEmpty {
            exactAreDirty = true
            for unit in units.exact.values { mark(unit, cause: cause) }
        }
        if isSeen { metrics.triggers.increment() } else { metrics.ignored.increment() }
    }

    /// The consumer has reached the end of every partition: what came before was not seen, so everything is dirty once.
    func positioned() {
        isPositioned = true
        cars.hasRecords = true
        everythingIsDirty(isPoll: false)
        schedulePoll()
    }

    /// Records may have been missed: poll until the next `positioned`.
    func positionLost() {
        guard isPositioned else { return }
        isPositioned = false
        cars.hasRecords = false
        schedulePoll()
    }

    func everythingIsDirty(isPoll: Bool) {
        for unit in units.units.values { mark(unit, cause: 0, isPoll: isPoll) }
    }

    func schedulePoll() {
        guard !isClosed else { return }
        if let pollTimer { loop.cancel(pollTimer) }
        let isAnxious = !isPositioned || snapshot.isStale
        let interval =
            isAnxious
            ? min(configuration.anxiousPollInterval, configuration.pollInterval) : configuration.pollInterval
        pollTimer = loop.schedule(after: UInt64(interval) * 1_000_000) { [weak self] in
            guard let self, !isClosed else { return }
            pollTimer = nil
            everythingIsDirty(isPoll: true)
            schedulePoll()
        }
    }

    /// Something has happened there, or may have.
    func mark(_ unit: FeedUnit, cause: Int64, isPoll: Bool = false) {
        if unit.cause == 0 { unit.cause = cause }
        guard !unit.isDirty else {
            if !isPoll { unit.isPollAlone = false }
            return
        }
        unit.isDirty = true
        unit.isPollAlone = isPoll
        guard !unit.isTaken else { return }
        waiting.append(unit)
        plan(unit.due)
    }
}
