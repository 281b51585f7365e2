import Bytes
import Memory
import Reactor
import Telemetry
import WebSockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Frames for many: one publishes to a topic, and every subscriber gets the frame by one send, without a copy, a retain or
/// an allocation.
///
/// A subscriber is a number: the newest frame that it was given. Publishing marks; what is sent is decided in the flush
/// phase (`willFlush`), when it is known who can take it:
///
///                 ┌─ nothing new ─────────▶ nothing
///     willFlush ──┼─ output waits ────────▶ `waits`, until `drained`: then the newest, not a backlog (conflation)
///                 └─ ready ───────────────▶ sent; the next one not before `interval`, whole within `listTimeout`
///
/// Those who have agreed upon permessage-deflate are given the same frame's compressed form (`TopicHub+Deflate`).
///
/// Telling very many goes in portions, a turn each, so that nobody else waits for it.
///
/// A topic keeps its newest frame (a list: each replaces the last), or its newest n (a broadcast: each message counts; a
/// reader that is n behind is closed 3008). A WebSocket subscribes to one topic at a time. One hub per server and loop.
public final class TopicHub: TurnEnding {
    /// What is touched with every frame.
    private struct State: ~Copyable {
        /// The turn, by its beginning, that `budget` is of.
        var turn: UInt64 = 0
        /// Subscribers that may still be told in that turn.
        var budget = 0
        /// Topics whose subscribers are being told, in the order in which they are served.
        var marking = Vector<UInt64>()
        /// The turn, by its beginning, that `compressible` is of.
        var compressing: UInt64 = 0
        /// Bytes of frames that may still be compressed in that turn.
        var compressible = 0
        /// The end of this turn was asked for.
        var reclaims = false
    }

    /// Set before anything else is called.
    unowned var server: WebSocketServer!
    let loop: EventLoop
    let subscribers = PlaceTable(Subscriber())
    let pacers = Slab<Pacer>(initialCount: 4)
    /// By interval, milliseconds.
    var intervals: [Int: Handle<Pacer>] = [:]
    /// Fires for the queue of an interval, by its handle's token, and for the topics whose subscribers are still to be told.
    let timer = OwnerTimer<TopicHub> { hub, payload in
        if payload == TopicHub.marking { hub.goOnMarking() } else { hub.paceDue(Handle(token: payload)) }
    }
    /// The token of no queue.
    private static let marking: UInt64 = 0
    private let metrics: WebSocketMetrics
    private let listTimeout: Int
    private let topics = Slab<Topic>()
    private let state = Cell(State())
    /// Who was given a frame lately and may not have taken it.
    private let unfinished: TickTimer
    /// Seconds from the cause of a frame to its write, per subscriber.
    private let freshness: Histogram?

    let subscribersPerTurn: Int

    init(loop: EventLoop, metrics: WebSocketMetrics, timeouts: WebSocketTimeouts, freshness: Histogram?) {
        self.loop = loop
        self.metrics = metrics
        listTimeout = timeouts.listTimeout.ticks
        subscribersPerTurn = max(1, timeouts.subscribersPerTurn)
        unfinished = TickTimer(loop: loop)
        self.freshness = freshness
        unfinished.due = { [unowned self] id in checkTaken(id) }
        timer.owner = self
    }

    deinit {
        unfinished.stop()
        timer.owner = nil
    }

    // MARK: Topics

    /// A topic whose frames replace each other: a subscriber is given the newest one, at once and after each change.
    public func makeTopic() -> TopicID { make(history: 1, greets: true) }

    /// A topic of which each frame is sent to each subscriber that is there by then, at most `history` behind.
    public func makeBroadcast(history: Int = 256) -> TopicID { make(history: max(1, history), greets: false) }

    private func make(history: Int, greets: Bool) -> TopicID {
        TopicID(handle: topics.insert(Topic(history: history, greets: greets)) ?? .none)
    }

    /// Forgets a topic; its subscribers subscribe to nothing from then on. However many they are, this is done at once: what
    /// they keep is a handle that reads as gone.
    public func removeTopic(_ id: TopicID) {
        if topics.remove(id.handle) { reclaimAtEndOfTurn() }
    }

    /// How many subscribe to the topic; 0 if it is gone.
    public func subscriberCount(_ id: TopicID) -> Int {
        guard let topic = topics.find(id.handle) else { return 0 }
        return topic.value.subscribers
    }

    /// The newest frame that was published.
    public func newestFrame(_ id: TopicID) -> SharedBytes? {
        guard let topic = topics.find(id.handle), topic.value.sequence > 0 else { return nil }
        return topic.value.frames.frame(topic.value.sequence)
    }

    func reclaimAtEndOfTurn() {
        if state.value.reclaims { return }
        state.value.reclaims = true
        loop.atEndOfTurn(self)
    }

    public func turnEnded() {
        state.value.reclaims = false
        topics.reclaim()
        pacers.reclaim()
    }

    // MARK: Publishing

    /// Gives `frame` (whole frames, unmasked) to every subscriber, in this turn's flush or when it can take it.
    /// - Parameter cause: Unix milliseconds of what caused it, for the server's `freshness`; 0 leaves it out.
    public func publish(_ id: TopicID, _ frame: SharedBytes, cause: Int64 = 0) {
        guard let topic = topics.find(id.handle) else { return }
        topic.value.sequence &+= 1
        topic.value.cause = cause
        topic.value.frames.put(frame, topic.value.sequence)
        if topic.value.isMarking {
            topic.value.marksAgain = true
            return
        }
        topic.value.cursor = topic.value.first
        if markSubscribers(topic) { return }
        topic.value.isMarking = true
        if state.value.marking.isEmpty { loop.schedule(after: 0, timer, Self.marking) }
        state.value.marking.append(id.handle.token)
    }

    /// Gives a text message to every subscriber, as `publish(_:_:cause:)` does.
    public func publish(_ id: TopicID, text: String) {
        let text = Array(text.utf8)
        var frame = ByteBuffer(capacity: FrameWriter.headerSize(payload: text.count) + text.count)
        FrameWriter.append(.text, text.span, to: &frame)
        publish(id, SharedBytes(frame))
    }

    /// Tells the subscribers from the topic's cursor on. False: this turn's budget is used up.
    private func markSubscribers(_ topic: Place<Topic>) -> Bool {
        let now = loop.now
        if state.value.turn != now {
            state.value.turn = now
            state.value.budget = subscribersPerTurn
        }
        var left = state.value.budget
        var cursor = topic.value.cursor
        while let subscriber = subscribers.find(cursor) {
            if left == 0 { break }
            left &-= 1
            cursor = subscriber.value.next
            mark(subscriber, now)
        }
        topic.value.cursor = cursor
        state.value.budget = left
        return cursor == .none
    }

    /// The next portion of the topics that were not done in the turn of their frame, each in its turn.
    func goOnMarking() {
        let count = state.value.marking.count
        var index = 0
        while index < count {
            let handle = Handle<Topic>(token: state.value.marking[index])
            guard let topic = topics.find(handle) else {
                index += 1
                continue
            }
            guard markSubscribers(topic) else { break }
            index += 1
            if topic.value.marksAgain {
                topic.value.marksAgain = false
                topic.value.cursor = topic.value.first
                state.value.marking.append(handle.token)
            } else {
                topic.value.isMarking = false
            }
        }
        state.value.marking.removeFirst(index)
        if !state.value.marking.isEmpty { loop.schedule(after: 0, timer, Self.marking) }
    }

    /// There is something new for this subscriber.
    @inline(__always)
    func mark(_ subscriber: Place<Subscriber>, _ now: UInt64) {
        let flags = subscriber.value.flags
        guard flags.isDisjoint(with: [.asked, .waits]) else { return }
        if flags.contains(.paced) {
            if subscriber.value.mayAt > now { return markPaced(subscriber) }
            if let pacer = pacers.find(subscriber.value.pacer) { takeOut(subscriber, pacer) }
        }
        subscriber.value.flags.insert(.asked)
        loop.requestFlush(subscriber.value.id)
    }

    // MARK: Subscribing

    /// Gives `id` the frames of `topic` instead of what it subscribed to before: the newest at once if it is a list, then
    /// one after each change, at most one per `interval` milliseconds.
    public func subscribe(_ id: WebSocketID, to topicID: TopicID, interval: Int = 0) {
        precondition(server.role == .server, "a client masks each frame by itself")
        guard server.isOpen(id), let topic = topics.find(topicID.handle) else { return }
        unsubscribe(id)
        let subscriber = subscribers.make(id)
        subscriber.value = Subscriber()
        subscriber.value.id = id
        subscriber.value.topic = topicID.handle
        subscriber.value.sent = topic.value.greets ? 0 : topic.value.sequence
        subscriber.value.previous = topic.value.last
        if let last = subscribers.find(topic.value.last) {
            last.value.next = id
        } else {
            topic.value.first = id
        }
        topic.value.last = id
        topic.value.subscribers += 1
        subscriber.value.windowBits = server.sharedWindowBits(id)
        if subscriber.value.windowBits > 0 { topic.value.takers += 1 }
        if interval > 0 { subscriber.value.pacer = joinPacer(interval) }
        if topic.value.sequence > subscriber.value.sent { mark(subscriber, loop.now) }
    }

    /// Gives `id` nothing more.
    public func unsubscribe(_ id: WebSocketID) {
        guard let subscriber = subscribers.find(id) else { return }
        if let topic = topics.find(subscriber.value.topic) { leave(topic, subscriber) }
        leavePacer(subscriber)
        unfinished.remove(id)
        subscribers.remove(id)
    }

    /// Takes a subscriber out of the queue of its topic. Of one whose topic is gone nobody is a neighbour any more.
    private func leave(_ topic: Place<Topic>, _ subscriber: Place<Subscriber>) {
        let (next, previous) = (subscriber.value.next, subscriber.value.previous)
        if let before = subscribers.find(previous) {
            before.value.next = next
        } else {
            topic.value.first = next
        }
        if let after = subscribers.find(next) {
            after.value.previous = previous
        } else {
            topic.value.last = previous
        }
        if topic.value.cursor == subscriber.value.id { topic.value.cursor = next }
        topic.value.subscribers -= 1
        if subscriber.value.windowBits > 0 { topic.value.takers -= 1 }
    }

    /// The topic that `id` subscribes to.
    public func topic(of id: WebSocketID) -> TopicID? {
        guard let subscriber = subscribers.find(id), topics.contains(subscriber.value.topic) else { return nil }
        return TopicID(handle: subscriber.value.topic)
    }

    // MARK: Sending

    /// The flush phase asks what this connection has to say.
    @inline(__always)
    func willFlush(_ id: WebSocketID) {
        guard let subscriber = subscribers.find(id) else { return }
        subscriber.value.flags.remove(.asked)
        guard let topic = topics.find(subscriber.value.topic) else { return unsubscribe(id) }
        let newest = topic.value.sequence
        guard newest > subscriber.value.sent else { return }
        var number = subscriber.value.sent &+ 1
        if newest - subscriber.value.sent > UInt64(topic.value.frames.capacity) {
            // Of a broadcast each message counts, of a list only the newest.
            guard topic.value.frames.capacity == 1 else {
                return loop.isBacklogged(id) ? wait(subscriber) : tooSlow(id)
            }
            number = newest
        }
        if subscriber.value.windowBits > 0 {
            guard sendCompressed(number...newest, to: subscriber, topic) else { return wait(subscriber) }
        } else {
            guard topic.value.frames.sendUnlessBacklogged(number, to: id, loop) else { return wait(subscriber) }
            while number < newest {
                number &+= 1
                topic.value.frames.send(number, to: id, loop)
            }
        }
        metrics.sentShared(1)
        sent(subscriber, topic)
    }

    /// It gets the newest frame once its output is taken.
    @inline(never)
    private func wait(_ subscriber: Place<Subscriber>) {
        subscriber.value.flags.insert(.waits)
        metrics.waited()
    }

    @inline(__always)
    private func sent(_ subscriber: Place<Subscriber>, _ topic: Place<Topic>) {
        subscriber.value.sent = topic.value.sequence
        if let pacer = pacers.find(subscriber.value.pacer) {
            subscriber.value.mayAt = loop.now &+ UInt64(pacer.value.interval) &* 1_000_000
            pace(subscriber, pacer)
        }
        let check = unfinished.tick(after: listTimeout)
        if subscriber.value.checkedAt != UInt32(truncatingIfNeeded: check) {
            subscriber.value.checkedAt = UInt32(truncatingIfNeeded: check)
            unfinished.set(subscriber.value.id, at: check)
        }
        let cause = topic.value.cause
        if cause > 0, let freshness {
            let lag =
                Int64(truncatingIfNeeded: loop.preciseNow() &- loop.now) / 1_000_000 &+ loop.wallClockMilliseconds
                &- cause
            freshness.observe(Double(max(0, lag)) * 0.001)
        }
    }

    /// Whether `count` bytes may be compressed in this turn, which is then taken off.
    func mayCompress(_ count: Int, perTurn: Int) -> Bool {
        if state.value.compressing != loop.now {
            state.value.compressing = loop.now
            state.value.compressible = perTurn
        }
        guard count <= state.value.compressible else { return false }
        state.value.compressible -= count
        return true
    }

    /// A short write's rest is out: the newest frame may follow.
    func drained(_ id: WebSocketID) {
        guard let subscriber = subscribers.find(id), subscriber.value.flags.contains(.waits) else { return }
        subscriber.value.flags.remove(.waits)
        mark(subscriber, loop.now)
    }

    /// `listTimeout` has passed since the last frame was given.
    private func checkTaken(_ id: WebSocketID) {
        guard let subscriber = subscribers.find(id) else { return }
        subscriber.value.checkedAt = 0
        if loop.isBacklogged(id) { tooSlow(id) }
    }

    private func tooSlow(_ id: WebSocketID) {
        server.close(id, .tooSlow, reason: "the last list was not taken in time")
    }
}
