import CRdKafka
import Reactor
import Telemetry

/// An idempotent producer on a loop: acks from all replicas, no time limit, no linger, keys in the partitions that Java's
/// producer chooses (murmur2).
///
///     produce ──true──▶ held by librdkafka ──▶ onDelivery(opaque, offset or error)
///        └────false──▶ the queue is full (or being reset): wait for onWritable
///
/// What librdkafka does not even take (a topic that it knows to be missing) is a failed report, too, in a later turn: there
/// is one way to hear of a refusal, and whoever hears of one waits (`RetryBackoff`) before it tries again.
///
/// The delivery report decides, not `produce`: what has no report yet may be lost with the process. After a failed
/// report, later messages still go out unless the order is `.strict`: whoever needs it calls `reset` and starts again at its own
/// watermark.
///
/// All calls and callbacks on `loop`.
public final class KafkaProducer {
    /// The opaque number given to `produce`, and the offset in the partition (-1 if the broker did not tell) or the error.
    public var onDelivery: (_ opaque: UInt64, _ result: Result<Int64, KafkaError>) -> Void = { _, _ in }
    /// There is room again after `produce` answered false.
    public var onWritable: () -> Void = {}
    /// Called when the state changes, on the loop.
    public var onState: (KafkaState) -> Void {
        get { core.onState }
        set { core.onState = newValue }
    }
    /// Whether the cluster answers.
    public var state: KafkaState { core.state }
    /// A topic that was written to is not there (any more): whoever may make it should. Called again with each refusal.
    public var onMissingTopic: (_ topic: String) -> Void = { _ in }
    /// Messages without a delivery report.
    public private(set) var pending = 0

    let core: ClientCore
    private let order: Order
    private(set) var client: NativeClient
    private var pump: EventPump?
    private var topics: [String: NativeTopic] = [:]
    private var refused = false
    /// Messages that librdkafka has and has not reported.
    private(set) var sent = 0
    /// What a strict order needs beyond librdkafka.
    var batches: StrictBatches
    /// The client failed for good: it is made anew as soon as all its reports are in.
    private var hasFailed = false
    private(set) var resetting: (() -> Void)?
    private var isPurging = false
    /// What librdkafka did not take: reported in a later turn.
    private var refusals: [(topic: String, opaque: UInt64, error: KafkaError)] = []
    private var idleWaiters: [() -> Void] = []
    var looks = ProducerLooks()
    private var renewals = RetryBackoff(first: 500_000_000, last: 10_000_000_000)
    private var renewTimer: TimerID?
    private(set) var closed = false
    private let deliveredCount: Counter
    private let failedCount: Counter
    private let pendingGauge: Gauge

    /// - Throws: a property of the configuration that librdkafka refuses.
    public init(
        loop: EventLoop, configuration: KafkaConfiguration, order: Order = .usual
    ) throws(KafkaError) {
        self.order = order
        batches = StrictBatches(configuration)
        core = try ClientCore(loop: loop, configuration: configuration, role: "producer")
        let registry = MetricRegistry.shared
        deliveredCount = registry.counter(
            name: .own("kafka_delivered_total"), help: "Messages that the cluster acknowledged.")
        failedCount = registry.counter(
            name: .own("kafka_delivery_failures_total"), help: "Messages whose delivery report was an error.")
        pendingGauge = registry.gauge(
            name: .own("kafka_pending_messages"), help: "Messages without a delivery report yet.")
        client = try Self.makeClient(configuration, order)
        pump = try makePump()
        look()
    }

    private func makePump() throws(KafkaError) -> EventPump {
        guard let queue = unsafe rd_kafka_queue_get_main(client.handle) else {
            throw KafkaError.configuration("librdkafka gave no queue")
        }
        return try unsafe EventPump(
            loop: core.loop, queue: queue, budget: core.configuration.limits.eventsPerTurn,
            drained: { [weak self] in self?.afterDrain() }, handle: { [weak self] in unsafe self?.handle($0) })
    }

    // MARK: Producing

    /// Hands a message to librdkafka, which copies the bytes.
    ///
    /// - Returns: false if the queue is full or a reset is under way: nothing was taken, `onWritable` will follow.
    public func produce(
        topic: String, key: String, value: Span<UInt8>, headers: [KafkaHeader] = [], opaque: UInt64 = 0
    ) -> Bool {
        if closed || resetting != nil {
            refused = true
            return false
        }
        if order == .strict {
            guard pending < core.configuration.limits.producerMessages,
                batches.held.bytes < core.configuration.limits.producerBytes
            else {
                refused = true
                return false
            }
            pending += 1
            let value = unsafe value.withUnsafeBytes { unsafe [UInt8]($0) }
            hold(HeldMessages.Message(topic: topic, key: key, value: value, headers: headers, opaque: opaque))
            return true
        }
        switch send(topic: topic, key: key, value: value, headers: headers, opaque: opaque) {
        case .taken: pending += 1
        case .full:
            refused = true
            return false
        case .refused(let error):
            pending += 1
            refuse(topic: topic, opaque: opaque, error)
        }
        return true
    }

    /// What became of a message that was given to librdkafka.
    enum Outcome {
        case taken
        /// Its queue is full.
        case full
        case refused(KafkaError)
    }

    /// Gives a message to librdkafka.
    func send(topic: String, key: String, value: Span<UInt8>, headers: [KafkaHeader], opaque: UInt64) -> Outcome {
        let handle: NativeTopic
        do throws(KafkaError) { handle = try topicHandle(topic) } catch { return .refused(error) }
        let native = unsafe Self.nativeHeaders(headers)
        var key = key
        let error = key.withUTF8 { key in
            unsafe value.withUnsafeBytes { value in
                unsafe crdkafka_produce(
                    client.handle, handle.handle, key.baseAddress, key.count, value.baseAddress, value.count, native,
                    opaque)
            }
        }
        if error == RD_KAFKA_RESP_ERR_NO_ERROR {
            sent += 1
            return .taken
        }
        if let native = unsafe native { unsafe rd_kafka_headers_destroy(native) }
        if error == RD_KAFKA_RESP_ERR__QUEUE_FULL { return .full }
        hasFailed = hasFailed || error == RD_KAFKA_RESP_ERR__FATAL
        return .refused(KafkaError(error))
    }

    /// A message gets its report in a later turn: nobody hears of a failure inside of `produce`.
    func refuse(topic: String, opaque: UInt64, _ error: KafkaError) {
        refusals.append((topic, opaque, error))
        batches.hasFailed = true
        if refusals.count == 1 { core.loop.execute { [weak self] in self?.afterDrain() } }
    }

    /// The same for a value in an array.
    public func produce(
        topic: String, key: String, value: [UInt8], headers: [KafkaHeader] = [], opaque: UInt64 = 0
    ) -> Bool {
        produce(topic: topic, key: key, value: value.span, headers: headers, opaque: opaque)
    }

    private func topicHandle(_ name: String) throws(KafkaError) -> NativeTopic {
        if let topic = topics[name] { return topic }
        let topic = try NativeTopic(name, of: client)
        topics[name] = topic
        return topic
    }

    private static func nativeHeaders(_ headers: [KafkaHeader]) -> OpaquePointer? {
        if headers.isEmpty { return nil }
        let native = unsafe rd_kafka_headers_new(headers.count)
        for header in headers {
            var value = header.value
            value.withUTF8 { value in
                // Proof: a StaticString is NUL-terminated; both are copied.
                let name = unsafe UnsafeRawPointer(header.name.utf8Start).assumingMemoryBound(to: CChar.self)
                _ = unsafe rd_kafka_header_add(
                    native, name, header.name.utf8CodeUnitCount, value.baseAddress, value.count)
            }
        }
        return unsafe native
    }

    // MARK: Reports

    private func handle(_ event: OpaquePointer) {
        switch unsafe rd_kafka_event_type(event) {
        case RD_KAFKA_EVENT_DR:
            while let message = unsafe rd_kafka_event_message_next(event) {
                sent -= 1
                let opaque = UInt64(UInt(bitPattern: unsafe message.pointee._private))
                if unsafe message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                    pending -= 1
                    deliveredCount.increment()
                    core.isUp()
                    if core.isRefused {
                        let topic = unsafe Self.topic(of: message)
                        core.works(Self.writing(topic))
                        core.works(Self.words(for: topic))
                    }
                    onDelivery(opaque, .success(unsafe message.pointee.offset))
                } else {
                    let error = unsafe KafkaError(message.pointee.err)
                    batches.hasFailed = true
                    failed(topic: unsafe Self.topic(of: message), opaque: opaque, error)
                }
            }
        case RD_KAFKA_EVENT_LOG: unsafe core.handleLog(event)
        case RD_KAFKA_EVENT_ERROR:
            let error = unsafe ClientCore.error(of: event)
            core.handleError(error)
            if error.isFatal {
                hasFailed = true
                // It sends nothing any more: what it holds is to be reported, as failed.
                unsafe rd_kafka_purge(
                    client.handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING)
            }
        default: break
        }
    }

    private static func topic(of message: UnsafePointer<rd_kafka_message_t>) -> String {
        guard let topic = unsafe message.pointee.rkt else { return "" }
        // Proof: the name belongs to the topic, which the message holds, and is copied.
        return unsafe String(cString: rd_kafka_topic_name(topic))
    }

    static func words(for topic: String) -> String { "The topic \(topic)" }

    private static func writing(_ topic: String) -> String { "Writing to the topic \(topic)" }

    /// Reports a failure.
    private func failed(topic: String, opaque: UInt64, _ error: KafkaError) {
        pending -= 1
        failedCount.increment()
        if !error.isPurge {
            if resetting == nil { core.report(error, "a message was not delivered") }
            if error.isRefusal {
                let isNews = !core.isRefused
                core.refuses(Self.writing(topic), error)
                // librdkafka learns by looks that a topic is there again; they go on until all is well.
                if isNews { look() }
            }
            if error.isMissingTopic { onMissingTopic(topic) }
        }
        onDelivery(opaque, .failure(error))
    }

    private func afterDrain() {
        let refusedNow = refusals
        refusals = []
        for refusal in refusedNow { failed(topic: refusal.topic, opaque: refusal.opaque, refusal.error) }
        pendingGauge.set(pending)
        if sent == 0 && !closed && !isPurging {
            if hasFailed && !renew() { return }
            if let completion = resetting {
                resetting = nil
                batches.restart()
                completion()
            }
        }
        if sent == 0 { sendHeld() }
        if pending == 0 {
            let waiters = idleWaiters
            idleWaiters.removeAll()
            for waiter in waiters { waiter() }
        }
        let limits = core.configuration.limits
        if refused && resetting == nil && !closed && pending < limits.producerMessages
            && batches.held.bytes < limits.producerBytes
        {
            refused = false
            onWritable()
        }
    }

    // MARK: Reset, flush, close

    /// Drops what librdkafka holds and has not sent, waits for the reports of what is in flight (so that nothing can
    /// arrive behind what is sent next), makes a new client if this one failed for good, and calls `completion`.
    public func reset(_ completion: @escaping () -> Void) {
        if closed || resetting != nil { return }
        resetting = completion
        // A client that failed for good sends nothing any more; what it calls in flight never comes back.
        hasFailed = hasFailed || client.fatalError != nil
        if sent > 0 { purge(RD_KAFKA_PURGE_F_QUEUE | (hasFailed ? RD_KAFKA_PURGE_F_INFLIGHT : 0)) }
        for message in batches.held.removeAll() {
            failed(topic: message.topic, opaque: message.opaque, KafkaError(RD_KAFKA_RESP_ERR__PURGE_QUEUE))
        }
        if sent == 0 { core.loop.execute { [weak self] in self?.afterDrain() } }
    }

    /// The scar: a purge that does not block goes on behind its call, and takes messages that were given after it.
    private func purge(_ flags: Int32) {
        isPurging = true
        let client = client
        core.worker.run(on: core.loop) {
            unsafe rd_kafka_purge(client.handle, flags)
        } then: { [weak self] _ in
            self?.isPurging = false
            self?.afterDrain()
        }
    }

    /// Replaces a client that failed for good. False: not now, it is tried again.
    private func renew() -> Bool {
        guard let error = client.fatalError else {
            hasFailed = false
            return true
        }
        if renewTimer != nil { return false }
        core.report(error, "the producer is made anew")
        do throws(KafkaError) {
            let next = try Self.makeClient(core.configuration, order)
            release()
            client = next
            pump = try makePump()
            hasFailed = false
            batches.knownTopics = []
            renewals.succeeded()
            return true
        } catch {
            core.report(error, "no new producer")
            renewTimer = core.loop.schedule(after: renewals.failed(at: core.loop.now)) { [weak self] in
                self?.renewTimer = nil
                self?.afterDrain()
            }
            return false
        }
    }

    /// Waits until every message has its report, at most for `timeout`. The completion gets how many have none.
    public func flush(timeout: Duration, _ completion: @escaping (_ left: Int) -> Void) {
        if pending == 0 { return completion(0) }
        sendHeld()
        var done = false
        var timer: TimerID?
        let finish = { [weak self] in
            if done { return }
            done = true
            if let timer, let self { self.core.loop.cancel(timer) }
            completion(self?.pending ?? 0)
        }
        timer = core.loop.schedule(after: timeout) {
            timer = nil
            finish()
        }
        idleWaiters.append(finish)
    }

    /// Flushes for at most `timeout` and ends. The completion gets how many messages had no report.
    public func close(timeout: Duration, _ completion: @escaping (_ left: Int) -> Void = { _ in }) {
        if closed { return completion(0) }
        closed = true
        if let timer = looks.timer { core.loop.cancel(timer) }
        flush(timeout: timeout) { left in
            // Not inside the pump's own drain: its event is still to be destroyed.
            self.core.loop.execute {
                _ = self.batches.held.removeAll()
                unsafe rd_kafka_purge(self.client.handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
                self.release()
                self.core.worker.finish()
                completion(left)
            }
        }
    }

    private func release() {
        pump?.stop()
        pump = nil
        topics.removeAll()
        let old = client
        core.worker.submit { old.destroy() }
    }
}
