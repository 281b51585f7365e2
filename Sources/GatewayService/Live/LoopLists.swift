import Bytes
import Reactor
import RideDomain

/// One query that somebody on this loop looks at.
final class LiveView {
    let number: UInt64
    let query: AreaQuery
    /// What it shows is made of these.
    var units: [LoopUnit] = []
    /// It is fetched on its own, not by tiles.
    var isExact = false
    /// When tiles may be tried again, nanoseconds.
    var exactUntil: UInt64 = 0

    var subscribers = 0
    var paces = PaceCounts()
    var pace = Pace(number: Pace.classes - 1)

    var list: LiveList?
    /// The list must be made again.
    var isChanged = true
    /// It waits for its turn.
    var isQueued = false
    /// Its last list was made less than its pace ago.
    var isResting = false
    /// Which of its rests it is.
    var rest: UInt32 = 0
    /// Unix milliseconds of the oldest Kafka record that changed it; 0 if none did.
    var cause: Int64 = 0

    init(_ number: UInt64, _ query: AreaQuery) {
        self.number = number
        self.query = query
    }
}

/// A unit that views of this loop are made of.
final class LoopUnit {
    let unit: LiveUnit
    var state = UnitState()
    var views: [UInt64: LiveView] = [:]
    var paces = PaceCounts()
    var pace: Pace?

    init(_ unit: LiveUnit) { self.unit = unit }
}

/// A view's list that is not whole yet.
private struct Making: ~Copyable {
    let view: LiveView
    /// What its list shows: Unix milliseconds of the oldest Kafka record, 0 if there is none.
    let cause: Int64
    var maker: LiveListMaker
}

/// Why a view is refused.
enum LiveRefusal: Error, Equatable {
    /// As many different views as a loop shows.
    case tooManyViews
    /// The lists of this loop's views hold as many bytes as they may.
    case tooManyBytes
}

/// The live lists of one loop: which views its subscribers look at, which units those are made of, and the lists, made from the
/// units' shared snapshots within a budget per turn.
///
///     news of a unit ─▶ its views changed ─▶ queue, first in first out ─▶ list ─▶ rest for the view's pace
///     new view ───────────────────────────────────────┘                   (budget per turn)
///
/// Views whose subscribers have left are taken down by the same queue. On the loop.
final class LoopLists {
    private let loop: EventLoop
    private let limits: FeedLimits
    private let metrics: LoopListMetrics
    /// Asks the feed, on its home loop.
    private let ask: ([FeedRequest]) -> Void
    /// A view has a new list.
    var onList: (_ number: UInt64, _ frame: SharedBytes, _ cause: Int64) -> Void = { _, _, _ in }
    /// A view without subscribers is gone.
    var onGone: (_ number: UInt64) -> Void = { _ in }

    private(set) var snapshot = LiveSnapshot()
    private var views: [UInt64: LiveView] = [:]
    private var numbers: [AreaQuery: UInt64] = [:]
    private var nextNumber: UInt64 = 1
    private var units: [LiveUnit: LoopUnit] = [:]
    /// Views that have something to do: to be set up, to have their list made, to be taken down.
    private var queue = WorkQueue<LiveView>()
    private var resting = [WorkQueue<(view: LiveView, rest: UInt32, until: UInt64)>](
        repeating: WorkQueue(), count: Pace.classes)
    private var restTimers = [TimerID?](repeating: nil, count: Pace.classes)
    private var requests: [FeedRequest] = []
    /// The list that is being made: no other is begun before it is whole.
    private var making: Making?
    private(set) var frameBytes = 0
    let budget: TurnBudget

    init(loop: EventLoop, limits: FeedLimits, ask: @escaping ([FeedRequest]) -> Void) {
        self.loop = loop
        self.limits = limits
        self.ask = ask
        metrics = LoopListMetrics()
        budget = TurnBudget(loop: loop, perTurn: limits.workPerTurn)
        budget.more = { [unowned self] in work() }
    }

    var viewCount: Int { views.count }
    var unitCount: Int { units.count }

    // MARK: Subscribers

    /// A subscriber looks at `query`: the number of its view, whose lists come by `onList`.
    func add(_ query: AreaQuery, interval: Int) throws(LiveRefusal) -> UInt64 {
        let pace = Pace(interval: interval)
        if let number = numbers[query], let view = views[number] {
            view.subscribers += 1
            count(view, add: pace)
            // A list that waits for somebody's long interval is not the current one.
            if view.pace >= Pace.long {
                for unit in view.units { requests.append(.refresh(unit.unit)) }
                wake(view)
            }
            work()
            return number
        }
        guard views.count < limits.views else { throw refuse(.tooManyViews) }
        guard frameBytes < limits.frameBytes else { throw refuse(.tooManyBytes) }
        let view = LiveView(nextNumber, query)
        nextNumber += 1
        view.subscribers = 1
        view.paces.add(pace)
        view.pace = pace
        views[view.number] = view
        numbers[query] = view.number
        enqueue(view)
        work()
        return view.number
    }

    private func refuse(_ refusal: LiveRefusal) -> LiveRefusal {
        metrics.refused.increment()
        return refusal
    }

    /// A subscriber of a view has another interval from now on.
    func repace(_ number: UInt64, from old: Int, to new: Int) {
        guard let view = views[number] else { return }
        view.paces.remove(Pace(interval: old))
        count(view, add: Pace(interval: new))
        work()
    }

    /// A subscriber leaves a view. The last one takes it along.
    func remove(_ number: UInt64, interval: Int) {
        guard let view = views[number] else { return }
        view.subscribers -= 1
        view.paces.remove(Pace(interval: interval))
        if view.subscribers == 0 {
            enqueue(view)
        } else {
            update(view)
        }
        work()
    }

    private func count(_ view: LiveView, add pace: Pace) {
        view.paces.add(pace)
        update(view)
    }

    /// Takes over the quickest pace that a view's subscribers want.
    private func update(_ view: LiveView) {
        guard let pace = view.paces.quickest, pace != view.pace else { return }
        let isQuicker = pace < view.pace
        for unit in view.units {
            unit.paces.remove(view.pace)
            unit.paces.add(pace)
            update(unit)
        }
        view.pace = pace
        if isQuicker { wake(view) }
    }

    private func update(_ unit: LoopUnit) {
        guard let pace = unit.paces.quickest, pace != unit.pace else { return }
        unit.pace = pace
        requests.append(.repace(unit.unit, pace))
    }

    // MARK: News

    func take(_ update: LiveUpdate) {
        let turned = update.snapshot.isStale != snapshot.isStale
        snapshot = update.snapshot
        for news in update.news {
            guard let unit = units[news.unit] else { continue }
            unit.state = news.state
            for view in unit.views.values { change(view, news.cause) }
        }
        if turned { for view in views.values { change(view, 0) } }
        work()
    }

    @inline(__always)
    private func change(_ view: LiveView, _ cause: Int64) {
        if view.cause == 0 { view.cause = cause }
        view.isChanged = true
        if !view.isResting { enqueue(view) }
    }

    private func enqueue(_ view: LiveView) {
        guard !view.isQueued else { return }
        view.isQueued = true
        queue.append(view)
    }

    // MARK: Rests

    private func rest(_ view: LiveView) {
        view.isResting = true
        view.rest &+= 1
        // A little less: the units have the same pace, and their answers must not come a moment too early.
        let until = loop.now + view.pace.nanoseconds / 8 * 7
        let number = view.pace.number
        resting[number].append((view, view.rest, until))
        if restTimers[number] == nil { arm(number, until) }
    }

    private func arm(_ number: Int, _ until: UInt64) {
        restTimers[number] = loop.schedule(after: until - min(until, loop.now)) { [weak self] in self?.rested(number) }
    }

    private func rested(_ number: Int) {
        restTimers[number] = nil
        while let (view, rest, until) = resting[number].first {
            guard until <= loop.now else {
                arm(number, until)
                break
            }
            _ = resting[number].popFirst()
            if view.rest == rest { wake(view) }
        }
        work()
    }

    /// A view need not rest any longer.
    private func wake(_ view: LiveView) {
        guard view.isResting else { return }
        view.isResting = false
        view.rest &+= 1
        if view.isChanged { enqueue(view) }
    }

    // MARK: Work

    /// Serves the queue as far as this turn allows; the rest follows in the next ones.
    private func work() {
        while making != nil || !queue.isEmpty, budget.mayGoOn() {
            if making != nil {
                goOnMaking()
            } else if let view = queue.popFirst() {
                view.isQueued = false
                serve(view)
            }
        }
        metrics.waiting.set(queue.count)
        metrics.views.set(views.count)
        metrics.frameBytes.set(frameBytes)
        guard !requests.isEmpty else { return }
        let asked = requests
        requests = []
        ask(asked)
    }

    private func serve(_ view: LiveView) {
        budget.spend(1)
        if view.subscribers == 0 { return takeDown(view) }
        if view.units.isEmpty { setUp(view, tiles(for: view)) }
        guard view.isChanged else { return }
        if !view.isExact, isTooFull(view) {
            view.exactUntil = loop.now + limits.exactHold
            setUp(view, nil)
        } else if view.isExact, loop.now >= view.exactUntil, fitsTiles(view), let tiles = tiles(for: view) {
            // Its own answer is still good for a list.
            makeList(view)
            setUp(view, tiles)
            return
        }
        makeList(view)
    }

    private func takeDown(_ view: LiveView) {
        leave(view.units, view)
        budget.spend(FeedLimits.workPerList + view.units.count)
        frameBytes -= view.list?.frame.count ?? 0
        views[view.number] = nil
        numbers[view.query] = nil
        view.rest &+= 1
        onGone(view.number)
    }

    // MARK: Units

    /// The tiles of a view; nil: it is to be fetched on its own.
    private func tiles(for view: LiveView) -> [LiveTile]? {
        guard let box = view.query.box, units.count + limits.tilesPerView <= limits.units else { return nil }
        return LiveTile.cover(box, atMost: limits.tilesPerView)
    }

    /// Makes a view of these tiles, or (nil) of an answer of its own.
    private func setUp(_ view: LiveView, _ tiles: [LiveTile]?) {
        let old = view.units
        view.isExact = tiles == nil
        view.units = []
        for unit in tiles?.map({ LiveUnit.tile($0) }) ?? [.exact(view.query)] {
            let shared = units[unit] ?? LoopUnit(unit)
            shared.views[view.number] = view
            shared.paces.add(view.pace)
            view.units.append(shared)
            if shared.pace == nil {
                shared.pace = view.pace
                units[unit] = shared
                requests.append(.watch(unit, view.pace))
            } else {
                update(shared)
            }
        }
        leave(old, view)
        view.isChanged = true
        budget.spend(FeedLimits.workPerList + old.count + view.units.count)
    }

    private func leave(_ left: [LoopUnit], _ view: LiveView) {
        for unit in left {
            unit.views[view.number] = nil
            unit.paces.remove(view.pace)
            if unit.views.isEmpty {
                units[unit.unit] = nil
                requests.append(.unwatch(unit.unit))
            } else {
                update(unit)
            }
        }
    }

    /// Its tiles have more drivers than its list and a town together: its own answer is cheaper.
    private func isTooFull(_ view: LiveView) -> Bool {
        var drivers = 0
        for unit in view.units {
            if unit.state.isTooFull { return true }
            drivers += unit.state.snapshot?.drivers.count ?? 0
        }
        return drivers > max(limits.driversPerView, view.query.limit)
    }

    /// Its own answer was whole: then tiles, which others can share, bring hardly more.
    private func fitsTiles(_ view: LiveView) -> Bool {
        guard view.query.box != nil, let snapshot = view.units.first?.state.snapshot else { return false }
        return !snapshot.isTruncated
    }

    // MARK: Lists

    private func makeList(_ view: LiveView) {
        var isStale = snapshot.isStale
        for unit in view.units {
            if unit.state.isFailing { isStale = true }
            // A list that was never whole is not shown half, unless there is nothing to wait for.
            if unit.state.snapshot == nil && !unit.state.isFailing && !snapshot.isStale { return }
        }
        let maker = LiveListMaker(
            view.query, view.units.compactMap(\.state.snapshot), isExact: view.isExact, snapshot, isStale: isStale)
        making = Making(view: view, cause: view.cause, maker: maker)
        view.isChanged = false
        view.cause = 0
        rest(view)
        budget.spend(FeedLimits.workPerList)
        goOnMaking()
    }

    /// The next portion of the list that is being made.
    private func goOnMaking() {
        guard var current = making.take() else { return }
        let (list, work) = current.maker.goOn()
        budget.spend(work)
        let (view, cause) = (current.view, current.cause)
        guard let list else {
            making = consume current
            return
        }
        if let old = view.list, list.showsTheSame(as: old) { return metrics.unchanged.increment() }
        metrics.lists.increment()
        frameBytes += list.frame.count - (view.list?.frame.count ?? 0)
        view.list = list
        onList(view.number, list.frame, cause)
    }
}
