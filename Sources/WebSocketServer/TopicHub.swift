import Bytes
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
/// A topic keeps its newest frame (a list: each replaces the last), or its newest n (a broadcast: each message counts; a
/// reader that is n behind is closed 3008). A WebSocket subscribes to one topic at a time. One hub per server and loop.
@safe public final class TopicHub {
    @safe private struct Topics {
        var base: UnsafeMutablePointer<Topic>
        var count: UInt32 = 0
        var capacity: UInt32 = 0
    }

    /// Set before anything else is called.
    unowned var server: WebSocketServer!
    private let loop: EventLoop
    private let metrics: WebSocketMetrics
    private let listTimeout: Int
    private let subscribers = SlotTable(Subscriber())
    private let topics: Hot<Topics>
    private var freeTopics: [UInt32] = []
    /// By interval, milliseconds.
    private var pacers: [Int: Pacer] = [:]
    /// Who was given a frame lately and may not have taken it.
    private let unfinished: TickTimer
    /// Time from the cause of a list (the Kafka record) to its send.
    private let freshness: Histogram

    init(loop: EventLoop, metrics: WebSocketMetrics, listTimeout: Int) {
        self.loop = loop
        self.metrics = metrics
        self.listTimeout = listTimeout
        unsafe topics = Hot(Topics(base: .allocate(capacity: 0)))
        unfinished = TickTimer(loop: loop)
        freshness = MetricRegistry.shared.histogram(
            name: "cabstand_list_freshness_seconds",
            help: "From the time of the Kafka record that caused a list to the list's socket write, per subscriber.")
        unfinished.due = { [unowned self] slot in checkTaken(slot) }
    }

    deinit {
        for index in 0..<(topics.value.count) where unsafe topics.value.base[Int(index)].isUsed {
            release(index)
        }
        unsafe topics.value.base.deinitialize(count: Int(topics.value.count))
        unsafe topics.value.base.deallocate()
        topics.free()
        subscribers.free()
    }

    // MARK: Topics

    /// A topic whose frames replace each other: a subscriber is given the newest one, at once and after each change.
    public func makeTopic() -> TopicID { make(history: 1, greets: true) }

    /// A topic of which each frame is sent to each subscriber that is there by then, at most `history` behind.
    public func makeBroadcast(history: Int = 256) -> TopicID { make(history: max(1, history), greets: false) }

    private func make(history: Int, greets: Bool) -> TopicID {
        let index: UInt32
        if let free = freeTopics.popLast() {
            index = free
        } else {
            if topics.value.count == topics.value.capacity { growTopics() }
            index = topics.value.count
            topics.value.count += 1
            unsafe (topics.value.base + Int(index)).initialize(to: Topic())
        }
        let topic = unsafe topics.value.base + Int(index)
        let frames = UnsafeMutablePointer<Unmanaged<SharedBytes>?>.allocate(capacity: history)
        unsafe frames.initialize(repeating: nil, count: history)
        unsafe topic.pointee.frames = frames
        unsafe topic.pointee.history = history
        unsafe topic.pointee.greets = greets
        unsafe topic.pointee.isUsed = true
        return unsafe TopicID(index: index, generation: topic.pointee.generation)
    }

    private func growTopics() {
        let capacity = max(16, topics.value.capacity * 2)
        let larger = UnsafeMutablePointer<Topic>.allocate(capacity: Int(capacity))
        unsafe larger.moveInitialize(from: topics.value.base, count: Int(topics.value.count))
        unsafe topics.value.base.deallocate()
        unsafe topics.value.base = larger
        topics.value.capacity = capacity
    }

    /// Forgets a topic; its subscribers subscribe to nothing from then on.
    public func removeTopic(_ id: TopicID) {
        guard let topic = unsafe find(id) else { return }
        while unsafe topic.pointee.first != .max {
            guard let subscriber = unsafe subscribers.find(topic.pointee.first) else { break }
            unsafe unsubscribe(subscriber.pointee.id)
        }
        release(id.index)
    }

    private func release(_ index: UInt32) {
        let topic = unsafe topics.value.base + Int(index)
        if let frames = unsafe topic.pointee.frames {
            for number in unsafe 0..<topic.pointee.history { unsafe frames[number]?.release() }
            unsafe frames.deallocate()
        }
        var generation = unsafe topic.pointee.generation &+ 1
        if generation == 0 { generation = 1 }
        unsafe topic.pointee = Topic()
        unsafe topic.pointee.generation = generation
        freeTopics.append(index)
    }

    @inline(__always)
    private func find(_ id: TopicID) -> UnsafeMutablePointer<Topic>? {
        guard id.index < topics.value.count else { return nil }
        let topic = unsafe topics.value.base + Int(id.index)
        guard unsafe topic.pointee.isUsed, unsafe topic.pointee.generation == id.generation else { return nil }
        return unsafe topic
    }

    public func subscriberCount(_ id: TopicID) -> Int { unsafe find(id)?.pointee.subscribers ?? 0 }

    /// The newest frame that was published.
    public func newestFrame(_ id: TopicID) -> SharedBytes? {
        guard let topic = unsafe find(id), unsafe topic.pointee.sequence > 0 else { return nil }
        return unsafe topic.pointee.frames?[Int(topic.pointee.sequence % UInt64(topic.pointee.history))]?
            .takeUnretainedValue()
    }

    // MARK: Publishing

    /// Gives `frame` (whole frames, unmasked) to every subscriber, in this turn's flush or when it can take it.
    /// - Parameter cause: Unix milliseconds of what caused it, for the freshness histogram; 0 leaves it out.
    public func publish(_ id: TopicID, _ frame: SharedBytes, cause: Int64 = 0) {
        guard let topic = unsafe find(id), let frames = unsafe topic.pointee.frames else { return }
        unsafe topic.pointee.sequence &+= 1
        unsafe topic.pointee.cause = cause
        let place = unsafe frames + Int(topic.pointee.sequence % UInt64(topic.pointee.history))
        unsafe place.pointee?.release()
        unsafe place.pointee = Unmanaged.passRetained(frame)
        let now = loop.now
        var slot = unsafe topic.pointee.first
        while let subscriber = unsafe subscribers.find(slot) {
            unsafe slot = subscriber.pointee.next
            unsafe mark(subscriber, now)
        }
    }

    /// There is something new for this subscriber.
    @inline(__always)
    private func mark(_ subscriber: UnsafeMutablePointer<Subscriber>, _ now: UInt64) {
        let flags = unsafe subscriber.pointee.flags
        guard flags.isDisjoint(with: [.asked, .waits]) else { return }
        if flags.contains(.paced) {
            if unsafe subscriber.pointee.mayAt > now {
                if !flags.contains(.dirty) {
                    unsafe subscriber.pointee.flags.insert(.dirty)
                    unsafe subscriber.pointee.pacer?._withUnsafeGuaranteedRef { $0.markedOne(loop) }
                }
                return
            }
            unsafe subscriber.pointee.pacer?._withUnsafeGuaranteedRef { unsafe $0.remove(subscriber, subscribers) }
        }
        unsafe subscriber.pointee.flags.insert(.asked)
        unsafe loop.requestFlush(subscriber.pointee.id)
    }

    // MARK: Subscribing

    /// Gives `id` the frames of `topic` instead of what it subscribed to before: the newest at once if it is a list, then
    /// one after each change, at most one per `interval` milliseconds.
    public func subscribe(_ id: WebSocketID, to topicID: TopicID, interval: Int = 0) {
        guard server.isOpen(id), let topic = unsafe find(topicID) else { return }
        unsubscribe(id)
        let subscriber = unsafe subscribers.make(id.slot)
        unsafe subscriber.pointee = Subscriber()
        unsafe subscriber.pointee.token = id.token
        unsafe subscriber.pointee.topic = topicID.index
        unsafe subscriber.pointee.sent = topic.pointee.greets ? 0 : topic.pointee.sequence
        unsafe subscriber.pointee.previous = topic.pointee.last
        if let last = unsafe subscribers.find(topic.pointee.last) {
            unsafe last.pointee.next = id.slot
        } else {
            unsafe topic.pointee.first = id.slot
        }
        unsafe topic.pointee.last = id.slot
        unsafe topic.pointee.subscribers += 1
        if interval > 0 {
            let pacer = pacers[interval] ?? Pacer(interval) { [unowned self] in paceDue($0) }
            pacers[interval] = pacer
            pacer.users += 1
            unsafe subscriber.pointee.pacer = Unmanaged.passUnretained(pacer)
        }
        if unsafe topic.pointee.sequence > subscriber.pointee.sent { unsafe mark(subscriber, loop.now) }
    }

    /// Gives `id` nothing more.
    public func unsubscribe(_ id: WebSocketID) {
        guard let subscriber = unsafe find(id) else { return }
        let topic = unsafe topics.value.base + Int(subscriber.pointee.topic)
        let (next, previous) = unsafe (subscriber.pointee.next, subscriber.pointee.previous)
        if let before = unsafe subscribers.find(previous) {
            unsafe before.pointee.next = next
        } else {
            unsafe topic.pointee.first = next
        }
        if let after = unsafe subscribers.find(next) {
            unsafe after.pointee.previous = previous
        } else {
            unsafe topic.pointee.last = previous
        }
        unsafe topic.pointee.subscribers -= 1
        if let pacer = unsafe subscriber.pointee.pacer?.takeUnretainedValue() {
            if unsafe subscriber.pointee.flags.contains(.paced) { unsafe pacer.remove(subscriber, subscribers) }
            pacer.users -= 1
            if pacer.users == 0 {
                pacer.stop(loop)
                pacers[pacer.interval] = nil
            }
        }
        unfinished.remove(id.slot)
        unsafe subscriber.pointee = Subscriber()
    }

    /// The topic that `id` subscribes to.
    public func topic(of id: WebSocketID) -> TopicID? {
        guard let subscriber = unsafe find(id) else { return nil }
        return unsafe TopicID(
            index: subscriber.pointee.topic, generation: topics.value.base[Int(subscriber.pointee.topic)].generation)
    }

    @inline(__always)
    private func find(_ id: WebSocketID) -> UnsafeMutablePointer<Subscriber>? {
        guard let subscriber = unsafe subscribers.find(id.slot) else { return nil }
        guard unsafe subscriber.pointee.topic != .max, unsafe subscriber.pointee.token == id.token else { return nil }
        return unsafe subscriber
    }

    // MARK: Sending

    /// The flush phase asks what this connection has to say.
    @inline(__always)
    func willFlush(_ id: WebSocketID) {
        guard let subscriber = unsafe find(id) else { return }
        unsafe subscriber.pointee.flags.remove(.asked)
        let topic = unsafe topics.value.base + Int(subscriber.pointee.topic)
        let newest = unsafe topic.pointee.sequence
        guard unsafe newest > subscriber.pointee.sent, let frames = unsafe topic.pointee.frames else { return }
        if loop.isBacklogged(id) {
            unsafe subscriber.pointee.flags.insert(.waits)
            metrics.waited()
            return
        }
        let history = unsafe UInt64(topic.pointee.history)
        if history == 1 {
            if let frame = unsafe frames[0] {
                unsafe frame._withUnsafeGuaranteedRef { loop.send(id, shared: $0) }
            }
        } else {
            guard unsafe newest - subscriber.pointee.sent <= history else { return tooSlow(id) }
            var number = unsafe subscriber.pointee.sent
            while number < newest {
                number &+= 1
                if let frame = unsafe frames[Int(number % history)] {
                    unsafe frame._withUnsafeGuaranteedRef { loop.send(id, shared: $0) }
                }
            }
        }
        metrics.sentShared(1)
        unsafe sent(subscriber, topic)
    }

    @inline(__always)
    private func sent(_ subscriber: UnsafeMutablePointer<Subscriber>, _ topic: UnsafeMutablePointer<Topic>) {
        unsafe subscriber.pointee.sent = topic.pointee.sequence
        if let pacer = unsafe subscriber.pointee.pacer {
            unsafe pacer._withUnsafeGuaranteedRef { pacer in
                unsafe subscriber.pointee.mayAt = loop.now &+ UInt64(pacer.interval) &* 1_000_000
                unsafe pacer.append(subscriber, subscribers)
            }
        }
        let check = unfinished.tick(after: listTimeout)
        if unsafe subscriber.pointee.checkedAt != UInt32(truncatingIfNeeded: check) {
            unsafe subscriber.pointee.checkedAt = UInt32(truncatingIfNeeded: check)
            unsafe unfinished.set(subscriber.pointee.id.slot, at: check)
        }
        let cause = unsafe topic.pointee.cause
        if cause > 0 {
            let lag = Int64(loop.preciseNow() &- loop.now) / 1_000_000 &+ loop.wallClockMilliseconds &- cause
            freshness.observe(Double(max(0, lag)) * 0.001)
        }
    }

    /// A short write's rest is out: the newest frame may follow.
    func drained(_ id: WebSocketID) {
        guard let subscriber = unsafe find(id), unsafe subscriber.pointee.flags.contains(.waits) else { return }
        unsafe subscriber.pointee.flags.remove(.waits)
        unsafe mark(subscriber, loop.now)
    }

    /// The queue of an interval says that the next frame may be sent.
    private func paceDue(_ pacer: Pacer) {
        let now = loop.now
        while let subscriber = unsafe subscribers.find(pacer.first), unsafe subscriber.pointee.mayAt <= now {
            let isDirty = unsafe subscriber.pointee.flags.contains(.dirty)
            unsafe pacer.remove(subscriber, subscribers)
            if isDirty { unsafe mark(subscriber, now) }
        }
        if pacer.marked > 0, let subscriber = unsafe subscribers.find(pacer.first) {
            unsafe pacer.arm(at: subscriber.pointee.mayAt, loop)
        }
    }

    /// `listTimeout` has passed since the last frame was given.
    private func checkTaken(_ slot: UInt32) {
        guard let subscriber = unsafe subscribers.find(slot), unsafe subscriber.pointee.topic != .max else { return }
        unsafe subscriber.pointee.checkedAt = 0
        let id = unsafe subscriber.pointee.id
        if loop.isBacklogged(id) { tooSlow(id) }
    }

    private func tooSlow(_ id: WebSocketID) {
        server.close(id, .tooSlow, reason: "the last list was not taken in time")
    }
}
