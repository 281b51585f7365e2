import CRdKafka
import Reactor
import Telemetry

/// An idempotent producer on a loop: acks from all replicas, no time limit, no linger.
///
///     produce ──true──▶ held by librdkafka ──▶ onDelivery(opaque, offset or error)
///        └────false──▶ the queue is full (or being reset): wait for onWritable
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
    public var onState: (KafkaState) -> Void {
        get { core.onState }
        set { core.onState = newValue }
    }
    public var state: KafkaState { core.state }
    /// Messages without a delivery report.
    public private(set) var pending = 0

    /// What a message that can't be delivered does to the ones behind it.
    public enum Order: Sendable {
        /// They go out.
        case usual
        /// They wait for `reset`: nothing that was given after a message that failed is sent before. At most one request is
        /// on its way for each partition, with what gathered behind the one before: many messages share their requests.
        /// After `reset` what has no report is to be sent again, so readers must ignore what is older than what they have
        /// (`seq`).
        case strict
    }

    private static let defaults = [
        KafkaProperty("enable.idempotence", "true"),
        KafkaProperty("acks", "all"),
        KafkaProperty("message.timeout.ms", "0"),
        KafkaProperty("linger.ms", "0"),
        // The scar: with five requests under way, which is the default and the most that idempotence allows, and a message
        // behind them, librdkafka (2.0.2) polls without a pause until the broker answers.
        KafkaProperty("max.in.flight.requests.per.connection", "4"),
    ]
    private static let events = RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG

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
    private var idleWaiters: [() -> Void] = []
    private var lookTimer: TimerID?
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
            name: "cabstand_kafka_delivered_total", help: "Messages that the cluster acknowledged.")
        failedCount = registry.counter(
            name: "cabstand_kafka_delivery_failures_total", help: "Messages whose delivery report was an error.")
        pendingGauge = registry.gauge(
            name: "cabstand_kafka_pending_messages", help: "Messages without a delivery report yet.")
        client = try Self.makeClient(configuration, order)
        pump = try makePump()
        lookTimer = loop.schedule(every: configuration.metadataInterval) { [weak self] in self?.look() }
        look()
    }

    private static func makeClient(
        _ configuration: KafkaConfiguration, _ order: Order
    ) throws(KafkaError) -> NativeClient {
        let limits = configuration.limits
        let bounds = [
            KafkaProperty("queue.buffering.max.messages", String(limits.producerMessages)),
            KafkaProperty("queue.buffering.max.kbytes", String(limits.producerKilobytes)),
        ]
        let client = try NativeClient(
            .producer, configuration, defaults: defaults + bounds,
            overrides: order == .strict ? StrictBatches.properties : [], events: events)
        unsafe rd_kafka_set_log_queue(client.handle, nil)
        return client
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
                batches.held.bytes < core.configuration.limits.producerKilobytes * 1024
            else {
                refused = true
                return false
            }
            pending += 1
            let value = unsafe value.withUnsafeBytes { unsafe [UInt8]($0) }
            hold(HeldMessages.Message(topic: topic, key: key, value: value, headers: headers, opaque: opaque))
            return true
        }
        let isTaken = send(topic: topic, key: key, value: value, headers: headers, opaque: opaque)
        if isTaken { pending += 1 }
        return isTaken
    }

    /// Gives a message to librdkafka.
    func send(topic: String, key: String, value: Span<UInt8>, headers: [KafkaHeader], opaque: UInt64) -> Bool {
        guard let topic = topicHandle(topic) else { return false }
        let native = unsafe Self.nativeHeaders(headers)
        var key = key
        let error = key.withUTF8 { key in
            unsafe value.withUnsafeBytes { value in
                unsafe crdkafka_produce(
                    client.handle, topic.handle, key.baseAddress, key.count, value.baseAddress, value.count, native,
                    opaque)
            }
        }
        if error == RD_KAFKA_RESP_ERR_NO_ERROR {
            sent += 1
            return true
        }
        if let native = unsafe native { unsafe rd_kafka_headers_destroy(native) }
        refused = true
        if error != RD_KAFKA_RESP_ERR__QUEUE_FULL {
            core.report(KafkaError(error), "a message was not taken")
            hasFailed = hasFailed || error == RD_KAFKA_RESP_ERR__FATAL
            // No report may be under way that would bring the next drain.
            core.loop.execute { [weak self] in self?.afterDrain() }
        }
        return false
    }

    public func produce(
        topic: String, key: String, value: [UInt8], headers: [KafkaHeader] = [], opaque: UInt64 = 0
    ) -> Bool {
        produce(topic: topic, key: key, value: value.span, headers: headers, opaque: opaque)
    }

    private func topicHandle(_ name: String) -> NativeTopic? {
        if let topic = topics[name] { return topic }
        do throws(KafkaError) {
            let topic = try NativeTopic(name, of: client)
            topics[name] = topic
            return topic
        } catch {
            core.report(error, "no handle for the topic \(name)")
            return nil
        }
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
                pending -= 1
                sent -= 1
                let opaque = UInt64(UInt(bitPattern: unsafe message.pointee._private))
                if unsafe message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                    deliveredCount.increment()
                    core.isUp()
                    onDelivery(opaque, .success(unsafe message.pointee.offset))
                } else {
                    failedCount.increment()
                    let error = unsafe KafkaError(message.pointee.err)
                    if resetting == nil { core.report(error, "a message was not delivered") }
                    batches.hasFailed = true
                    onDelivery(opaque, .failure(error))
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

    private func afterDrain() {
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
        if refused && resetting == nil && !closed && pending < core.configuration.limits.producerMessages {
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
            pending -= 1
            failedCount.increment()
            onDelivery(message.opaque, .failure(KafkaError(RD_KAFKA_RESP_ERR__PURGE_QUEUE)))
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
        core.report(error, "the producer is made anew")
        do throws(KafkaError) {
            let next = try Self.makeClient(core.configuration, order)
            release()
            client = next
            pump = try makePump()
            hasFailed = false
            batches.knownTopics = []
            return true
        } catch {
            core.report(error, "no new producer")
            core.loop.schedule(after: 1_000_000_000) { [weak self] in self?.afterDrain() }
            return false
        }
    }

    /// Waits until every message has its report, at most `timeout` nanoseconds. The completion gets how many have none.
    public func flush(timeout: UInt64, _ completion: @escaping (_ left: Int) -> Void) {
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

    /// Flushes for at most `timeout` nanoseconds and ends. The completion gets how many messages had no report.
    public func close(timeout: UInt64, _ completion: @escaping (_ left: Int) -> Void = { _ in }) {
        if closed { return completion(0) }
        closed = true
        if let lookTimer { core.loop.cancel(lookTimer) }
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

    /// Asks the cluster for a sign of life, off the loop.
    private func look() {
        let client = client
        let timeout = core.configuration.limits.metadataTimeoutMilliseconds
        core.worker.run(on: core.loop) {
            client.signOfLife(timeout: timeout)
        } then: { [weak self] error in
            guard let self, !closed else { return }
            if let error { core.isDown(error) } else { core.isUp() }
        }
    }
}
