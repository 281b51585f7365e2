import CRdKafka
import Reactor
import Telemetry

/// Reads every partition of one topic on a loop, without joining a group.
///
///     connecting ─▶ cluster and partitions known ─▶ assigned ─▶ positioned ─▶ …
///                        onCluster                                onPositioned
///     an offset that is gone, a new cluster id:  onPositionLost, then again up to onPositioned
///
/// `.end` loses what is written before it is positioned (up to a second): treat everything as changed once when
/// `onPositioned` comes. Positioned means that every partition has reported its end or a record.
///
/// All calls and callbacks on `loop`.
public final class KafkaConsumer {
    /// Where to start. A partition that is noticed later is always read from its beginning.
    public enum Start: Sendable, Hashable {
        /// What comes from now on.
        case end
        /// At the given next offsets, if the cluster is the one that they belong to (nil: any); else, and for
        /// partitions without one, at the beginning.
        case offsets([Int32: Int64], clusterID: String?)

        public static var beginning: Start { .offsets([:], clusterID: nil) }
    }

    /// A record, borrowed during the call.
    public var onRecord: (borrowing KafkaRecord) -> Void = { _ in }
    public var onPositioned: () -> Void = {}
    /// The partition goes on elsewhere: at its beginning, or at its end if started with `.end`.
    public var onPositionLost: (_ partition: Int32) -> Void = { _ in }
    /// The cluster's id became known or changed. Comes before the first record and before `onPositionLost`.
    public var onCluster: (_ clusterID: String) -> Void = { _ in }
    public var onState: (KafkaState) -> Void {
        get { core.onState }
        set { core.onState = newValue }
    }
    public var state: KafkaState { core.state }
    public private(set) var clusterID: String?
    /// Every known partition has reported its end or a record.
    public var isPositioned: Bool { !partitions.isEmpty && unpositioned == 0 }
    /// The next offset to be read of each partition; only those that are known.
    public var nextOffsets: [Int32: Int64] { partitions.compactMapValues { $0.next >= 0 ? $0.next : nil } }

    private struct Partition {
        /// -1: not known yet.
        var next: Int64 = -1
        var isPositioned = false
        /// Asked for again; errors of the old position do not count.
        var isMoving = false
    }

    private static let defaults = [
        KafkaProperty("enable.auto.commit", "false"),
        KafkaProperty("enable.auto.offset.store", "false"),
        KafkaProperty("enable.partition.eof", "true"),
        // Not a silent jump: a lost position is reported and decided here.
        KafkaProperty("auto.offset.reset", "error"),
        KafkaProperty("fetch.error.backoff.ms", "100"),
        KafkaProperty("allow.auto.create.topics", "false"),
    ]
    private static let events = RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG
    /// Nanoseconds between two tries while the topic or the cluster is not there.
    private static let retryInterval: UInt64 = 250_000_000

    private let core: ClientCore
    private let client: NativeClient
    private let topicName: String
    private let start: Start
    private var topic: NativeTopic?
    private var pump: EventPump?
    private var partitions: [Int32: Partition] = [:]
    private var unpositioned = 0
    /// The start has been used: what is found from now on is new.
    private var hasBegun = false
    private var lookTimer: TimerID?
    private var looking = false
    private var closed = false
    private let recordCount: Counter
    private let lagGauge: Gauge

    /// - Throws: a property of the configuration that librdkafka refuses.
    public init(
        loop: EventLoop, configuration: KafkaConfiguration, topic: String, start: Start
    ) throws(KafkaError) {
        core = try ClientCore(loop: loop, configuration: configuration, role: "consumer-" + topic)
        topicName = topic
        self.start = start
        let registry = MetricRegistry.shared
        recordCount = registry.counter(
            name: "cabstand_kafka_records_total", help: "Records read.", labels: ["topic": topic])
        lagGauge = registry.gauge(
            name: "cabstand_kafka_lag_records", help: "Records fetched from the cluster's end but not yet read.",
            labels: ["topic": topic])
        let limits = configuration.limits
        let more = [
            KafkaProperty("group.id", configuration.group),
            KafkaProperty("queued.max.messages.kbytes", String(limits.consumerKilobytes)),
        ]
        client = try NativeClient(.consumer, configuration, defaults: Self.defaults + more, events: Self.events)
        self.topic = try NativeTopic(topic, of: client)
        unsafe rd_kafka_set_log_queue(client.handle, nil)
        // One queue for everything: records, errors, log lines.
        unsafe rd_kafka_poll_set_consumer(client.handle)
        guard let queue = unsafe rd_kafka_queue_get_consumer(client.handle) else {
            throw KafkaError.configuration("librdkafka gave no queue")
        }
        pump = try unsafe EventPump(
            loop: loop, queue: queue, budget: limits.eventsPerTurn, drained: { [weak self] in self?.afterDrain() },
            handle: { [weak self] in unsafe self?.handle($0) })
        look()
    }

    // MARK: Flow and position

    /// Stops `onRecord`; what is fetched ahead is bounded by `KafkaLimits.consumerKilobytes`.
    public func pause() { pump?.pause() }

    public func resume() { pump?.resume() }

    /// Stores next offsets under the configured group, so that the lag can be seen. Not waited for.
    public func commit(_ offsets: [Int32: Int64]) {
        guard !closed, !offsets.isEmpty else { return }
        let list = unsafe Self.list(topicName, offsets)
        defer { unsafe rd_kafka_topic_partition_list_destroy(list) }
        let error = unsafe rd_kafka_commit(client.handle, list, 1)
        if error != RD_KAFKA_RESP_ERR_NO_ERROR { core.report(KafkaError(error), "a position was not committed") }
    }

    /// Ends: no callback comes any more once the completion is called.
    ///
    /// The scar: librdkafka's own end is not waited for. It hangs for ever in a client whose topic was deleted while it
    /// read it (2.0.2), and would hold up the end of the program.
    public func close(_ completion: @escaping () -> Void = {}) {
        if closed { return completion() }
        closed = true
        if let lookTimer { core.loop.cancel(lookTimer) }
        // Not inside the pump's own drain: its event is still to be destroyed.
        core.loop.execute {
            self.pump?.stop()
            self.pump = nil
            self.topic = nil
            let client = self.client
            self.core.worker.submit { client.destroy() }
            self.core.worker.finish()
            completion()
        }
    }

    private static func list(
        _ topic: String, _ offsets: [Int32: Int64]
    ) -> UnsafeMutablePointer<rd_kafka_topic_partition_list_t> {
        let list = unsafe rd_kafka_topic_partition_list_new(Int32(offsets.count))!
        for (partition, offset) in offsets {
            unsafe rd_kafka_topic_partition_list_add(list, topic, partition).pointee.offset = offset
        }
        return unsafe list
    }

    // MARK: Partitions

    /// Asks the cluster for its id and the topic's partitions, off the loop; again and again.
    private func look() {
        guard !looking, !closed, let topic else { return }
        looking = true
        let client = client
        let name = topicName
        let timeout = core.configuration.limits.metadataTimeoutMilliseconds
        core.worker.run(on: core.loop) { () -> Result<(String?, Int32), KafkaError> in
            client.partitionCounts(of: topic, timeout: timeout).map { (client.clusterID(timeout: 0), $0[name] ?? 0) }
        } then: { [weak self] answer in
            guard let self, !closed else { return }
            looking = false
            var interval = core.configuration.metadataInterval
            switch answer {
            case .success((let cluster, let count)):
                core.isUp()
                see(cluster: cluster, count: count)
                if partitions.isEmpty { interval = Self.retryInterval }
            case .failure(let error):
                interval = Self.retryInterval
                switch rd_kafka_resp_err_t(rawValue: error.code) {
                // The cluster answers; the topic is still to be made.
                case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                    RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
                    core.isUp()
                default: core.isDown(error)
                }
            }
            lookTimer = core.loop.schedule(after: interval) { [weak self] in self?.look() }
        }
    }

    private func see(cluster: String?, count: Int32) {
        guard let cluster, count > 0 else { return }
        let before = clusterID
        if before != cluster {
            clusterID = cluster
            onCluster(cluster)
            if before != nil {
                for partition in partitions.keys.sorted() { lose(partition) }
            }
        }
        forget(from: count)
        var offsets: [Int32: Int64] = [:]
        let first = !hasBegun
        hasBegun = true
        for partition in 0..<count where partitions[partition] == nil {
            partitions[partition] = Partition()
            unpositioned += 1
            offsets[partition] = first ? startOffset(partition) : Int64(RD_KAFKA_OFFSET_BEGINNING)
        }
        if offsets.isEmpty { return }
        assign(offsets, moving: false)
        // The stored position belongs to another cluster: whoever stored it must know.
        if first, case .offsets(let stored, let owner?) = start, owner != cluster {
            for partition in stored.keys.sorted() { onPositionLost(partition) }
        }
    }

    /// Drops partitions that the topic does not have any more: it was made anew with fewer.
    private func forget(from count: Int32) {
        let gone = partitions.filter { $0.key >= count }
        guard !gone.isEmpty else { return }
        for (partition, state) in gone {
            partitions[partition] = nil
            if !state.isPositioned { unpositioned -= 1 }
        }
        let client = client
        let name = topicName
        let offsets = gone.mapValues { _ in Int64(RD_KAFKA_OFFSET_INVALID) }
        core.worker.submit {
            let list = unsafe Self.list(name, offsets)
            defer { unsafe rd_kafka_topic_partition_list_destroy(list) }
            if let error = unsafe rd_kafka_incremental_unassign(client.handle, list) {
                unsafe rd_kafka_error_destroy(error)
            }
        }
    }

    private func startOffset(_ partition: Int32) -> Int64 {
        switch start {
        case .end: Int64(RD_KAFKA_OFFSET_END)
        case .offsets(let stored, let owner):
            owner == nil || owner == clusterID
                ? stored[partition] ?? Int64(RD_KAFKA_OFFSET_BEGINNING) : Int64(RD_KAFKA_OFFSET_BEGINNING)
        }
    }

    /// The topic was deleted. Whatever comes under its name is another one, read from its beginning: `look` finds it.
    private func vanish() {
        let all = partitions.keys.sorted()
        if all.isEmpty { return }
        forget(from: 0)
        for partition in all { onPositionLost(partition) }
        if let lookTimer { core.loop.cancel(lookTimer) }
        lookTimer = core.loop.schedule(after: Self.retryInterval) { [weak self] in self?.look() }
    }

    /// Reads the partition anew: its stored position means nothing to the cluster.
    private func lose(_ partition: Int32) {
        guard var state = partitions[partition], !state.isMoving else { return }
        if state.isPositioned { unpositioned += 1 }
        state = Partition(isMoving: true)
        partitions[partition] = state
        let offset = start == .end ? RD_KAFKA_OFFSET_END : RD_KAFKA_OFFSET_BEGINNING
        assign([partition: Int64(offset)], moving: true)
        onPositionLost(partition)
    }

    /// Asks librdkafka to read from these offsets, off the loop: the call waits for one of its threads.
    private func assign(_ offsets: [Int32: Int64], moving: Bool) {
        if closed { return }
        let client = client
        let name = topicName
        core.worker.run(on: core.loop) { () -> KafkaError? in
            let list = unsafe Self.list(name, offsets)
            defer { unsafe rd_kafka_topic_partition_list_destroy(list) }
            if moving, let error = unsafe rd_kafka_incremental_unassign(client.handle, list) {
                unsafe rd_kafka_error_destroy(error)
            }
            guard let error = unsafe rd_kafka_incremental_assign(client.handle, list) else { return nil }
            defer { unsafe rd_kafka_error_destroy(error) }
            return unsafe KafkaError(rd_kafka_error_code(error), message: String(cString: rd_kafka_error_string(error)))
        } then: { [weak self] error in
            guard let self, !closed else { return }
            for partition in offsets.keys { partitions[partition]?.isMoving = false }
            guard let error else { return }
            core.report(error, "partitions were not assigned")
            core.loop.schedule(after: Self.retryInterval) { [weak self] in self?.assign(offsets, moving: moving) }
        }
    }

    private func position(_ partition: Int32, next: Int64) {
        guard var state = partitions[partition], !state.isMoving else { return }
        if next >= 0 { state.next = next }
        let news = !state.isPositioned
        state.isPositioned = true
        partitions[partition] = state
        guard news else { return }
        unpositioned -= 1
        if unpositioned == 0 { onPositioned() }
    }

    // MARK: Events

    private func handle(_ event: OpaquePointer) {
        switch unsafe rd_kafka_event_type(event) {
        case RD_KAFKA_EVENT_FETCH:
            while let message = unsafe rd_kafka_event_message_next(event) {
                let partition = unsafe message.pointee.partition
                guard unsafe message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
                    unsafe handleError(KafkaError(message.pointee.err), partition: partition, offset: -1)
                    continue
                }
                recordCount.increment()
                onRecord(unsafe KafkaRecord(message))
                unsafe position(partition, next: message.pointee.offset + 1)
            }
        case RD_KAFKA_EVENT_ERROR:
            let error = unsafe ClientCore.error(of: event)
            if let place = unsafe rd_kafka_event_topic_partition(event) {
                defer { unsafe rd_kafka_topic_partition_destroy(place) }
                handleError(error, partition: unsafe place.pointee.partition, offset: unsafe place.pointee.offset)
            } else {
                core.handleError(error)
            }
        case RD_KAFKA_EVENT_LOG: unsafe core.handleLog(event)
        default: break
        }
    }

    private func handleError(_ error: KafkaError, partition: Int32, offset: Int64) {
        switch rd_kafka_resp_err_t(rawValue: error.code) {
        case RD_KAFKA_RESP_ERR__PARTITION_EOF:
            core.isUp()
            position(partition, next: offset)
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
            core.report(error, "the position in \(topicName)/\(partition) is gone")
            lose(partition)
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
            RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
            core.report(error, "\(topicName)/\(partition) is gone")
            vanish()
        case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: core.isDown(error)
        default: core.report(error, "a record of \(topicName)/\(partition) was skipped")
        }
    }

    private func afterDrain() {
        guard !closed else { return }
        var lag: Int64 = 0
        for (partition, state) in partitions where state.next >= 0 {
            var low: Int64 = 0
            var high: Int64 = 0
            let error = unsafe rd_kafka_get_watermark_offsets(client.handle, topicName, partition, &low, &high)
            if error == RD_KAFKA_RESP_ERR_NO_ERROR && high > state.next { lag &+= high - state.next }
        }
        lagGauge.set(Int(clamping: lag))
    }
}
