import Bytes
import GRPCRuntime
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// What one fetch has brought for one shard.
struct LiveUpdate: Sendable {
    /// Lists that show something new, by the shard's numbers.
    var lists: [(number: UInt64, frame: SharedBytes)]
    var snapshot: LiveSnapshot
    /// Unix milliseconds of the oldest Kafka record that caused it; 0 if none did.
    var cause: Int64
}

/// A loop that shows lists.
protocol FeedListener: Sendable {
    /// Called on the feed's loop.
    func deliver(_ update: LiveUpdate)
    /// Called on the feed's loop for drivers that it follows.
    func deliver(_ update: DriverLocationUpdate)
}

/// The one source of live lists in a process, on its home loop.
///
///     Kafka record ─▶ cells dirty ─┐                                    ┌─▶ shard of loop 0 ─▶ topics ─▶ sockets
///     slow poll ─────▶ all dirty ──┼─▶ one call, all dirty cells ─▶ cache ─▶ lists ─┼─▶ shard of loop 1 …
///     new query ─────▶ its cells ──┘   (never two at a time)            └─▶ …
///
/// The first trigger fetches at once, the next not before the shortest interval that somebody asked for. While the consumer
/// is not positioned a poll of one second stands in for it, and once it is, everything is dirty once. While the driver
/// service can't be reached the last lists stay, `stale`.
final class DriverFeed {
    struct Configuration: Sendable {
        /// Milliseconds between two fetches, if nobody asks for less or more.
        var interval = 100
        /// Milliseconds between two fetches of everything without any trigger.
        var pollInterval = 5_000
        /// Milliseconds between two fetches of everything while no trigger can be trusted.
        var anxiousPollInterval = 1_000
    }

    let loop: EventLoop
    private let source: any AreaSource
    private let configuration: Configuration
    private let metrics = FeedMetrics()
    private let log = Logger(label: "feed")
    private var cache = DriverCache()
    private var queries = LiveQueries()
    private var snapshot = LiveSnapshot()
    private var listeners: [any FeedListener] = []
    /// Shortest interval of each listener's subscribers, milliseconds; nil if it has none.
    private var intervals: [Int?] = []
    /// Listeners that follow a driver.
    private var followers: [String: [Int]] = [:]

    private var isFetching = false
    private var isFetchPlanned = false
    private var fetchTimer: TimerID?
    private var pollTimer: TimerID?
    private var lastFetch: UInt64 = 0
    /// The next fetch is for the poll alone: no trigger, no new query.
    private var isPollAlone = false
    private var isPositioned = false
    private var mustSweep = false
    private var isClosed = false
    private var cause: Int64 = 0
    private var lastUnreadableLog: UInt64 = 0

    init(loop: EventLoop, source: any AreaSource, configuration: Configuration = .init()) {
        self.loop = loop
        self.source = source
        self.configuration = configuration
        schedulePoll()
    }

    func close() {
        isClosed = true
        if let pollTimer { loop.cancel(pollTimer) }
        if let fetchTimer { loop.cancel(fetchTimer) }
    }

    // MARK: Shards

    /// Adds a loop; returns its index.
    func add(_ listener: any FeedListener) -> Int {
        listeners.append(listener)
        intervals.append(nil)
        return listeners.count - 1
    }

    /// A shard wants the list of `query` under `number`: it gets the last one at once if there is one, else after a fetch.
    func subscribe(_ shard: Int, _ number: UInt64, _ query: AreaQuery) {
        let index = queries.add(query, shard: shard, number: number)
        metrics.queries.set(queries.count)
        if let list = queries.queries[index]?.list {
            listeners[shard].deliver(LiveUpdate(lists: [(number, list.frame)], snapshot: snapshot, cause: 0))
            // A list that waits for somebody's long interval is not the current one.
            if queries.hasDirty && loop.now - lastFetch >= Self.shortestPace { fetchAtOnce() }
            return
        }
        if queries.queries[index]?.unknown == 0 || snapshot.isStale { send(makeLists(), cause: 0) }
        guard queries.hasDirty else { return }
        isPollAlone = false
        fetchAtOnce()
    }

    func unsubscribe(_ shard: Int, _ number: UInt64, _ query: AreaQuery) {
        guard queries.remove(query, shard: shard, number: number) else { return }
        metrics.queries.set(queries.count)
        if isFetching {
            mustSweep = true
        } else {
            sweep()
        }
    }

    /// Forgets the drivers of places that nobody looks at any more.
    private func sweep() {
        mustSweep = false
        cache.keep { queries.isWatched($0, $1) }
        metrics.drivers.set(cache.count)
    }

    /// The shortest interval of a shard's subscribers, milliseconds; nil if it has none.
    func setInterval(_ shard: Int, _ interval: Int?) {
        intervals[shard] = interval
        guard let fetchTimer else { return }
        loop.cancel(fetchTimer)
        self.fetchTimer = nil
        isFetchPlanned = false
        planFetch()
    }

    /// Gives `shard` every record about this driver.
    func follow(_ driver: String, _ shard: Int) {
        if followers[driver]?.contains(shard) != true { followers[driver, default: []].append(shard) }
    }

    func unfollow(_ driver: String, _ shard: Int) {
        followers[driver]?.removeAll { $0 == shard }
        if followers[driver]?.isEmpty == true { followers[driver] = nil }
    }

    // MARK: Triggers

    /// A record of `driver_locations`; `timestamp` is Kafka's, Unix milliseconds.
    func receive(_ value: Span<UInt8>, timestamp: Int64?) {
        // Nobody looks anywhere: it need not be read.
        if queries.isEmpty && followers.isEmpty { return metrics.ignored.increment() }
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
        for shard in followers[update.driverID] ?? [] { listeners[shard].deliver(update) }
        let cell = GeoCell(Position(lat: update.lat, lon: update.lon))
        var isSeen = queries.mark(cell)
        if let old = cache.cell(of: update.driverID), old != cell, queries.mark(old) { isSeen = true }
        guard isSeen else { return metrics.ignored.increment() }
        metrics.triggers.increment()
        isPollAlone = false
        if cause == 0, let timestamp { cause = timestamp }
        planFetch()
    }

    /// The consumer has reached the end of every partition: what came before was not seen, so everything is dirty once.
    func positioned() {
        isPositioned = true
        everythingIsDirty()
        schedulePoll()
    }

    /// Records may have been missed: poll until the next `positioned`.
    func positionLost() {
        guard isPositioned else { return }
        isPositioned = false
        schedulePoll()
    }

    private func everythingIsDirty() {
        guard !queries.isEmpty else { return }
        queries.markEverything()
        fetchAtOnce()
    }

    private func schedulePoll() {
        if let pollTimer { loop.cancel(pollTimer) }
        let isAnxious = !isPositioned || snapshot.isStale
        let interval =
            isAnxious
            ? min(configuration.anxiousPollInterval, configuration.pollInterval) : configuration.pollInterval
        pollTimer = loop.schedule(after: UInt64(interval) * 1_000_000) { [weak self] in
            guard let self, !isClosed else { return }
            pollTimer = nil
            isPollAlone = !queries.isEmpty && !queries.hasDirty
            everythingIsDirty()
            schedulePoll()
        }
    }

    // MARK: Fetching

    /// Nanoseconds: what the shortest interval that may be asked for makes of the pace.
    private static let shortestPace = UInt64(AreaQuery.intervals.lowerBound) * 1_000_000

    /// Nanoseconds between two fetches.
    private var pace: UInt64 {
        UInt64(intervals.compactMap { $0 }.min() ?? configuration.interval) * 1_000_000
    }

    /// Fetches in this turn, or when the pace allows.
    private func planFetch() {
        guard !isFetching, !isFetchPlanned, !isClosed else { return }
        let earliest = lastFetch == 0 ? 0 : lastFetch + pace
        isFetchPlanned = true
        if earliest <= loop.now {
            // After all records of this turn.
            loop.execute { [weak self] in self?.fetchNow() }
        } else {
            fetchTimer = loop.schedule(after: earliest - loop.now) { [weak self] in self?.fetchNow() }
        }
    }

    /// What must not wait for the pace: a query without a list.
    private func fetchAtOnce() {
        guard !isFetching, !isClosed else { return }
        if let fetchTimer { loop.cancel(fetchTimer) }
        fetchTimer = nil
        isFetchPlanned = true
        loop.execute { [weak self] in self?.fetchNow() }
    }

    private func fetchNow() {
        guard isFetchPlanned else { return }
        isFetchPlanned = false
        fetchTimer = nil
        guard !isFetching, !isClosed else { return }
        let areas = queries.takeDirty()
        metrics.dirty.set(queries.dirtyCellCount)
        guard !areas.isEmpty else { return }
        isFetching = true
        let previous = isPollAlone ? lastFetch : loop.now
        isPollAlone = false
        lastFetch = loop.now
        let cause = cause
        self.cause = 0
        let began = loop.preciseNow()
        metrics.fetches.increment()
        source.listDrivers(in: areas.map(\.box)) { [weak self] result in
            guard let self, !isClosed else { return }
            isFetching = false
            metrics.duration.observe(nanoseconds: loop.preciseNow() - began)
            switch result {
            case .success(let response): fetched(areas, response, cause: cause, previous: previous)
            case .failure(let error): failed(areas, error, cause: cause)
            }
        }
    }

    /// - Parameter previous: when the pace began, should this fetch bring nothing new: a trigger does not wait for a poll
    ///   that nobody saw.
    private func fetched(
        _ areas: [DriverCache.Area], _ response: Driver_V1_ListDriversInAreasResponse, cause: Int64, previous: UInt64
    ) {
        guard response.areas.count == areas.count else {
            let words = "\(response.areas.count) areas were answered and \(areas.count) were asked for"
            return failed(areas, RPCError(code: .internal, message: words), cause: cause)
        }
        let changed = cache.take(zip(areas, response.areas).map { (area: $0, drivers: $1.drivers) })
        // Somebody has gone while the call was under way.
        if mustSweep { sweep() }
        queries.fetched(areas, changed: changed)
        snapshot.version = max(snapshot.version, response.revision)
        snapshot.asOf = response.asOf?.unixMilliseconds ?? loop.wallClockMilliseconds
        if snapshot.isStale {
            snapshot.isStale = false
            log.info("the driver service answers again")
            queries.changeAll()
            everythingIsDirty()
            schedulePoll()
        }
        metrics.drivers.set(cache.count)
        let lists = makeLists()
        if lists.allSatisfy(\.isEmpty) { lastFetch = previous }
        send(lists, cause: cause)
        if queries.hasDirty { planFetch() }
    }

    private func failed(_ areas: [DriverCache.Area], _ error: RPCError, cause: Int64) {
        metrics.failures.increment()
        queries.giveBack(areas)
        if self.cause == 0 { self.cause = cause }
        guard !snapshot.isStale else { return }
        log.warning("the driver service can't be asked for live lists; they stay as they are: \(error)")
        snapshot.isStale = true
        if snapshot.asOf == 0 { snapshot.asOf = loop.wallClockMilliseconds }
        queries.changeAll()
        schedulePoll()
        send(makeLists(), cause: 0)
    }

    // MARK: Lists

    /// Makes the lists that may show something new; those that do, by shard.
    private func makeLists() -> [[(number: UInt64, frame: SharedBytes)]] {
        var lists = [[(number: UInt64, frame: SharedBytes)]](repeating: [], count: listeners.count)
        cache.rank()
        for (index, query) in queries.queries where query.isChanged {
            // A list that was never whole is not shown half, unless there is nothing to wait for.
            guard query.unknown == 0 || snapshot.isStale else { continue }
            let list =
                query.watchesBox
                ? LiveList(query.query, cache, candidates: cache.indices, snapshot)
                : LiveList(query.query, cache, candidates: query.cells.lazy.flatMap(cache.indices(in:)), snapshot)
            if let old = query.list, list.showsTheSame(as: old) {
                metrics.unchanged.increment()
                queries.unchanged(index)
                continue
            }
            metrics.lists.increment()
            queries.keep(list, for: index)
            for listener in query.listeners { lists[listener.shard].append((listener.number, list.frame)) }
        }
        return lists
    }

    /// Tells every shard that has subscribers, also when no list is new: a `pong` names the newest version.
    private func send(_ lists: [[(number: UInt64, frame: SharedBytes)]], cause: Int64) {
        for (shard, listener) in listeners.enumerated() where intervals[shard] != nil || !lists[shard].isEmpty {
            listener.deliver(LiveUpdate(lists: lists[shard], snapshot: snapshot, cause: cause))
        }
    }
}
